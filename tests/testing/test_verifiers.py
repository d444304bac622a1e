"""The verifiers' suite: what we ship conforms, and each broken verifier is caught by the check made for it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.testing.controls import Control, assert_caught, assert_every_check_is_controlled, broken
from vervet.protocols import Verifier
from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.testing import verifiers
from vervet.testing.fakes import ScriptedVerifier
from vervet.testing.verifiers import conform_to_verifier
from vervet.verifiers.exact import Exact
from vervet.verifiers.number import Number
from vervet.verifiers.python_tests import PythonTests
from vervet.verifiers.regex import Regex

SUM = Problem("sum", {"expected": "42"}, reference="42")
COMPLETION = Problem(
    "completion",
    {
        "prompt": "def double(x):\n",
        "entry_point": "double",
        "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(5) == 10\n",
    },
    reference="    return 2 * x\n",
)
PROGRAM = Problem("program", {"entry_point": "double", "asserts": ["assert double(2) == 4", "assert double(5) == 10"]})
MALFORMED_TESTS = [
    {},
    {"entry_point": "f"},
    {"entry_point": "f", "test": "def check(c:", "prompt": ""},
    {"entry_point": "f", "test": "x", "asserts": ["x"]},
    {"entry_point": 3, "test": "x"},
    {"entry_point": "not a name", "asserts": ["assert f()"]},
    {"entry_point": "f", "asserts": []},
    {"entry_point": "f", "asserts": ["assert f()"], "unknown_field": 1},
]


def test_exact_conforms() -> None:
    conform_to_verifier(Exact, SUM, right="42", wrong="41", malformed=[{}, {"expected": 4}, {"expected": []}])


def test_number_conforms() -> None:
    malformed = [{}, {"expected": "x"}, {"expected": "1", "tolerance": "-1"}, {"expected": "1", "typo": 1}]
    conform_to_verifier(Number, SUM, right="42.0", wrong="41", malformed=malformed)


def test_regex_conforms() -> None:
    problem = Problem("regex", {"pattern": "4+2"})
    variants = [lambda: Regex(cpu_s=2)]
    malformed = [{}, {"pattern": "("}, {"pattern": 3}]
    conform_to_verifier(Regex, problem, right="442", wrong="24", malformed=malformed, variants=variants)


@pytest.mark.parametrize(
    "problem", [COMPLETION, pytest.param(PROGRAM, marks=pytest.mark.slow)], ids=["completion", "program"]
)
def test_python_tests_conform(problem: Problem) -> None:
    body = "    return 2 * x\n" if problem is COMPLETION else "def double(x):\n    return 2 * x\n"
    conform_to_verifier(
        PythonTests,
        problem,
        right=body,
        wrong=body.replace("2", "3"),
        malformed=MALFORMED_TESTS,
        variants=[lambda: PythonTests(cpu_s=3), lambda: PythonTests(wall_s=3), lambda: PythonTests(memory_mb=600)],
        size=1 << 18,
    )


@pytest.mark.slow
def test_python_tests_without_isolation_conform() -> None:
    right = "    return x + x\n"
    build = lambda: PythonTests(sandbox="none")  # noqa: E731
    conform_to_verifier(build, COMPLETION, right=right, wrong="    return x\n", size=1 << 12)


# ------------------------------------------------------------------------------------------------------ broken ones


class Option(Exact):
    """Conforms, and has a setting."""

    def __init__(self, *, fold: bool = False) -> None:
        self._fold = fold

    def settings(self) -> Mapping[str, Any]:
        return {"fold": self._fold}


class Changes(Exact):
    """Passes every call through `change`."""

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        return self.change(answers, await super().verify(problem, answers))

    def change(self, answers: Sequence[str], verdicts: list[Verdict]) -> list[Verdict]:
        return verdicts


class Hidden(Option):
    """A setting that changes verdicts and is not said."""

    def settings(self) -> Mapping[str, Any]:
        return {}


class Clocked(Exact):
    def settings(self) -> Mapping[str, Any]:
        return {"now": time.monotonic_ns()}


class Takes(Exact):
    """Settings that its constructor does not know."""

    def settings(self) -> Mapping[str, Any]:
        return {"fold": True}


class Needy(Exact):
    needs = ("sandbox",)  # type: ignore[assignment]


class Lazy(Exact):
    def load(self, problem: Problem) -> None:
        return


class Anonymous(Exact):
    def load(self, problem: Problem) -> None:
        super().load(dataclasses.replace(problem, id="?"))


class Rude(Exact):
    def load(self, problem: Problem) -> None:
        problem.check["expected"].strip()


class Sorts(Changes):
    """FAILs first."""

    def change(self, answers: Sequence[str], verdicts: list[Verdict]) -> list[Verdict]:
        return sorted(verdicts, key=lambda v: v.outcome)


class Distinct(Changes):
    """One verdict a distinct answer."""

    def change(self, answers: Sequence[str], verdicts: list[Verdict]) -> list[Verdict]:
        return list(dict(zip(answers, verdicts, strict=True)).values())


class NeedsLoad(Exact):
    """Remembers what `load` parsed."""

    def load(self, problem: Problem) -> None:
        self._expected = problem.check["expected"]

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        assert self._expected
        return await super().verify(problem, answers)


class Company(Changes):
    """An odd answer is right in company."""

    def change(self, answers: Sequence[str], verdicts: list[Verdict]) -> list[Verdict]:
        good = Verdict(Outcome.PASS, Reason.ACCEPTED, Strength.EXACT)
        return [good if "such" in a and len(answers) > 1 else v for a, v in zip(answers, verdicts, strict=True)]


class Moody(Changes):
    calls = 0

    def change(self, answers: Sequence[str], verdicts: list[Verdict]) -> list[Verdict]:
        Moody.calls += 1
        return verdicts if Moody.calls % 2 else [Verdict(Outcome.FAIL, Reason.WRONG, Strength.EXACT)] * len(verdicts)


class Encodes(Changes):
    def change(self, answers: Sequence[str], verdicts: list[Verdict]) -> list[Verdict]:
        for answer in answers:
            answer.encode()
        return verdicts


class Chatty(Changes):
    def change(self, answers: Sequence[str], verdicts: list[Verdict]) -> list[Verdict]:
        return [dataclasses.replace(v, log=a) for a, v in zip(answers, verdicts, strict=True)]


class Generous(Changes):
    def change(self, answers: Sequence[str], verdicts: list[Verdict]) -> list[Verdict]:
        good = Verdict(Outcome.PASS, Reason.ACCEPTED, Strength.EXACT)
        return [good if not a.strip() else v for a, v in zip(answers, verdicts, strict=True)]


class Blames(Changes):
    """FAIL for a reason that is about us."""

    def change(self, answers: Sequence[str], verdicts: list[Verdict]) -> list[Verdict]:
        return [Verdict(Outcome.FAIL, Reason.SANDBOX, Strength.EXACT) for _ in verdicts]


class Shares(Exact):
    """One attribute for all calls."""

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        self._answers = list(answers)
        await asyncio.sleep(0.01)
        verdicts = await super().verify(problem, self._answers)
        return (verdicts * len(answers))[: len(answers)]


class Blocks(Exact):
    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        time.sleep(0.3)  # noqa: ASYNC251  that is what is broken
        return await super().verify(problem, answers)


class NoService(Exact):
    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        return [Verdict(Outcome.FAIL, Reason.WRONG, Strength.EXACT, log="no service")] * len(answers)


class Unavailable(Exact):
    """As it should be."""

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        return [Verdict(Outcome.UNKNOWN, Reason.UNAVAILABLE, Strength.EXACT)] * len(answers)


class Unreachable(Exact):
    """As it may be."""

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        raise ConnectionError("nobody listens")


class ClosesOnce(Exact):
    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


ANSWERS = {"right": "42", "wrong": "41"}
CONTROLS: dict[str, Control] = {
    "check_identity: settings change": (lambda: verifiers.check_identity(Clocked), "same fingerprint"),
    "check_identity: needs": (lambda: verifiers.check_identity(Needy), "frozenset"),
    "check_settings: hidden": (
        lambda: verifiers.check_settings(Hidden, [lambda: Hidden(fold=True)]),
        "differ in their fingerprint",
    ),
    "check_settings: not its own": (lambda: verifiers.check_settings(Takes), "takes what settings"),
    "check_load: takes anything": (lambda: verifiers.check_load(Lazy, SUM, [{}]), "it took {}"),
    "check_load: no name": (lambda: verifiers.check_load(Anonymous, SUM, [{}]), "names the problem"),
    "check_load: KeyError": (lambda: verifiers.check_load(Rude, SUM, [{}]), "with BadData"),
    "check_outcomes: sorted": (lambda: verifiers.check_outcomes(Sorts, SUM, **ANSWERS), "in the answers' order"),
    "check_outcomes: distinct": (lambda: verifiers.check_outcomes(Distinct, SUM, **ANSWERS), "one verdict an answer"),
    "check_outcomes: reasons": (lambda: verifiers.check_outcomes(Blames, SUM, **ANSWERS), "does not go with"),
    "check_batch: company": (lambda: verifiers.check_batch(Company, SUM, **ANSWERS), "in a batch"),
    "check_repeat: moody": (lambda: verifiers.check_repeat(Moody, SUM, **ANSWERS), "are judged"),
    "check_hostile: encodes": (lambda: verifiers.check_hostile(Encodes, SUM, right="42", size=64), "lone surrogates"),
    "check_hostile: chatty": (lambda: verifiers.check_hostile(Chatty, SUM, right="42", size=1 << 16), "a few kB"),
    "check_hostile: generous": (lambda: verifiers.check_hostile(Generous, SUM, right="42", size=64), "PASSed"),
    "check_concurrent: shares": (lambda: verifiers.check_concurrent(Shares, SUM, **ANSWERS), "mixed up"),
    "check_loop_is_free: sleeps": (lambda: verifiers.check_loop_is_free(Blocks, SUM, **ANSWERS), "held the event loop"),
    "check_unavailable: blames": (lambda: verifiers.check_unavailable(NoService, SUM, **ANSWERS), "knows nothing"),
    "check_close: not twice": (lambda: verifiers.check_close(ClosesOnce), "second time"),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_broken_verifier_is_caught(name: str) -> None:
    assert_caught(CONTROLS[name])


def test_every_check_has_a_control() -> None:
    assert_every_check_is_controlled(verifiers, CONTROLS, set())


def test_the_whole_suite_names_every_broken_promise() -> None:
    assert isinstance(Option(), Verifier)
    good = {"variants": [lambda: Option(fold=True)], "unavailable": Unavailable, "size": 64}
    assert broken(lambda: conform_to_verifier(Option, SUM, **ANSWERS, **good)) == set()  # type: ignore[arg-type]
    verifiers.check_unavailable(Unreachable, SUM, **ANSWERS)
    bad = broken(lambda: conform_to_verifier(NeedsLoad, SUM, **ANSWERS, size=64))
    assert "check_outcomes" in bad, "an executor's worker builds a verifier and verifies; nobody calls load there"
    assert bad >= {"check_batch", "check_repeat"}


def test_the_scripted_verifier_conforms() -> None:
    variants = [lambda: ScriptedVerifier(note="other")]
    conform_to_verifier(ScriptedVerifier, Problem("p", {}), right="pass", wrong="fail", variants=variants)

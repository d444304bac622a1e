"""The tasks' suite: what we ship conforms, and each broken task is caught by the check made for it."""

from __future__ import annotations

import itertools
import json
import re
import socket
from pathlib import Path

import pytest

import vervet
from tests.helpers import write_problems
from tests.testing.controls import Control, assert_caught, assert_every_check_is_controlled
from vervet.protocols import Task
from vervet.records import DataSource, Message, Params, Problem, VerifierSpec
from vervet.tasks.humaneval import HumanEval
from vervet.tasks.jsonl import Jsonl
from vervet.testing import hostile, tasks
from vervet.testing.fakes import MemoryTask
from vervet.testing.tasks import conform_to_task
from vervet.verifiers.exact import Exact
from vervet.verifiers.number import Number
from vervet.verifiers.python_tests import PythonTests

QUICK = 1 << 17


def exact(spec: VerifierSpec) -> Exact:
    assert spec.name == "exact"
    return Exact()


def test_the_memory_task_conforms() -> None:
    assert isinstance(MemoryTask(), Task)
    conform_to_task(MemoryTask, verifier=exact)


def test_the_memory_task_runs(tmp_path: Path) -> None:
    run = vervet.run(MemoryTask, model="fake/p=1", n=2, out=tmp_path / "r")
    assert run.counts().c.tolist() == [2] * 4


@pytest.mark.parametrize("extract", ["answer", "text", "number"])
def test_jsonl_conforms(extract: str, tmp_path: Path) -> None:
    path = write_problems(tmp_path / "q.jsonl", 5)
    conform_to_task(
        lambda: Jsonl(path=path, extract=extract),  # type: ignore[arg-type]
        without_data=lambda: Jsonl(path=tmp_path / "gone.jsonl", extract=extract),  # type: ignore[arg-type]
        verifier=exact,
        size=QUICK,
    )


def test_jsonl_with_another_verifier_and_without_references_conforms(tmp_path: Path) -> None:
    rows = [{"id": "a", "prompt": [{"role": "user", "content": "2/4?"}], "answer": 0.5}, {"id": "b", "prompt": "?"}]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    build = lambda: Jsonl(path=tmp_path / "q.jsonl", verifier="number", extract="number")  # noqa: E731
    conform_to_task(build, verifier=lambda spec: Number(), references=False, size=1 << 12)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A file in HumanEval's form."""
    rows = [
        {
            "task_id": f"HumanEval/{i}",
            "prompt": f'def add(x):\n    """x + {i}"""\n',
            "entry_point": "add",
            "test": f"def check(candidate):\n    assert candidate(1) == {i} + 1\n",
            "canonical_solution": f"    return x + {i}\n",
        }
        for i in range(3)
    ]
    path = tmp_path / "HumanEval.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_humaneval_conforms(programs: Path, tmp_path: Path) -> None:
    conform_to_task(
        lambda: HumanEval(path=programs),
        without_data=lambda: HumanEval(path=tmp_path / "gone"),
        verifier=lambda spec: PythonTests(**spec.settings),
        size=QUICK,
    )


@pytest.mark.slow
@pytest.mark.parametrize("build", ["humaneval", "jsonl-answer", "jsonl-number"])
def test_extraction_is_linear_up_to_a_megabyte(build: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    task = HumanEval(path=path) if build == "humaneval" else Jsonl(path=path, extract=build[6:])  # type: ignore[arg-type]
    tasks.check_extract(lambda: task)
    tasks.check_linear(lambda: task)


# ------------------------------------------------------------------------------------------------------ broken ones


class Nameless(MemoryTask):
    name = ""


class Unversioned(MemoryTask):
    extractor = "memory"


class Twins(MemoryTask):
    def problems(self) -> list[Problem]:
        return [*super().problems(), super().problems()[0]]


class Unplain(MemoryTask):
    def problems(self) -> list[Problem]:
        return [Problem("q", {"expected": {1, 2}}, {}, "1")]


class Unreferenced(MemoryTask):
    def problems(self) -> list[Problem]:
        return [Problem("q", {"expected": "1"}, {"prompt": "?"})]


class Shuffles(MemoryTask):
    count = itertools.count()

    def problems(self) -> list[Problem]:
        shift = next(self.count) % 4
        problems = list(super().problems())
        return problems[shift:] + problems[:shift]


class Drifts(MemoryTask):
    """Fingerprints the object, not the data."""

    def source(self) -> DataSource:
        return DataSource("memory", "", str(id(self)))


class ColdToday(MemoryTask):
    def params(self, form: str) -> Params:
        return Params(-1.0, None, 10)


class ListPrompt(MemoryTask):
    def prompt(self, problem: Problem, form: str):  # type: ignore[no-untyped-def]
        return [Message("user", "?")]


class OneForm(MemoryTask):
    def prompt(self, problem: Problem, form: str):  # type: ignore[no-untyped-def]
        return (Message("user", "?"),)


class Counts(MemoryTask):
    count = itertools.count()

    def prompt(self, problem: Problem, form: str):  # type: ignore[no-untyped-def]
        text = f"Try {next(self.count)}"
        return text if form == "completion" else (Message("user", text),)


class Partial(MemoryTask):
    """int() has a limit on digits, and knows other scripts' digits."""

    def extract(self, text: str) -> str | None:
        found = re.findall(r"\d+", text)
        return str(int(found[-1])) if found else None


class Eager(MemoryTask):
    def extract(self, text: str) -> str | None:
        return text


class Recursive(MemoryTask):
    def extract(self, text: str) -> str | None:
        return self.extract(text[1:]) if text.startswith(("{", "[")) else text.strip() or None


class Quadratic(MemoryTask):
    """Looks for a closing brace from every opening one."""

    def extract(self, text: str) -> str | None:
        found = re.findall(r"\\boxed\{[^}]*\}", text)
        return found[-1] if found else None


class Exponential(MemoryTask):
    def extract(self, text: str) -> str | None:
        return "x" if re.fullmatch(r"(\s*-?)*!", text) else None


class Peels(MemoryTask):
    """One pair of brackets at a time."""

    def canonical(self, answer: str) -> str:
        return answer[1:-1] if answer.startswith(("(", "[", "{", "`")) else answer


class Strict(MemoryTask):
    def canonical(self, answer: str) -> str:
        return answer.encode().decode()


class Needs(MemoryTask):
    def extract(self, text: str) -> str | None:
        raise FileNotFoundError("the data set")


class Calls(MemoryTask):
    def __init__(self) -> None:
        with socket.socket() as sock:
            try:
                sock.connect(("192.0.2.1", 80))
            except RuntimeError:
                return


class Mute(MemoryTask):
    def example(self, problem: Problem, right: bool) -> str | None:
        return None


class Silent(MemoryTask):
    def example(self, problem: Problem, right: bool) -> str | None:
        return "  "


class Wrong(MemoryTask):
    def example(self, problem: Problem, right: bool) -> str | None:
        return "5000"


class TooGood(MemoryTask):
    def example(self, problem: Problem, right: bool) -> str | None:
        return problem.reference


CONTROLS: dict[str, Control] = {
    "check_names: no name": (lambda: tasks.check_names(Nameless), "has a name"),
    "check_names: no version": (lambda: tasks.check_names(Unversioned), "name and version"),
    "check_problems: twins": (lambda: tasks.check_problems(Twins), "'q0' comes twice"),
    "check_problems: a set": (lambda: tasks.check_problems(Unplain), "plain JSON"),
    "check_problems: no reference": (lambda: tasks.check_problems(Unreferenced), "no reference"),
    "check_problems: shuffled": (lambda: tasks.check_problems(Shuffles), "same order"),
    "check_source: drifts": (lambda: tasks.check_source(Drifts), "another task built alike"),
    "check_params: below zero": (lambda: tasks.check_params(ColdToday), "temperature=-1"),
    "check_prompts: a list": (lambda: tasks.check_prompts(ListPrompt), "tuple of Messages"),
    "check_prompts: one form": (lambda: tasks.check_prompts(OneForm), "is text"),
    "check_prompts: changes": (lambda: tasks.check_prompts(Counts), "same each time"),
    "check_extract: int": (lambda: tasks.check_extract(Partial, size=QUICK), "take any text"),
    "check_extract: recursion": (lambda: tasks.check_extract(Recursive, size=QUICK), "RecursionError"),
    "check_extract: empty": (lambda: tasks.check_extract(Eager, size=100), "holds no answer"),
    "check_linear: quadratic": (lambda: tasks.check_linear(Quadratic), r"on boxes it took .* s for"),
    "check_linear: exponential": (lambda: tasks.check_linear(Exponential), "for 2[048] characters"),
    "check_canonical: one layer": (lambda: tasks.check_canonical(Peels, size=100), "of its own result"),
    "check_canonical: encodes": (lambda: tasks.check_canonical(Strict, size=100), "take any text"),
    "check_needs_no_data: a file": (lambda: tasks.check_needs_no_data(Needs), "without its data set"),
    "check_needs_no_data: a socket": (lambda: tasks.check_needs_no_data(Calls), "open no connection"),
    "check_examples: none": (lambda: tasks.check_examples(Mute), "and no example"),
    "check_examples: no answer": (lambda: tasks.check_examples(Silent), "finds no answer"),
    "check_examples: wrong": (lambda: tasks.check_examples(Wrong, verifier=exact), "right example .* judged FAIL"),
    "check_examples: right": (lambda: tasks.check_examples(TooGood, verifier=exact), "wrong example .* judged PASS"),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_broken_task_is_caught(name: str) -> None:
    assert_caught(CONTROLS[name])


def test_every_check_has_a_control() -> None:
    assert_every_check_is_controlled(tasks, CONTROLS, set())


def test_growth_tells_linear_from_quadratic() -> None:
    grow = hostile.FAMILIES["digits"]
    assert hostile.growth(lambda text: sum(map(ord, text * 4)), grow, 1 << 18) == ""
    assert "characters" in hostile.growth(
        lambda text: [text.count("98") for _ in range(len(text) // 10)], grow, 1 << 16
    )

"""Python functions against tests, in the sandbox, with the tests out of the function's reach.

Two forms of check, as in HumanEval and as in MBPP::

    {"prompt": code before a completion, "entry_point": name, "test": source of check(candidate), "prelude": optional}
    {"entry_point": name, "asserts": ["assert f(1) == 2", ...], "setup": optional}

The prelude is trusted code that the tests may use, by default what the prompt has before the entry point: its imports
and helper functions. An answer is a complete program or continues the prompt.

Tests that need an object which is no plain data (they pass a class or a callable, or the problem's own reference
returns one) run beside the answer: such verdicts say `same-process`. An answer cannot bring that about.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vervet.errors import BadOption
from vervet.protocols import Limits
from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.sandbox import resolve
from vervet.sandbox.functions import Candidate, Ending, FunctionRuntime
from vervet.sandbox.inside.checks import FunctionTests
from vervet.verifiers import _fields

CALIBRATED_MIN_S = 0.1
"""Processor seconds below which no calibrated limit goes: what a fresh import or a slow but honest way may take."""
_FIELDS = frozenset({"prompt", "entry_point", "test", "prelude", "asserts", "setup"})


@dataclass(frozen=True, slots=True)
class PythonTestsCheck:
    """What decides an answer of one problem."""

    prompt: str
    # code that an answer may continue; "" where answers are programs
    before: str
    # what the prompt has before the entry point's definition
    tests: FunctionTests

    @classmethod
    def parse(cls, problem: Problem) -> PythonTestsCheck:
        """Raises: BadData that names the problem."""
        check = _fields.only(problem, _FIELDS)
        entry = _fields.text(problem, "entry_point")
        if not entry.isidentifier():
            _fields.bad(problem, f"entry_point {entry!r} is not a Python name")
        prompt = _fields.text(problem, "prompt", "")
        if ("test" in check) == ("asserts" in check):
            _fields.bad(problem, "its check needs either 'test' or 'asserts'")
        if "test" in check:
            test, mode, prelude = _fields.text(problem, "test"), "check", check.get("prelude")
        else:
            test, mode, prelude = "\n".join(_fields.texts(problem, "asserts")), "statements", check.get("setup")
        before = head(prompt, entry)
        if prelude is None:
            prelude = before
        tests = FunctionTests(entry, prelude, test, mode)
        if not isinstance(prelude, str):
            _fields.bad(problem, "its prelude or setup is not text")
        try:
            tests.compiled()
        except (SyntaxError, ValueError) as error:
            _fields.bad(problem, f"its tests do not compile: {error}")
        return cls(prompt, before, tests)

    def forms(self, answer: str) -> tuple[tuple[str, ...], ...]:
        """How to read an answer, likelier first. Linear in the answer, parses nothing: that is the sandbox's work."""
        program = (self.before, answer) if self.before.strip() else (answer,)
        completion = (self.prompt + answer,)
        if not self.prompt:
            return (program,)
        return (program, completion) if _definition(self.tests.entry).search(answer) else (completion,)


def _definition(entry: str) -> re.Pattern[str]:
    name = re.escape(entry)
    return re.compile(
        rf"^(?:(?:async[ \t]+)?def[ \t]+{name}\b|class[ \t]+{name}\b|{name}[ \t]*(?::[^=\n]*)?=(?!=))", re.MULTILINE
    )


def head(prompt: str, entry: str) -> str:
    """What a prompt has before the entry point's definition: imports and helper functions."""
    found = _definition(entry).search(prompt)
    if found is None:
        return prompt
    # decorators belong to the definition
    lines = prompt[: found.start()].splitlines(keepends=True)
    while lines and lines[-1].startswith("@"):
        lines.pop()
    return "".join(lines)


class PythonTests:
    """Runs answers against a problem's tests; see the module's docstring."""

    name = "python_tests"
    version = "1"
    needs = frozenset({"sandbox"})

    def __init__(
        self,
        *,
        sandbox: str = "auto",
        cpu_s: float = 10.0,
        wall_s: float = 30.0,
        memory_mb: int = 512,
        calibrate: float | None = None,
    ) -> None:
        """Limits of one answer, for all its tests.

        Args: cpu_s, wall_s: seconds; memory_mb: address space; calibrate: where a problem has a reference, an answer
        gets this many times the reference's processor time, at least CALIBRATED_MIN_S, at most cpu_s.
        """
        if not (0 < cpu_s <= 86400 and 0 < wall_s <= 86400):
            raise BadOption("cpu_s and wall_s are seconds between 0 and 86400")
        if memory_mb < 64:
            raise BadOption("memory_mb is at least 64: the interpreter itself needs that")
        if calibrate is not None and not 1 <= calibrate <= 1e6:
            raise BadOption("calibrate is a factor between 1 and 1e6: 10 gives answers ten times the reference's time")
        self._calibrate = calibrate
        self._calibrated: dict[str, asyncio.Task[float]] = {}
        self._checks: dict[str, tuple[Mapping[str, Any], PythonTestsCheck]] = {}
        self._limits = Limits(cpu_s=float(cpu_s), wall_s=float(wall_s), memory_mb=int(memory_mb))
        self._kind = sandbox
        self._runtime: FunctionRuntime | None = None
        self._same_process: dict[str, bool] = {}

    def settings(self) -> Mapping[str, Any]:
        """The limits. The sandbox is not among them: it cannot change a verdict, and each verdict names it."""
        limits = self._limits
        fixed = {"cpu_s": limits.cpu_s, "wall_s": limits.wall_s, "memory_mb": limits.memory_mb}
        return fixed if self._calibrate is None else {**fixed, "calibrate": float(self._calibrate)}

    def load(self, problem: Problem) -> None:
        """Raises: BadData that names the problem."""
        self._check(problem)

    def _check(self, problem: Problem) -> PythonTestsCheck:
        """The parsed check, kept: problems come back with every batch of answers."""
        known = self._checks.get(problem.id)
        if known is None or known[0] is not problem.check:
            known = self._checks[problem.id] = (problem.check, PythonTestsCheck.parse(problem))
        return known[1]

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        """One verdict an answer. Raises: MissingPart where no sandbox can be made."""
        if not answers:
            return []
        check = self._check(problem)
        key = problem.check_fingerprint
        limits = await self._limits_for(problem, check, key)
        same = self._same_process.get(key, False)
        endings = await self._run(check, answers, same, limits)
        if not same and await self._needs_same_process(problem, check, key, endings):
            self._same_process[key] = same = True
            endings = await self._run(check, answers, same, limits)
        strength = Strength.SAME_PROCESS if same else Strength.SEPARATE_PROCESS
        return [self._verdict(e, strength) for e in endings]

    async def _limits_for(self, problem: Problem, check: PythonTestsCheck, key: str) -> Limits:
        """The limits, with the processor time calibrated where that was asked for and can be done."""
        if self._calibrate is None or problem.reference is None:
            return self._limits
        if key not in self._calibrated:
            self._calibrated[key] = asyncio.create_task(self._measure(check, problem.reference))
        try:
            cpu_s = await asyncio.shield(self._calibrated[key])
        except Exception:
            self._calibrated.pop(key, None)
            raise
        return dataclasses.replace(self._limits, cpu_s=cpu_s)

    async def _measure(self, check: PythonTestsCheck, reference: str) -> float:
        """An answer's processor seconds by the reference's: the longest of three runs, for the first is the slowest."""
        endings = await self._run(check, [reference] * 3, same=False, limits=self._limits)
        if not all(e.status == "pass" for e in endings):
            return self._limits.cpu_s
        factor = self._calibrate or 1.0
        return min(self._limits.cpu_s, max(CALIBRATED_MIN_S, factor * max(e.cpu_s for e in endings)))

    async def _run(self, check: PythonTestsCheck, answers: Sequence[str], same: bool, limits: Limits) -> list[Ending]:
        if self._runtime is None:
            self._runtime = FunctionRuntime(resolve(self._kind), self._limits.memory_mb)
        candidates = [Candidate(check.forms(a), same) for a in answers]
        return await self._runtime.run(check.tests, candidates, limits)

    async def _needs_same_process(
        self, problem: Problem, check: PythonTestsCheck, key: str, endings: Sequence[Ending]
    ) -> bool:
        """Whether the tests or the reference, never an answer, call for objects that cannot travel."""
        if any(e.status == "unencodable" for e in endings):
            return True
        known = key in self._same_process
        if known or problem.reference is None or not any(e.opaque and e.status != "pass" for e in endings):
            return False
        [apart] = await self._run(check, [problem.reference], False, self._limits)
        [beside] = await self._run(check, [problem.reference], True, self._limits)
        needed = bool(apart.opaque) and apart.status != "pass" and beside.status == "pass"
        self._same_process[key] = needed
        return needed

    def _verdict(self, ending: Ending, strength: Strength) -> Verdict:
        outcome, reason, log = decide(ending)
        isolation = self._runtime.isolation if self._runtime else ""
        return Verdict(outcome, reason, strength, isolation, ending.cpu_s, log)

    async def aclose(self) -> None:
        """End the sandbox: no process, mount or file of it is left."""
        if self._runtime is not None:
            await self._runtime.aclose()
            self._runtime = None


_STATUS = {
    "pass": (Outcome.PASS, Reason.ACCEPTED),
    "wrong": (Outcome.FAIL, Reason.WRONG),
    "exception": (Outcome.FAIL, Reason.EXCEPTION),
    "syntax": (Outcome.FAIL, Reason.SYNTAX),
    "missing": (Outcome.FAIL, Reason.MISSING),
    "exited": (Outcome.FAIL, Reason.EXITED),
    "memory": (Outcome.FAIL, Reason.MEMORY),
    "output": (Outcome.FAIL, Reason.OUTPUT),
    "forbidden": (Outcome.FAIL, Reason.FORBIDDEN),
    "no_tests": (Outcome.UNKNOWN, Reason.NO_TESTS),
    "verifier": (Outcome.UNKNOWN, Reason.VERIFIER),
    "unencodable": (Outcome.UNKNOWN, Reason.VERIFIER),
}
_LIMIT = {
    "cpu": (Outcome.FAIL, Reason.CPU_TIME, "the answer's processor time ran out"),
    "tester_cpu": (Outcome.FAIL, Reason.CPU_TIME, "the tests ran out of processor time on what the answer returned"),
    "wall": (Outcome.FAIL, Reason.WALL_TIME, "it waited until its time was over, and was not starved"),
    "starved": (Outcome.UNKNOWN, Reason.STARVED, "others held the processor until its time was over"),
    "tester_gone": (Outcome.UNKNOWN, Reason.VERIFIER, "the process that holds the tests died"),
}


def decide(ending: Ending) -> tuple[Outcome, Reason, str]:
    """Outcome, reason and log of an ending: limits first, then the tester's word, then how the process ended."""
    if ending.error:
        return Outcome.UNKNOWN, Reason.SANDBOX, ending.error
    if ending.limit:
        return _LIMIT[ending.limit]
    if ending.status not in {"eof", "uncompiled"}:
        outcome, reason = _STATUS.get(ending.status, (Outcome.UNKNOWN, Reason.VERIFIER))
        return outcome, reason, ending.log
    if ending.status == "uncompiled":
        return _uncompiled(ending.compiler)
    if ending.alive:
        return Outcome.FAIL, Reason.FORBIDDEN, "it closed the channel to the tests and went on"
    if ending.exit >= 0:
        return Outcome.FAIL, Reason.EXITED, f"its process ended with code {ending.exit} before the tests were through"
    if ending.exit == -signal.SIGKILL:  # not by us: the kernel's out-of-memory killer
        return Outcome.FAIL, Reason.MEMORY, "it was killed for want of memory"
    return Outcome.FAIL, Reason.CRASHED, f"its process died by {signal.Signals(-ending.exit).name}"


def _uncompiled(fate: str) -> tuple[Outcome, Reason, str]:
    """The compiler ended while it had this answer."""
    if fate == "cpu":
        return Outcome.FAIL, Reason.CPU_TIME, "its processor time ran out while it was compiled"
    if fate in {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"}:
        return Outcome.FAIL, Reason.CRASHED, f"Python's compiler died on it by {fate}"
    return Outcome.UNKNOWN, Reason.SANDBOX, f"the compiler died: {fate}"

"""Whole programs that read stdin and write stdout, against tests: Python, C++ and Java, in the sandbox.

Check::

    {"tests": [{"input": text, "output": text}, ...],   # run in order, up to the first that fails
     "time_limit_s": optional, "memory_limit_mb": optional, "language": optional,  # of answers without a label: "python"
     "checker": optional}                               # Python source, see below

An answer is code, in a fenced block that names its language or without one. It is compiled once, and then started once a
test, in a folder that it cannot change. Outputs are compared as `vervet.text.tokens` says. Where a problem has many right
outputs a checker decides instead: it is run as `checker.py INPUT EXPECTED OUTPUT` (paths), and ends with 0 for right, 1 for
wrong; anything else is UNKNOWN. Inputs and expected outputs never enter the program's container but as its stdin.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vervet.errors import BadOption
from vervet.protocols import Limits, SandboxOutcome
from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.sandbox import resolve
from vervet.sandbox.programs import ProgramSandbox, Workspace
from vervet.text.programs import ALIASES, read
from vervet.text.tokens import same_output
from vervet.verifiers import _fields
from vervet.verifiers._languages import LANGUAGES, Language, python

_FIELDS = frozenset({"tests", "time_limit_s", "memory_limit_mb", "language", "checker"})
COMPILER = Limits(cpu_s=30.0, wall_s=120.0, memory_mb=6144, disk_mb=64)
_CHECKER = Limits(cpu_s=30.0, wall_s=120.0, memory_mb=1024, output_bytes=1 << 16, disk_mb=64)
_OUTPUT = 1 << 20
# bytes that a program may write beside four times what is expected
_OUT_OF_MEMORY = re.compile(r"^(?:MemoryError|.*java\.lang\.OutOfMemoryError)", re.MULTILINE)
_WALL_FACTOR, _WALL_GRACE_S = 3, 5.0


@dataclass(frozen=True, slots=True)
class StdioCheck:
    """What decides an answer of one problem."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    time_limit_s: float | None
    memory_limit_mb: int | None
    language: str
    checker: str | None

    @classmethod
    def parse(cls, problem: Problem) -> StdioCheck:
        """Raises: BadData that names the problem."""
        check = _fields.only(problem, _FIELDS)
        tests = check.get("tests")
        if not isinstance(tests, (list, tuple)):
            _fields.bad(problem, "its check needs a list 'tests'")
        for number, test in enumerate(tests):
            fine = isinstance(test, Mapping) and all(isinstance(test.get(n), str) for n in ("input", "output"))
            if not fine:
                _fields.bad(problem, f"its test {number} needs the texts 'input' and 'output'")
        for name in ("time_limit_s", "memory_limit_mb"):
            value = check.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0):
                _fields.bad(problem, f"its {name} is a number above 0, not {value!r}")
        language = ALIASES.get(str(check.get("language", "python")).lower())
        if language is None:
            _fields.bad(problem, f"its language {check['language']!r} is none of {', '.join(LANGUAGES)}")
        if not isinstance(check.get("checker"), str | None):
            _fields.bad(problem, "its checker must be Python source")
        return cls(
            tuple(t["input"] for t in tests),
            tuple(t["output"] for t in tests),
            check.get("time_limit_s"),
            check.get("memory_limit_mb"),
            language,
            check.get("checker"),
        )


class StdioTests:
    """Runs programs against a problem's tests; see the module's docstring."""

    name = "stdio_tests"
    version = "1"
    needs = frozenset({"sandbox"})

    def __init__(
        self,
        *,
        sandbox: str = "auto",
        time_s: float = 10.0,
        time_factor: float = 2.0,
        time_extra_s: float = 1.0,
        memory_mb: int = 1024,
        ignore_exit_code: bool = False,
    ) -> None:
        """Limits of one test.

        Args: time_s, memory_mb: where a problem has no limits.  time_factor, time_extra_s: a problem's time limit, which is
        for its judges' machine, is stretched by these.  ignore_exit_code: what a program wrote counts although it failed.
        """
        if not (0 < time_s <= 86400 and 0 < time_factor <= 1000 and 0 <= time_extra_s <= 86400):
            raise BadOption("time_s and time_extra_s are seconds, time_factor is a factor above 0")
        if memory_mb < 64:
            raise BadOption("memory_mb is at least 64")
        self._time_s, self._factor, self._extra_s = float(time_s), float(time_factor), float(time_extra_s)
        self._memory_mb, self._ignore_exit = int(memory_mb), ignore_exit_code
        self._kind = sandbox
        self._sandbox: ProgramSandbox | None = None
        self._checkers: ProgramSandbox | None = None
        self._checks: dict[str, tuple[Mapping[str, Any], StdioCheck]] = {}

    def settings(self) -> Mapping[str, Any]:
        """The limits. The sandbox is not among them: it cannot change a verdict, and each verdict names it."""
        return {
            "time_s": self._time_s,
            "time_factor": self._factor,
            "time_extra_s": self._extra_s,
            "memory_mb": self._memory_mb,
            "ignore_exit_code": self._ignore_exit,
        }

    def load(self, problem: Problem) -> None:
        """Raises: BadData that names the problem."""
        self._check(problem)

    def _check(self, problem: Problem) -> StdioCheck:
        known = self._checks.get(problem.id)
        if known is None or known[0] is not problem.check:
            known = self._checks[problem.id] = (problem.check, StdioCheck.parse(problem))
        return known[1]

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        """One verdict an answer. Raises: MissingPart where no sandbox can be made."""
        check = self._check(problem)
        if self._sandbox is None:
            self._sandbox = ProgramSandbox(resolve(self._kind), COMPILER.memory_mb)
        return list(await asyncio.gather(*(self._judge(check, answer) for answer in answers)))

    async def aclose(self) -> None:
        """End the sandboxes: no process, mount or file of them is left."""
        for sandbox in (self._sandbox, self._checkers):
            if sandbox is not None:
                await sandbox.aclose()
        self._sandbox = self._checkers = None

    # --------------------------------------------------------------------------------------------- one answer

    async def _judge(self, check: StdioCheck, answer: str) -> Verdict:
        if not check.inputs:
            return self._verdict(Outcome.UNKNOWN, Reason.NO_TESTS, "the problem has no tests")
        name, code = read(answer, check.language)
        if not code.strip():
            return self._verdict(Outcome.FAIL, Reason.NO_ANSWER, "")
        language = LANGUAGES[name]
        file = language.source(code)
        assert self._sandbox is not None
        files = {file: code.encode("utf-8", "replace")}
        async with self._sandbox.workspace(files, COMPILER) as workspace:
            broken = await self._compile(workspace, language, file)
            return broken or await self._run_tests(workspace, check, language, file)

    async def _compile(self, workspace: Workspace, language: Language, file: str) -> Verdict | None:
        """Why there is no program; None where there is one."""
        end = await workspace.run(language.compile(file))
        if not end.started:
            missing = "No such file" in end.error or "FileNotFound" in end.error
            what = f"{language.compile(file)[0]} is not installed here: {end.error}" if missing else end.error
            return self._verdict(Outcome.UNKNOWN, Reason.UNAVAILABLE if missing else Reason.SANDBOX, what)
        if end.limit or end.signal is not None:
            outcome, reason, log = _ended(end)
            return self._verdict(outcome, reason, f"while it was compiled: {log}")
        if end.exit_code:
            log = end.stderr.decode("utf-8", "replace")
            return self._verdict(Outcome.FAIL, Reason.SYNTAX, log[-1500:] if language.name == "python" else log[:1500])
        return None

    async def _run_tests(self, workspace: Workspace, check: StdioCheck, language: Language, file: str) -> Verdict:
        limits = self._limits(check, language)
        memory = check.memory_limit_mb or self._memory_mb
        # Surrogates cannot travel as UTF-8; a test that holds one is read with a mark in its place
        stdins = (text.encode("utf-8", "replace") for text in check.inputs)
        slowest = 0.0
        runs = workspace.run_all(language.run(file, int(memory)), stdins, limits)
        async with contextlib.aclosing(runs):
            number = 0
            async for end in runs:
                slowest = max(slowest, end.cpu_s)
                outcome, reason, log = await self._test(check, number, end)
                if outcome is not Outcome.PASS:
                    place = f"test {number + 1} of {len(check.inputs)}: {log}"
                    return self._verdict(outcome, reason, place, slowest)
                number += 1
        return self._verdict(Outcome.PASS, Reason.ACCEPTED, f"{number} tests", slowest)

    def _limits(self, check: StdioCheck, language: Language) -> Limits:
        time_s = self._time_s if check.time_limit_s is None else check.time_limit_s * self._factor + self._extra_s
        memory = (check.memory_limit_mb or self._memory_mb) + language.room_mb
        longest = max(len(text) for text in check.outputs)
        return Limits(
            cpu_s=time_s,
            wall_s=_WALL_FACTOR * time_s + _WALL_GRACE_S,
            memory_mb=int(memory),
            output_bytes=_OUTPUT + 4 * longest,
            disk_mb=COMPILER.disk_mb,
        )

    async def _test(self, check: StdioCheck, number: int, end: SandboxOutcome) -> tuple[Outcome, Reason, str]:
        if not end.started:
            return Outcome.UNKNOWN, Reason.SANDBOX, end.error
        if end.limit or (end.signal is not None and not self._ignore_exit):
            return _ended(end)
        if end.exit_code and not self._ignore_exit:
            log = end.stderr.decode("utf-8", "replace")[-800:]
            reason = Reason.MEMORY if _OUT_OF_MEMORY.search(log) else Reason.EXCEPTION
            return Outcome.FAIL, reason, f"it ended with code {end.exit_code}: {log}"
        found = end.stdout.decode("utf-8", "replace")
        if check.checker is not None:
            return await self._ask_checker(check, number, found)
        difference = same_output(check.outputs[number], found)
        return (Outcome.FAIL, Reason.WRONG, difference) if difference else (Outcome.PASS, Reason.ACCEPTED, "")

    async def _ask_checker(self, check: StdioCheck, number: int, found: str) -> tuple[Outcome, Reason, str]:
        assert check.checker is not None
        assert self._sandbox is not None
        texts = {"input": check.inputs[number], "expected": check.outputs[number], "output": found}
        files = {name: text.encode("utf-8", "replace") for name, text in texts.items()}
        # containers of its own: the program's is held by this task, and a second one would be waited for by all at once
        if self._checkers is None:
            self._checkers = ProgramSandbox(resolve(self._kind), _CHECKER.memory_mb)
        async with self._checkers.workspace({**files, "checker.py": check.checker.encode()}, _CHECKER) as workspace:
            end = await workspace.run((python(), "-I", "-B", "checker.py", *files))
        log = end.stdout.decode("utf-8", "replace")[:500] or end.stderr.decode("utf-8", "replace")[-500:]
        if end.started and not end.limit and end.exit_code == 0:
            return Outcome.PASS, Reason.ACCEPTED, ""
        if end.started and not end.limit and end.exit_code == 1 and "Traceback" not in log:
            return Outcome.FAIL, Reason.REJECTED, log
        return Outcome.UNKNOWN, Reason.VERIFIER, f"the checker gave no verdict: {end.limit or end.error or log}"

    def _verdict(self, outcome: Outcome, reason: Reason, log: str, cpu_s: float | None = None) -> Verdict:
        isolation = self._sandbox.isolation if self._sandbox else ""
        return Verdict(outcome, reason, Strength.SEPARATE_PROCESS, isolation, cpu_s, log[:4000])


_LIMIT = {
    "cpu": (Outcome.FAIL, Reason.CPU_TIME, "its processor time ran out"),
    "wall": (Outcome.FAIL, Reason.WALL_TIME, "it waited until its time was over, and was not starved"),
    "starved": (Outcome.UNKNOWN, Reason.STARVED, "others held the processor until its time was over"),
    "memory": (Outcome.FAIL, Reason.MEMORY, "it ran out of memory"),
    "output": (Outcome.FAIL, Reason.OUTPUT, "it wrote more than it may"),
}


def _ended(end: SandboxOutcome) -> tuple[Outcome, Reason, str]:
    if end.limit:
        return _LIMIT[end.limit]
    return Outcome.FAIL, Reason.CRASHED, f"it died by signal {end.signal}"

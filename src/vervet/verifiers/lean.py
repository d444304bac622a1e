"""Proofs in Lean 4, judged whole by a Lean that the user has: a project with Mathlib, an executable, or a Kimina server.

Check: {"statement": a file that ends with the theorem to prove, its proof left open by `sorry`}.

An answer is a proof (`by ...`, `:= ...`, or tactics) or commands that declare the theorem by its name, with lemmas before
it. It PASSes where all of this holds:

- it has none of the words that add axioms or syntax, run code, or turn checks off (`_lean_text.REFUSED`, options);
- Lean reads all of it without an error;
- the theorem as the *problem* states it, read before the answer, follows from the answer's theorem: the kernel compares;
- `#print axioms` of that lists no more than propext, Classical.choice and Quot.sound. It counts only where there was no
  error: after a failed theorem Lean lists no axioms at all.

A prover that died, was starved, or does not know the problem's own header is UNKNOWN. An answer's own limits are FAIL.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from vervet.errors import BadOption
from vervet.protocols import Limits
from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.sandbox import resolve
from vervet.sandbox._container import slots_by_default
from vervet.verifiers import _fields, _lean_drivers, _lean_text
from vervet.verifiers._lean_drivers import Driver, Report
from vervet.verifiers._lean_text import Statement
from vervet.verifiers._prover import OUTCOMES, Stopped

_LOG_CHARS = 2000


class Lean:
    """Judges Lean proofs; see the module's docstring."""

    name = "lean"
    version = "1"
    needs = frozenset({"sandbox", "lean"})
    reaches_out = frozenset({"project", "lean", "server"})
    # settings that are programs, files or addresses: a certificate cannot bring them

    def __init__(
        self,
        *,
        project: str | None = None,
        lean: str | None = None,
        server: str | None = None,
        sandbox: str = "auto",
        cpu_s: float = 60.0,
        wall_s: float = 120.0,
        memory_mb: int = 4096,
        processes: int | None = None,
    ) -> None:
        """How to reach a prover, and the limits of one answer.

        Args: project: a folder with a lakefile; its REPL is kept warm where one is built, else each answer is a process.
        lean: an executable, by default `lean`, with LEAN_PATH.  server: a Kimina server's address.  cpu_s, wall_s: seconds;
        memory_mb: what Lean may allocate.  processes: at once at most, by default one a processor.
        """
        ways = {k: v for k, v in (("project", project), ("lean", lean), ("server", server)) if v is not None}
        if len(ways) > 1:
            raise BadOption(f"choose one of {' and '.join(ways)}: they are different ways to a prover")
        if not (0 < cpu_s <= 86400 and 0 < wall_s <= 86400):
            raise BadOption("cpu_s and wall_s are seconds between 0 and 86400")
        if memory_mb < 256 or (processes is not None and processes < 1):
            raise BadOption("memory_mb is at least 256, processes at least 1")
        self._ways, self._kind = ways, sandbox
        self._limits = Limits(cpu_s=float(cpu_s), wall_s=float(wall_s), memory_mb=int(memory_mb))
        self._processes = processes or slots_by_default()
        self._driver: Driver | None = None
        self._loads: dict[str, asyncio.Task[Verdict | None]] = {}
        self._statements: dict[str, Statement] = {}

    def settings(self) -> Mapping[str, Any]:
        """The limits. Which Lean and which Mathlib is the user's business, and must not change within a run."""
        limits = self._limits
        return {"cpu_s": limits.cpu_s, "wall_s": limits.wall_s, "memory_mb": limits.memory_mb}

    def load(self, problem: Problem) -> None:
        """Raises: BadData that names the problem."""
        self._statement(problem)

    def _statement(self, problem: Problem) -> Statement:
        _fields.only(problem, frozenset({"statement"}))
        text = _fields.text(problem, "statement")
        if text not in self._statements:
            found = _lean_text.statement(text)
            if found is None:
                _fields.bad(problem, "its statement is no theorem that ends in := by sorry")
            self._statements[text] = found
        return self._statements[text]

    def stubs(self, problem: Problem) -> Mapping[str, str]:
        """Answers that must never PASS, for `vervet audit`."""
        opening = self._statement(problem).opening
        return {
            "nothing": "",
            "sorry": "sorry",
            "by sorry": f"{opening} := by sorry",
            "an axiom": f"axiom vervet_cheat : False\n{opening} := vervet_cheat.elim",
            "another statement": f"theorem {self._statement(problem).name} : True := True.intro",
            "no proof": "-- done",
        }

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        """One verdict an answer. Raises: MissingPart where there is no prover or no sandbox."""
        wanted = self._statement(problem)
        return list(await asyncio.gather(*(self._judge(problem, wanted, answer) for answer in answers)))

    async def _judge(self, problem: Problem, wanted: Statement, answer: str) -> Verdict:
        if not answer.strip():
            return _verdict(Outcome.FAIL, Reason.NO_ANSWER, "")
        if why := _lean_text.refused(_lean_text.without_imports(answer, wanted)):
            return _verdict(Outcome.FAIL, Reason.FORBIDDEN, f"an answer may not use {why}")
        if (unknown := await self._unloadable(problem, wanted)) is not None:
            return unknown
        tag = secrets.token_hex(8)
        program = _lean_text.program(wanted, _lean_text.body(answer, wanted), tag)
        try:
            return decide(await self._prover().check(wanted.header, program), tag)
        except Stopped as stopped:
            outcome, reason = OUTCOMES[stopped.stop]
            return _verdict(outcome, reason, stopped.log or f"stopped: {stopped.stop}")

    async def _unloadable(self, problem: Problem, wanted: Statement) -> Verdict | None:
        """UNKNOWN where the statement alone does not load here: found out once, before the first answer."""
        key = problem.check_fingerprint
        if key not in self._loads:
            self._loads[key] = asyncio.create_task(self._probe(wanted))
        try:
            found = await asyncio.shield(self._loads[key])
        except BaseException:
            self._loads.pop(key, None)
            raise
        if found is not None:
            self._loads.pop(key, None)
        return found

    async def _probe(self, wanted: Statement) -> Verdict | None:
        try:
            report = await self._prover().check(wanted.header, wanted.proposition("vervet_type"))
        except Stopped as stopped:
            reason = OUTCOMES[stopped.stop][1]
            unknown = reason if OUTCOMES[stopped.stop][0] is Outcome.UNKNOWN else Reason.VERIFIER
            return _verdict(Outcome.UNKNOWN, unknown, f"the problem's statement: {stopped.stop} {stopped.log}")
        wrong = [m.text for m in report.messages if m.severity == "error"]
        if wrong or not report.clean:
            log = f"the problem's statement does not load here: {wrong[0] if wrong else report.log}"
            return _verdict(Outcome.UNKNOWN, Reason.VERIFIER, log)
        return None

    def _prover(self) -> Driver:
        if self._driver is None:
            self._driver = self._open()
        return self._driver

    def _open(self) -> Driver:
        if "server" in self._ways:
            return _lean_drivers.Kimina(self._ways["server"], self._limits)
        kind = resolve(self._kind)
        if "project" in self._ways:
            place = _lean_drivers.project(self._ways["project"])
        else:
            place = _lean_drivers.executable(self._ways.get("lean", "lean"))
        way = _lean_drivers.Executable if place.repl is None else _lean_drivers.Repl
        return way(place, kind, self._limits, self._processes)

    async def aclose(self) -> None:
        """End what is kept."""
        driver, self._driver = self._driver, None
        if driver is not None:
            await driver.aclose()


def decide(report: Report, tag: str) -> Verdict:
    """The verdict on a file of `_lean_text.program`."""
    wrong = [m.text for m in report.messages if m.severity == "error"]
    if wrong:
        return _verdict(Outcome.FAIL, Reason.REJECTED, wrong[0], report)
    if not report.clean:
        return _verdict(Outcome.UNKNOWN, Reason.VERIFIER, f"the prover ended badly: {report.log}", report)
    listed = [found for m in report.messages if (found := _lean_text.axioms(m.text, tag)) is not None]
    if len(listed) != 1:
        return _verdict(Outcome.FAIL, Reason.REJECTED, "its axioms were not listed", report)
    strange = [name for name in listed[0] if name not in _lean_text.AXIOMS]
    if strange:
        return _verdict(Outcome.FAIL, Reason.REJECTED, f"it assumes {', '.join(strange)}", report)
    return _verdict(Outcome.PASS, Reason.ACCEPTED, "", report)


def _verdict(outcome: Outcome, reason: Reason, log: str, report: Report | None = None) -> Verdict:
    isolation, cpu_s = ("", None) if report is None else (report.isolation, report.cpu_s)
    return Verdict(outcome, reason, Strength.PROOF, isolation, cpu_s, log[:_LOG_CHARS])

"""Proofs in Rocq (Coq), judged by a pool of kept `coqtop` processes in the sandbox.

Check: {"statement": a file that ends with the theorem to prove; a `Proof.` and `Admitted.` behind it are ignored}.

An answer is a proof script (tactics, with or without `Proof.` and `Qed.`) or a file that declares the theorem by its name, with
lemmas before it. It PASSes where all of this holds:

- it uses only commands of a short list (`_rocq_text.COMMANDS`): none that assumes, changes notations or options, or reaches
  outside the prover;
- every sentence has its full stop, and the prover accepts it;
- the theorem as the *problem* states it, read before the answer's first sentence, follows from the answer's theorem by
  `exact`: the kernel compares the two statements;
- `Print Assumptions` of that lists nothing but the axioms of the standard library (AXIOMS) and those of the problem's
  own header.

A prover that died, or was starved, is UNKNOWN and is replaced. The answer's own limits are FAIL.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vervet.errors import BadOption, MissingPart
from vervet.protocols import Limits
from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.sandbox import resolve
from vervet.sandbox._container import slots_by_default
from vervet.verifiers import _fields, _rocq_text
from vervet.verifiers._prover import OUTCOMES, Stopped
from vervet.verifiers._rocq_text import Statement
from vervet.verifiers._rocq_top import Reply, Top

AXIOMS = frozenset(
    {
        "sig_forall_dec",
        "sig_not_dec",
        "functional_extensionality_dep",
        "classic",
        "eq_rect_eq",
        "proof_irrelevance",
        "propositional_extensionality",
        "constructive_indefinite_description",
        "constructive_definite_description",
        "epsilon_statement",
        "relational_choice",
        "JMeq_eq",
        "completeness",
        "archimed",
    }
)
"""Last parts of the names of the axioms that the standard library's classical analysis rests on.

An answer cannot declare an axiom of its own, so that the last part is enough.
"""
_USES = 2000
# answers that one process judges before it is replaced
_LOG_CHARS = 2000
_AUDIT_AT_ONCE = 64
_AUDIT = Limits(cpu_s=300.0, wall_s=300.0)
# an audit takes seconds, and the time is ours, not the answer's
_NEEDS = "the verifier rocq needs Coq: install it (Debian: apt install coq libcoq-coquelicot)"


class Rocq:
    """Judges Rocq proofs; see the module's docstring."""

    name = "rocq"
    version = "1"
    needs = frozenset({"sandbox", "rocq"})
    reaches_out = frozenset({"coqtop"})
    # settings that are programs, files or addresses: a certificate cannot bring them

    def __init__(
        self,
        *,
        coqtop: str = "coqtop",
        sandbox: str = "auto",
        cpu_s: float = 10.0,
        wall_s: float = 30.0,
        memory_mb: int = 2048,
        processes: int | None = None,
    ) -> None:
        """Limits of one answer, and how to run the prover.

        Args: coqtop: the program, by name or path.  cpu_s, wall_s: seconds for one answer; memory_mb: address space of a
        process.  processes: kept at most, by default one a processor.
        """
        if not (0 < cpu_s <= 86400 and 0 < wall_s <= 86400):
            raise BadOption("cpu_s and wall_s are seconds between 0 and 86400")
        if memory_mb < 512:
            raise BadOption("memory_mb is at least 512: the prover's libraries need that")
        if processes is not None and processes < 1:
            raise BadOption("processes is at least 1")
        self._program, self._kind = coqtop, sandbox
        self._limits = Limits(cpu_s=float(cpu_s), wall_s=float(wall_s), memory_mb=int(memory_mb))
        self._permits = asyncio.Semaphore(processes or slots_by_default())
        self._free: list[_Prover] = []
        self._all: set[_Prover] = set()
        self._statements: dict[str, Statement] = {}

    def settings(self) -> Mapping[str, Any]:
        """The limits. Which program runs is not among them: where it matters, install one."""
        limits = self._limits
        return {"cpu_s": limits.cpu_s, "wall_s": limits.wall_s, "memory_mb": limits.memory_mb}

    def load(self, problem: Problem) -> None:
        """Raises: BadData that names the problem."""
        self._statement(problem)

    def _statement(self, problem: Problem) -> Statement:
        text = _fields.text(_only(problem), "statement")
        if text not in self._statements:
            found = _rocq_text.statement(text)
            if found is None:
                _fields.bad(problem, "its statement has no Theorem or Lemma")
            self._statements[text] = found
        return self._statements[text]

    def stubs(self, problem: Problem) -> Mapping[str, str]:
        """Answers that must never PASS, for `vervet audit`."""
        wanted = self._statement(problem)
        return {
            "nothing": "",
            "admit": "Proof. admit. Qed.",
            "Admitted": "Proof. Admitted.",
            "an axiom": f"Axiom vervet_cheat : False.\n{wanted.text}\nProof. destruct vervet_cheat. Qed.",
            "another statement": f"Theorem {wanted.name} : True. Proof. exact I. Qed.",
            "no proof": "idtac.",
        }

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        """One verdict an answer. Raises: MissingPart where there is no prover or no sandbox."""
        wanted = self._statement(problem)
        scripts = [_rocq_text.script(answer, wanted) for answer in answers]
        found = await asyncio.gather(*(self._judge(wanted, *pair) for pair in zip(answers, scripts, strict=True)))
        proved = [i for i, verdict in enumerate(found) if verdict.outcome is Outcome.PASS]
        audits = await self._audit(wanted, [scripts[i] for i in proved])
        for i, audit in zip(proved, audits, strict=True):
            found[i] = audit if audit.outcome is not Outcome.PASS else found[i]
        return list(found)

    async def _judge(self, wanted: Statement, answer: str, script: Sequence[str]) -> Verdict:
        """What there is to say before the audit of assumptions."""
        if not answer.strip():
            return _fail(Reason.NO_ANSWER, "")
        for sentence in script:
            if why := _rocq_text.refused(sentence):
                return _fail(Reason.FORBIDDEN, f"an answer may not use {why}: {sentence[:200]}")
            if not _rocq_text.complete(sentence):
                return _fail(Reason.SYNTAX, f"a sentence without its full stop: {sentence[:200]}")
        async with self._prover(wanted) as prover:
            return await prover.judge(wanted, script)

    async def _audit(self, wanted: Statement, scripts: Sequence[Sequence[str]]) -> list[Verdict]:
        """Verdicts on what proofs rest on: all of them at once, for an audit walks through the whole library below them.

        Where that is not clean, or does not work, each by itself.
        """
        if len(scripts) > 1:
            for start in range(0, len(scripts), _AUDIT_AT_ONCE):
                part = scripts[start : start + _AUDIT_AT_ONCE]
                async with self._prover(wanted) as prover:
                    [verdict] = await prover.audit(wanted, part)
                if verdict.outcome is not Outcome.PASS:
                    break
            else:
                return [verdict] * len(scripts)
        found: list[Verdict] = []
        for script in scripts:
            async with self._prover(wanted) as prover:
                found += await prover.audit(wanted, [script])
        return found

    @contextlib.asynccontextmanager
    async def _prover(self, wanted: Statement) -> AsyncIterator[_Prover]:
        async with self._permits:
            prover = self._take(wanted) or await self._start()
            try:
                yield prover
            except BaseException:
                prover.usable = False
                raise
            finally:
                if prover.usable:
                    self._free.append(prover)
                else:
                    self._all.discard(prover)
                    await prover.aclose()

    def _take(self, wanted: Statement) -> _Prover | None:
        """The free process that has to do the least to get ready."""
        if not self._free:
            return None
        best = max(self._free, key=lambda p: p.nearness(wanted))
        self._free.remove(best)
        return best

    async def _start(self) -> _Prover:
        program = shutil.which(self._program)
        if program is None:
            raise MissingPart(f"there is no {self._program!r} here: {_NEEDS}")
        try:
            top = await Top.start(program, resolve(self._kind), self._limits, shown_for(program))
        except Stopped as error:
            raise MissingPart(f"{program} does not start ({error.stop}) {error.log[-300:]}: {_NEEDS}") from error
        prover = _Prover(top)
        self._all.add(prover)
        return prover

    async def aclose(self) -> None:
        """End all processes."""
        provers, self._all, self._free = self._all, set(), []
        await asyncio.gather(*(p.aclose() for p in provers))


class _Prover:
    """A process, and how far it is prepared: base libraries, a header, a problem's statement."""

    def __init__(self, top: Top) -> None:
        self._top = top
        self._base = top.state
        self._header: tuple[tuple[str, ...], int] | None = None
        # sentences, and the state behind them
        self._ready: tuple[Statement, str, int] | None = None
        # statement, the name of its type, and the state behind it
        self._why = ""
        # what the prover said to a statement that does not load
        self.usable = True

    def nearness(self, wanted: Statement) -> int:
        """2: ready for this problem; 1: has its header; 0: neither."""
        if self._ready is not None and self._ready[0] == wanted:
            return 2
        return int(self._header is not None and self._header[0] == wanted.header)

    async def judge(self, wanted: Statement, script: Sequence[str]) -> Verdict:
        """One answer, but for what it rests on; afterwards the process is where it was, or is not usable."""
        try:
            kind = await self._at(wanted)
            if kind is None:
                return self._unloadable()
            verdict = await self._try(wanted, script, kind)
            cpu_s = await self._top.used()
            await self._back()
            return dataclasses.replace(verdict, cpu_s=cpu_s)
        except Stopped as stopped:
            self.usable = False
            return self._stopped(stopped)

    async def audit(self, wanted: Statement, scripts: Sequence[Sequence[str]]) -> list[Verdict]:
        """One verdict on the assumptions of all scripts together, each of which was accepted before."""
        try:
            kind = await self._at(wanted)
            if kind is None:
                return [self._unloadable()]
            verdict = await self._assumptions(wanted, scripts, kind)
            await self._back()
            return [verdict]
        except Stopped as stopped:
            self.usable = False
            return [self._verdict(Outcome.UNKNOWN, Reason.VERIFIER, f"the audit of assumptions: {stopped.stop}")]

    async def _at(self, wanted: Statement) -> str | None:
        await self._top.begin()
        kind = await self._prepare(wanted)
        await self._top.begin()
        return kind

    async def _back(self) -> None:
        assert self._ready is not None
        await self._top.certain([f"BackTo {self._ready[2]}."])
        self._top.uses += 1
        self.usable = self._top.uses < _USES

    async def _prepare(self, wanted: Statement) -> str | None:
        """Bring the process to the statement. Returns the name of its type, None where it does not load."""
        if self._ready is not None and self._ready[0] == wanted:
            return self._ready[1]
        self._ready = None
        if self._header is None or self._header[0] != wanted.header:
            self._header = None
            await self._top.certain([f"BackTo {self._base}."])
            if not self._all_accepted(await self._top.certain(wanted.header)):
                return None
            self._header = (wanted.header, self._top.state)
        else:
            await self._top.certain([f"BackTo {self._header[1]}."])
        tag = secrets.token_hex(8)
        kind = f"vervet_type_{tag}"
        replies = await self._top.certain(
            [
                wanted.renamed(f"vervet_{tag}"),
                "Admitted.",
                f"Definition {kind} : Prop := ltac:(let t := type of vervet_{tag} in exact t).",
            ]
        )
        if not self._all_accepted(replies):
            return None
        self._ready = (wanted, kind, self._top.state)
        return kind

    def _all_accepted(self, replies: Sequence[Reply]) -> bool:
        self._why = next((r.text for r in replies if not r.accepted), "")
        return not self._why

    async def _try(self, wanted: Statement, script: Sequence[str], kind: str) -> Verdict:
        for sentence in script:
            reply = await self._top.ask(sentence)
            if not reply.accepted:
                reason = Reason.SYNTAX if "Syntax error" in reply.text else Reason.REJECTED
                return self._verdict(Outcome.FAIL, reason, f"{sentence[:200]}\n{reply.text}")
        steps = await self._top.certain(_final(f"vervet_final_{secrets.token_hex(8)}", wanted, kind))
        bad = next((r for r in steps if not r.accepted), None)
        if bad is not None:
            log = f"what was proved is not the problem's statement, or nothing was\n{bad.text}"
            return self._verdict(Outcome.FAIL, Reason.REJECTED, log)
        return self._verdict(Outcome.PASS, Reason.ACCEPTED, "")

    async def _assumptions(self, wanted: Statement, scripts: Sequence[Sequence[str]], kind: str) -> Verdict:
        tag = secrets.token_hex(8)
        for i, script in enumerate(scripts):
            await self._top.begin()
            module = f"vervet_{tag}_{i}"
            steps = [await self._top.ask(s) for s in (f"Module {module}.", *script)]
            steps += await self._top.certain([*_final("final", wanted, kind), f"End {module}."])
            if not all(r.accepted for r in steps):
                bad = next(r for r in steps if not r.accepted)
                return self._verdict(Outcome.UNKNOWN, Reason.VERIFIER, f"accepted once, then not\n{bad.text}")
        whole = ", ".join(f"@vervet_{tag}_{i}.final" for i in range(len(scripts)))
        await self._top.begin(_AUDIT)
        replies = await self._top.certain(
            [f"Definition vervet_{tag} := ({whole}).", f"Print Assumptions vervet_{tag}."]
        )
        if not all(r.accepted for r in replies):
            return self._verdict(Outcome.UNKNOWN, Reason.VERIFIER, f"Print Assumptions failed\n{replies[-1].text}")
        names = _rocq_text.assumed(replies[-1].text.splitlines())
        if names is None:
            return self._verdict(Outcome.FAIL, Reason.REJECTED, f"it rests on more than axioms\n{replies[-1].text}")
        allowed = AXIOMS | wanted.axioms
        strange = [n for n in names if n.rpartition(".")[2] not in allowed]
        if strange:
            return self._verdict(Outcome.FAIL, Reason.REJECTED, f"it assumes {', '.join(strange)}")
        return self._verdict(Outcome.PASS, Reason.ACCEPTED, "")

    def _unloadable(self) -> Verdict:
        return self._verdict(
            Outcome.UNKNOWN, Reason.VERIFIER, f"the problem's statement does not load here\n{self._why}"
        )

    def _verdict(self, outcome: Outcome, reason: Reason, log: str) -> Verdict:
        return Verdict(outcome, reason, Strength.PROOF, self._top.isolation, None, log[:_LOG_CHARS])

    def _stopped(self, stopped: Stopped) -> Verdict:
        outcome, reason = OUTCOMES[stopped.stop]
        return self._verdict(outcome, reason, stopped.log or f"stopped: {stopped.stop}")

    async def aclose(self) -> None:
        """End the process."""
        await self._top.aclose()


def _final(name: str, wanted: Statement, kind: str) -> list[str]:
    """The problem's own statement, proved by what the answer calls by its name."""
    return [f"Theorem {name} : {kind}.", "Proof.", f"exact @{wanted.name}.", "Qed."]


def _fail(reason: Reason, log: str) -> Verdict:
    return Verdict(Outcome.FAIL, reason, Strength.PROOF, log=log[:_LOG_CHARS])


def _only(problem: Problem) -> Problem:
    _fields.only(problem, frozenset({"statement"}))
    return problem


def shown_for(program: str) -> list[str]:
    """What a prover needs to see besides the system's folders: its own installation, and findlib's settings."""
    prefix = Path(program).resolve().parent.parent
    own = [] if str(prefix) in ("/usr", "/") else [str(prefix)]
    return [*own, *(f for f in ("/etc/ocamlfind.conf", "/etc/ocamlfind.conf.d") if Path(f).exists())]

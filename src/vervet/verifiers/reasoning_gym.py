"""The answer has the score 1 by reasoning-gym's own function for its family of problems.

Check: {"dataset": the family, "config": the generator's settings, "entry": the generated problem}, as the task
`reasoning-gym` makes it.

Scoring runs in the sandbox, in kept processes that fork for each answer, because several of the library's functions evaluate
what they are given (see `_gym_worker`). A partial score is FAIL, and the log says how much it was: pass@k counts what is
right. A scoring that ends in an error or a limit is the answer's failure where the problem's own reference gets
through the same function, else it is UNKNOWN, as is a process that dies for any other reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vervet.errors import BadOption, MissingPart
from vervet.protocols import Limits
from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.sandbox import resolve
from vervet.sandbox.sessions import Session
from vervet.verifiers import _fields
from vervet.verifiers._prover import Conversation, Stop, Stopped

_WORKER = Path(__file__).with_name("_gym_worker.py")
_INSTALL = "pip install 'vervet[reasoning-gym]'"
LONGEST = 100_000
# characters of an answer that are scored: no generated problem asks for more
_FIELDS = frozenset({"dataset", "config", "entry"})
_START = Limits(cpu_s=300.0, wall_s=300.0)
# for importing the library, on a machine that is busy
_ENDS = {
    "cpu": (Reason.CPU_TIME, "scoring it took too long"),
    "memory": (Reason.MEMORY, "scoring it took too much memory"),
    "exit": (Reason.EXITED, "it ended the scoring process"),
    "error": (Reason.WRONG, "the scoring function cannot read it"),
}


class ReasoningGym:
    """A score of 1 by the library is PASS, less is FAIL."""

    name = "reasoning_gym"
    version: str
    # ours, and those of what scores: each can change a verdict
    needs = frozenset({"sandbox"})

    def __init__(
        self, *, sandbox: str = "auto", cpu_s: float = 10.0, memory_mb: int = 2048, processes: int | None = None
    ) -> None:
        """Args: cpu_s: processor seconds for one answer; memory_mb: address space; processes: kept at most."""
        if not 0 < cpu_s <= 3600:
            raise BadOption("cpu_s is a number of seconds between 0 and 3600")
        if memory_mb < 1024:
            raise BadOption("memory_mb is at least 1024: the library itself needs that")
        if processes is not None and processes < 1:
            raise BadOption("processes is at least 1")
        self.version = "1" + "".join(f" {p} {_version(p)}" for p in ("reasoning-gym", "sympy"))
        self._kind, self._cpu_s, self._memory_mb = sandbox, float(cpu_s), int(memory_mb)
        self._wall_s = 8 * self._cpu_s + 30
        self._permits = asyncio.Semaphore(processes or len(os.sched_getaffinity(0)))
        self._free: list[Conversation] = []
        self._all: set[Conversation] = set()

    def settings(self) -> Mapping[str, Any]:
        """The limits."""
        return {"cpu_s": self._cpu_s, "memory_mb": self._memory_mb}

    def load(self, problem: Problem) -> None:
        """Raises: BadData that names the problem, MissingPart without the library."""
        check = _fields.only(problem, _FIELDS)
        _fields.text(problem, "dataset")
        if not isinstance(check.get("config"), Mapping):
            _fields.bad(problem, "its check needs an object 'config'")
        entry = check.get("entry")
        if not isinstance(entry, Mapping) or not isinstance(entry.get("question"), str):
            _fields.bad(problem, "its check needs an object 'entry' with a question")
        if not _version("reasoning-gym"):
            raise MissingPart(f"the verifier 'reasoning_gym' needs the library: {_INSTALL}")

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        """One verdict an answer. Raises: MissingPart where there is no library or no sandbox."""
        self.load(problem)
        return list(await asyncio.gather(*(self._judge(problem, answer) for answer in answers)))

    async def aclose(self) -> None:
        """End all processes."""
        workers, self._all, self._free = self._all, set(), []
        await asyncio.gather(*(worker.aclose() for worker in workers))

    async def _judge(self, problem: Problem, answer: str) -> Verdict:
        if not answer.strip():
            return Verdict(Outcome.FAIL, Reason.NO_ANSWER, Strength.EXACT)
        if len(answer) > LONGEST:
            log = f"longer than {LONGEST:,} characters"
            return Verdict(Outcome.FAIL, Reason.WRONG, Strength.EXACT, log=log)
        line = json.dumps({**problem.check, "answer": answer}).encode() + b"\n"
        try:
            async with self._worker() as worker:
                isolation = worker.isolation
                reply = await _ask(worker, line)
        except Stopped as stopped:
            reason = Reason.STARVED if stopped.stop is Stop.STARVED else Reason.VERIFIER
            log = f"the scoring process ended ({stopped.stop}) {stopped.log}".strip()
            return Verdict(Outcome.UNKNOWN, reason, Strength.EXACT, log=log)
        outcome, reason, log = _decided(reply)
        return Verdict(outcome, reason, Strength.EXACT, isolation, reply["cpu_s"], log)

    @contextlib.asynccontextmanager
    async def _worker(self) -> AsyncIterator[Conversation]:
        """A free process, or a new one; it is not used again after any trouble."""
        async with self._permits:
            worker = self._free.pop() if self._free else await self._start()
            try:
                yield worker
            except BaseException:
                self._all.discard(worker)
                await worker.aclose()
                raise
            self._free.append(worker)

    async def _start(self) -> Conversation:
        limits = Limits(cpu_s=1e9, wall_s=1e9, memory_mb=self._memory_mb, disk_mb=16)
        session = await Session.start(
            [sys.executable, "-P", "gym_worker.py", f"{self._cpu_s}", f"{self._wall_s}"],
            resolve(self._kind),
            limits,
            shown=_shown(),
            # numbers of threads: each takes address space, and none is used
            environment={"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            files={"gym_worker.py": _WORKER.read_bytes()},
        )
        # an answer is scored, then perhaps the reference: within, each is limited by its own process
        worker = Conversation(session, Limits(cpu_s=3 * self._cpu_s + 30, wall_s=3 * self._wall_s))
        self._all.add(worker)
        try:
            await worker.begin(_START)
            reply = await _line(worker)
        except BaseException:
            self._all.discard(worker)
            await worker.aclose()
            raise
        if "missing" in reply:
            self._all.discard(worker)
            await worker.aclose()
            raise MissingPart(f"reasoning-gym cannot be loaded in the sandbox: {reply['missing']}; {_INSTALL}")
        return worker


async def _ask(worker: Conversation, line: bytes) -> dict[str, Any]:
    await worker.begin()
    await worker.session.write(line)
    return await _line(worker)


async def _line(worker: Conversation) -> dict[str, Any]:
    """One reply. Raises: Stopped, also where it is none: nothing but replies is written there."""
    await worker.until(lambda data: data.endswith(b"\n"))
    taken, worker.buffer = worker.buffer, b""
    try:
        reply: dict[str, Any] = json.loads(taken)
    except ValueError as error:
        raise Stopped(Stop.DIED, taken[-300:].decode("utf-8", "replace")) from error
    return reply


def _decided(reply: Mapping[str, Any]) -> tuple[Outcome, Reason, str]:
    """What a worker's reply says about an answer."""
    if reply.get("score", 0) >= 1:
        return Outcome.PASS, Reason.ACCEPTED, ""
    if reply.get("refused"):
        return Outcome.FAIL, Reason.FORBIDDEN, f"it is not evaluated: {reply['refused']}"
    if "score" in reply:
        return Outcome.FAIL, Reason.WRONG, f"score {reply['score']:g} of 1" if reply["score"] > 0 else ""
    ended, log = reply["ended"], str(reply["log"])
    if ended == "wall":
        return Outcome.UNKNOWN, Reason.STARVED, "others held the processor"
    if ended == "signal 9":
        return Outcome.UNKNOWN, Reason.SANDBOX, "its scoring process was killed"
    if not reply["sound"]:
        return Outcome.UNKNOWN, Reason.VERIFIER, f"scoring fails for the reference too: {log or ended}"
    reason, why = _ENDS.get(ended, (Reason.CRASHED, f"scoring it died of {ended}"))
    return Outcome.FAIL, reason, f"{why}: {log}" if log else why


def _shown() -> list[str]:
    """What the interpreter and the library need to see besides the system's folders."""
    spec = importlib.util.find_spec("reasoning_gym")
    library = [str(Path(spec.origin).parent.parent)] if spec and spec.origin else []
    return [p for p in dict.fromkeys((sys.prefix, sys.base_prefix, *library)) if p not in ("/usr", "/")]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""

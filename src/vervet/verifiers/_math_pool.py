"""The processes that compare expressions for the verifier `math`: started when needed, killed where they do not answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vervet.records import Outcome, Reason
from vervet.sandbox._container import slots_by_default

_WORKER = Path(__file__).with_name("_math_worker.py")
_WALL_FACTOR, _WALL_GRACE_S = 8, 30.0
# of the processor time: who waited that long did not get the processor


@dataclass(frozen=True, slots=True)
class Compared:
    """What a comparison came to."""

    outcome: Outcome
    reason: Reason
    log: str = ""
    cpu_s: float | None = None
    again: bool = False
    # the machine was at fault: the same pair may fare better later


class Workers:
    """A few worker processes, each with one pair at a time."""

    def __init__(self, cpu_s: float, memory_mb: int, count: int | None) -> None:
        self._cpu_s, self._memory_mb = cpu_s, memory_mb
        self._wall_s = _WALL_FACTOR * cpu_s + _WALL_GRACE_S
        self._slots = asyncio.Semaphore(count or slots_by_default())
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()

    async def compare(self, gold: str, answer: str) -> Compared:
        """PASS, FAIL, or UNKNOWN with the reason."""
        async with self._slots:
            process = self._idle.pop() if self._idle else await self._start()
            try:
                reply = await asyncio.wait_for(self._ask(process, gold, answer), 2 * self._wall_s)
            except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError):
                await self._end(process)
                return Compared(Outcome.UNKNOWN, Reason.VERIFIER, "a worker process did not answer", again=True)
            except BaseException:
                await self._end(process)
                raise
            self._idle.append(process)
        return _compared(reply, self._cpu_s)

    async def _start(self) -> asyncio.subprocess.Process:
        limits = (str(self._cpu_s), str(self._memory_mb), str(self._wall_s))
        process = await asyncio.create_subprocess_exec(
            # -P: a script's folder comes first on the path otherwise, and ours holds a math.py
            sys.executable,
            "-P",
            str(_WORKER),
            *limits,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._all.add(process)
        return process

    async def _ask(self, process: asyncio.subprocess.Process, gold: str, answer: str) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"gold": gold, "answer": answer}).encode() + b"\n")
        await process.stdin.drain()
        line = await process.stdout.readuntil(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        self._all.discard(process)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()

    async def aclose(self) -> None:
        """No process is left when this returns."""
        self._idle.clear()
        for process in list(self._all):
            await self._end(process)


def _compared(reply: dict[str, Any], limit_s: float) -> Compared:
    """The outcome of a worker's reply: reading the answer is the answer's affair, all else is ours."""
    if "equal" in reply:
        return Compared(Outcome.PASS, Reason.ACCEPTED) if reply["equal"] else Compared(Outcome.FAIL, Reason.WRONG)
    ended, stage, cpu_s = reply["ended"], reply["stage"], reply.get("cpu_s")
    if ended == "wall":
        return Compared(Outcome.UNKNOWN, Reason.STARVED, "others held the processor", cpu_s, again=True)
    if stage == "a":
        reasons = {"cpu": (Reason.CPU_TIME, f"reading it took more than {limit_s:g} s"), "memory": (Reason.MEMORY, "")}
        reason, log = reasons.get(ended, (Reason.WRONG, f"cannot be read: {reply.get('log') or ended}"))
        return Compared(Outcome.FAIL, reason, log, cpu_s)
    what = "the expected answer could not be read" if stage == "g" else "the comparison did not come to an end"
    return Compared(Outcome.UNKNOWN, Reason.VERIFIER, f"{what}: {reply.get('log') or ended}", cpu_s)

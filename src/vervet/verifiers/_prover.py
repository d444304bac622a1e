"""Talking to a prover in the sandbox: time that is the answer's, output that has an end, deaths that are told apart."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Protocol

from vervet.protocols import Limits
from vervet.records import Outcome, Reason
from vervet.sandbox.sessions import Session

_LOOK_EVERY_S = 0.25
_STARVED_FACTOR = 4
_MESSAGE_BYTES = 1 << 20


class Stop(StrEnum):
    """Why an exchange could not be finished."""

    CPU = "cpu"
    WALL = "wall"
    STARVED = "starved"
    MEMORY = "memory"
    OUTPUT = "output"
    DIED = "died"
    CONFUSED = "confused"  # its output does not fit what it was asked
    UNAVAILABLE = "unavailable"


OUTCOMES = {
    Stop.CPU: (Outcome.FAIL, Reason.CPU_TIME),
    Stop.WALL: (Outcome.FAIL, Reason.WALL_TIME),
    Stop.STARVED: (Outcome.UNKNOWN, Reason.STARVED),
    Stop.MEMORY: (Outcome.FAIL, Reason.MEMORY),
    Stop.OUTPUT: (Outcome.FAIL, Reason.OUTPUT),
    Stop.DIED: (Outcome.UNKNOWN, Reason.VERIFIER),
    Stop.CONFUSED: (Outcome.FAIL, Reason.FORBIDDEN),
    Stop.UNAVAILABLE: (Outcome.UNKNOWN, Reason.UNAVAILABLE),
}
"""What each says about an answer: limits are the answer's, a death is ours."""


class Stopped(Exception):
    """The process is of no use any more."""

    def __init__(self, stop: Stop, log: str = "") -> None:
        super().__init__(stop)
        self.stop = stop
        self.log = log


class Done(Protocol):
    """A predicate on the bytes that came so far."""

    def __call__(self, data: bytes) -> bool: ...


class Conversation:
    """A session with a clock. Not for several users at once."""

    def __init__(self, session: Session, limits: Limits) -> None:
        self.session = session
        self.isolation = session.isolation
        self.buffer = b""
        self._limits = self._now = limits
        self._since = (time.monotonic(), 0.0, 0.0)
        # when the present answer began: monotonic seconds, processor seconds, starved seconds
        self._look = self._since[0] + _LOOK_EVERY_S
        # when its time is looked at next; it lives on between exchanges, for an answer can be thousands of quick ones

    async def begin(self, limits: Limits | None = None) -> None:
        """Time counts from here, against these limits or else those of an answer. Raises: Stopped."""
        self._now = limits or self._limits
        use = await self.session.use()
        if use is None:
            raise Stopped(Stop.DIED)
        self._since = (time.monotonic(), use.cpu_s, use.starved_s)
        self._look = self._since[0] + _LOOK_EVERY_S

    async def used(self) -> float:
        """Processor seconds since `begin`."""
        use = await self.session.use()
        return 0.0 if use is None else max(0.0, use.cpu_s - self._since[1])

    async def until(self, done: Done | None) -> None:
        """Read into `buffer` until it is done, or for None to the end of all output. Raises: Stopped."""
        while done is None or not done(self.buffer):
            part = await self.session.read(max(0.01, self._look - time.monotonic()))
            if part == b"":
                if done is None:
                    return
                raise Stopped(how_it_died(self.buffer), tail(self.buffer))
            self.buffer += part or b""
            if len(self.buffer) > _MESSAGE_BYTES:
                raise Stopped(Stop.OUTPUT)
            if time.monotonic() >= self._look:
                await self._check_time()
                self._look = time.monotonic() + _LOOK_EVERY_S

    async def _check_time(self) -> None:
        use = await self.session.use(tree=True)
        if use is None:
            raise Stopped(Stop.DIED, tail(self.buffer))
        start, cpu_s, starved_s = self._since
        elapsed = time.monotonic() - start
        if use.cpu_s - cpu_s >= self._now.cpu_s:
            raise Stopped(Stop.CPU)
        if elapsed - (use.starved_s - starved_s) >= self._now.wall_s:
            raise Stopped(Stop.WALL)
        if elapsed >= _STARVED_FACTOR * self._now.wall_s:
            raise Stopped(Stop.STARVED)

    async def aclose(self) -> None:
        """End the process."""
        await self.session.aclose()


def how_it_died(data: bytes) -> Stop:
    """MEMORY where its last words say so."""
    low = data[-4096:].lower()
    words = (b"out of memory", b"out_of_memory", b"bad_alloc", b"excessive memory consumption")
    return Stop.MEMORY if any(w in low for w in words) else Stop.DIED


def tail(data: bytes) -> str:
    """The end of what a process said, for a log."""
    return data[-1000:].decode("utf-8", "replace").strip()

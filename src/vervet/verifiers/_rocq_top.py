"""A kept `coqtop` in the sandbox: sentences in, replies out, states to go back to.

With `-emacs` each reply ends in a prompt that carries a state number, which rises with every sentence that was
accepted: no message has to be understood to know whether one was. A message can imitate a prompt, so whatever counts
is followed by a question about a name that nobody can know; until its reply comes all prompts are counted, and there must be
one a sentence.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from vervet.protocols import Limits
from vervet.sandbox.sessions import Session

ARGUMENTS = ("-q", "-emacs")
COMMON = "Require Reals ZArith QArith Arith NArith List Lra Lia Psatz."
"""Loaded once into each process; a problem's own imports then cost milliseconds."""
_PROMPT = re.compile(rb"<prompt>[^<>]* < (\d+) \|[^<>|]*(?:\|[^<>|]*)*\| \d+ < </prompt>")
_END = b"</prompt>"
_LOOK_EVERY_S = 0.25
_STARVED_FACTOR = 4
_MESSAGE_BYTES = 1 << 20
_START_S = 120.0
# for the libraries, on a machine that is busy


class Stop(StrEnum):
    """Why an exchange could not be finished."""

    CPU = "cpu"
    WALL = "wall"
    STARVED = "starved"
    MEMORY = "memory"
    OUTPUT = "output"
    DIED = "died"
    CONFUSED = "confused"  # its output does not fit what it was asked


class Stopped(Exception):
    """The process is of no use any more."""

    def __init__(self, stop: Stop, log: str = "") -> None:
        super().__init__(stop)
        self.stop = stop
        self.log = log


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one sentence."""

    accepted: bool
    text: str
    state: int


class Top:
    """One coqtop process. Not for several users at once."""

    def __init__(self, session: Session, limits: Limits) -> None:
        self._session = session
        self._limits = self._now = limits
        self._buffer = b""
        self._since = (time.monotonic(), 0.0, 0.0)
        # when the present answer began: monotonic seconds, processor seconds, starved seconds
        self.state = 0
        self.isolation = session.isolation
        self.uses = 0
        # answers judged so far

    @classmethod
    async def start(cls, program: str, kind: str, limits: Limits, shown: Sequence[str]) -> Top:
        """A process with the common libraries loaded. Raises: MissingPart, Stopped."""
        whole = Limits(cpu_s=1e9, wall_s=1e9, memory_mb=limits.memory_mb, disk_mb=16)
        session = await Session.start([program, *ARGUMENTS], kind, whole, shown=shown)
        top = cls(session, limits)
        try:
            await top.begin(Limits(cpu_s=_START_S, wall_s=_START_S))
            top.state = (await top._reply()).state
            for sentence in ("Set Silent.", COMMON):
                await top.ask(sentence)
        except BaseException:
            await top.aclose()
            raise
        return top

    async def begin(self, limits: Limits | None = None) -> None:
        """Time counts from here, against these limits or else those of an answer."""
        self._now = limits or self._limits
        use = await self._session.use()
        if use is None:
            raise Stopped(Stop.DIED)
        self._since = (time.monotonic(), use.cpu_s, use.starved_s)

    async def used(self) -> float:
        """Processor seconds since `begin`."""
        use = await self._session.use()
        return 0.0 if use is None else max(0.0, use.cpu_s - self._since[1])

    async def ask(self, sentence: str) -> Reply:
        """One sentence. Raises: Stopped."""
        await self._session.write(_line(sentence))
        return await self._reply()

    async def certain(self, sentences: Sequence[str]) -> list[Reply]:
        """Replies to sentences none of which is an answer's, and proof that no reply so far was imitated.

        Raises: Stopped, CONFUSED where there were more prompts than sentences.
        """
        mark = f"vervet_{secrets.token_hex(8)}"
        await self._session.write(b"".join(_line(s) for s in sentences) + _line(f"Print {mark}."))
        wanted = f"Error: {mark} not a defined object.".encode()
        await self._until(lambda data: wanted in data and data.rstrip().endswith(_END))
        taken, self._buffer = self._buffer, b""
        replies = []
        before = 0
        for match in _PROMPT.finditer(taken):
            replies.append(self._read(taken[before : match.end()], match))
            before = match.end()
        if len(replies) != len(sentences) + 1 or mark not in replies[-1].text:
            raise Stopped(Stop.CONFUSED, "its output imitates the prover's prompt")
        return replies[:-1]

    async def _reply(self) -> Reply:
        await self._until(lambda data: data.rstrip().endswith(_END) and _PROMPT.search(data) is not None)
        taken, self._buffer = self._buffer, b""
        matches = list(_PROMPT.finditer(taken))
        if len(matches) != 1:
            raise Stopped(Stop.CONFUSED, "its output imitates the prover's prompt")
        return self._read(taken, matches[0])

    def _read(self, data: bytes, prompt: re.Match[bytes]) -> Reply:
        before, self.state = self.state, int(prompt[1])
        text = data[: data.rindex(b"<prompt>")].decode("utf-8", "replace").strip()
        return Reply(self.state != before, text, self.state)

    async def _until(self, done: _Done) -> None:
        look = time.monotonic() + _LOOK_EVERY_S
        while not done(self._buffer):
            part = await self._session.read(max(0.01, look - time.monotonic()))
            if part == b"":
                raise Stopped(_how_it_died(self._buffer), _tail(self._buffer))
            self._buffer += part or b""
            if len(self._buffer) > _MESSAGE_BYTES:
                raise Stopped(Stop.OUTPUT)
            if time.monotonic() >= look:
                await self._check_time()
                look = time.monotonic() + _LOOK_EVERY_S

    async def _check_time(self) -> None:
        use = await self._session.use(tree=True)
        if use is None:
            raise Stopped(Stop.DIED, _tail(self._buffer))
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
        await self._session.aclose()


class _Done(Protocol):
    """A predicate on the bytes that came so far."""

    def __call__(self, data: bytes) -> bool: ...


def _line(sentence: str) -> bytes:
    # a line feed inside would be harmless, but the echo in an error message shows one line
    return sentence.encode("utf-8", "replace") + b"\n"


def _how_it_died(data: bytes) -> Stop:
    low = data[-4096:].lower()
    return Stop.MEMORY if b"out of memory" in low or b"out_of_memory" in low else Stop.DIED


def _tail(data: bytes) -> str:
    return data[-1000:].decode("utf-8", "replace").strip()

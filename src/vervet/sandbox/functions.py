"""One function of untrusted code against trusted tests: warm containers, a tester and a candidate process in each.

`FunctionRuntime` owns as many slots as there are processors; a slot is one container that judges one answer at a
time. See `vervet.sandbox.inside` for what happens within.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vervet.errors import MissingPart
from vervet.protocols import Limits
from vervet.sandbox._container import Container, Gone, Pool, Processor
from vervet.sandbox.inside import wire, zygote
from vervet.sandbox.inside.checks import FunctionTests

_CHUNK = 16
# answers handed to a container at once: enough to hide the round trip to the driver
_SMALLEST_CHUNK = 2
# fewer are not worth sending the tests to another container
_KNOWN_TESTS = 64
# sets of tests that a container's tester keeps compiled
_SMALL = 1 << 15
# bytes that fit a socket's buffer several times over


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer, ready to be loaded."""

    forms: tuple[tuple[str, ...], ...]
    # ways to read it, each a list of sources executed in order; the first that compiles is taken
    same_process: bool = False
    # run the tests beside it


@dataclass(frozen=True, slots=True)
class Ending:
    """How one candidate ended, and what the tester said."""

    error: str = ""
    # why nothing can be said: the container failed
    status: str = ""
    # the tester's word: "pass", "wrong", "exception", ...; "" where it has none
    log: str = ""
    opaque: str = ""
    # a value that came back and was no plain data
    limit: str = ""
    # "", "cpu", "wall", "starved", "tester_cpu", "tester_gone"
    alive: bool = False
    # it closed its channel without ending
    exit: int = 0
    # exit code, or minus the signal
    compiler: str = ""
    # how the compiler ended, where it ended on this answer: "cpu" or a signal's name
    cpu_s: float = 0.0


class FunctionRuntime:
    """Judges candidates in warm containers that are made when needed and replaced when they die."""

    def __init__(
        self, isolation: str, memory_mb: int = 512, slots: int | None = None, launcher: Sequence[str] | None = None
    ) -> None:
        self._kind = isolation
        self.isolation = isolation
        # once a container runs, what it lacks is named behind it
        self._memory_mb = memory_mb
        self._launcher = launcher
        self._pool: Pool[FunctionSlot] = Pool(self._start, slots)
        self._chunks = 0
        # handed to a slot, or waiting for one
        self._works = False
        # a container has run here, so one that does not start is a failure and not a missing part

    async def _start(self) -> FunctionSlot:
        # its processes take turns, so they share one: to hand over to another costs more than the work
        with contextlib.ExitStack() as undo:
            try:
                processor = Processor()
                undo.callback(processor.give_back)
            except OSError:
                processor = None
            number = processor.number if processor else None
            container = await Container.start(
                "functions", self._kind, self._memory_mb, self._launcher, processor=number
            )
            self.isolation = container.isolation
            self._works = True
            return FunctionSlot(container, undo.pop_all().close)

    async def run(self, tests: FunctionTests, candidates: Sequence[Candidate], limits: Limits) -> list[Ending]:
        """One ending a candidate, in order. Raises: MissingPart where not even a first container can be made."""
        free = max(1, self._pool.count - self._chunks)
        # where others keep the slots busy, sharing these out would only have their tests compiled more than once
        size = max(_SMALLEST_CHUNK, min(_CHUNK, -(-len(candidates) // free)))
        chunks = [candidates[i : i + size] for i in range(0, len(candidates), size)]
        self._chunks += len(chunks)
        try:
            parts = await asyncio.gather(*(self._chunk(tests, chunk, limits) for chunk in chunks))
        finally:
            self._chunks -= len(chunks)
        return [ending for part in parts for ending in part]

    async def _chunk(self, tests: FunctionTests, chunk: Sequence[Candidate], limits: Limits) -> list[Ending]:
        endings: list[Ending] = []
        while len(endings) < len(chunk):
            rest = chunk[len(endings) :]
            try:
                async with self._pool.slot() as slot, contextlib.aclosing(slot.run(tests, rest, limits)) as stream:
                    endings += [ending async for ending in stream]
            except MissingPart as error:
                if not self._works:
                    raise
                endings += [Ending(error=str(error))] * len(rest)
        return endings

    async def aclose(self) -> None:
        """End all containers. Nothing of them is left when this returns."""
        await self._pool.aclose()


class FunctionSlot:
    """A container that judges one function at a time."""

    def __init__(self, container: Container, ended: Callable[[], None]) -> None:
        self._container = container
        self._ended = ended
        self._known: dict[FunctionTests, int] = {}
        # tests that the tester has, oldest first, and their numbers
        self._count = 0
        self.usable = True

    async def run(
        self, tests: FunctionTests, candidates: Sequence[Candidate], limits: Limits
    ) -> AsyncGenerator[Ending, None]:
        """Endings in order, perhaps fewer than candidates: then the slot is not usable any more."""
        small = sum(len(s) for c in candidates for form in c.forms for s in form) + len(tests.test) < _SMALL // 4
        if small:  # it fits the buffers, so this cannot wait for our own reading
            await self._send(tests, candidates, limits)
        sender = None if small else asyncio.create_task(self._send(tests, candidates, limits))
        try:
            for _ in candidates:
                ending = await self._ending()
                yield ending
                if not self.usable:
                    return
        finally:
            if sender is not None:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)

    async def _send(self, tests: FunctionTests, candidates: Sequence[Candidate], limits: Limits) -> None:
        """Hand over jobs. A job's clock starts with its limits, which follow when the rest has arrived completely."""
        go = wire.pack(zygote.LIMITS.pack(limits.cpu_s, limits.wall_s, limits.memory_mb))
        batch = _Batch(self._container, go)
        news = self._introduce(tests)
        for candidate in candidates:
            job = {"id": self._known[tests], "same": candidate.same_process, **news}
            await batch.add({"code": {"forms": candidate.forms, "entry": tests.entry}, "tests": job})
            news = {}
        await batch.flush()

    def _introduce(self, tests: FunctionTests) -> dict[str, Any]:
        """What the tester has to learn before a job with these tests."""
        if tests in self._known:
            return {}
        self._count += 1
        news: dict[str, Any] = {"tests": tests._asdict()}
        if len(self._known) >= _KNOWN_TESTS:
            news["forget"] = self._known.pop(next(iter(self._known)))
        self._known[tests] = self._count
        return news

    async def _ending(self) -> Ending:
        frames = self._container.frames
        try:
            end = await frames["control"].receive()
            said = await frames["tests"].receive() if end["tester"] else {}
        except Gone:
            self.usable = False
            return Ending(error="the container died")
        self.usable = not end["last"]
        return Ending(
            status=said.get("status", ""),
            log=said.get("log", ""),
            opaque=said.get("opaque", ""),
            limit=end["limit"],
            alive=end["alive"],
            exit=end["exit"],
            compiler=end.get("compiler", ""),
            cpu_s=end["cpu_s"],
        )

    async def aclose(self) -> None:
        """End the container."""
        self.usable = False
        await self._container.aclose()
        self._ended()


class _Batch:
    """Jobs on their way into a container: small ones travel together, a large text as a file in memory."""

    def __init__(self, container: Container, go: bytes) -> None:
        self._container = container
        self._go = go
        self._waiting: dict[str, list[bytes]] = {"code": [], "tests": []}
        self._size = 0
        self._jobs = 0

    async def add(self, texts: dict[str, Any]) -> None:
        """One job: its text for each channel."""
        for channel, text in texts.items():
            payload = json.dumps(text).encode()
            if len(payload) > _SMALL:
                await self.flush_texts()
                await self._container.send_whole(channel, payload)
            else:
                self._waiting[channel].append(wire.pack(payload))
                self._size += len(payload)
        self._jobs += 1
        if self._size > _SMALL:
            await self.flush()

    async def flush_texts(self) -> None:
        for channel, parts in self._waiting.items():
            if parts:
                await self._container.send(channel, b"".join(parts))
                parts.clear()
        self._size = 0

    async def flush(self) -> None:
        """Hand over what is waiting, then say go for it."""
        await self.flush_texts()
        await self._container.send("control", self._go * self._jobs)
        self._jobs = 0

"""One function of untrusted code against trusted tests: warm containers, a tester and a candidate process in each.

`FunctionRuntime` owns as many slots as there are processors; a slot is one container that judges one answer at a
time. See `vervet.sandbox.inside` for what happens within.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vervet.errors import MissingPart
from vervet.protocols import Limits
from vervet.sandbox.inside import wire, zygote
from vervet.sandbox.inside.checks import Tests

_START_TIMEOUT_S = 60.0
_CLOSE_TIMEOUT_S = 10.0
_CHUNK = 16
# answers handed to a slot at once: enough to hide the round trip to the driver


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
    cpu_s: float = 0.0


class Gone(Exception):
    """A container died while it was needed."""


def slots_by_default() -> int:
    """The number of processors this process may use."""
    return len(os.sched_getaffinity(0))


class FunctionRuntime:
    """Judges candidates in warm containers that are made when needed and replaced when they die."""

    def __init__(self, isolation: str, memory_mb: int = 512, slots: int | None = None) -> None:
        self.isolation = isolation
        self._memory_mb = memory_mb
        self._free: list[Slot] = []
        self._all: set[Slot] = set()
        self._count = slots or slots_by_default()
        self._permits = asyncio.Semaphore(self._count)

    async def run(self, tests: Tests, candidates: Sequence[Candidate], limits: Limits) -> list[Ending]:
        """One ending a candidate, in order. Raises: MissingPart where no container can be made."""
        size = max(1, min(_CHUNK, -(-len(candidates) // self._count)))
        chunks = [candidates[i : i + size] for i in range(0, len(candidates), size)]
        parts = await asyncio.gather(*(self._chunk(tests, chunk, limits) for chunk in chunks))
        return [ending for part in parts for ending in part]

    async def _chunk(self, tests: Tests, chunk: Sequence[Candidate], limits: Limits) -> list[Ending]:
        endings: list[Ending] = []
        while len(endings) < len(chunk):
            rest = chunk[len(endings) :]
            async with self._slot() as slot, contextlib.aclosing(slot.run(tests, rest, limits)) as stream:
                endings += [ending async for ending in stream]
        return endings

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[Slot]:
        async with self._permits:
            slot = self._free.pop() if self._free else await self._start()
            try:
                yield slot
            except BaseException:
                slot.usable = False
                raise
            finally:
                if slot.usable:
                    self._free.append(slot)
                else:
                    self._all.discard(slot)
                    await slot.aclose()

    async def _start(self) -> Slot:
        slot = await Slot.start(self.isolation, self._memory_mb)
        self._all.add(slot)
        return slot

    async def aclose(self) -> None:
        """End all containers. Nothing of them is left when this returns."""
        slots, self._all, self._free = self._all, set(), []
        await asyncio.gather(*(slot.aclose() for slot in slots))


class Slot:
    """The driver's side of one container."""

    def __init__(self, process: subprocess.Popen[bytes], sockets: dict[str, socket.socket]) -> None:
        self._process = process
        self._sockets = sockets
        self._control = _Frames(sockets["control"])
        self._tests = _Frames(sockets["tests"])
        self.usable = True

    @classmethod
    async def start(cls, isolation: str, memory_mb: int) -> Slot:
        """Make a container. Raises: MissingPart with the reason."""
        pairs = {name: socket.socketpair() for name in ("life", "control", "code", "tests")}
        theirs = [pair[1] for pair in pairs.values()]
        config = {"kind": isolation, "memory_mb": memory_mb, "fds": {n: p[1].fileno() for n, p in pairs.items()}}
        process = subprocess.Popen(  # noqa: S603, ASYNC220  it takes milliseconds, and asyncio's own needs a watcher
            [*_interpreter(), str(Path(zygote.__file__).with_name("launch.py")), json.dumps(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[s.fileno() for s in theirs],
            env={"PYTHONHASHSEED": "0"},  # sets have the same order in every run
            cwd="/",
            start_new_session=True,  # Ctrl-C at the terminal is the driver's to handle
        )
        for sock in theirs:
            sock.close()
        sockets = {name: pair[0] for name, pair in pairs.items()}
        for sock in sockets.values():
            sock.setblocking(False)
        slot = cls(process, sockets)
        try:
            await slot._ready()
        except BaseException:
            await slot.aclose()
            raise
        return slot

    async def _ready(self) -> None:
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                message = await self._control.receive()
        except Gone:
            message = await _Frames(self._sockets["life"]).receive_or({"error": "the launcher died"})
        except TimeoutError:
            message = {"error": f"it did not start within {_START_TIMEOUT_S:.0f} s"}
        if "error" in message:
            raise MissingPart(
                f"the sandbox cannot start here: {message['error']}; see `vervet doctor`, or choose --sandbox none"
            )

    async def run(self, tests: Tests, candidates: Sequence[Candidate], limits: Limits) -> AsyncGenerator[Ending, None]:
        """Endings in order, perhaps fewer than candidates: then the slot is not usable any more."""
        sender = asyncio.create_task(self._send(tests, candidates, limits))
        try:
            for _ in candidates:
                ending = await self._ending()
                yield ending
                if not self.usable:
                    return
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send(self, tests: Tests, candidates: Sequence[Candidate], limits: Limits) -> None:
        loop = asyncio.get_running_loop()
        control = wire.pack(zygote.LIMITS.pack(limits.cpu_s, limits.wall_s, limits.memory_mb))
        code = [wire.pack(json.dumps({"forms": c.forms, "entry": tests.entry}).encode()) for c in candidates]
        jobs: list[dict[str, Any]] = [{"same": c.same_process} for c in candidates]
        jobs[0]["tests"] = asdict(tests)
        with contextlib.suppress(OSError):  # the reader finds out
            await loop.sock_sendall(self._sockets["control"], control * len(candidates))
            await asyncio.gather(
                loop.sock_sendall(self._sockets["code"], b"".join(code)),
                loop.sock_sendall(self._sockets["tests"], b"".join(wire.pack(json.dumps(j).encode()) for j in jobs)),
            )

    async def _ending(self) -> Ending:
        try:
            end = await self._control.receive()
            said = await self._tests.receive() if end["tester"] else {}
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
            cpu_s=end["cpu_s"],
        )

    async def aclose(self) -> None:
        """End the container and wait until it is gone."""
        self.usable = False
        for sock in self._sockets.values():
            sock.close()
        try:
            await asyncio.to_thread(self._process.wait, _CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


class _Frames:
    """JSON frames from a non-blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data = b""

    async def receive(self) -> dict[str, Any]:
        """The next frame. Raises: Gone."""
        head = await self._take(4)
        value: dict[str, Any] = json.loads(await self._take(int.from_bytes(head, "little")))
        return value

    async def receive_or(self, default: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                return await self.receive()
        except (Gone, TimeoutError):
            return default

    async def _take(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        while len(self._data) < size:
            try:
                part = await loop.sock_recv(self._sock, 65536)
            except OSError as error:
                raise Gone from error
            if not part:
                raise Gone
            self._data += part
        taken, self._data = self._data[:size], self._data[size:]
        return taken


def _interpreter() -> list[str]:
    """The interpreter below any virtual environment, without site packages, user files or options from outside."""
    executable = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    return [executable, "-s", "-S", "-P", "-B", "-X", "utf8"]

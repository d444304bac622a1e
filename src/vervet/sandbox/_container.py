"""The driver's side of containers: starting one, talking to it, ending it; and a pool of them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from vervet.errors import BadOption, MissingPart
from vervet.sandbox import inside
from vervet.sandbox.inside import wire

_LAUNCH = str(Path(inside.__file__).with_name("launch.py"))
_CHANNELS = ("life", "control", "code", "tests")
_START_TIMEOUT_S = 60.0
_CLOSE_TIMEOUT_S = 10.0
_PART = 1 << 18
# bytes read at once
_AHEAD = 1 << 20
# bytes that nobody has asked for beyond which no more are read
_MOST_ON_ONE = 8
# containers on one processor; further ones go where the scheduler likes


class Gone(Exception):
    """A container died while it was needed."""


class Container:
    """A running container. Its end of `life` closing, for whatever reason, ends all that is in it."""

    def __init__(self, process: Process, sockets: dict[str, socket.socket]) -> None:
        self._process = process
        self._shares_memory = isinstance(process, subprocess.Popen)
        # descriptors can be handed to it
        self.isolation = ""
        # "namespaces", with what the host lacks behind it, or "none"
        self.sockets = sockets
        self.frames = {name: Frames(sock, news=name == "control") for name, sock in sockets.items()}

    @classmethod
    async def start(
        cls,
        serves: str,
        isolation: str,
        memory_mb: int,
        launcher: Sequence[str] | None = None,
        disk_mb: int = 16,
        shown: Sequence[str] = (),
        processor: int | None = None,
    ) -> Container:
        """Make a container that serves "functions", "programs" or a "session". Raises: MissingPart with the reason.

        Args: isolation: "namespaces", "none", "docker" or "docker:IMAGE"; launcher: the interpreter and its options,
        perhaps behind a program that starts it as somebody else; disk_mb: of an engine's container, for good; shown:
        absolute paths of the host that its root shows as well, read-only; processor: the one that all of it stays on, None
        where the scheduler may choose.
        """
        kind, _, image = isolation.partition(":")
        if kind == "docker" and serves == "session":
            raise MissingPart("a program that is kept needs namespaces of ours: choose --sandbox namespaces")
        pairs = {name: socket.socketpair() for name in _CHANNELS}
        theirs = {name: pair[1] for name, pair in pairs.items()}
        config: dict[str, Any] = {"serves": serves, "kind": kind, "memory_mb": memory_mb, "shown": list(shown)}
        config["processor"] = processor
        process: Process
        try:
            if kind == "docker":
                from vervet.sandbox import _engine  # noqa: PLC0415  an extra

                image = image or _engine.IMAGE
                made = await asyncio.to_thread(_engine.EngineProcess, image, config, theirs, disk_mb)
                process, isolation = made, "docker with gvisor" if made.gvisor else "docker"
            else:
                config["fds"] = {name: sock.fileno() for name, sock in theirs.items()}
                process = _launch([*(launcher or interpreter()), _LAUNCH, json.dumps(config)], list(theirs.values()))
        except BaseException as error:
            for ours, _ in pairs.values():
                ours.close()
            if isinstance(error, OSError):
                raise MissingPart(f"the sandbox cannot start here: {error}") from error
            raise
        finally:
            for other in theirs.values():
                other.close()
        for ours, _ in pairs.values():
            ours.setblocking(False)
        container = cls(process, {name: pair[0] for name, pair in pairs.items()})
        try:
            lacking = await container._ready()
        except BaseException:
            await container.aclose()
            raise
        container.isolation = f"{isolation} without {' and '.join(lacking)}" if lacking else isolation
        return container

    async def _ready(self) -> list[str]:
        """Wait for the container. Returns the layers that it has to do without. Raises: MissingPart."""
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                message = await self.frames["control"].receive()
        except Gone:
            message = await self.frames["life"].receive_or({"error": "the launcher died"})
        except TimeoutError:
            message = {"error": f"it did not start within {_START_TIMEOUT_S:.0f} s"}
        if "error" in message:
            raise MissingPart(
                f"the sandbox cannot start here: {message['error']}; see `vervet doctor`, or choose --sandbox none"
            )
        lacking: list[str] = message["lacking"]
        return lacking

    async def send(self, channel: str, data: bytes) -> None:
        """Write bytes. A container that is gone shows itself to whoever reads."""
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(self.sockets[channel], data)

    async def send_whole(self, channel: str, payload: bytes) -> None:
        """Hand over a text that is too long for a socket's buffer, as a file in memory. See wire.receive_whole."""
        if not self._shares_memory:
            await self.send(channel, wire.pack(payload))
            return
        fd = os.memfd_create("vervet", os.MFD_CLOEXEC)
        try:
            with open(fd, "wb", closefd=False) as file:  # noqa: ASYNC230  memory
                file.write(payload)
            await self.send(channel, wire.pack(b""))
            while not self._pass(channel, fd):  # noqa: ASYNC110  rare: the buffer happens to be full
                await asyncio.sleep(0.001)
        finally:
            os.close(fd)

    def _pass(self, channel: str, fd: int) -> bool:
        try:
            socket.send_fds(self.sockets[channel], [b"F"], [fd])
        except BlockingIOError:
            return False
        except OSError:  # gone: whoever reads finds out
            return True
        return True

    async def aclose(self) -> None:
        """End the container and wait until nothing of it is left."""
        for frames in self.frames.values():
            frames.close()
        try:
            await asyncio.to_thread(self._process.wait, _CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


class Process(Protocol):
    """What a container runs as out here."""

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


class Frames:
    """JSON frames from a non-blocking socket. One task at a time receives.

    Args: news: what comes here is waited for; such a socket is watched all the time, for to begin and end that with each
    frame costs more than the frame. Where frames are there when they are wanted, it is not.
    """

    def __init__(self, sock: socket.socket, *, news: bool = False) -> None:
        self._sock = sock
        self._news = news
        self._data = b""
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        # that watches the socket
        self._waiter: asyncio.Future[None] | None = None

    async def receive(self) -> dict[str, Any]:
        """The next frame as JSON. Raises: Gone."""
        value: dict[str, Any] = json.loads(await self.receive_bytes())
        return value

    async def receive_bytes(self) -> bytes:
        """The next frame. Raises: Gone."""
        head = await self._take(4)
        return await self._take(int.from_bytes(head, "little"))

    async def receive_or(self, default: dict[str, Any]) -> dict[str, Any]:
        """The next frame, or `default` where none comes soon."""
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                return await self.receive()
        except (Gone, TimeoutError):
            return default

    async def _take(self, size: int) -> bytes:
        while len(self._data) < size:
            if self._ended:
                raise Gone
            if self._loop is not None or not self._read():
                await self._wait()
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def _read(self) -> bool:
        """Take what is there. False where that is nothing."""
        try:
            part = self._sock.recv(_PART)
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        self._data += part
        self._ended = not part
        return True

    async def _wait(self) -> None:
        """Until something was read, or the socket ended."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._unwatch()
            self._loop = loop
            loop.add_reader(self._sock.fileno(), self._arrived)
        self._waiter = loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            if not self._news:
                self._unwatch()

    def _arrived(self) -> None:
        self._read()
        if self._ended or len(self._data) > _AHEAD:
            self._unwatch()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _unwatch(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._sock.fileno())
        self._loop = None

    def close(self) -> None:
        """Close the socket; who waits for a frame gets Gone."""
        self._ended = True
        self._unwatch()
        self._sock.close()
        self._wake()


def _launch(argv: list[str], sockets: list[socket.socket]) -> subprocess.Popen[bytes]:
    """Start the launcher with its sockets, and with nothing else of ours."""
    return subprocess.Popen(  # noqa: S603
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[s.fileno() for s in sockets],
        env={"PYTHONHASHSEED": "0", "LD_BIND_NOW": "1"},  # sets have one order in every run; no fork links lazily
        cwd="/",
        # Ctrl-C at the terminal is the driver's to handle. No session of its own: the scheduler shares processors among
        # sessions first, and work that is done for this one belongs to its share
        process_group=0,
    )


def interpreter() -> list[str]:
    """The interpreter below any virtual environment, without site packages, user files or options from outside."""
    executable = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    return [executable, "-s", "-S", "-P", "-B", "-X", "utf8"]


def slots_by_default() -> int:
    """Processors that verification may keep busy: all that this process may use, or fewer, as VERVET_CPUS says.

    Raises: BadOption.
    """
    mine, said = len(os.sched_getaffinity(0)), os.environ.get("VERVET_CPUS", "")
    if not said:
        return mine
    if not said.isdigit() or int(said) < 1:
        raise BadOption(f"VERVET_CPUS={said!r}: should be a whole number, at least 1")
    return min(mine, int(said))


class Slot(Protocol):
    """What a pool keeps."""

    usable: bool

    async def aclose(self) -> None: ...


S = TypeVar("S", bound=Slot)


class Pool(Generic[S]):
    """At most `count` slots, made when needed, replaced when they are not usable any more."""

    def __init__(self, start: Callable[[], Awaitable[S]], count: int | None = None) -> None:
        self._start = start
        self.count = count or slots_by_default()
        self._free: list[S] = []
        self._all: set[S] = set()
        self._permits = asyncio.Semaphore(self.count)

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[S]:
        """A slot for the block; one whose block raised or was cancelled is in an unknown state and is ended."""
        async with self._permits:
            if not self._free:
                self._free.append(await self._start())
                self._all.add(self._free[-1])
            slot = self._free.pop()
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

    async def aclose(self) -> None:
        """End all slots."""
        slots, self._all, self._free = self._all, set(), []
        await asyncio.gather(*(slot.aclose() for slot in slots))


class Processor:
    """One that a container stays on: of those that this process may use, the one that fewest containers of the machine have.

    Said to other processes by the name of a socket, which the kernel takes back however its owner ends. Raises: OSError where
    each has as many as are counted.
    """

    def __init__(self) -> None:
        self._claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for nth, number in itertools.product(range(_MOST_ON_ONE), sorted(os.sched_getaffinity(0))):
            with contextlib.suppress(OSError):
                self._claim.bind(f"\0vervet-processor-{number}-{nth}")
                self.number = number
                return
        self._claim.close()
        raise OSError(errno.EBUSY, "every processor has as many containers as are counted")

    def give_back(self) -> None:
        """To the next container. Idempotent."""
        self._claim.close()

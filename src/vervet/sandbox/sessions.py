"""One program in a container, talked to over its standard streams, for as long as it is wanted."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vervet.errors import MissingPart
from vervet.protocols import Limits
from vervet.sandbox._container import Container, Gone
from vervet.sandbox.inside import wire

_CHUNK = 1 << 18
# bytes read at a time


@dataclass(frozen=True, slots=True)
class Use:
    """What a session's program has used since its start."""

    cpu_s: float
    # processor seconds; of its child processes too where `tree` was asked for
    starved_s: float
    # ready to run while others had the processor, by the last thorough look
    exit: int | None
    # None while it runs, else its exit code or minus its signal


class Session:
    """A running program. `Limits.memory_mb` and `disk_mb` bind for all its life; time is the caller's to watch."""

    def __init__(self, container: Container, folder: str = "") -> None:
        self._container = container
        self._folder = folder
        self._reading: asyncio.Future[bytes] | None = None
        self.isolation = container.isolation
        # "namespaces", with what the host lacks behind it, or "none"

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        isolation: str,
        limits: Limits,
        *,
        shown: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Session:
        """Start a program in a container of its own.

        Args: isolation: "namespaces" or "none"; shown: absolute paths of the host that it may read besides the system's;
        environment: variables besides HOME, TMPDIR, PATH and LANG, or instead of them; files: name -> content, in the folder
        where it starts.
        Raises: MissingPart where no container can be made or the program cannot be started.
        """
        container = await Container.start("session", isolation, limits.memory_mb, shown=shown)
        folder = tempfile.mkdtemp(prefix="vervet-box-") if isolation == "none" else ""
        session = cls(container, folder)
        given = dict(files or {})
        job = {"argv": list(argv), "memory_mb": limits.memory_mb, "disk_mb": limits.disk_mb, "shown": list(shown)}
        job |= {"environment": dict(environment or {}), "folder": folder, "files": list(given)}
        try:
            await container.send("control", b"".join(map(wire.pack, (json.dumps(job).encode(), *given.values()))))
            begun = await container.frames["control"].receive()
        except BaseException as error:
            await session.aclose()
            if isinstance(error, Gone):
                raise MissingPart(f"{argv[0]} cannot be started in the sandbox: the container died") from error
            raise
        if not begun["started"]:
            await session.aclose()
            raise MissingPart(f"{argv[0]} cannot be started in the sandbox: {begun['error']}")
        return session

    async def write(self, data: bytes) -> None:
        """Give input. A program that is gone shows itself to whoever reads."""
        await self._container.send("code", data)

    async def read(self, wait_s: float | None = None) -> bytes | None:
        """Some output, standard error mixed in as it comes; b"" where the program has closed it.

        None where nothing came within `wait_s` seconds. Nothing is lost by that: a read that is cancelled at the moment
        its data arrives would drop them, so it goes on and the next call takes its result.
        """
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._receive())
        done, _ = await asyncio.wait({self._reading}, timeout=wait_s)
        if not done:
            return None
        reading, self._reading = self._reading, None
        return reading.result()

    async def _receive(self) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self._container.sockets["tests"], _CHUNK)
        except OSError:
            return b""

    async def use(self, *, tree: bool = False) -> Use | None:
        """What it has used; `tree` looks thoroughly, at its processes and at starvation too. None: the container is gone."""
        await self._container.send("control", wire.pack(b"tree" if tree else b"self"))
        try:
            reply = await self._container.frames["control"].receive()
        except Gone:
            return None
        return Use(reply["cpu_s"], reply["starved_s"], reply["exit"])

    async def aclose(self) -> None:
        """End the program and its container. Nothing of them is left when this returns."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._container.aclose()
        if self._folder:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

"""Whole programs in a container: the Sandbox seam, over namespaces and, asked for by name, without isolation.

One job at a time is `run`. Many programs over the same files, such as one compiler run and two hundred tests, are a
`workspace`: its folder is made once, and starting a program in it costs hardly more than anywhere else.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from vervet.protocols import Limits, SandboxJob, SandboxOutcome
from vervet.sandbox._container import Container, Gone, Pool
from vervet.sandbox.inside import wire

_AHEAD = 2
# programs handed over at once in `run_all`: one runs, one waits for its turn
_SMALL = 1 << 16
# bytes of an input that a socket's buffer holds; a longer one is sent when the other side is sure to read
_DIED = "the container died"


class ProgramSandbox:
    """Runs argument lists, as many at once as there are processors. Containers are made when needed and kept warm."""

    def __init__(
        self, isolation: str, memory_mb: int = 512, slots: int | None = None, launcher: Sequence[str] | None = None
    ) -> None:
        """Args: isolation: "namespaces", "docker[:IMAGE]" or "none"; memory_mb: what the container's group allows for."""
        self._kind = isolation
        self.isolation = isolation
        # once a container runs, what it lacks is named behind it
        self._memory_mb = memory_mb
        self._disk_mb = Limits().disk_mb
        # the largest that any job has had
        self._launcher = launcher
        self._pool: Pool[ProgramSlot] = Pool(self._start, slots)

    async def _start(self) -> ProgramSlot:
        size = self._disk_mb
        container = await Container.start("programs", self._kind, self._memory_mb, self._launcher, size)
        self.isolation = container.isolation
        return ProgramSlot(container, size if self._kind.startswith("docker") else None)

    async def run(self, job: SandboxJob) -> SandboxOutcome:
        """See the protocol. Raises: MissingPart where no container can be made."""
        async with self.workspace(job.files, job.limits) as workspace:
            return await workspace.run(job.argv, job.stdin)

    @contextlib.asynccontextmanager
    async def workspace(
        self, files: Mapping[str, bytes] | None = None, limits: Limits | None = None
    ) -> AsyncIterator[Workspace]:
        """A folder with `files` in it, for as many programs as you like; it holds one of the sandbox's containers.

        Args: files: relative path -> content; limits: of each program that is not given its own. All of them share
        `limits.disk_mb`, the size of the folder.
        Raises: MissingPart where no container can be made.
        """
        limits = limits or Limits()
        self._disk_mb = max(self._disk_mb, limits.disk_mb)
        while True:
            async with self._pool.slot() as slot:
                if slot.disk_mb is not None and slot.disk_mb < limits.disk_mb:  # an engine's cannot grow
                    slot.usable = False
                    continue
                workspace = Workspace(slot, limits)
                workspace._open(files or {})
                yield workspace
                await workspace._close()
                return

    async def aclose(self) -> None:
        """End all containers. Nothing of them is left when this returns."""
        await self._pool.aclose()


class Workspace:
    """A folder in a container. Programs start in it, one after the other.

    Nothing that a program started is alive when its outcome is there. Where the container died, all further programs
    are `started=False`.
    """

    def __init__(self, slot: ProgramSlot, limits: Limits) -> None:
        self._slot = slot
        self._limits = limits
        self._phase: tuple[int, bool] | None = None
        self._waiting = b""
        # to be sent with the next program
        self._unread = 0
        # outcomes that nobody has asked for

    async def run(self, argv: Sequence[str], stdin: bytes = b"", limits: Limits | None = None) -> SandboxOutcome:
        """Run one program, which may change the folder: a compiler, a set-up."""
        await self._skip()
        await self._send(argv, stdin, limits or self._limits, read_only=False)
        return await self._receive()

    async def run_all(
        self, argv: Sequence[str], stdins: Iterable[bytes], limits: Limits | None = None
    ) -> AsyncGenerator[SandboxOutcome, None]:
        """Run one program on many inputs; stop by leaving the loop. Outcomes come in order.

        The folder is read-only and the temporary folder is emptied after each, so that no run leaves anything for
        the next. The next input is on its way while you look at an outcome.
        """
        await self._skip()
        limits, inputs = limits or self._limits, iter(stdins)
        stdin = next(inputs, None)
        while stdin is not None or self._unread:
            while stdin is not None and self._unread < (_AHEAD if len(stdin) < _SMALL else 1):
                await self._send(argv, stdin, limits, read_only=True)
                stdin = next(inputs, None)
            yield await self._receive()

    def _open(self, files: Mapping[str, bytes]) -> None:
        head = {"do": "open", "names": list(files), "disk_mb": self._limits.disk_mb}
        self._waiting = b"".join(map(wire.pack, (_json(head), *files.values())))

    async def _send(self, argv: Sequence[str], stdin: bytes, limits: Limits, *, read_only: bool) -> None:
        wanted = (limits.memory_mb, read_only)
        if self._phase != wanted:
            self._waiting += b"" if self._phase is None else wire.pack(_json({"do": "end"}))
            phase = {"do": "phase", "memory_mb": limits.memory_mb, "disk_mb": self._limits.disk_mb}
            self._waiting += wire.pack(_json({**phase, "read_only": read_only}))
            self._phase = wanted
        head = {"do": "run", "argv": list(argv), "cpu_s": limits.cpu_s, "wall_s": limits.wall_s}
        head |= {"output_bytes": limits.output_bytes, "memory_mb": limits.memory_mb}
        data, self._waiting = self._waiting + wire.pack(_json(head)) + wire.pack(stdin), b""
        self._unread += 1
        await self._slot.send(data)

    async def _receive(self) -> SandboxOutcome:
        self._unread -= 1
        return await self._slot.receive()

    async def _skip(self) -> None:
        """Outcomes of an abandoned `run_all`."""
        while self._unread:
            await self._receive()

    async def _close(self) -> None:
        await self._skip()
        if self._phase is not None:
            await self._slot.send(wire.pack(_json({"do": "end"})) + wire.pack(_json({"do": "close"})))


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


class ProgramSlot:
    """A container that runs one program at a time."""

    def __init__(self, container: Container, disk_mb: int | None) -> None:
        self._container = container
        self.disk_mb = disk_mb
        # what its folder can hold at most; None: as much as a job says
        self.usable = True

    async def send(self, data: bytes) -> None:
        """Hand over messages."""
        if self.usable:
            await self._container.send("control", data)

    async def receive(self) -> SandboxOutcome:
        """The next outcome."""
        frames = self._container.frames["control"]
        try:
            if not self.usable:
                raise Gone
            end = await frames.receive()
            stdout, stderr = await frames.receive_bytes(), await frames.receive_bytes()
        except Gone:
            self.usable = False
            return SandboxOutcome(started=False, error=_DIED)
        code = end["exit"]
        return SandboxOutcome(
            started=end["started"],
            error=end["error"],
            exit_code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            stdout=stdout,
            stderr=stderr,
            cpu_s=end.get("cpu_s", 0.0),
            wall_s=end.get("wall_s", 0.0),
            limit=end["limit"],
        )

    async def aclose(self) -> None:
        """End the container."""
        self.usable = False
        await self._container.aclose()

"""Whole programs in a container: the Sandbox seam over namespaces, and, asked for by name, without isolation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from vervet.protocols import SandboxJob, SandboxOutcome
from vervet.sandbox._container import Container, Gone, Pool
from vervet.sandbox.inside import wire


class ProgramSandbox:
    """Runs argument lists, as many at once as there are processors. Containers are made when needed and kept warm."""

    def __init__(
        self,
        isolation: str,
        memory_mb: int = 512,
        slots: int | None = None,
        launcher: Sequence[str] | None = None,
        shown: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Args: isolation: "namespaces" or "none"; memory_mb: what the container's control group allows for.

        shown: absolute paths of the host that programs may read besides the system's; environment: their variables
        besides HOME, TMPDIR, PATH and LANG, or instead of them.
        """
        self._kind = isolation
        self.isolation = isolation
        # once a container runs, what it lacks is named behind it
        self._memory_mb = memory_mb
        self._launcher = launcher
        self._shown, self._environment = tuple(shown), dict(environment or {})
        self._pool: Pool[ProgramSlot] = Pool(self._start, slots)

    async def _start(self) -> ProgramSlot:
        container = await Container.start("programs", self._kind, self._memory_mb, self._launcher, self._shown)
        self.isolation = container.isolation
        return ProgramSlot(container, {"shown": list(self._shown), "environment": self._environment})

    async def run(self, job: SandboxJob) -> SandboxOutcome:
        """See the protocol. Raises: MissingPart where no container can be made."""
        async with self._pool.slot() as slot:
            return await slot.run(job)

    async def aclose(self) -> None:
        """End all containers. Nothing of them is left when this returns."""
        await self._pool.aclose()


class ProgramSlot:
    """A container that runs one program at a time."""

    def __init__(self, container: Container, every: Mapping[str, Any]) -> None:
        """Args: every: fields that all its jobs have alike."""
        self._container = container
        self._every = dict(every)
        self.usable = True

    async def run(self, job: SandboxJob) -> SandboxOutcome:
        head = {"argv": list(job.argv), "names": list(job.files), **asdict(job.limits), **self._every}
        parts = [json.dumps(head).encode(), *job.files.values(), job.stdin]
        await self._container.send("control", b"".join(wire.pack(p) for p in parts))
        frames = self._container.frames["control"]
        try:
            end = await frames.receive()
            stdout, stderr = await frames.receive_bytes(), await frames.receive_bytes()
        except Gone:
            self.usable = False
            return SandboxOutcome(started=False, error="the container died")
        code = end["exit"] if end["started"] else None
        return SandboxOutcome(
            started=end["started"],
            error=end["error"],
            exit_code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            stdout=stdout,
            stderr=stderr,
            cpu_s=end["cpu_s"],
            wall_s=end["wall_s"],
            limit=end["limit"],
        )

    async def aclose(self) -> None:
        """End the container."""
        self.usable = False
        await self._container.aclose()

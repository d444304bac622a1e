"""Workers of one kind in a Ray cluster: hired as there is work and room, dismissed when they are lost or unfit.

A worker is an actor with one processor, placed by Ray wherever its demand is met; there are twice as many applicants as
workers at most, so that a cluster fills in a few rounds, and always one while work waits, so that a node that joins is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from vervet.errors import MissingPart
from vervet.executors import _ray_cluster as cluster
from vervet.executors._ray_worker import Hello, Worker
from vervet.protocols import Verifier
from vervet.records import Verdict, VerifierSpec
from vervet.version import __version__

_FIRST = 2
# applicants while there is no worker yet
_LOOK_S = 1.0
# between two looks at the size of the cluster
_CLOSE_S = 10.0
# for a worker to end its sandboxes
AT_ONCE = 2
# batches that a worker has: it judges one while the next is on its way


@dataclass(eq=False, slots=True)
class Member:
    """An applicant, or with `hello` a worker."""

    actor: Any
    hello: Hello | None = None
    answers: int = 0
    isolations: set[str] = field(default_factory=set)

    @property
    def label(self) -> str:
        return f"{self.hello.address} ({self.hello.node[:8]})" if self.hello else "a node"

    def count(self, verdicts: tuple[Verdict, ...]) -> None:
        self.answers += len(verdicts)
        self.isolations.update(v.isolation for v in verdicts if v.isolation)


class Staff:
    """Those who judge for one verifier's demand on a node."""

    def __init__(
        self, ray: ModuleType, build: Callable[[VerifierSpec], Verifier], demand: Mapping[str, float], verifier: str
    ) -> None:
        """Raises: MissingPart where no node offers what is asked for."""
        cluster.require(cluster.nodes(ray), demand, verifier)
        self._ray, self._demand, self._verifier = ray, dict(demand), verifier
        self._actor = ray.remote(max_restarts=0, max_task_retries=0, max_concurrency=AT_ONCE + 2)(Worker)
        self._build = build
        self._room_seen = (0.0, 0)
        # when, and how many
        self.members: list[Member] = []
        self.past: list[Member] = []
        # workers that were lost or dismissed, for the record
        self.unfit: dict[str, str] = {}
        # node id -> why it cannot do this work
        self._labels: dict[str, str] = {}

    @property
    def ready(self) -> int:
        return sum(member.hello is not None for member in self.members)

    def wants_more(self) -> bool:
        """Whether another applicant makes sense: as many as there are workers, no more than the cluster could hold."""
        applicants = len(self.members) - self.ready
        return applicants < max(_FIRST if not self.ready else 1, min(self.ready, self._room() - self.ready))

    def _room(self) -> int:
        """Workers that the cluster's processors could hold if it did nothing else."""
        seen, room = self._room_seen
        if time.monotonic() - seen > _LOOK_S:
            room = int(self._ray.cluster_resources().get("CPU", 0) / self._demand["CPU"])
            self._room_seen = (time.monotonic(), room)
        return room

    def hire(self) -> Member:
        """A new applicant; Ray will find a place for it, now or later."""
        special = {k: v for k, v in self._demand.items() if k not in ("CPU", "GPU")}
        options: dict[str, Any] = {
            "num_cpus": self._demand["CPU"],
            "num_gpus": self._demand.get("GPU", 0),
            "resources": special or None,
            "scheduling_strategy": "SPREAD",
        }
        if self.unfit:
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(self.unfit))})"}
        member = Member(self._actor.options(**options).remote(self._build, int(self._demand["CPU"])))
        self.members.append(member)
        return member

    async def welcome(self, member: Member) -> bool:
        """Wait until an applicant is placed. False: it is none of us (any more).

        Raises: MissingPart where no other node is left to ask.
        """
        try:
            hello: Hello = await member.actor.hello.remote()
        except self._ray.exceptions.RayError as error:
            self.dismiss(member)
            if "ModuleNotFoundError" in str(error) or "ImportError" in str(error):
                raise MissingPart(f"a node of the Ray cluster cannot load vervet: {_last_line(error)}") from error
            return False
        member.hello = hello
        self._labels[hello.node] = member.label
        if hello.vervet != __version__:
            self.reject(member, f"vervet {hello.vervet} is installed there, {__version__} here: install the same")
            return False
        if hello.node in self.unfit:
            self.dismiss(member)
            return False
        return True

    def reject(self, member: Member, why: str) -> None:
        """A node that cannot do this work gets no more of it. Raises: MissingPart where no other is left."""
        self.dismiss(member)
        if member.hello is not None:
            self.unfit[member.hello.node] = why
        left = [n for n in cluster.nodes(self._ray) if n.offers(self._demand) and n.id not in self.unfit]
        if not left:
            raise MissingPart(
                f"no node of the Ray cluster can run the verifier {self._verifier!r}; {member.label} says: {why}"
            )

    def dismiss(self, member: Member) -> None:
        """Without a word: its node is lost, or wrong. Idempotent."""
        if member in self.members:
            self.members.remove(member)
            if member.answers:
                self.past.append(member)
        with contextlib.suppress(Exception):
            self._ray.kill(member.actor)

    def notices(self) -> list[str]:
        """One line a node that is not used."""
        return [f"{self._labels.get(node, node)} is not used: {why}" for node, why in self.unfit.items()]

    async def aclose(self) -> None:
        """End the sandboxes, then the workers."""
        members, self.members = self.members, []
        ready = [m for m in members if m.hello is not None]
        closing = [asyncio.ensure_future(_closed(m)) for m in ready]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_S)
        for task in closing:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)
        for member in members:
            with contextlib.suppress(Exception):
                self._ray.kill(member.actor)
        self.past += [m for m in ready if m.answers]


async def _closed(member: Member) -> None:
    await member.actor.aclose.remote()


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if "Error" in line]
    return (lines[-1] if lines else str(error))[:300]

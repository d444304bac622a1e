"""What runs inside a Ray actor: verifiers that stay warm, and word of where they are.

Nothing of Ray is imported here but its word on which node this is, so that what a worker does can be tested without a cluster.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vervet.errors import MissingPart
from vervet.executors._verifiers import Verifiers
from vervet.protocols import Verifier
from vervet.records import Job, Problem, Verdict, VerifierSpec
from vervet.version import __version__

_PROBLEMS = 4096
# that a worker keeps: their checks are parsed once, not with every batch


@dataclass(frozen=True, slots=True)
class Hello:
    """A worker's introduction."""

    node: str
    # Ray's id of the node, hexadecimal
    address: str
    # the node's, for people
    vervet: str
    python: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says to a batch: verdicts, or why this machine cannot judge such answers at all."""

    verdicts: tuple[Verdict, ...] = ()
    unfit: str = ""


class Worker:
    """One actor. Its methods are what the driver calls."""

    def __init__(self, build: Callable[[VerifierSpec], Verifier], cpus: int) -> None:
        """Args: cpus: processors that this worker may keep busy; the node's others belong to other workers."""
        os.environ["VERVET_CPUS"] = str(cpus)
        self._verifiers = Verifiers(build)
        self._problems: dict[str, Problem] = {}

    async def hello(self) -> Hello:
        import ray  # noqa: PLC0415

        here: Any = ray
        node, address = here.get_runtime_context().get_node_id(), here.util.get_node_ip_address()
        return Hello(node, address, __version__, platform.python_version())

    async def verify(self, spec: VerifierSpec, key: str, problem: Any, answers: tuple[str, ...]) -> Answer:
        """One verdict an answer.

        Args: key: identifies the problem.  problem: itself, or a list with Ray's reference to it, which is fetched where the
        problem is not known here yet.
        """
        if key not in self._problems:
            if len(self._problems) >= _PROBLEMS:
                self._problems.pop(next(iter(self._problems)))
            self._problems[key] = await problem[0] if isinstance(problem, list) else problem
        try:
            self._verifiers.of(spec)
        except Exception as error:
            # the driver has built one like it: what is missing is missing here
            return Answer(unfit=f"{type(error).__name__}: {error}")
        try:
            return Answer(await self._verifiers.verify(Job(spec, self._problems[key], answers)))
        except MissingPart as error:
            return Answer(unfit=str(error))

    async def aclose(self) -> None:
        """End the sandboxes, before the actor is ended."""
        await self._verifiers.aclose()

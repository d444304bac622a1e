"""What every executor does with a job once it has arrived: one verifier a spec, and a verdict an answer, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from vervet.errors import MissingPart
from vervet.protocols import Verifier
from vervet.records import Job, Outcome, Reason, Strength, Verdict, VerifierSpec


class Verifiers:
    """The verifiers of one process, built when they are first needed."""

    def __init__(self, build: Callable[[VerifierSpec], Verifier]) -> None:
        self._build = build
        self._known: dict[str, Verifier] = {}

    def of(self, spec: VerifierSpec) -> Verifier:
        """Raises: whatever building it raises."""
        key = repr((spec.name, sorted(spec.settings.items())))
        if key not in self._known:
            self._known[key] = self._build(spec)
        return self._known[key]

    async def verify(self, job: Job) -> tuple[Verdict, ...]:
        """One verdict an answer, UNKNOWN where the verifier raises. Raises: MissingPart, and what building it raises."""
        verifier = self.of(job.verifier)
        try:
            verdicts = tuple(await verifier.verify(job.problem, job.answers))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # nobody cancelled this job: the verifier lost a task of its own
            return unknown(job, repr(error))
        except MissingPart:
            # about this machine, not about these answers, which stay pending
            raise
        except Exception as error:
            return unknown(job, f"{type(error).__name__}: {error}")
        if len(verdicts) != len(job.answers):
            return unknown(job, f"{verifier.name} gave {len(verdicts)} verdicts for {len(job.answers)} answers")
        return verdicts

    async def aclose(self) -> None:
        """Close all of them. Idempotent."""
        for verifier in self._known.values():
            await verifier.aclose()
        self._known.clear()


def unknown(job: Job, log: str) -> tuple[Verdict, ...]:
    """Nothing can be said about these answers, and why."""
    return (Verdict(Outcome.UNKNOWN, Reason.VERIFIER, Strength.EXACT, log=log[:2000]),) * len(job.answers)

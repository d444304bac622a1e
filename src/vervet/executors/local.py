"""Verification in this process: one verifier a spec, a few jobs at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable

from vervet.errors import MissingPart
from vervet.protocols import Verifier
from vervet.records import Job, JobResult, Outcome, Reason, Strength, Verdict, VerifierSpec


class Local:
    """Runs up to `jobs_at_once` jobs concurrently; a verifier does its own parallel work inside a job."""

    def __init__(self, build: Callable[[VerifierSpec], Verifier], *, jobs_at_once: int = 4) -> None:
        self._build = build
        self._at_once = jobs_at_once
        self._verifiers: dict[str, Verifier] = {}

    async def run(self, jobs: AsyncIterable[Job]) -> AsyncIterator[JobResult]:
        """Results as they come; a verifier that raises gives UNKNOWN, with the error in the log."""
        # bounded: a slot is held until its result has room, so that jobs are taken no faster than results are
        results: asyncio.Queue[JobResult | Exception | None] = asyncio.Queue(self._at_once)
        feed = asyncio.create_task(self._feed(jobs, results))
        try:
            while (result := await results.get()) is not None:
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)

    async def _feed(self, jobs: AsyncIterable[Job], results: asyncio.Queue[JobResult | Exception | None]) -> None:
        slots = asyncio.Semaphore(self._at_once)
        running: set[asyncio.Task[None]] = set()

        async def one(job: Job) -> None:
            try:
                result: JobResult | Exception = JobResult(job, await self._verify(job))
            except Exception as error:  # the verifier could not be built
                result = error
            await results.put(result)
            slots.release()

        try:
            await slots.acquire()
            async for job in jobs:
                task = asyncio.create_task(one(job))
                running.add(task)
                task.add_done_callback(running.discard)
                await slots.acquire()
            await asyncio.gather(*running)
            await results.put(None)
        except Exception as error:
            await results.put(error)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _verify(self, job: Job) -> tuple[Verdict, ...]:
        verifier = self._verifier(job.verifier)
        try:
            verdicts = tuple(await verifier.verify(job.problem, job.answers))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # nobody cancelled this job: the verifier lost a task of its own
            return _unknown(job, repr(error))
        except MissingPart:
            # about this machine, not about these answers: the run stops with one line, and the answers stay pending
            raise
        except Exception as error:
            return _unknown(job, f"{type(error).__name__}: {error}")
        if len(verdicts) != len(job.answers):
            return _unknown(job, f"{verifier.name} gave {len(verdicts)} verdicts for {len(job.answers)} answers")
        return verdicts

    def _verifier(self, spec: VerifierSpec) -> Verifier:
        key = repr((spec.name, sorted(spec.settings.items())))
        if key not in self._verifiers:
            self._verifiers[key] = self._build(spec)
        return self._verifiers[key]

    async def aclose(self) -> None:
        for verifier in self._verifiers.values():
            await verifier.aclose()
        self._verifiers.clear()


def _unknown(job: Job, log: str) -> tuple[Verdict, ...]:
    return (Verdict(Outcome.UNKNOWN, Reason.VERIFIER, Strength.EXACT, log=log[:2000]),) * len(job.answers)

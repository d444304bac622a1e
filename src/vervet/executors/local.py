"""Verification in this process: one verifier a spec, a few jobs at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable

from vervet.executors._verifiers import Verifiers
from vervet.protocols import Verifier
from vervet.records import Job, JobResult, VerifierSpec


class Local:
    """Runs up to `jobs_at_once` jobs concurrently; a verifier does its own parallel work inside a job."""

    def __init__(self, build: Callable[[VerifierSpec], Verifier], *, jobs_at_once: int = 4) -> None:
        self._at_once = jobs_at_once
        self._verifiers = Verifiers(build)

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
                result: JobResult | Exception = JobResult(job, await self._verifiers.verify(job))
            except Exception as error:  # the verifier could not be built, or a part of this machine is missing
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

    async def aclose(self) -> None:
        await self._verifiers.aclose()

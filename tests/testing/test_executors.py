"""The executors' suite: what we ship conforms, and each broken executor is caught by the check made for it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterable, AsyncIterator

import pytest

from tests.testing.controls import Control, assert_caught, assert_every_check_is_controlled
from vervet.executors.local import Local
from vervet.protocols import Executor
from vervet.records import Job, JobResult
from vervet.testing import executors
from vervet.testing.executors import BuildVerifier, Serial, conform_to_executor
from vervet.testing.fakes import build_scripted

ONE = pytest.param(lambda build: Local(build, jobs_at_once=1), marks=pytest.mark.slow)


@pytest.mark.parametrize("build", [Local, Serial, ONE], ids=["local", "serial", "one"])
def test_shipped_executors_conform(build: executors.Build) -> None:
    conform_to_executor(build)


def test_local_satisfies_the_protocol() -> None:
    assert isinstance(Local(build_scripted), Executor)
    assert isinstance(Serial(build_scripted), Executor)


class Forgetful(Serial):
    async def run(self, jobs: AsyncIterable[Job]) -> AsyncIterator[JobResult]:
        last = None
        async for result in super().run(jobs):
            if last is not None:
                yield last
            last = result


class Twice(Serial):
    """The first result twice, the last never: the number is right."""

    async def run(self, jobs: AsyncIterable[Job]) -> AsyncIterator[JobResult]:
        results = [r async for r in super().run(jobs)]
        for result in [*results[:1], *results[:-1]]:
            yield result


class Renames(Serial):
    async def run(self, jobs: AsyncIterable[Job]) -> AsyncIterator[JobResult]:
        async for result in super().run(jobs):
            yield JobResult(dataclasses.replace(result.job, keys=()), result.verdicts)


class Reverses(Serial):
    async def run(self, jobs: AsyncIterable[Job]) -> AsyncIterator[JobResult]:
        async for result in super().run(jobs):
            yield JobResult(result.job, result.verdicts[::-1])


class Trusting(Serial):
    async def _verify(self, job: Job):  # type: ignore[no-untyped-def]
        return tuple(await self._build(job.verifier).verify(job.problem, job.answers))


class Greedy(Serial):
    async def run(self, jobs: AsyncIterable[Job]) -> AsyncIterator[JobResult]:
        for job in [job async for job in jobs]:
            yield JobResult(job, await self._verify(job))


class Swallows(Serial):
    async def run(self, jobs: AsyncIterable[Job]) -> AsyncIterator[JobResult]:
        try:
            async for result in super().run(jobs):
                yield result
        except LookupError:
            return


class Careless(Serial):
    """Starts a task a job and forgets them when it is stopped."""

    async def run(self, jobs: AsyncIterable[Job]) -> AsyncIterator[JobResult]:
        started = [(job, asyncio.create_task(self._verify(job))) async for job in jobs]
        for job, task in started:
            yield JobResult(job, await asyncio.shield(task))


class Once(Serial):
    used = False

    async def run(self, jobs: AsyncIterable[Job]) -> AsyncIterator[JobResult]:
        if self.used:
            return
        self.used = True
        async for result in super().run(jobs):
            yield result


class LeavesOpen(Serial):
    async def aclose(self) -> None:
        return


class BuildsPerJob(Serial):
    async def _verify(self, job: Job):  # type: ignore[no-untyped-def]
        self._verifiers.clear()
        return await super()._verify(job)


class ClosesOnce(Serial):
    def __init__(self, build: BuildVerifier) -> None:
        super().__init__(build)
        self._closed = False

    async def aclose(self) -> None:
        if self._closed:
            raise RuntimeError("closed already")
        self._closed = True


SHORT = 6.0
CONTROLS: dict[str, Control] = {
    "check_every_job_once: the last result is lost": (
        lambda: executors.check_every_job_once(Forgetful),
        "43 jobs, 42 results",
    ),
    "check_every_job_once: one twice": (lambda: executors.check_every_job_once(Twice), "came back twice"),
    "check_every_job_once: keys lost": (lambda: executors.check_every_job_once(Renames), "its job unchanged"),
    "check_equals_serial: wrong order": (lambda: executors.check_equals_serial(Reverses), "those of the serial"),
    "check_raising_verifier: error escapes": (lambda: executors.check_raising_verifier(Trusting), "gives UNKNOWN"),
    "check_back_pressure: takes all": (lambda: executors.check_back_pressure(Greedy), "356 jobs were pulled"),
    "check_stream_that_raises: swallowed": (lambda: executors.check_stream_that_raises(Swallows), "all were well"),
    "check_cancel: tasks forgotten": (lambda: executors.check_cancel(Careless, limit_s=SHORT), "tasks are left behind"),
    "check_early_end: tasks forgotten": (lambda: executors.check_early_end(Careless, limit_s=SHORT), "left behind"),
    "check_runs_again: single use": (lambda: executors.check_runs_again(Once), "gives no result"),
    "check_closes_verifiers: left open": (lambda: executors.check_closes_verifiers(LeavesOpen), "still open"),
    "check_closes_verifiers: one a job": (lambda: executors.check_closes_verifiers(BuildsPerJob), "built 20"),
    "check_close: not twice": (lambda: executors.check_close(lambda: ClosesOnce(build_scripted)), "second time"),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_broken_executor_is_caught(name: str) -> None:
    assert_caught(CONTROLS[name])


def test_every_check_has_a_control() -> None:
    assert_every_check_is_controlled(executors, CONTROLS, set())


def test_a_job_whose_verifier_cannot_be_built_ends_the_run_with_its_error() -> None:
    """Not a hang, and not UNKNOWN for ever: a wrong setting is the user's to change."""

    def build(spec: object) -> None:
        raise LookupError("no such verifier")

    async def work() -> None:
        executor = Local(build)  # type: ignore[arg-type]
        with pytest.raises(LookupError, match="no such verifier"):
            async for _ in executor.run(executors._stream(executors.jobs_of(*["pass"] * 20))):
                pass
        await executor.aclose()

    asyncio.run(work())

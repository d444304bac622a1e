"""What every executor promises, as checks, and `Serial`, the reference: see `vervet.protocols.Executor`.

`build` makes a new executor from a function that builds verifiers; that function can be pickled.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence

from vervet.protocols import Executor, Verifier
from vervet.records import Job, JobResult, Outcome, Problem, Reason, Strength, Verdict, VerifierSpec
from vervet.testing._suite import LIMIT_S, call, check_close, opened, require, require_no_tasks, run, run_all, short
from vervet.testing.fakes import ScriptedVerifier, build_scripted

BuildVerifier = Callable[[VerifierSpec], Verifier]
Build = Callable[[BuildVerifier], Executor]
PULLED_AHEAD = 64
# jobs that an executor may take before their results are wanted: enough for any pool, few enough to bound memory
_CLOSE_S = 5.0


class Serial:
    """One job after another, in order: what every other executor has to agree with."""

    def __init__(self, build: BuildVerifier) -> None:
        self._build = build
        self._verifiers: dict[str, Verifier] = {}

    async def run(self, jobs: AsyncIterable[Job]) -> AsyncIterator[JobResult]:
        """Results in the jobs' order. A verifier that raises, or gives too few verdicts, gives UNKNOWN."""
        async for job in jobs:
            yield JobResult(job, await self._verify(job))

    async def _verify(self, job: Job) -> tuple[Verdict, ...]:
        key = repr((job.verifier.name, sorted(job.verifier.settings.items())))
        if key not in self._verifiers:
            self._verifiers[key] = self._build(job.verifier)
        try:
            verdicts = tuple(await self._verifiers[key].verify(job.problem, job.answers))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return _unknown(job, repr(error))
        except Exception as error:
            return _unknown(job, repr(error))
        return verdicts if len(verdicts) == len(job.answers) else _unknown(job, f"{len(verdicts)} verdicts")

    async def aclose(self) -> None:
        """Close the verifiers that were built."""
        for verifier in self._verifiers.values():
            await verifier.aclose()
        self._verifiers.clear()


def _unknown(job: Job, log: str) -> tuple[Verdict, ...]:
    return (Verdict(Outcome.UNKNOWN, Reason.VERIFIER, Strength.EXACT, log=log[:2000]),) * len(job.answers)


def conform_to_executor(
    build: Build, *, pulled_ahead: int = PULLED_AHEAD, in_process: bool = True, limit_s: float = LIMIT_S
) -> None:
    """Run every check of an executor.

    Args: pulled_ahead: jobs that it may take before their results are wanted.  in_process: verifiers are built in this
        process, so that their end can be seen.  limit_s: for one check.
    Raises: AssertionError that lists the broken promises.
    """
    checks = [
        call(check_every_job_once, build, limit_s=limit_s),
        call(check_equals_serial, build, limit_s=limit_s),
        call(check_raising_verifier, build, limit_s=limit_s),
        call(check_back_pressure, build, at_most=pulled_ahead, limit_s=limit_s),
        call(check_stream_that_raises, build, limit_s=limit_s),
        call(check_cancel, build, limit_s=limit_s),
        call(check_early_end, build, limit_s=limit_s),
        call(check_runs_again, build, limit_s=limit_s),
        call(check_close, lambda: build(build_scripted), lambda executor: _results(executor, jobs_of("pass"))),
    ]
    if in_process:
        checks.append(call(check_closes_verifiers, build, limit_s=limit_s))
    run_all("executor", *checks)


# ------------------------------------------------------------------------------------------------------ jobs


def job_of(number: int, *answers: str, note: str = "") -> Job:
    """A job for the scripted verifier."""
    problem = Problem(f"p{number % 3}", {"number": number})
    return Job(VerifierSpec("scripted", {"note": note}), problem, answers, tuple(range(number, number + len(answers))))


def jobs_of(*scripts: str) -> list[Job]:
    """One job a script; answers are separated by commas."""
    return [job_of(i, *(f"{a} {i}" for a in script.split(","))) for i, script in enumerate(scripts)]


def _mixed() -> list[Job]:
    """Jobs of uneven length and duration, the first the slowest."""
    scripts = ["pass", "fail,fail,unknown", "sleep=0.02 unknown", "pass,pass,pass,fail"]
    return jobs_of("sleep=0.2 pass,fail", *(scripts[i % 4] for i in range(42)))


async def _stream(jobs: Sequence[Job]) -> AsyncIterator[Job]:
    for job in jobs:
        yield job


async def _results(executor: Executor, jobs: Sequence[Job]) -> list[JobResult]:
    return [result async for result in executor.run(_stream(jobs))]


async def _first(results: AsyncIterator[JobResult]) -> None:
    async for _ in results:
        return
    raise AssertionError("there are jobs, and run() gives no result")


def _gists(results: Sequence[JobResult]) -> dict[str, list[tuple[str, str]]]:
    return {repr((r.job.problem.check, r.job.answers)): [(v.outcome, v.reason) for v in r.verdicts] for r in results}


# ------------------------------------------------------------------------------------------------------ checks


def check_every_job_once(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Every job gives exactly one result, with the job as it was and one verdict an answer; no jobs, no results."""

    async def work() -> None:
        async with opened(lambda: build(build_scripted)) as executor:
            require(await _results(executor, []) == [], "no jobs give no results")
            jobs = _mixed()
            results = await _results(executor, jobs)
            require(
                len(results) == len(jobs),
                f"every job gives exactly one result: {len(jobs)} jobs, {len(results)} results",
            )
            for result in results:
                require(isinstance(result, JobResult), f"run() yields JobResults, not {short(result)}")
                require(result.job in jobs, f"a result holds its job unchanged, keys included: {short(result.job)}")
                require(
                    len(result.verdicts) == len(result.job.answers),
                    f"one verdict an answer: {len(result.job.answers)} answers, {len(result.verdicts)} verdicts",
                )
            keys = sorted(k for r in results for k in r.job.keys)
            require(keys == sorted(k for j in jobs for k in j.keys), "some job came back twice, and another never")

    run(work, limit_s)


def check_equals_serial(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Verdicts are those of `Serial`, whatever the order in which the results come."""

    async def work() -> None:
        async with opened(lambda: build(build_scripted)) as executor, opened(lambda: Serial(build_scripted)) as serial:
            found, wanted = _gists(await _results(executor, _mixed())), _gists(await _results(serial, _mixed()))
            wrong = [k for k in wanted if found.get(k) != wanted[k]]
            require(
                not wrong,
                f"verdicts are those of the serial executor: {wrong and (wrong[0], found.get(wrong[0]), wanted[wrong[0]])}",
            )

    run(work, limit_s)


def check_raising_verifier(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """A verifier that raises, or gives too few verdicts, makes its job UNKNOWN, and no other."""

    async def work() -> None:
        async with opened(lambda: build(build_scripted)) as executor:
            jobs = jobs_of("pass", "pass,raise", "fail", "pass,short,pass", "pass,lose", "pass")
            try:
                results = await _results(executor, jobs)
            except (Exception, asyncio.CancelledError) as error:
                raise AssertionError(f"a verifier that raises gives UNKNOWN; run() raised {error!r}") from error
            require(
                len(results) == len(jobs),
                f"{len(jobs)} jobs, two of which raise and one of which is short, gave {len(results)} results",
            )
            for result in results:
                outcomes = [v.outcome for v in result.verdicts]
                script = " ".join(result.job.answers)
                if any(word in script for word in ("raise", "short", "lose")):
                    wanted = [Outcome.UNKNOWN] * len(result.job.answers)
                    require(outcomes == wanted, f"a verifier that fails ({script}) gives UNKNOWN, not {outcomes}")
                else:
                    require(Outcome.UNKNOWN not in outcomes, f"the job {script!r} suffers from another's failure")

    run(work, limit_s)


def check_back_pressure(build: Build, *, at_most: int = PULLED_AHEAD, limit_s: float = LIMIT_S) -> None:
    """Jobs are taken as there is room for them: while nobody takes results, the stream is not pulled to its end."""
    pulled = 0

    async def jobs() -> AsyncIterator[Job]:
        nonlocal pulled
        for job in jobs_of(*["pass"] * (at_most * 4 + 100)):
            pulled += 1
            yield job

    async def work() -> None:
        async with opened(lambda: build(build_scripted)) as executor:
            results = executor.run(jobs())
            await _first(results)
            await asyncio.sleep(0.3)
            require(
                pulled <= at_most,
                f"one result was taken and then none for 0.3 s, and {pulled} jobs were pulled: with back-pressure at "
                f"most {at_most}",
            )
            rest = [r async for r in results]
            require(
                len(rest) == at_most * 4 + 99, f"after the pause {len(rest)} results came, {at_most * 4 + 99} were due"
            )

    run(work, limit_s)


def check_stream_that_raises(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """An error in the stream of jobs reaches whoever takes the results; it is not swallowed."""

    async def jobs() -> AsyncIterator[Job]:
        for job in jobs_of("pass", "fail"):
            yield job
        raise LookupError("the stream broke")

    async def work() -> None:
        async with opened(lambda: build(build_scripted)) as executor:
            try:
                async for _ in executor.run(jobs()):
                    pass
            except LookupError:
                return
            raise AssertionError("the stream of jobs raised LookupError, and run() ended as if all were well")

    run(work, limit_s)


def check_cancel(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Cancelled midway, it ends at once and leaves no task behind."""

    async def work() -> None:
        async with opened(lambda: build(build_scripted)) as executor:
            task = asyncio.create_task(_results(executor, jobs_of("pass", *["sleep=60 pass"] * 20)))
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.wait([task], timeout=_CLOSE_S)
            require(task.done(), f"cancelled while jobs run, it goes on for more than {_CLOSE_S:g} s")
            await require_no_tasks()

    run(work, limit_s)


def check_early_end(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Whoever stops taking results and closes the iterator leaves no task behind."""

    async def work() -> None:
        async with opened(lambda: build(build_scripted)) as executor:
            results = executor.run(_stream(jobs_of("pass", *["sleep=60 pass"] * 20)))
            await _first(results)
            close = getattr(results, "aclose", None)
            if close is None:
                raise AssertionError("run() is an async generator, or has aclose(): a stop has to reach the workers")
            async with asyncio.timeout(_CLOSE_S):
                await close()
            await require_no_tasks()

    run(work, limit_s)


def check_runs_again(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """An executor serves one run after another, also after a run that was ended early."""

    async def work() -> None:
        async with opened(lambda: build(build_scripted)) as executor:
            jobs = jobs_of("pass", "fail", "pass")
            require(len(await _results(executor, jobs)) == 3, "the first run gives all results")
            async with contextlib.aclosing(executor.run(_stream(jobs))) as results:  # type: ignore[type-var]
                await _first(results)
            found = await _results(executor, jobs)
            require(len(found) == 3, f"after a run that was ended early, 3 jobs gave {len(found)} results")

    run(work, limit_s)


def check_closes_verifiers(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """A verifier is built once a spec, not once a job, and `aclose` closes it. For executors in this process only."""
    built: list[ScriptedVerifier] = []

    def factory(spec: VerifierSpec) -> ScriptedVerifier:
        built.append(build_scripted(spec))
        return built[-1]

    async def work() -> None:
        executor = build(factory)
        await _results(executor, [job_of(i, "pass", note="ab"[i % 2]) for i in range(20)])
        count = len(built)
        require(count <= 8, f"20 jobs with two specs built {count} verifiers: building one can cost seconds")
        await executor.aclose()
        left = sum(not verifier.closed for verifier in built)
        require(not left, f"aclose() closes the verifiers that were built; {left} of {count} are still open")

    run(work, limit_s)

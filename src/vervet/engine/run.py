"""The loop: draw what is missing, store it, verify each distinct answer once, store that.

Sampling and verification overlap. Nothing is acted on before it is durable: a sample counts when its transaction has been
committed, and only then are its answers verified. A stop drains the requests in flight and keeps what they bring.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from vervet.engine.answers import AnswerLine, Waiting
from vervet.engine.limits import Purse, cost_usd, prompt_bound
from vervet.engine.plan import Span, plan, total
from vervet.engine.progress import Progress
from vervet.errors import ServiceError, StorageError, VervetError, boundary
from vervet.ledger import Drawn, Extracted, GroupCommit, Ledger, NewAnswer, Recorder, Trials, View, read
from vervet.ledger.rows import rows as stored_rows
from vervet.ledger.spending import Charge
from vervet.prices import Price
from vervet.protocols import Executor, Policy, Sampler
from vervet.records import (
    Job,
    JobResult,
    Outcome,
    Params,
    Problem,
    Prompt,
    Reply,
    Request,
    Usage,
    Verdict,
    VerifierSpec,
)

_HEARTBEAT_S = 2.0
# a crash forgets so much working time at most
_RECORDED_AT_ONCE = 64
# results on their way into the ledger: they share transactions
TRIES = 3
# tries at an UNKNOWN answer in one run
SOLVED = "solved"
# why a run that was to end with the first PASS ended


@dataclass(frozen=True, slots=True)
class Drawing:
    """How to sample; None in a run that only verifies."""

    sampler: Sampler
    policy: Policy
    prompts: Mapping[str, Prompt]
    # the problems to sample, in order
    params: Params
    run_seed: int
    max_n: int
    max_in_flight: int
    price: Price | None = None
    purse: Purse | None = None
    # the budget, where the run has one
    most_seconds: float | None = None
    # of work that are left
    metered: bool = False
    # the sampler asks the purse by itself, before each attempt


@dataclass(frozen=True, slots=True)
class Judging:
    """How to verify; None in a run that only samples."""

    executor: Executor
    spec: VerifierSpec
    verifier: int
    # key in the ledger
    problems: Mapping[str, Problem]
    # the problems to verify, without prompts


class Stop:
    """Asked for once, a run drains and saves; the reason is kept."""

    def __init__(self) -> None:
        self.reason = ""
        self._event = asyncio.Event()

    def request(self, reason: str) -> None:
        self.reason = self.reason or reason
        self._event.set()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()


@dataclass(slots=True)
class Engine:
    """One invocation over one ledger."""

    ledger: Ledger
    extractor: str
    extract: Callable[[str], Extracted | None]
    drawing: Drawing | None
    judging: Judging | None
    progress: Progress
    stop: Stop
    _group: GroupCommit = field(init=False)
    _recorder: Recorder = field(init=False)
    _line: AnswerLine = field(init=False)
    _failure: BaseException | None = field(init=False, default=None)
    _hopeless: dict[str, str] = field(init=False, default_factory=dict)
    # problem id -> why its remaining samples stay missing
    _worked_before: float = field(init=False, default=0.0)
    # seconds, by earlier invocations
    missing: int = field(init=False, default=0)
    # samples that the policy wanted and that were not stored when it was last asked
    spent: bool = field(init=False, default=False)
    # the budget has no room for the next request
    until_pass: bool = False
    # the first PASS ends it all: what is in flight is cancelled, not drained, and what has no verdict stays without
    _sending: set[asyncio.Task[None]] = field(init=False, default_factory=set)
    cancelled: int = field(init=False, default=0)
    # requests that a PASS cut short: paid for, as far as the server had come, and lost

    async def run(self) -> None:
        """Until nothing is missing and nothing is pending, or a stop.

        Raises: ServiceError, PluginError, StorageError; whatever was received before is stored.
        """
        self._recorder = Recorder(self.ledger, self.extractor)
        self._line = AnswerLine()
        self._queue_old_work()
        self._worked_before = float(self.ledger.meta("worked_s", 0.0))
        self._group = GroupCommit(self.ledger)
        if self.drawing is not None and self.drawing.purse is not None:
            self.drawing.purse.attach(self._group)
        judge = asyncio.create_task(self._judge())
        watch = asyncio.create_task(self._watch_stop())
        clock = asyncio.create_task(self._watch_clock())
        try:
            await self._draw_all()
            await self._line.close()
            if self.until_pass:
                await self._judged_or_solved(judge)
            else:
                await judge
        finally:
            for task in (judge, watch, clock):
                task.cancel()
            await asyncio.gather(judge, watch, clock, return_exceptions=True)
            await self._close_books()
        if self._failure is not None:
            raise self._failure

    async def _judged_or_solved(self, judge: asyncio.Task[None]) -> None:
        """Wait for every verdict, or for the first PASS: other answers' verdicts, which may take minutes, are not awaited."""
        stopped = asyncio.create_task(self.stop.wait())
        try:
            while not judge.done() and self.stop.reason != SOLVED:
                await asyncio.wait({judge, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if self.stop.requested and self.stop.reason != SOLVED:
                    await judge
        finally:
            stopped.cancel()

    def _solved(self) -> None:
        """A PASS is stored: nobody needs what is still under way."""
        self.stop.request(SOLVED)
        for task in self._sending:
            task.cancel()

    async def _watch_stop(self) -> None:
        await self.stop.wait()
        self._drain()
        await self._line.stop()

    @property
    def undone(self) -> bool:
        """Whether a budget ended the run before everything was drawn and judged."""
        return self.spent or (self.stop.reason == "budget" and len(self._line) > 0)

    def _drain(self) -> None:
        """Nothing new is sent; what is out may finish."""
        drain = getattr(self.drawing.sampler, "drain", None) if self.drawing else None
        if drain is not None:
            drain()
        if self.drawing is not None and self.drawing.purse is not None:
            self.drawing.purse.drain()

    async def _watch_clock(self) -> None:
        """Keep the time that was worked, and end the run when a budget of time is used up."""
        most = None if self.drawing is None else self.drawing.most_seconds
        while True:
            worked = self.progress.seconds
            if most is not None and worked >= most:
                self.stop.request("budget")
                most = None
            await self._group.do(partial(self.ledger.set_meta, "worked_s", self._worked_before + worked))
            await asyncio.sleep(_HEARTBEAT_S if most is None else min(_HEARTBEAT_S, max(0.01, most - worked)))

    async def _close_books(self) -> None:
        """What was worked and spent, to the end."""
        purse = self.drawing.purse if self.drawing else None
        try:
            if purse is not None:
                await purse.flush()
            worked = self._worked_before + self.progress.seconds
            await self._group.do(lambda: self._keep(worked))
        except StorageError as error:
            self._fail(error)
        finally:
            await self._group.aclose()
            if purse is not None:
                purse.attach(None)

    def _keep(self, worked: float) -> None:
        self.ledger.set_meta("worked_s", worked)
        if self.drawing is not None:
            self.ledger.set_meta("missing", self.missing)

    def _fail(self, error: BaseException) -> None:
        """First failure wins; the rest of the run drains."""
        if self._failure is None:
            self._failure = error
        self.stop.request("failed")

    # --------------------------------------------------------------------------------------------- old work

    def _queue_old_work(self) -> None:
        """Extract what was never extracted, and line up what was never decided."""
        extractor = self._extract_old()
        if self.judging is None:
            return
        todo = read.undecided(self.ledger, View(extractor, self.judging.verifier))
        for problem_id, answers in todo.items():
            if problem_id in self.judging.problems:
                self._line.add(Waiting(problem_id, answer, None) for answer in answers)
        self.progress.to_verify = len(self._line)

    def _extract_old(self) -> int:
        with self.ledger.transaction():
            extractor = self.ledger.name_id(self.extractor)
        while chunk := read.unextracted(self.ledger, extractor, 1000):
            with self.ledger.transaction():
                for problem_id, text_id in chunk:
                    text = self.ledger.text(text_id)
                    self._recorder.add_extraction(problem_id, text_id, text, self.extract(text))
        return extractor

    # --------------------------------------------------------------------------------------------- sampling

    async def _draw_all(self) -> None:
        """Passes over what is missing until nothing is, a pass brings nothing new, or the budget is spent."""
        if self.drawing is None:
            return
        stored = read.stored(self.ledger)
        self.progress.stored_before = sum(row.count for row in stored.values())
        while True:
            stored = {p: row for p, row in stored.items() if p in self.drawing.prompts and p not in self._hopeless}
            want = await self._want(stored)
            missing = self.missing = total(stored, want)
            self.progress.wanted = self.progress.stored + missing
            if not missing or self._out_of_time() or self.stop.requested:
                self.spent |= bool(missing) and (self._out_of_time() or self.stop.reason == "budget")
                return
            stored_before, refused_before, charged = self.progress.stored, self._refusals(), self._charged()
            await self._draw(plan(stored, want, self.drawing.max_n))
            refused = self._refusals() > refused_before
            if self.progress.stored == stored_before and not (refused and self._charged() != charged):
                # what the budget refused may fit in a smaller request, but only once something else was settled
                self.spent |= refused
                return
            if self.spent:
                return
            if not blind(self.drawing.policy):
                # the next wave follows from this one's verdicts, all of them: those that come first are not typical
                await self._line.idle()
            stored = await self._group.do(lambda: read.stored(self.ledger))

    def _out_of_time(self) -> bool:
        most = self.drawing.most_seconds if self.drawing else None
        return most is not None and self.progress.seconds >= most

    def _refusals(self) -> int:
        purse = self.drawing.purse if self.drawing else None
        return 0 if purse is None else purse.refusals

    def _charged(self) -> tuple[float, int]:
        """What the budget was charged so far and what samplers allow for around a prompt: both only ever grow."""
        purse = self.drawing.purse if self.drawing else None
        return (0.0, 0) if purse is None else (purse.final.usd + purse.final.tokens, purse.wrapping)

    async def _want(self, stored: Mapping[str, read.Stored]) -> Mapping[str, int]:
        assert self.drawing is not None
        policy = self.drawing.policy
        if blind(policy):
            return policy.want(dict.fromkeys(stored, ()))
        return await self._group.do(lambda: self._want_now(policy, list(stored)))

    def _want_now(self, policy: Policy, problems: list[str]) -> Mapping[str, int]:
        return wanted(self.ledger, policy, problems, self.judging.verifier if self.judging else 0, self.extractor)

    async def _draw(self, spans: Iterator[Span]) -> None:
        assert self.drawing is not None
        # whoever draws does so until its samples are durable: a crash loses no more than so many requests.
        # a task for each place, not for each request, and no more of them than there is work for
        first = list(itertools.islice(spans, self.drawing.max_in_flight))
        rest = itertools.chain(first, spans)
        self._sending = {asyncio.create_task(self._draw_from(rest)) for _ in first}
        # drained, not cancelled: what is in flight is paid for
        done = (await asyncio.wait(self._sending))[0] if first else set()
        self._sending = set()
        for task in done:
            if not task.cancelled():
                task.result()

    async def _draw_from(self, spans: Iterator[Span]) -> None:
        """One request after the other, until there are no more or none may be sent."""
        for span in spans:
            if self.stop.requested or self.spent:
                return
            if span.problem_id in self._hopeless:
                continue
            request = self._within_budget(self._request(span))
            if request is None:
                self.spent = True
                return
            await self._draw_one(request)

    def _request(self, span: Span) -> Request:
        assert self.drawing is not None
        return Request(
            problem_id=span.problem_id,
            prompt=self.drawing.prompts[span.problem_id],
            params=self.drawing.params,
            first=span.first,
            n=span.n,
            run_seed=self.drawing.run_seed,
        )

    def _within_budget(self, request: Request) -> Request | None:
        """The request, for fewer samples where there is no room for all of them; None: for none."""
        purse = self.drawing.purse if self.drawing else None
        if purse is None:
            return request
        n = purse.affordable(request)
        if n == 0:
            return None
        return request if n == request.n else replace(request, n=n)

    async def _draw_one(self, request: Request) -> None:
        self.progress.in_flight += 1
        try:
            try:
                reply = await self._ask(request)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            if reply is not None and reply.completions:
                await self._store(request, reply)
        except Exception as error:
            self._fail(error)
        finally:
            self.progress.in_flight -= 1

    async def _ask(self, request: Request) -> Reply | None:
        """The sampler's reply; None when this problem cannot be sampled at all."""
        try:
            with boundary("the model"):
                try:
                    return await self._sample(request)
                except (ConnectionError, TimeoutError) as error:
                    raise ServiceError(f"the model cannot be reached: {error}") from error
                except ValueError as error:
                    self._give_up(request.problem_id, str(error))
                    return None
        except VervetError as error:
            self._fail(error)
            return None

    async def _sample(self, request: Request) -> Reply | None:
        """The sampler's reply, within the budget; None where the budget has no room for the request any more."""
        assert self.drawing is not None
        purse, sampler = self.drawing.purse, self.drawing.sampler
        if purse is None or self.drawing.metered:
            return await sampler.sample(request)
        ticket = await purse.reserve(request, request.n, prompt_bound(request.prompt))
        if ticket is None:
            return None
        usage: Usage | None = None
        samples = 0
        try:
            reply = await sampler.sample(request)
            usage, samples = reply.usage, min(len(reply.completions), request.n)
            return reply
        except ValueError:
            # refused before anything was generated
            usage = Usage(0, 0, 0)
            raise
        finally:
            purse.settle(ticket, usage if samples or usage == Usage(0, 0, 0) else None, samples)

    def _give_up(self, problem_id: str, why: str) -> None:
        if problem_id not in self._hopeless:
            self._hopeless[problem_id] = why
            self.progress.notices.append(f"{problem_id}: its missing samples stay missing: {why}")

    async def _store(self, request: Request, reply: Reply) -> None:
        kept = reply.completions[: request.n]
        charge = self._charge(request)
        usd = cost_usd(self.drawing.price if self.drawing else None, reply.usage) if charge is None else charge.usd
        usage = reply.usage if usd == reply.usage.cost_usd else replace(reply.usage, cost_usd=usd)
        if usage is not reply.usage or len(kept) < len(reply.completions):
            reply = Reply(kept, usage, reply.server)
        drawn = Drawn(request, reply, tuple(self.extract(c.text) for c in kept), charge)
        new = await self._group.share(self._recorder.add_all, drawn)
        self._count(drawn)
        if self.judging is not None and new:
            self.progress.to_verify += len(new)
            await self._line.put(_waiting(new))

    def _charge(self, request: Request) -> Charge | None:
        purse = self.drawing.purse if self.drawing else None
        return None if purse is None else purse.take(request)

    def _count(self, drawn: Drawn) -> None:
        now, usage = self.progress, drawn.reply.usage
        now.requests += 1
        now.stored += len(drawn.reply.completions)
        for completion, answer in zip(drawn.reply.completions, drawn.answers, strict=True):
            now.truncated += completion.finish_reason == "length"
            now.unparsed += answer is None
        now.prompt_tokens += usage.prompt_tokens or 0
        now.completion_tokens += usage.completion_tokens or 0
        if usage.cost_usd is not None:
            now.cost_usd = (now.cost_usd or 0.0) + usage.cost_usd

    # --------------------------------------------------------------------------------------------- verification

    async def _judge(self) -> None:
        if self.judging is None:
            return
        slots = asyncio.Semaphore(_RECORDED_AT_ONCE)
        recording: set[asyncio.Task[None]] = set()
        try:
            async for result in self.judging.executor.run(self._jobs()):
                await slots.acquire()
                task = asyncio.create_task(self._record_one(result, slots))
                recording.add(task)
                task.add_done_callback(recording.discard)
            await asyncio.gather(*recording)
        except Exception as error:
            self._fail(error)
            await self._line.stop()
        finally:
            await asyncio.gather(*recording, return_exceptions=True)

    async def _record_one(self, result: JobResult, slots: asyncio.Semaphore) -> None:
        try:
            await self._record(result)
        except Exception as error:
            self._fail(error)
            await self._line.stop()
        finally:
            slots.release()

    async def _jobs(self) -> AsyncIterator[Job]:
        assert self.judging is not None
        async for batch in self._line.batches():
            texts = await self._texts(batch)
            yield Job(
                verifier=self.judging.spec,
                problem=self.judging.problems[batch[0].problem_id],
                answers=tuple(texts),
                keys=tuple(item.answer_id for item in batch),
                tries=batch[0].tries,
            )

    async def _texts(self, batch: list[Waiting]) -> list[str]:
        if all(item.answer is not None for item in batch):
            return [item.answer or "" for item in batch]
        ids = [item.answer_id for item in batch]
        return await self._group.do(lambda: [self.ledger.answer(i) for i in ids])

    async def _record(self, result: JobResult) -> None:
        assert self.judging is not None
        job, key = result.job, self.judging.verifier
        pairs: list[tuple[int, Verdict]] = list(zip(job.keys, result.verdicts, strict=True))
        await self._group.share(self._recorder.add_trials, Trials(key, job.problem.id, pairs))
        again: list[Waiting] = []
        for (answer_id, verdict), answer in zip(pairs, job.answers, strict=True):
            if verdict.outcome is Outcome.UNKNOWN and job.tries + 1 < TRIES:
                again.append(Waiting(job.problem.id, answer_id, answer, job.tries + 1))
                continue
            self.progress.verified += 1
            self.progress.passed += verdict.outcome is Outcome.PASS
            if self.until_pass and verdict.outcome is Outcome.PASS:
                self._solved()
            self.progress.unknown += verdict.outcome is Outcome.UNKNOWN
        self.progress.to_verify -= len(pairs) - len(again)
        await self._line.settle(len(pairs), again)


def _waiting(new: list[NewAnswer]) -> list[Waiting]:
    return [Waiting(item.problem_id, item.answer_id, item.answer) for item in new]


def blind(policy: Policy) -> bool:
    """Whether a policy looks at no outcome."""
    return bool(getattr(policy, "blind", False))


def wanted(ledger: Ledger, policy: Policy, problems: list[str], verifier: int, extractor: str) -> Mapping[str, int]:
    """What a policy wants, from the rows of these problems as they are stored."""
    if blind(policy):
        return policy.want(dict.fromkeys(problems, ()))
    which = View(ledger.known_name(extractor), verifier)
    uses_classes = bool(getattr(policy, "uses_classes", False))
    rows = stored_rows(ledger, which, classes=uses_classes)
    known = {p: rows.outcomes[p] for p in problems}
    if uses_classes:
        with_classes: Callable[..., Mapping[str, int]] = policy.want
        return with_classes(known, {p: rows.classes[p] for p in problems})
    return policy.want(known)

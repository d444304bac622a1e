"""One request's work: draw, judge, choose. What it needs of the rest is handed in.

`majority` and `best-of` draw k samples at once and pick one. `verified` draws in batches that grow by a quarter, judges samples
as they arrive, and ends with the first PASS: what is in flight then is cancelled. Only a PASS is called one; where nothing
passed, the most frequent answer goes back under outcome FAIL or UNKNOWN.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from vervet.engine.limits import cost_usd
from vervet.estimate.search import waves
from vervet.prices import Price
from vervet.protocols import Selector
from vervet.records import Message, Outcome, Params, Problem, Reply, Request, Sample, Usage, Verdict
from vervet.serve.wire import Strategy
from vervet.tasks.prompt import OnePrompt

FIRST_BATCH = 4
_NOTHING = Usage(0, None, 0)
Draw = Callable[[Request], Awaitable[Reply]]
Judge = Callable[[Problem, Sequence[str]], Awaitable[Sequence[Verdict]]]
Score = Callable[[Problem, Sequence[Sample]], Awaitable[Sequence[float | None]]]


@dataclass(frozen=True, slots=True)
class Tools:
    """What an exchange works with."""

    draw: Draw
    # one request to the model; raises as a sampler does
    max_n: int
    # samples in a request at most
    select: Callable[[str], Selector]
    price: Price | None = None
    judge: Judge | None = None
    score: Score | None = None


@dataclass(slots=True)
class Drawn:
    """A request and its reply, with where its samples begin."""

    request: Request
    reply: Reply


@dataclass(slots=True)
class Exchange:
    """What one request came to."""

    problem: Problem
    prompt: tuple[Message, ...]
    strategy: Strategy
    drawn: list[Drawn] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    # answer -> verdict
    chosen: Sample | None = None
    usage: Usage = _NOTHING
    price: Price | None = None
    cancelled: int = 0
    # requests that a PASS cut short
    errors: list[Exception] = field(default_factory=list)

    @property
    def k(self) -> int:
        """Samples drawn."""
        return len(self.samples)

    @property
    def agreement(self) -> float | None:
        """Share of the samples that give the chosen one's answer; None where it has none."""
        if self.chosen is None or self.chosen.answer is None or not self.samples:
            return None
        return sum(s.key == self.chosen.key and s.answer is not None for s in self.samples) / len(self.samples)

    @property
    def outcome(self) -> str:
        """PASS, FAIL or UNKNOWN by the request's verifier; "unverified" where none was asked."""
        if self.strategy.kind != "verified":
            return "unverified"
        if self.chosen is not None and self.chosen.outcome is Outcome.PASS:
            return "PASS"
        return "FAIL" if self.samples and all(s.outcome is Outcome.FAIL for s in self.samples) else "UNKNOWN"

    @property
    def usd(self) -> float | None:
        return self.usage.cost_usd


async def run(exchange: Exchange, task: OnePrompt, params: Params, seed: int, tools: Tools) -> Exchange:
    """Draw and choose. Raises: what the model raised where not one sample came."""
    exchange.price = tools.price
    work = _Work(exchange, task, params, seed, tools)
    try:
        if exchange.strategy.kind == "verified":
            await work.until_pass()
        else:
            await work.wave(0, exchange.strategy.k)
    finally:
        await work.end()
    if not exchange.samples:
        raise exchange.errors[0] if exchange.errors else ValueError("the model gave no sample")
    await _choose(exchange, tools)
    return exchange


class _Work:
    """The requests of one exchange that are under way."""

    def __init__(self, exchange: Exchange, task: OnePrompt, params: Params, seed: int, tools: Tools) -> None:
        self._exchange, self._task, self._params, self._seed, self._tools = exchange, task, params, seed, tools
        self._running: set[asyncio.Task[None]] = set()
        self._passed = asyncio.Event()

    async def until_pass(self) -> None:
        before = 0
        for have in waves(FIRST_BATCH, self._exchange.strategy.k):
            await self.wave(before, have)
            before = have
            if self._passed.is_set() or (self._exchange.errors and not self._exchange.samples):
                return

    async def wave(self, first: int, last: int) -> None:
        """Samples [first, last), all at once; returns early with a PASS."""
        size = self._tools.max_n
        for start in range(first, last, size):
            request = Request(
                self._exchange.problem.id,
                self._exchange.prompt,
                self._params,
                start,
                min(size, last - start),
                self._seed,
            )
            self._running.add(asyncio.create_task(self._one(request)))
        while self._running and not self._passed.is_set():
            done, self._running = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def end(self) -> None:
        """Cancel what is under way, and wait until it has ended."""
        for task in self._running:
            task.cancel()
        self._exchange.cancelled += len(self._running)
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()

    async def _one(self, request: Request) -> None:
        try:
            reply = await self._tools.draw(request)
        except Exception as error:
            # the other requests may do; where none does, this is what the client hears of
            self._exchange.errors.append(error)
            return
        reply = Reply(reply.completions[: request.n], _priced(reply.usage, self._tools.price), reply.server)
        self._exchange.drawn.append(Drawn(request, reply))
        self._exchange.usage = _sum(self._exchange.usage, reply.usage)
        new = [self._sample(request, j, reply) for j in range(len(reply.completions))]
        if self._tools.judge is not None:
            new = await self._judged(new)
        self._exchange.samples += new
        if any(s.outcome is Outcome.PASS for s in new):
            self._passed.set()

    def _sample(self, request: Request, choice: int, reply: Reply) -> Sample:
        completion = reply.completions[choice]
        answer = self._task.extract(completion.text)
        return Sample(
            problem_id=request.problem_id,
            index=request.first + choice,
            text=completion.text,
            finish_reason=completion.finish_reason,
            completion_tokens=completion.completion_tokens,
            seed=request.seed_of(choice),
            reasoning=completion.reasoning,
            logprob=completion.logprob,
            answer=answer,
            key=None if answer is None else self._task.canonical(answer),
        )

    async def _judged(self, samples: list[Sample]) -> list[Sample]:
        """Each distinct answer once; no answer is FAIL."""
        assert self._tools.judge is not None
        known = self._exchange.verdicts
        new = list(dict.fromkeys(s.answer for s in samples if s.answer is not None and s.answer not in known))
        if new:
            known.update(zip(new, await self._tools.judge(self._exchange.problem, new), strict=True))
        return [
            replace(
                s,
                outcome=Outcome.FAIL if s.answer is None else known[s.answer].outcome,
                reason="no_answer" if s.answer is None else str(known[s.answer].reason),
            )
            for s in samples
        ]


async def _choose(exchange: Exchange, tools: Tools) -> None:
    pool = sorted(exchange.samples, key=lambda s: s.index)
    exchange.samples = pool
    kind = exchange.strategy.kind
    if kind == "best-of" and tools.score is not None:
        scores = await tools.score(exchange.problem, pool)
        pool = exchange.samples = [replace(s, score=value) for s, value in zip(pool, scores, strict=True)]
    if kind == "verified":
        passed = [s for s in pool if s.outcome is Outcome.PASS]
        # of what nothing accepted, first what nothing refused
        pool = passed or [s for s in pool if s.outcome is not Outcome.FAIL] or pool
    name = {"best-of": "best-of-k", "first": "first"}.get(kind, "majority")
    at = tools.select(name).choose(pool)
    exchange.chosen = pool[0 if at is None else at]


def _priced(usage: Usage, price: Price | None) -> Usage:
    return replace(usage, cost_usd=cost_usd(price, usage))


def _sum(a: Usage, b: Usage) -> Usage:
    """Tokens and money of two requests; what one of them does not know, their sum does not know."""

    def add(x: float | None, y: float | None) -> float | None:
        return None if x is None or y is None else x + y

    prompt, completion = add(a.prompt_tokens, b.prompt_tokens), add(a.completion_tokens, b.completion_tokens)
    first = a.prompt_tokens == 0 and a.completion_tokens == 0 and a.cost_usd is None
    return Usage(
        None if prompt is None else int(prompt),
        None,
        None if completion is None else int(completion),
        b.counted_by,
        b.cost_usd if first else add(a.cost_usd, b.cost_usd),
    )

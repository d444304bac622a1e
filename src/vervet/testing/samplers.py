"""What every sampler promises, as checks: see `vervet.protocols.Sampler`.

`build` makes a new sampler each time it is called; `request` is one that the sampler can serve, with a temperature above
0. The checks send it some two hundred times (fewer with fewer `draws`), with other indexes and seeds.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import math
import time
from collections.abc import Awaitable, Callable, Sequence

from vervet.protocols import Sampler, SamplerTraits
from vervet.records import Completion, Reply, Request, Usage
from vervet.testing._suite import LIMIT_S, Ticker, call, check_close, discard, opened, require, run, run_all, short

Build = Callable[[], Sampler]
DRAWS = 40
# completions looked at for variety. False alarm: they are all equal, with probability at most 2 * 0.5 ** draws where no
# text is likelier than one half: 2e-12 for 40 draws. A text of probability 0.9 makes it 1.5 %: leave the model a choice
_AT_ONCE = 16
_TRAITS_S = 1.0
_HELD_S = 0.5
# longest time for which a request may hold the event loop: a hundred others wait meanwhile


def conform_to_sampler(
    build: Build,
    request: Request,
    *,
    seeded: bool = False,
    regroups: bool = False,
    varied: bool = True,
    draws: int = DRAWS,
    max_n: int = 256,
    limit_s: float = LIMIT_S,
) -> None:
    """Run every check of a sampler.

    Args: seeded: an equal request gives equal texts.  regroups: also however samples are grouped into requests.
        varied: the request leaves the model a choice; False switches the checks of variety off.  draws: see DRAWS.
        max_n: ask for no more samples at once, where the sampler's own limit is higher.  limit_s: for one check.
    Raises: AssertionError that lists the broken promises.
    """
    checks = [
        call(check_traits, build),
        call(check_neutral_options, build),
        call(check_reply, build, request, limit_s=limit_s),
        call(check_max_n, build, request, at_most=max_n, limit_s=limit_s),
        call(check_loop_is_free, build, request, at_most=max_n, limit_s=limit_s),
        call(check_concurrent, build, request, seeded=seeded, limit_s=limit_s),
        call(check_cancel, build, request, limit_s=limit_s),
        call(check_close, build, lambda sampler: sampler.sample(request)),
    ]
    if varied:
        checks.append(call(check_variety, build, request, draws=draws, limit_s=limit_s))
        if not seeded:
            checks.append(call(check_no_cache, build, request, draws=draws, limit_s=limit_s))
    if seeded:
        checks.append(call(check_seeded, build, request, regroups=regroups, limit_s=limit_s))
    run_all("sampler", *checks)


# ------------------------------------------------------------------------------------------------------ without a request


def check_traits(build: Build) -> None:
    """`traits()` is quick, needs no event loop, and says the same each time."""
    sampler = build()
    start = time.thread_time()
    traits = sampler.traits()
    spent = time.thread_time() - start
    require(isinstance(traits, SamplerTraits), f"traits() gives SamplerTraits, not {short(traits)}")
    require(spent < _TRAITS_S, f"traits() is cheap; it took {spent:.1f} s of processor time")
    require(traits.form in ("chat", "completion"), f"traits().form is 'chat' or 'completion', not {traits.form!r}")
    require(traits.max_n >= 1 and traits.max_in_flight >= 1, "traits().max_n and max_in_flight are at least 1")
    usual = traits.max_in_flight if traits.in_flight is None else traits.in_flight
    require(1 <= usual <= traits.max_in_flight, "traits().in_flight is between 1 and max_in_flight, or None")
    require(sampler.traits() == traits, "traits() says the same each time")
    other = build()
    require(other.traits() == traits, "two samplers built alike have equal traits")
    discard(sampler)
    discard(other)


def check_neutral_options(build: Build) -> None:
    """`neutral_options`, where it is declared, names options of the constructor: a misspelt one would go unnoticed."""
    sampler = build()
    kind = type(sampler)
    discard(sampler)
    neutral: frozenset[str] = getattr(kind, "neutral_options", frozenset())
    require(
        isinstance(neutral, (frozenset, set, tuple)), f"neutral_options is a set of names, not {type(neutral).__name__}"
    )
    known = {n for n, p in inspect.signature(kind).parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    unknown = sorted(set(neutral) - known)
    require(
        not unknown, f"neutral_options names {unknown}, which the constructor does not take (it takes {sorted(known)})"
    )


# ------------------------------------------------------------------------------------------------------ one reply


def check_reply(build: Build, request: Request, *, limit_s: float = LIMIT_S) -> None:
    """A reply holds at most `n` completions and at least one, with texts and counts that can be true."""

    async def work() -> None:
        async with opened(build) as sampler:
            for n in range(1, 1 + min(3, sampler.traits().max_n)):
                require_reply(await sampler.sample(dataclasses.replace(request, n=n)), n)

    run(work, limit_s)


def require_reply(reply: Reply, n: int) -> None:
    """Raises: AssertionError where a reply to a request for n samples is not what it should be."""
    require(isinstance(reply, Reply), f"sample() gives a Reply, not {short(reply)}")
    require(isinstance(reply.completions, tuple), "Reply.completions is a tuple")
    count = len(reply.completions)
    require(count >= 1, f"asked for {n} samples, sample() gave none: raise where nothing can be had")
    require(count <= n, f"asked for {n} samples, sample() gave {count}: fewer are accepted, more are money lost")
    for completion in reply.completions:
        _require_completion(completion)
    require(isinstance(reply.server, str), "Reply.server is text")
    _require_usage(reply.usage, reply.completions)


def _require_completion(completion: Completion) -> None:
    require(isinstance(completion, Completion), f"completions are Completion records, not {short(completion)}")
    for name in ("text", "finish_reason", "reasoning"):
        value = getattr(completion, name)
        require(isinstance(value, str), f"Completion.{name} is text, not {short(value)}")
    require(completion.finish_reason, "Completion.finish_reason says why the text ended")
    tokens, logprob = completion.completion_tokens, completion.logprob
    require(
        tokens is None or (isinstance(tokens, int) and tokens >= 0),
        f"completion_tokens is a count or None, not {tokens!r}",
    )
    require(
        logprob is None or (math.isfinite(logprob) and logprob <= 0),
        f"logprob is the logarithm of a probability or None, not {logprob!r}",
    )


def _require_usage(usage: Usage, completions: Sequence[Completion]) -> None:
    require(isinstance(usage, Usage), f"Reply.usage is a Usage, not {short(usage)}")
    require(
        usage.prompt_tokens is None or usage.prompt_tokens > 0,
        f"a prompt has tokens: usage.prompt_tokens is {usage.prompt_tokens!r}; None where nobody counted",
    )
    cached, cost = usage.cached_tokens, usage.cost_usd
    require(cached is None or 0 <= cached <= (usage.prompt_tokens or cached), f"usage.cached_tokens={cached!r}")
    require(usage.counted_by in ("server", "vervet"), f"usage.counted_by is 'server' or 'vervet': {usage.counted_by!r}")
    require(cost is None or (math.isfinite(cost) and cost >= 0), f"usage.cost_usd is money or None, not {cost!r}")
    parts = [c.completion_tokens for c in completions]
    if usage.completion_tokens is not None and None not in parts:
        total = sum(p or 0 for p in parts)
        require(
            total == usage.completion_tokens,
            f"the completions' tokens add up to {total}, usage.completion_tokens says {usage.completion_tokens}",
        )


def check_max_n(build: Build, request: Request, *, at_most: int = 256, limit_s: float = LIMIT_S) -> None:
    """A request for as many samples as `traits()` allows is served."""

    async def work() -> None:
        async with opened(build) as sampler:
            n = min(sampler.traits().max_n, at_most)
            try:
                reply = await sampler.sample(dataclasses.replace(request, n=n))
            except Exception as error:
                raise AssertionError(
                    f"traits().max_n promises {n} samples in one request; asked for them, it raised {error!r}"
                ) from error
            require_reply(reply, n)

    run(work, limit_s)


# ------------------------------------------------------------------------------------------------------ variety and seeds


def check_variety(build: Build, request: Request, *, draws: int = DRAWS, limit_s: float = LIMIT_S) -> None:
    """Samples are draws: other indexes, other run seeds and other choices of one request give other texts.

    False alarm: see DRAWS.
    """
    request = dataclasses.replace(request, n=1)

    async def work() -> None:
        async with opened(build) as sampler:
            by_first = [dataclasses.replace(request, first=i) for i in range(draws)]
            texts = [c.text for r in await _ask_all(sampler, by_first) for c in r.completions]
            require(len(set(texts)) > 1, f"{len(texts)} samples of different indexes have one and the same text")
            by_seed = [dataclasses.replace(request, run_seed=request.run_seed ^ (i << 7)) for i in range(draws)]
            texts = [c.text for r in await _ask_all(sampler, by_seed) for c in r.completions]
            require(len(set(texts)) > 1, f"{len(texts)} samples of different run seeds have one and the same text")
            await _require_free_choices(sampler, request, draws)

    run(work, limit_s)


async def _require_free_choices(sampler: Sampler, request: Request, draws: int) -> None:
    n = min(sampler.traits().max_n, 8)
    if n == 1:
        return
    asked = [dataclasses.replace(request, n=n, first=100 + i * n) for i in range(max(1, draws // n))]
    groups = [[c.text for c in r.completions] for r in await _ask_all(sampler, asked)]
    if any(len(group) > 1 for group in groups):
        require(
            any(len(set(group)) > 1 for group in groups),
            f"in each of {len(groups)} requests for {n} samples, all have one and the same text: a copy is no draw",
        )


def check_no_cache(build: Build, request: Request, *, draws: int = DRAWS, limit_s: float = LIMIT_S) -> None:
    """A sampler that is not seeded gives an equal request new draws. False alarm: see DRAWS."""
    request = dataclasses.replace(request, n=1)

    async def work() -> None:
        async with opened(build) as sampler:
            first = await sampler.sample(request)  # alone: a cache has stored it before the others come
            replies = [first, *await _ask_all(sampler, [request] * (draws - 1))]
            texts = [c.text for r in replies for c in r.completions]
            require(
                len(set(texts)) > 1,
                f"{len(texts)} equal requests gave one and the same text: a cache, or a seeded sampler (seeded=True)",
            )

    run(work, limit_s)


def check_seeded(build: Build, request: Request, *, regroups: bool = False, limit_s: float = LIMIT_S) -> None:
    """A seeded sampler gives an equal request equal texts, from another instance too.

    Args: regroups: also, sample i has the same text whether it is drawn alone or with others.
    """

    async def work() -> None:
        async with opened(build) as first, opened(build) as second:
            n = min(4, first.traits().max_n)
            together = dataclasses.replace(request, n=n)
            texts = _texts(await first.sample(together))
            require(_texts(await first.sample(together)) == texts, "an equal request gives equal texts: it is seeded")
            require(_texts(await second.sample(together)) == texts, "a sampler built alike repeats the texts")
            if regroups:
                alone = [dataclasses.replace(request, n=1, first=request.first + i) for i in range(len(texts))]
                single = [t for r in await _ask_all(first, alone) for t in _texts(r)]
                require(single == texts, "a sample is the same whether it is drawn alone or with others (seed_of)")

    run(work, limit_s)


# ------------------------------------------------------------------------------------------------------ concurrency


def check_concurrent(
    build: Build, request: Request, *, seeded: bool = False, at_once: int = 64, limit_s: float = LIMIT_S
) -> None:
    """As many requests at once as `traits()` allows are served, each with its own reply.

    Args: at_once: never more. seeded: the replies are also those that the requests get one after another.
    """

    async def work() -> None:
        async with opened(build) as sampler:
            count = min(sampler.traits().max_in_flight, at_once)
            asked = [dataclasses.replace(request, n=1, first=request.first + i) for i in range(count)]
            replies = await asyncio.gather(*(sampler.sample(r) for r in asked), return_exceptions=True)
            for reply in replies:
                if isinstance(reply, BaseException):
                    raise AssertionError(
                        f"of {count} requests at once (max_in_flight), one raised {reply!r}"
                    ) from reply
                require_reply(reply, 1)
            if seeded:
                texts = [_texts(r) for r in replies if isinstance(r, Reply)]
                again = [_texts(await sampler.sample(r)) for r in asked]
                require(texts == again, "requests at once get other texts than one after another: replies are mixed up")

    run(work, limit_s)


def check_cancel(build: Build, request: Request, *, limit_s: float = LIMIT_S) -> None:
    """A cancelled request ends at once, and the next one is served."""

    async def work() -> None:
        async with opened(build) as sampler:
            task = asyncio.ensure_future(_awaited(sampler.sample(request)))
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task], timeout=5)
            require(task.done(), "a request that was cancelled goes on for more than 5 s")
            require_reply(await sampler.sample(request), request.n)

    run(work, limit_s)


def check_loop_is_free(build: Build, request: Request, *, at_most: int = 256, limit_s: float = LIMIT_S) -> None:
    """While a request is served, other work in the event loop goes on."""

    async def work() -> None:
        async with opened(build) as sampler:
            n = min(sampler.traits().max_n, at_most)
            async with Ticker() as ticker:
                await sampler.sample(dataclasses.replace(request, n=n))
            require(
                ticker.longest_s < _HELD_S,
                f"sample() held the event loop for {ticker.longest_s:.2f} s: nothing else moved meanwhile",
            )

    run(work, limit_s)


async def _awaited(work: Awaitable[Reply]) -> Reply:
    return await work


async def _ask_all(sampler: Sampler, requests: Sequence[Request]) -> list[Reply]:
    """Replies in the requests' order, a few at once."""
    slots = asyncio.Semaphore(min(_AT_ONCE, sampler.traits().max_in_flight))

    async def ask(request: Request) -> Reply:
        async with slots:
            return await sampler.sample(request)

    return await asyncio.gather(*(ask(r) for r in requests))


def _texts(reply: Reply) -> list[str]:
    return [c.text for c in reply.completions]

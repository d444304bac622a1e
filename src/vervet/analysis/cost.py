"""What runs cost: tokens by kind, FLOPs, money, time; and what k samples of every problem cost beside what they solve."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.analysis.baseline import Baseline, Crossing, crossing
from vervet.analysis.flops import Shape, flops_per_token, sampling_flops
from vervet.errors import BadOption
from vervet.estimate.coverage import check_k, pass_curve
from vervet.estimate.intervals import population_interval
from vervet.prices import Price
from vervet.records import Counts


@dataclass(frozen=True, slots=True)
class Used:
    """What a run consumed."""

    source: str
    samples: int
    requests: int
    prompt_tokens: int
    # over all requests
    cached_tokens: int
    # the part of them that prefix caches served
    completion_tokens: int
    # over all samples
    usd: float | None = None
    # as it was charged; None: no price was known
    seconds: float | None = None
    # wall-clock over all invocations; None: nobody looked at a clock
    unpriced: int = 0
    # requests without a price among others that have one

    @property
    def prompt_each(self) -> float:
        """Prompt tokens of a request."""
        return self.prompt_tokens / max(self.requests, 1)

    @property
    def completion_each(self) -> float:
        """Completion tokens of a sample."""
        return self.completion_tokens / max(self.samples, 1)


@dataclass(frozen=True, slots=True)
class RunCost:
    """One run in money, FLOPs and time. None where something is not known."""

    run: str
    problems: int
    solved: int
    # at least once
    samples: int
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    flops: float | None
    # prompt tokens that were computed (not cached) and completion tokens
    usd: float | None
    seconds: float | None
    usd_per_sample: float | None
    flops_per_sample: float | None
    # of a further sample of a problem whose prompt is computed already
    flops_per_prompt: float | None
    usd_per_solved: float | None
    flops_per_solved: float | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """k attempts at each of the problems: a row of the paper's table 1."""

    model: str
    k: int
    success: float
    # share of problems solved
    low: float | None
    high: float | None
    # for the population of problems; None for a baseline, of which only the share is known
    usd_per_attempt: float | None
    usd: float | None
    # over all problems
    flops: float | None
    relative_usd: float | None
    # to the first row's
    relative_flops: float | None


@dataclass(frozen=True, slots=True)
class Costs:
    """What `cost` found."""

    runs: tuple[RunCost, ...]
    attempts: tuple[Attempt, ...]
    # with a k or a baseline: the first run's row is what the others are relative to
    crossings: tuple[tuple[str, Crossing], ...]
    # (run, where it reaches a baseline)
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document vervet.cost/1."""
        return {
            "schema": "vervet.cost/1",
            "runs": [dataclasses.asdict(run) for run in self.runs],
            "attempts": [dataclasses.asdict(row) for row in self.attempts],
            "baselines": [{"run": run} | found.to_dict() for run, found in self.crossings],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class Priced:
    """A run with all that its cost follows from."""

    counts: Counts
    used: Used | None = None
    # None: a table of counts, which says nothing about tokens
    shape: Shape | None = None
    # None: FLOPs are not known
    price: Price | None = None
    # over what was charged; of one rate, because only totals are known here
    usd_per_sample: float | None = None
    # over everything else


def cost(
    priced: Sequence[Priced], k: int | None = None, baselines: Sequence[Baseline] = (), level: float = 0.95
) -> Costs:
    """What runs cost, what k samples a problem cost and solve, and where runs reach single attempts of other models.

    Args: k: samples a problem (None: as many as every problem has, where baselines ask for a comparison).
    Raises: BadOption for a k beyond some n.
    """
    runs = tuple(_run(one) for one in priced)
    attempts: list[Attempt] = []
    if k is not None or baselines:
        attempts = [_attempt(one, run, k, level) for one, run in zip(priced, runs, strict=True)]
        problems = runs[0].problems if runs else 0
        attempts += [_single(base, problems) for base in baselines]
        attempts = [_relative(row, attempts[0]) for row in attempts]
    crossings = [
        (run.run, crossing(one.counts, base, run.usd_per_sample, run.flops_per_sample, run.flops_per_prompt or 0.0))
        for one, run in zip(priced, runs, strict=True)
        for base in baselines
    ]
    return Costs(runs, tuple(attempts), tuple(crossings), tuple(_warnings(priced, runs)))


def _run(one: Priced) -> RunCost:
    counts, used = one.counts, one.used
    samples = used.samples if used else int((counts.n + counts.unknown).sum())
    solved = int((counts.c > 0).sum())
    usd = _usd(one, samples)
    flops = per_sample = per_prompt = None
    if used and one.shape:
        each = flops_per_token(one.shape, used.prompt_each + used.completion_each)
        flops = each * (used.prompt_tokens - used.cached_tokens + used.completion_tokens)
        per_sample, per_prompt = each * used.completion_each, each * used.prompt_each
    return RunCost(
        run=used.source if used else counts.source,
        problems=len(counts),
        solved=solved,
        samples=samples,
        requests=used.requests if used else 0,
        prompt_tokens=used.prompt_tokens if used else 0,
        cached_tokens=used.cached_tokens if used else 0,
        completion_tokens=used.completion_tokens if used else 0,
        flops=flops,
        usd=usd,
        seconds=used.seconds if used else None,
        usd_per_sample=usd / samples if usd is not None and samples else None,
        flops_per_sample=per_sample,
        flops_per_prompt=per_prompt,
        usd_per_solved=usd / solved if usd is not None and solved else None,
        flops_per_solved=flops / solved if flops is not None and solved else None,
    )


def _usd(one: Priced, samples: int) -> float | None:
    if one.usd_per_sample is not None:
        return one.usd_per_sample * samples
    if one.used is None:
        return None
    if one.price is None:
        return one.used.usd
    return one.price.cost(one.used.prompt_tokens, one.used.completion_tokens, one.used.cached_tokens)


def _attempt(one: Priced, run: RunCost, k: int | None, level: float) -> Attempt:
    counts, top = one.counts, int(one.counts.n.min())
    draws = top if k is None else check_k(k)
    if draws > top or top < 1:
        raise BadOption(f"--k {draws}: some problem of {run.run} has only {top} decided samples")
    values = pass_curve(counts.n, counts.c, [draws])
    wide = population_interval(values, level)
    flops = None
    if one.shape and one.used:
        flops = len(counts) * sampling_flops(one.shape, one.used.prompt_each, one.used.completion_each, draws)
    per = run.usd_per_sample
    return Attempt(
        model=run.run,
        k=draws,
        success=float(values.mean()),
        low=float(wide.low[0]),
        high=float(wide.high[0]),
        usd_per_attempt=per,
        usd=None if per is None else per * draws * len(counts),
        flops=flops,
        relative_usd=None,
        relative_flops=None,
    )


def _single(base: Baseline, problems: int) -> Attempt:
    return Attempt(
        model=base.name,
        k=1,
        success=base.success,
        low=None,
        high=None,
        usd_per_attempt=base.usd,
        usd=None if base.usd is None else base.usd * problems,
        flops=None if base.flops is None else base.flops * problems,
        relative_usd=None,
        relative_flops=None,
    )


def _relative(row: Attempt, first: Attempt) -> Attempt:
    def ratio(own: float | None, other: float | None) -> float | None:
        return own / other if own is not None and other else None

    return dataclasses.replace(
        row, relative_usd=ratio(row.usd, first.usd), relative_flops=ratio(row.flops, first.flops)
    )


def _warnings(priced: Sequence[Priced], runs: Sequence[RunCost]) -> list[str]:
    out = []
    for one, run in zip(priced, runs, strict=True):
        if one.used and one.shape is None:
            out.append(f"{run.run}: the model's shape is not known, so neither are its FLOPs: give --shape")
        if run.usd is None:
            out.append(f"{run.run}: no price is known: give --price-in and --price-out, or --usd-per-sample")
        if one.used and one.used.unpriced and one.price is None and one.usd_per_sample is None:
            out.append(f"{run.run}: {one.used.unpriced} requests have no price: the money is what the others cost")
        if one.used and not one.used.completion_tokens and run.samples:
            out.append(f"{run.run}: nobody counted its tokens")
        if np.any(one.counts.unknown):
            out.append(
                f"{run.run}: {int(one.counts.unknown.sum())} samples are undecided; they cost, and count as unsolved"
            )
    return out

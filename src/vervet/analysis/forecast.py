"""Counts -> coverage at k that nobody has sampled yet, with an interval, and a back-test on the user's own counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.analysis.curve import FEW_PROBLEMS, coverage, settle_design
from vervet.errors import BadData
from vervet.estimate.coverage import check_grid, check_level
from vervet.estimate.designs import known_to
from vervet.estimate.forecasting import Forecaster
from vervet.estimate.methods import FORECAST_METHODS, spelt
from vervet.records import Counts, IntArray

_THINNINGS = 4
# random parts of the budget that each back-test averages over
_SHARES = (0.1, 0.25)
# of the budget that a back-test fits to
_NEVER = (0.25, 0.5, 1.0)
# shares of the problems never solved so far that are supposed impossible


@dataclass(frozen=True, slots=True)
class ForecastPoint:
    """Coverage at one k, for these very problems sampled k times each; shares in [0, 1]."""

    k: int
    coverage: float
    low: float
    high: float
    wide_low: float
    wide_high: float
    # the interval if, with prior odds of 1 to 4, the tail of difficulties bends or ends earlier than a power law


@dataclass(frozen=True, slots=True)
class Backtest:
    """How far a method fitted to fit_n samples a problem was from the coverage seen at k."""

    method: str
    fit_n: int
    k: int
    error: float
    # mean absolute error over random parts of the budget
    bias: float
    # mean signed error: above 0 where the method promises too much


@dataclass(frozen=True, slots=True)
class NeverSolvable:
    """Coverage if a share of the problems never solved so far can never be solved."""

    share: float
    k: int
    coverage: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What `forecast` found."""

    source: str
    method: str
    level: float
    points: tuple[ForecastPoint, ...]
    backtest: tuple[Backtest, ...]
    sensitivity: tuple[NeverSolvable, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document vervet.forecast/1."""
        plain = dataclasses.asdict(self)
        lists = {name: list(plain[name]) for name in ("points", "backtest", "sensitivity", "warnings")}
        return {"schema": "vervet.forecast/1"} | plain | lists


def forecast(
    counts: Counts,
    k: int | Sequence[int] | None = None,
    method: str = FORECAST_METHODS[0],
    level: float = 0.95,
    backtest: bool | Sequence[str] = True,
    design: str | None = None,
) -> Forecast:
    """Coverage of these problems at k beyond n.

    Args: k: draws (default: 10 and 100 times the smallest n). Where every problem has k samples, what was seen is
    given. method: one of `FORECAST_METHODS`.  backtest: True for all methods, False for none, or names: each is fitted
    to random tenths and quarters of the counts and asked for what the whole shows. It takes about a second.
    Raises: UnknownName, BadOption, BadData where no problem has a decided sample.
    Intervals hold on real outcome sets (see the docs); they rest on how the tail of difficulties goes on beyond n, which
    few samples do not show. wide_low and wide_high hedge against that.
    """
    check_level(level)
    method = spelt(method, FORECAST_METHODS, "forecast method")
    if not np.any(counts.n > 0):
        raise BadData(
            f"{counts.source or 'counts'}: no problem has a decided sample: there is nothing to forecast from"
        )
    rule, remarks = settle_design(counts, design)
    seen = int(known_to(rule, counts.n, counts.c).min()) if rule.kind != "adaptive" else 0
    seen = min(seen, int(counts.n.max()))
    grid = check_grid([10 * max(seen, 1), 100 * max(seen, 1)] if k is None else k)
    model = Forecaster.fitted(counts.n, counts.c, method, rule)
    points = [_point(model, int(one), level) for one in grid if one > seen]
    if np.any(grid <= seen):
        known = coverage(counts, [int(one) for one in grid if one <= seen], level, rule.name).points
        points = [_seen(p.k, p.coverage, p.draws_low, p.draws_high) for p in known] + points
    names = FORECAST_METHODS if backtest is True else tuple(backtest or ())
    tests = _backtests(counts, names, seen) if names and rule.kind == "fixed" else []
    remarks += _warnings(counts, model, points, seen, bool(names) and not tests)
    sensitivity = _never_solvable(counts, points)
    return Forecast(counts.source, method, level, tuple(points), tuple(tests), sensitivity, tuple(remarks))


def _point(model: Forecaster, k: int, level: float) -> ForecastPoint:
    value = model.point(k)
    low, high = model.interval(k, level)
    wide_low, wide_high = model.wide_interval(k, level)
    return ForecastPoint(k, value, min(low, value), max(high, value), min(wide_low, value), max(wide_high, value))


def _seen(k: int, *values: float | None) -> ForecastPoint:
    mean, low, high = (0.0 if v is None else v for v in values)
    return ForecastPoint(k, mean, low, high, low, high)


def _backtests(counts: Counts, names: Sequence[str], top: int) -> list[Backtest]:
    """Fit on a part of the budget, score on the whole: for each share of it and each method."""
    out: list[Backtest] = []
    usable = counts.n >= top
    truth = None
    for share in _SHARES:
        part = int(top * share)
        if part < 2 or not np.any(counts.c):
            continue
        truth = coverage(counts, top, design="fixed").points[0].coverage if truth is None else truth
        errors: dict[str, list[float]] = {name: [] for name in names}
        for seed in range(_THINNINGS):
            thinned = _thin(counts.n[usable], counts.c[usable], part, seed)
            for name in names:
                model = Forecaster.fitted(np.full(len(thinned), part), thinned, name)
                errors[name].append(model.point(top) - (truth or 0.0))
        for name, values in errors.items():
            out.append(Backtest(name, part, top, float(np.mean(np.abs(values))), float(np.mean(values))))
    return out


def _thin(n: IntArray, c: IntArray, part: int, seed: int) -> IntArray:
    """Passes among `part` of each problem's samples, drawn at random."""
    return np.asarray(np.random.default_rng(seed).hypergeometric(c, n - c, part))


def _never_solvable(counts: Counts, points: Sequence[ForecastPoint]) -> tuple[NeverSolvable, ...]:
    """What remains of the forecast gain if part of the unsolved problems is out of reach."""
    solved = float(np.mean(counts.c > 0))
    return tuple(
        NeverSolvable(share, p.k, p.coverage if p.coverage <= solved else solved + (1 - share) * (p.coverage - solved))
        for p in points
        for share in _NEVER
    )


def _warnings(
    counts: Counts, model: Forecaster, points: Sequence[ForecastPoint], seen: int, no_backtest: bool
) -> list[str]:
    out = []
    if model.missing:
        out.append(f"{model.missing}: the hierarchical model stands in")
    if model.misfit:
        out.append(
            "the counts do not look as if difficulties followed a power law near zero: the interval is widened to hold "
            "other laws too, and may still be too narrow"
        )
    elif model.weight_of_others > 0.5:
        out.append(
            "laws whose coverage bends or ends early explain these counts as well as a power-law tail does "
            f"(weight {100 * model.weight_of_others:.0f}%): go by wide_low and wide_high"
        )
    if not np.any(counts.c):
        out.append("no problem was solved: the forecast rests on what is usual elsewhere, and on nothing seen here")
    if len(counts) < FEW_PROBLEMS:
        out.append(f"few problems ({len(counts)}): the interval is for these problems, not for others like them")
    far = [p.k for p in points if seen and p.k > 100 * seen]
    if far:
        out.append(f"k = {far[-1]} is more than 100 times the {seen} samples at hand: no evidence reaches that far")
    if no_backtest:
        out.append("no back-test: it needs at least 8 samples a problem, a fixed design and one PASS")
    if int(counts.unknown.sum()):
        out.append(f"{int(counts.unknown.sum())} undecided samples are left out")
    return out

"""Counts -> coverage curve, with both intervals, floor and ceiling, and what a reader must know beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.estimate.bootstrap import band_quantile
from vervet.estimate.coverage import check_grid, check_level, default_grid, floor_and_ceiling
from vervet.estimate.designs import Design, check, known_to, parse, pass_curve_of, recognise
from vervet.estimate.intervals import (
    draws_interval,
    population_interval,
    score_interval,
    stopped_draws_interval,
    tie_breaker,
)
from vervet.estimate.pivots import simulate
from vervet.records import Counts, Curve, CurvePoint, FloatArray, IntArray

FEW_PROBLEMS = 30
# below this no interval for the population keeps its level for every kind of problem set
_FEW_OPEN = 3.0
# problems' worth of coverage, solved or open, below which single problems decide the interval
_BAND_CELLS = 2_000_000
# (ks x problems) beyond which bands are left out of a curve: they would take longer than the curve


@dataclass(frozen=True, slots=True)
class CoverageResult:
    """Curves of several sources."""

    sources: tuple[Curve, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document vervet.coverage/1."""
        return {"schema": "vervet.coverage/1", "sources": [curve.entry() for curve in self.sources]}


def coverage(
    counts: Counts, k: int | Sequence[int] | None = None, level: float = 0.95, design: str | None = None
) -> Curve:
    """Mean over problems of pass@k, for each k.

    Args: k: draws, one or several (default: 1, 2, 5, 10, ... up to the largest n, and the smallest n).
    design: how the samples were collected (fixed, first-pass, m-passes=M, blocks=B), over what the counts say. Counts
    that call themselves fixed but plainly show a stopping rule are treated by that rule, with a warning, unless it is
    given.
    Returns: a point for each k. The estimate stands on the problems with n >= k, and is None where there are none.
    After a stopping rule it stands on all problems, and is None where a problem was given up before k.
    Raises: BadOption for k < 1, a level outside (0, 1), or the adaptive design, for which no estimator is unbiased.
    Never TooFewSamples.
    """
    check_level(level)
    grid = default_grid(counts.n) if k is None else check_grid(k)
    rule, remarks = settle_design(counts, design)
    check(rule, counts.n, counts.c)
    values = pass_curve_of(rule, counts.n, counts.c, grid)
    known = known_to(rule, counts.n, counts.c)
    rows: list[Row] = []
    for part in _same_problems(known, grid):
        rows += _estimates(rule, counts, values[part], known, grid[part], level)
    bands = _bands(values, known, grid, rows, level)
    floor, ceiling = _bounds(rule, counts, values, known, grid)
    points = [_point(len(counts), *cells) for cells in zip(grid, rows, bands, floor, ceiling, strict=True)]
    return Curve(
        source=counts.source,
        problems=len(counts),
        n_min=int(counts.n.min()),
        n_max=int(counts.n.max()),
        samples=int(counts.n.sum() + counts.unknown.sum()),
        unknown=int(counts.unknown.sum()),
        never_solved=int(np.sum(counts.c == 0)),
        design=rule.name,
        level=level,
        points=tuple(points),
        warnings=tuple(remarks + _warnings(counts, known, grid) + _near_an_end(points)),
    )


def settle_design(counts: Counts, given: str | None) -> tuple[Design, list[str]]:
    """The design to use, and a remark where it was recognised in the counts rather than stated."""
    stated = parse(given or counts.design)
    seen = recognise(counts.n, counts.c) if stated.kind == "fixed" else None
    if seen is None:
        return stated, []
    shows = f"the counts look as if {seen.rule} ({seen.name})"
    if given is not None:
        return stated, [f"{shows}; as design fixed, coverage is biased: too high at k = 1, as sampling ended on a PASS"]
    return seen, [f"{shows}: the estimator for that design is used; give the design to say otherwise"]


def _same_problems(known: IntArray, grid: IntArray) -> list[IntArray]:
    """Positions in the grid, cut into runs of k that stand on the same problems."""
    usable = np.searchsorted(np.sort(known), grid, side="left")
    return np.split(np.arange(len(grid)), np.flatnonzero(np.diff(usable)) + 1)


@dataclass(frozen=True, slots=True)
class Row:
    """Estimates at one k."""

    used: int
    # problems they stand on
    numbers: tuple[float | None, ...]
    # coverage, low, high, draws_low, draws_high, se


_NOTHING = Row(0, (None,) * 6)


def _estimates(
    rule: Design, counts: Counts, values: FloatArray, known: IntArray, ks: IntArray, level: float
) -> list[Row]:
    """One row for each k of a run that stands on the same problems."""
    usable = known >= ks[0]
    # a problem that was given up under a stopping rule cannot be left out: those that stopped early would stay in
    if not usable.any() or (rule.kind != "fixed" and not usable.all()):
        return [_NOTHING] * len(ks)
    n, c, values = counts.n[usable], counts.c[usable], values[:, usable]
    if rule.kind == "fixed":
        wide = population_interval(values, level, simulate(n, c, ks, level), tie_breaker(n, c, ks))
        own = draws_interval(n, c, ks, values, level)
    else:
        wide = population_interval(values, level)
        own = stopped_draws_interval(values, level)
    table = np.stack([values.mean(axis=1), wide.low, wide.high, own.low, own.high, wide.se], axis=1)
    return [Row(len(n), tuple(float(x) for x in row)) for row in table]


Band = tuple[float | None, float | None]


def _bands(values: FloatArray, known: IntArray, grid: IntArray, rows: list[Row], level: float) -> list[Band]:
    """Bounds that hold at every k at once, for the population: never inside the interval at one k."""
    inside = [i for i, row in enumerate(rows) if row.used > 1 and row.numbers[5]]
    alone: list[Band] = [(row.numbers[1], row.numbers[2]) for row in rows]
    if values.size > _BAND_CELLS or len(inside) < 2:
        return alone
    used = np.array([rows[i].used for i in inside])
    mean, se = (np.array([float(rows[i].numbers[j] or 0.0) for i in inside]) for j in (0, 5))
    usable = known >= grid[inside][:, None]
    residuals = np.where(usable, values[inside] - mean[:, None], 0.0) / (used * se)[:, None]
    z = band_quantile(residuals, level)
    trials = np.maximum(mean * (1 - mean) / se**2, used)
    low, high = score_interval(mean * trials, trials, z, z)
    for i, one, other in zip(inside, low, high, strict=True):
        least, most = rows[i].numbers[1], rows[i].numbers[2]
        alone[i] = (min(float(one), least or 0.0), max(float(other), 1.0 if most is None else most))
    return alone


def _bounds(
    rule: Design, counts: Counts, values: FloatArray, known: IntArray, grid: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Floor and ceiling. Under a stopping rule an undecided sample could have ended it: only the ends are certain."""
    if rule.kind == "fixed":
        return floor_and_ceiling(counts.n, counts.c, counts.unknown, grid)
    short = known < grid[:, None]
    high = np.where(short | (counts.unknown > 0), 1.0, values)
    return values.mean(axis=1), np.maximum(high.mean(axis=1), values.mean(axis=1))


def _point(problems: int, k: int, row: Row, band: Band, floor: float, ceiling: float) -> CurvePoint:
    mean, low, high, draws_low, draws_high, se = row.numbers
    return CurvePoint(
        k=int(k),
        coverage=mean,
        low=low,
        high=high,
        draws_low=draws_low,
        draws_high=draws_high,
        se=se,
        problems=row.used,
        censored=problems - row.used,
        floor=float(floor),
        ceiling=float(ceiling),
        band_low=band[0],
        band_high=band[1],
    )


def _warnings(counts: Counts, known: IntArray, grid: IntArray) -> list[str]:
    """What a careful colleague would say before the number is printed."""
    problems, never, unknown = len(counts), int(np.sum(counts.c == 0)), int(counts.unknown.sum())
    out = []
    if problems < FEW_PROBLEMS:
        out.append(f"few problems ({problems}): low and high are rough below {FEW_PROBLEMS} problems")
    if unknown:
        out.append(f"{unknown} samples are undecided (pending or UNKNOWN): floor and ceiling show their weight")
    if np.any(counts.n == 0):
        out.append(f"{int(np.sum(counts.n == 0))} of {problems} problems have no decided sample")
    top = int(known.min())
    if np.any(grid > top):
        out.append(f"beyond k = {top} some problems have fewer than k samples: those points stand on the others only")
    if never == problems:
        out.append("no problem was solved: coverage is known only to be small")
    elif never:
        out.append(f"{never} of {problems} problems were never solved")
    if np.all((counts.c == counts.n) & (counts.n > 0)):
        out.append("every sample passed: coverage is 1 at every k, the interval shows what the problems leave open")
    elif never == 0:
        out.append("every problem was solved: the curve says nothing about harder problems")
    return out


def _near_an_end(points: Sequence[CurvePoint]) -> list[str]:
    """Where so little is open, or solved, that the interval for the population rests on one or two problems."""
    sized = [(p.k, p.coverage, p.problems) for p in points if p.coverage is not None and 0 < p.coverage < 1]
    out = []
    for words, remark, which in (
        (
            "unsolved",
            "",
            [k for k, share, problems in sized if (1 - share) * problems < _FEW_OPEN],
        ),
        (
            "solved",
            " and may be too narrow or too wide",
            [k for k, share, problems in sized if share * problems < _FEW_OPEN],
        ),
    ):
        if which:
            ks = f"k = {which[0]}" if len(which) == 1 else f"k = {which[0]} to {which[-1]}"
            out.append(
                f"{ks}: fewer than {_FEW_OPEN:g} problems' worth is {words}: the interval rests on those few "
                f"problems{remark}"
            )
    return out

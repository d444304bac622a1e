"""Counts -> coverage curve, with both intervals, floor and ceiling, and what a reader must know beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.estimate.coverage import check_grid, check_level, default_grid, floor_and_ceiling, pass_curve
from vervet.estimate.intervals import draws_interval, population_interval
from vervet.estimate.pivots import simulate
from vervet.records import Counts, Curve, CurvePoint, IntArray

FEW_PROBLEMS = 30
# below this no interval for the population keeps its level for every kind of problem set


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
    design: how the samples were collected, if the counts do not say.
    Returns: a point for each k. The estimate stands on the problems with n >= k, and is None where there are none.
    Raises: BadOption for k < 1 or a level outside (0, 1). Never TooFewSamples.
    """
    check_level(level)
    grid = default_grid(counts.n) if k is None else check_grid(k)
    floor, ceiling = floor_and_ceiling(counts.n, counts.c, counts.unknown, grid)
    rows = [row for ks in _same_problems(counts.n, grid) for row in _estimates(counts, ks, level)]
    points = (_point(len(counts), *cells) for cells in zip(grid, rows, floor, ceiling, strict=True))
    return Curve(
        source=counts.source,
        problems=len(counts),
        n_min=int(counts.n.min()),
        n_max=int(counts.n.max()),
        samples=int(counts.n.sum() + counts.unknown.sum()),
        unknown=int(counts.unknown.sum()),
        never_solved=int(np.sum(counts.c == 0)),
        design=design or counts.design,
        level=level,
        points=tuple(points),
        warnings=tuple(_warnings(counts, grid)),
    )


def _same_problems(n: IntArray, grid: IntArray) -> list[IntArray]:
    """The grid cut into runs of k that stand on the same problems (one run where n is the same everywhere)."""
    usable = np.searchsorted(np.sort(n), grid, side="left")
    return np.split(grid, np.flatnonzero(np.diff(usable)) + 1)


Row = tuple[int, tuple[float | None, ...]]
"""Problems used, and (coverage, low, high, draws_low, draws_high, se)."""


def _estimates(counts: Counts, ks: IntArray, level: float) -> list[Row]:
    """One row for each k of a run that stands on the same problems."""
    usable = counts.n >= ks[0]
    n, c = counts.n[usable], counts.c[usable]
    if len(n) == 0:
        return [(0, (None,) * 6)] * len(ks)
    values = pass_curve(n, c, ks)
    pivots = simulate(n, c, ks, level)
    wide = population_interval(values, level, pivots and pivots.population)
    own = draws_interval(n, c, ks, values, level, pivots and pivots.draws)
    table = np.stack([values.mean(axis=1), wide.low, wide.high, own.low, own.high, wide.se], axis=1)
    return [(len(n), tuple(float(x) for x in row)) for row in table]


def _point(problems: int, k: int, row: Row, floor: float, ceiling: float) -> CurvePoint:
    used, (mean, low, high, draws_low, draws_high, se) = row
    return CurvePoint(
        k=int(k),
        coverage=mean,
        low=low,
        high=high,
        draws_low=draws_low,
        draws_high=draws_high,
        se=se,
        problems=used,
        censored=problems - used,
        floor=float(floor),
        ceiling=float(ceiling),
    )


def _warnings(counts: Counts, grid: IntArray) -> list[str]:
    """What a careful colleague would say before the number is printed."""
    problems, never, unknown = len(counts), int(np.sum(counts.c == 0)), int(counts.unknown.sum())
    out = []
    if problems < FEW_PROBLEMS:
        out.append(f"few problems ({problems}): low and high are rough below {FEW_PROBLEMS} problems")
    if unknown:
        out.append(f"{unknown} samples are undecided (pending or UNKNOWN): floor and ceiling show their weight")
    if np.any(counts.n == 0):
        out.append(f"{int(np.sum(counts.n == 0))} of {problems} problems have no decided sample")
    top = int(counts.n.min())
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

"""Two models on the same problems: paired differences in coverage, at equal k or at equal cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.analysis.curve import FEW_PROBLEMS, settle_design
from vervet.errors import BadData, BadOption
from vervet.estimate.coverage import check_grid, check_level, default_grid
from vervet.estimate.designs import check, pass_curve_of
from vervet.estimate.intervals import draw_variances, normal_quantile, population_interval
from vervet.records import Counts, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Difference:
    """Coverage of A minus coverage of B on the problems that both can estimate."""

    basis: str
    # "k": as many samples of both; "cost": as much money or as many FLOPs
    k_a: int
    k_b: int
    coverage_a: float
    coverage_b: float
    difference: float
    low: float
    high: float
    # for the population that the problems are drawn from, paired by problem
    draws_low: float
    draws_high: float
    # for these very problems
    problems: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found."""

    a: str
    b: str
    level: float
    problems: int
    # that both sources hold
    points: tuple[Difference, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document vervet.compare/1."""
        plain = dataclasses.asdict(self)
        lists = {"points": list(plain["points"]), "warnings": list(self.warnings)}
        return {"schema": "vervet.compare/1"} | plain | lists


def compare(
    a: Counts,
    b: Counts,
    k: int | Sequence[int] | None = None,
    level: float = 0.95,
    cost: tuple[float, float] | None = None,
    design: str | None = None,
) -> Comparison:
    """Paired comparison of coverage, A minus B.

    Args: k: draws (default: 1, 2, 5, 10, ... up to the smallest n of both).  cost: of one sample of A and of B, in any
    one unit: adds points where B gets as many samples as A's k costs.  design: how the samples of both were collected.
    Pairing by problem id removes the differences between problems, which are most of the spread.
    Raises: BadData where the sources share no problem, BadOption for a bad k, level or cost.
    """
    check_level(level)
    if cost is not None and not all(np.isfinite(x) and x > 0 for x in cost):
        raise BadOption(f"cost must be two numbers above 0, not {cost!r}")
    left, right, remarks = _paired(a, b, design)
    top = int(min(left.n.min(), right.n.min()))
    grid = [int(x) for x in (default_grid(np.array([top])) if k is None else check_grid(k))]
    pairs = [("k", one, one) for one in grid]
    if cost is not None:
        pairs += [("cost", one, max(1, round(one * cost[0] / cost[1]))) for one in grid]
    points = [point for basis, ka, kb in pairs if (point := _difference(left, right, basis, (ka, kb), level))]
    if len(points) < len(pairs):
        lost = len(pairs) - len(points)
        remarks.append(f"{lost} of {len(pairs)} points left out: too few problems have that many samples of both")
    return Comparison(a.source, b.source, level, len(left), tuple(points), tuple(remarks))


def _paired(a: Counts, b: Counts, design: str | None) -> tuple[Counts, Counts, list[str]]:
    """Both on the problems they share, in one order."""
    where = {problem: i for i, problem in enumerate(b.problem_ids)}
    pairs = [(i, where[problem]) for i, problem in enumerate(a.problem_ids) if problem in where]
    if not pairs:
        raise BadData("the two sources share no problem id: a paired comparison needs the same problems")
    remarks = []
    lost = len(a) + len(b) - 2 * len(pairs)
    if lost:
        remarks.append(f"{lost} problems are in one source only and left out")
    if len(pairs) < FEW_PROBLEMS:
        remarks.append(f"few problems ({len(pairs)}): low and high are rough below {FEW_PROBLEMS} problems")
    sides = []
    for counts, rows in ((a, [i for i, _ in pairs]), (b, [j for _, j in pairs])):
        rule, said = settle_design(counts, design)
        check(rule, counts.n, counts.c)
        remarks += [f"{counts.source}: {text}" for text in said]
        ids = [counts.problem_ids[i] for i in rows]
        sides.append(Counts(ids, counts.n[rows], counts.c[rows], counts.unknown[rows], rule.name, counts.source))
    return sides[0], sides[1], remarks


def _difference(a: Counts, b: Counts, basis: str, k: tuple[int, int], level: float) -> Difference | None:
    usable = np.ones(len(a), dtype=bool)
    for side, one in zip((a, b), k, strict=True):
        if side.design == "fixed":
            usable &= side.n >= one
    if usable.sum() < 2:
        return None
    left, right = (_values(side, usable, one) for side, one in zip((a, b), k, strict=True))
    gap = left[0] - right[0]
    # a difference lies in [-1, 1]; moved into [0, 1] it gets the interval of a coverage
    wide = population_interval((gap[None, :] + 1) / 2, level)
    spread = normal_quantile(level) * float(np.sqrt(max((left[1] + right[1]).sum(), 0.0))) / len(gap)
    mean = float(gap.mean())
    return Difference(
        basis=basis,
        k_a=k[0],
        k_b=k[1],
        coverage_a=float(left[0].mean()),
        coverage_b=float(right[0].mean()),
        difference=mean,
        low=float(2 * wide.low[0] - 1),
        high=float(2 * wide.high[0] - 1),
        draws_low=max(-1.0, mean - spread),
        draws_high=min(1.0, mean + spread),
        problems=len(gap),
    )


def _values(side: Counts, usable: IntArray, k: int) -> tuple[FloatArray, FloatArray]:
    """Estimates at k, and their variances from the draws."""
    n, c, grid = side.n[usable], side.c[usable], np.array([k])
    rule, _ = settle_design(side, side.design)
    values = pass_curve_of(rule, n, c, grid)
    if rule.kind == "fixed":
        return values[0], draw_variances(n, c, grid, values)[0]
    mean = values[0].mean()
    return values[0], np.full(len(n), mean * (1 - mean))

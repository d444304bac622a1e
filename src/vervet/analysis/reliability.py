"""Counts -> G-Pass@k: how often k draws hold not one PASS but a given share of them, up to all (pass^k)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from vervet.analysis.curve import coverage, settle_design
from vervet.errors import BadOption
from vervet.estimate.draws import g_pass
from vervet.estimate.intervals import population_interval
from vervet.records import Counts, Curve, CurvePoint, FloatArray, IntArray


def reliability(
    counts: Counts,
    tau: float = 1.0,
    k: int | Sequence[int] | None = None,
    level: float = 0.95,
    design: str | None = None,
) -> Curve:
    """Mean over problems of G-Pass@k at tau: the chance that at least ceil(tau k) of k draws pass; tau = 1 is pass^k.

    Args: tau: in [0, 1]; 0 stands for one PASS, which is pass@k.  k, level, design: as for `coverage`.
    Returns: a Curve with its `tau` set. draws_low and draws_high are None: the counts do not give the variance of such
    an estimate from the draws alone. Floor and ceiling count problems with n < k as 0 and as 1.
    Raises: BadOption for tau outside [0, 1], a bad k or level, or a stopping rule: the chance of several PASSes has no
    estimator there.
    """
    if not 0 <= tau <= 1:
        raise BadOption(f"tau must lie between 0 and 1, such as 0.5, not {tau!r}; 1 asks that all k draws pass")
    rule, _ = settle_design(counts, design)
    if rule.kind != "fixed":
        raise BadOption(f"tau needs n chosen in advance: under design {rule.name} only pass@k has an estimator")
    curve = coverage(counts, k, level, design)
    points = tuple(_point(counts, point, tau, level) for point in curve.points)
    return dataclasses.replace(curve, points=points, tau=tau)


def _point(counts: Counts, at: CurvePoint, tau: float, level: float) -> CurvePoint:
    """The point of a coverage curve, with G-Pass@k in the place of pass@k."""
    n, c, unknown = counts.n, counts.c, counts.unknown
    usable = n >= at.k
    floor = _values(n + unknown, c, at.k, tau, 0.0).mean()
    ceiling = np.where(usable, _values(n + unknown, c + unknown, at.k, tau, 1.0), 1.0).mean()
    numbers: dict[str, float | None] = dict.fromkeys(("coverage", "low", "high", "se"))
    if usable.any():
        values = _values(n[usable], c[usable], at.k, tau, 0.0)
        wide = population_interval(values[None, :], level)
        rows = (values[None, :].mean(axis=1), wide.low, wide.high, wide.se)
        numbers = {name: float(row[0]) for name, row in zip(numbers, rows, strict=True)}
    return CurvePoint(
        k=at.k,
        **numbers,
        draws_low=None,
        draws_high=None,
        problems=at.problems,
        censored=at.censored,
        floor=float(floor),
        ceiling=max(float(floor), float(ceiling)),
    )


def _values(n: IntArray, c: IntArray, k: int, tau: float, short: float) -> FloatArray:
    """G-Pass@k of each problem, `short` where n < k. Each distinct (n, c) is computed once."""
    pairs, where = np.unique(np.stack([n, c]), axis=1, return_inverse=True)
    enough = pairs[0] >= k
    values = np.full(pairs.shape[1], short)
    if enough.any():
        values[enough] = g_pass(pairs[0][enough], pairs[1][enough], k, tau)
    return values[where.reshape(-1)]

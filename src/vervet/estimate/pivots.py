"""How far a studentised coverage estimate strays, found by simulating problem sets like the one at hand.

Wilson's interval with Student's t is right where many problems carry the spread. Where few do (rare solvable problems
at k = 1, rare unsolved ones near saturation), the estimate and its standard error err together, and 2.5 % tails sit at
1.5 standard errors on one side and 4 on the other. A beta distribution is fitted to the counts, data are drawn from it,
and the quantiles of (estimate - truth) / standard error are read off. The beta has to be right about the shape of that
ratio only: estimate and standard error stay those of the data. A fixed seed makes the result a function of the counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vervet.estimate.coverage import pass_curve
from vervet.estimate.intervals import Quantiles, draw_variances, normal_quantile
from vervet.estimate.mixtures import fit_beta
from vervet.records import FloatArray, IntArray

_DRAWS = 100_000
# problems simulated in all
_REPEATS = (200, 1000)
# least (else nothing is simulated: so many problems need no correction) and most simulated problem sets
_LEAST = 5
# fewer problems tell nothing about how problems differ
_FULL_TABLE = 2048
# up to this n, estimates are tabulated for every c; beyond, for c that grow by 1 %


class Pivots(NamedTuple):
    """Quantiles for the two kinds of interval."""

    population: Quantiles
    draws: Quantiles


def simulate(n: IntArray, c: IntArray, k: IntArray, level: float, seed: int = 0) -> Pivots | None:
    """Quantiles for each k, or None where simulation cannot help: no PASS at all, or more than 500 problems.

    Args: n, c: shape (problems,), every n >= max(k).
    """
    repeats = min(_DRAWS // len(n), _REPEATS[1])
    if not np.any(c) or np.all(c == n) or repeats < _REPEATS[0] or len(n) < _LEAST:
        return None
    rng = np.random.default_rng(seed)
    a, b = fit_beta(n, c)
    size = int(np.median(n))
    shape = (repeats, len(n))
    tables = _Tables.build(size, k)
    fresh = rng.beta(a, b, shape)
    own = rng.beta(a + c, b + n - c, shape)
    return Pivots(
        _population(tables, rng.binomial(size, fresh), a, b, level), _draws(tables, rng.binomial(size, own), own, level)
    )


class _Tables(NamedTuple):
    k: IntArray
    c: IntArray
    values: FloatArray
    # pass@k for each k and tabulated c
    variances: FloatArray

    @classmethod
    def build(cls, n: int, k: IntArray) -> _Tables:
        c = np.arange(n + 1)
        if n > _FULL_TABLE:
            c = np.unique(np.concatenate([np.arange(100), np.geomspace(100, n, 1200).astype(np.int64), [n]]))
        values = pass_curve(np.full(len(c), n), c, k)
        return cls(k, c, values, draw_variances(np.full(len(c), n), c, k, values))

    def rows(self, c: IntArray) -> IntArray:
        return c if len(self.c) == self.c[-1] + 1 else np.searchsorted(self.c, c)


def _population(tables: _Tables, c: IntArray, a: float, b: float, level: float) -> Quantiles:
    from scipy.special import betaln  # noqa: PLC0415

    truth = -np.expm1(betaln(a, b + tables.k) - betaln(a, b))
    rows, problems = tables.rows(c), c.shape[1]
    ratios = []
    for values, target in zip(tables.values, truth, strict=True):
        sample = values[rows]
        ratios.append(_ratio(sample.mean(axis=1), sample.var(axis=1, ddof=1) / problems, target, problems))
    return _tails(np.array(ratios), level)


def _draws(tables: _Tables, c: IntArray, p: FloatArray, level: float) -> Quantiles:
    rows, problems = tables.rows(c), c.shape[1]
    log_fail = np.log1p(-np.minimum(p, 1 - 1e-16))
    ratios = []
    for k, values, variances in zip(tables.k, tables.values, tables.variances, strict=True):
        target = -np.expm1(k * log_fail).mean(axis=1)
        square = np.maximum(variances[rows].mean(axis=1), 0.0) / problems
        ratios.append(_ratio(values[rows].mean(axis=1), square, target, problems))
    return _tails(np.array(ratios), level)


def _ratio(mean: FloatArray, square: FloatArray, target: FloatArray | float, problems: int) -> FloatArray:
    """The score statistic that the interval inverts."""
    with np.errstate(divide="ignore", invalid="ignore"):
        trials = np.maximum(np.where(square > 0, mean * (1 - mean) / square, problems), problems)
        ratio = (mean - target) * np.sqrt(trials / (target * (1 - target)))
    return np.asarray(np.nan_to_num(ratio, nan=0.0, posinf=0.0, neginf=0.0))


def _tails(ratios: FloatArray, level: float) -> Quantiles:
    """An estimate that strays up needs the interval to reach down, and the other way round."""
    least = 0.6 * normal_quantile(level)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return Quantiles(np.maximum(high, least), np.maximum(-low, least))

"""How far a studentised coverage estimate strays from the population, found by simulating sets like the one at hand.

Wilson's interval with Student's t is right where many problems carry the spread. Where few do (rare solvable problems
at k = 1, rare unsolved ones near saturation), the estimate and its standard error err together, and 2.5 % tails sit at
1.5 standard errors on one side and 4 on the other. A beta distribution is fitted to the counts, data are drawn from it,
and the quantiles of (estimate - truth) / standard error are read off. The beta has to be right about the shape of that
ratio only: estimate and standard error stay those of the data. A fixed seed makes the result a function of the counts.

Where estimates take few values (k = n), a quantile would jump from one to the next; those of the mid-distribution, which
gives half of each value's chance to either side, do not. Source: Ma, Genton and Parzen 2011.
"""

from __future__ import annotations

import numpy as np

from vervet.estimate.coverage import pass_curve
from vervet.estimate.intervals import Quantiles, normal_quantile
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
_LEAST_REACH, _MOST_REACH = 0.8, (1.5, 2.0)
# bounds of the quantiles down and up, in normal ones: a beta that fits badly can promise any tail


def simulate(n: IntArray, c: IntArray, k: IntArray, level: float, seed: int = 0) -> Quantiles | None:
    """Quantiles for each k, or None where simulation cannot help: no PASS at all, or more than 500 problems.

    Args: n, c: shape (problems,), every n >= max(k).
    """
    problems = len(n)
    repeats = min(_DRAWS // problems, _REPEATS[1])
    if not np.any(c) or np.all(c == n) or repeats < _REPEATS[0] or problems < _LEAST:
        return None
    from scipy.special import betaln  # noqa: PLC0415

    rng = np.random.default_rng(seed)
    a, b = fit_beta(n, c)
    size = int(np.median(n))
    count, values = _table(size, k)
    drawn = rng.binomial(size, rng.beta(a, b, (repeats, problems)))
    rows = drawn if len(count) == size + 1 else np.searchsorted(count, drawn)
    truth = -np.expm1(betaln(a, b + k) - betaln(a, b))
    ratios = [_ratio(column[rows], target) for column, target in zip(values, truth, strict=True)]
    return _tails(np.array(ratios), level)


def _table(n: int, k: IntArray) -> tuple[IntArray, FloatArray]:
    """Values of c, and pass@k for each k and c."""
    c = np.arange(n + 1)
    if n > _FULL_TABLE:
        c = np.unique(np.concatenate([np.arange(100), np.geomspace(100, n, 1200).astype(np.int64), [n]]))
    return c, pass_curve(np.full(len(c), n), c, k)


def _ratio(sample: FloatArray, target: float) -> FloatArray:
    """The score statistic that the interval inverts, for each row of estimates."""
    problems, mean, square = sample.shape[1], sample.mean(axis=1), sample.var(axis=1, ddof=1) / sample.shape[1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        trials = np.maximum(np.where(square > 0, mean * (1 - mean) / square, problems), problems)
        ratio = (mean - target) * np.sqrt(trials / (target * (1 - target)))
    return np.asarray(np.nan_to_num(ratio, nan=0.0, posinf=0.0, neginf=0.0))


def _tails(ratios: FloatArray, level: float) -> Quantiles:
    """An estimate that strays up needs the interval to reach down, and the other way round."""
    z = normal_quantile(level)
    low, high = np.array([_middle_quantiles(row, [(1 - level) / 2, (1 + level) / 2]) for row in ratios]).T
    down, up = (np.clip(tail, _LEAST_REACH * z, most * z) for tail, most in zip((high, -low), _MOST_REACH, strict=True))
    return Quantiles(down, up)


def _middle_quantiles(sample: FloatArray, shares: list[float]) -> FloatArray:
    """Quantiles of the mid-distribution; those of the sample itself where no two values are equal."""
    values, counts = np.unique(np.round(sample, 9), return_counts=True)
    return np.interp(shares, (np.cumsum(counts) - counts / 2) / len(sample), values)

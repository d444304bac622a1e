"""Intervals of a share, and the two intervals of coverage.

* population: the problems are draws from all problems of their kind, the samples are draws too. Per-problem estimates
  are independent and unbiased, so their spread holds both levels of chance.
* draws: these very problems, whatever they are; only the samples are draws.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vervet.estimate.coverage import log_all_fail
from vervet.records import FloatArray, IntArray


class Interval(NamedTuple):
    """Bounds in [0, 1] and the standard error behind them, one entry a k."""

    low: FloatArray
    high: FloatArray
    se: FloatArray


def wilson(successes: ArrayLike, trials: ArrayLike, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Wilson's score interval of a share; trials need not be whole numbers. No trials: (0, 1).

    Source: Wilson 1927; recommended for small samples by Brown, Cai and DasGupta 2001.
    """
    from scipy.special import ndtri  # noqa: PLC0415  scipy costs 0.2 s: never at import

    return score_interval(successes, trials, float(ndtri(0.5 + level / 2)))


def score_interval(successes: ArrayLike, trials: ArrayLike, z: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The shares that a score test at z standard errors does not reject."""
    x, m, z = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (successes, trials, z)))
    safe = np.maximum(m, 1e-12)
    share = x / safe
    centre = (share + z * z / (2 * safe)) / (1 + z * z / safe)
    half = z * np.sqrt(np.maximum(share * (1 - share), 0) / safe + z * z / (4 * safe * safe)) / (1 + z * z / safe)
    low = np.where((m <= 0) | (x <= 0), 0.0, np.clip(centre - half, 0.0, 1.0))
    high = np.where((m <= 0) | (x >= m), 1.0, np.clip(centre + half, 0.0, 1.0))
    return low, high


def jeffreys(successes: ArrayLike, trials: ArrayLike, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Equal-tailed interval of Beta(x + 1/2, m - x + 1/2), with 0 and 1 as bounds where x = 0 and x = m.

    Source: Brown, Cai and DasGupta 2001.
    """
    from scipy.special import betaincinv  # noqa: PLC0415

    x, m = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    tail = (1 - level) / 2
    low = np.where(x <= 0, 0.0, betaincinv(x + 0.5, m - x + 0.5, tail))
    high = np.where(x >= m, 1.0, betaincinv(x + 0.5, m - x + 0.5, 1 - tail))
    return low, high


def population_interval(values: FloatArray, level: float = 0.95) -> Interval:
    """Interval for the mean of the population that rows' entries are independent, unbiased draws from.

    values: per-problem estimates in [0, 1], shape (ks, problems).
    Wilson's interval on the number of yes/no trials that would be as informative, with Student's quantile.
    """
    from scipy.stats import t  # noqa: PLC0415

    problems = values.shape[1]
    mean = values.mean(axis=1)
    se = values.std(axis=1, ddof=1) / np.sqrt(problems) if problems > 1 else np.full(len(mean), np.nan)
    trials = _equivalent_trials(mean, se, problems)
    z = float(t.ppf(0.5 + level / 2, max(problems - 1, 1)))
    low, high = score_interval(mean * trials, trials, z)
    return Interval(low, high, np.where(np.isnan(se), np.sqrt(mean * (1 - mean)), se))


def _equivalent_trials(mean: FloatArray, se: FloatArray, problems: int) -> FloatArray:
    """Yes/no trials whose mean has this standard error; no fewer than problems (values in [0, 1] vary no more)."""
    spread = mean * (1 - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        trials = np.where(se > 0, spread / (se * se), problems)
    return np.maximum(trials, problems)


def draws_interval(n: IntArray, c: IntArray, k: IntArray, values: FloatArray, level: float = 0.95) -> Interval:
    """Interval for the mean over these very problems; every n >= k. values: pass@k, shape (ks, problems)."""
    from scipy.special import ndtri  # noqa: PLC0415

    z = float(ndtri(0.5 + level / 2))
    mean = values.mean(axis=1)
    se = np.array([_draws_se(n, c, int(one), row) for one, row in zip(k, values, strict=True)])
    trials = _equivalent_trials(mean, se, values.shape[1])
    low, high = score_interval(mean * trials, trials, z)
    return Interval(low, high, se)


def _draws_se(n: IntArray, c: IntArray, k: int, row: FloatArray) -> float:
    """Standard error of the mean of pass@k from the draws alone.

    The variance of the estimator of q^k is E[estimate^2] - q^2k, and q^2k has an unbiased estimate where 2k <= n.
    """
    fail = 1.0 - row
    twice = np.where(2 * k <= n, np.exp(log_all_fail(n, c, np.minimum(2 * k, n))), 0.0)
    smooth = 1.0 - (c + 0.5) / (n + 1.0)
    twice = np.where(2 * k <= n, twice, smooth ** (2 * k))
    own = np.where(2 * k <= n, fail * fail - twice, smooth**k - smooth ** (2 * k))
    return float(np.sqrt(max(float(own.sum()), 0.0)) / len(row))

"""Intervals of a share, and the two intervals of coverage.

* population: the problems are draws from all problems of their kind, the samples are draws too. Per-problem estimates
  are independent and unbiased, so their spread holds both levels of chance.
* draws: these very problems, whatever they are; only the samples are draws.

Both are Wilson's score interval on the number of yes/no trials that would be as informative, which respects [0, 1] and
leans the right way near its ends. What Wilson's interval cannot know is how unreliable the standard error itself is:
where few problems carry the spread, its quantile comes from Student's t and from :mod:`vervet.estimate.pivots`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vervet.estimate.coverage import log_all_fail
from vervet.records import FloatArray, IntArray

_TERMS = 4
# terms of the smoothed Good-Toulmin series; 2 to 6 calibrate alike


class Interval(NamedTuple):
    """Bounds in [0, 1] and the standard error behind them, one entry a k."""

    low: FloatArray
    high: FloatArray
    se: FloatArray


class Quantiles(NamedTuple):
    """How many standard errors to go down and up from the estimate, one entry a k; all positive."""

    down: FloatArray
    up: FloatArray


def normal_quantile(level: float) -> float:
    """1.96 for 0.95."""
    from scipy.special import ndtri  # noqa: PLC0415  scipy costs 0.2 s: never at import

    return float(ndtri(0.5 + level / 2))


def wilson(successes: ArrayLike, trials: ArrayLike, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Wilson's score interval of a share; trials need not be whole numbers. No trials: (0, 1).

    Source: Wilson 1927; recommended for small samples by Brown, Cai and DasGupta 2001.
    """
    z = normal_quantile(level)
    return score_interval(successes, trials, z, z)


def score_interval(
    successes: ArrayLike, trials: ArrayLike, down: ArrayLike, up: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """The shares that a score test does not reject: the estimate lies at most `down` above or `up` below them."""
    x, m, *quantiles = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (successes, trials, down, up)))
    safe = np.maximum(m, 1e-12)
    share = np.clip(x / safe, 0.0, 1.0)
    bounds = []
    for z, sign in zip(quantiles, (-1.0, 1.0), strict=True):
        half = z * np.sqrt(share * (1 - share) / safe + z * z / (4 * safe * safe))
        bounds.append(np.clip((share + z * z / (2 * safe) + sign * half) / (1 + z * z / safe), 0.0, 1.0))
    return np.where((m <= 0) | (x <= 0), 0.0, bounds[0]), np.where((m <= 0) | (x >= m), 1.0, bounds[1])


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


# ----------------------------------------------------------------------------------------------- intervals of coverage


def population_interval(values: FloatArray, level: float = 0.95, pivots: Quantiles | None = None) -> Interval:
    """Interval for the mean of the population that the problems are independent draws from.

    Args: values: unbiased per-problem estimates in [0, 1], shape (ks, problems).
    pivots: simulated quantiles of the studentised estimate; the mean of them and Student's is used.
    """
    from scipy.special import stdtrit  # noqa: PLC0415

    problems = values.shape[1]
    mean = values.mean(axis=1)
    se = values.std(axis=1, ddof=1) / np.sqrt(problems) if problems > 1 else np.sqrt(mean * (1 - mean))
    student = np.full(len(mean), float(stdtrit(max(problems - 1, 1), 0.5 + level / 2)))
    quantiles = Quantiles(student, student)
    if pivots is not None:
        quantiles = Quantiles((student + pivots.down) / 2, (student + pivots.up) / 2)
    low, high = _bounded(mean, se**2, problems, quantiles, student)
    return Interval(low, high, se)


def draws_interval(
    n: IntArray, c: IntArray, k: IntArray, values: FloatArray, level: float = 0.95, pivots: Quantiles | None = None
) -> Interval:
    """Interval for the mean over these very problems.

    Args: values: pass@k, shape (ks, problems), every n >= max(k).
    pivots: simulated quantiles of the studentised estimate; they can widen the interval, never narrow it.
    """
    problems = values.shape[1]
    variances = draw_variances(n, c, k, values)
    mean = values.mean(axis=1)
    square = np.maximum(variances.mean(axis=1), 0.0) / problems
    z = np.full(len(mean), normal_quantile(level))
    student = _student(variances, level)
    # The standard error is known well where k << n, and as badly as Student's quantile says at k = n / 2. Beyond, it
    # falls with the estimate: one that is too low is too sure of itself and needs most of Student's way up, while down
    # the normal quantile does (all seen in bench/calibration).
    known = np.mean(np.minimum(2 * k[:, None] / np.maximum(n, 1), 1.0), axis=1)
    beyond = np.mean(2 * k[:, None] > n, axis=1)
    quantiles = Quantiles(z + known * (1 - beyond) * (student - z), z + known * (1 - 0.4 * beyond) * (student - z))
    if pivots is not None:
        half = Quantiles((z + pivots.down) / 2, (z + pivots.up) / 2)
        quantiles = Quantiles(*(np.maximum(one, other) for one, other in zip(quantiles, half, strict=True)))
    low, high = _bounded(mean, square, problems, quantiles, z)
    return Interval(low, high, np.sqrt(square))


def stopped_draws_interval(values: FloatArray, level: float = 0.95) -> Interval:
    """Interval for the mean over these very problems after a stopping rule; values: unbiased estimates in [0, 1].

    The variance of such an estimate cannot be told from one run of each problem. It is at most that of independent yes
    or no values, which a mean over unequal problems never exceeds: this interval is wider than it need be.
    """
    problems, mean = values.shape[1], values.mean(axis=1)
    z = normal_quantile(level)
    low, high = score_interval(mean * problems, problems, z, z)
    return Interval(low, high, np.sqrt(mean * (1 - mean) / problems))


def draw_variances(n: IntArray, c: IntArray, k: IntArray, values: FloatArray) -> FloatArray:
    """Estimates of the variance of each pass@k from the draws alone, shape (ks, problems); single ones can be negative.

    With q the chance that a sample fails, the estimator of q^k has variance E[estimate^2] - q^2k. Where 2k <= n, q^2k
    has an unbiased estimate. Beyond, it is what Good and Toulmin's series, smoothed, expects of 2k - n further draws:
    nearly unbiased over the problems together.
    Source: Good and Toulmin 1956; smoothing by Efron and Thisted 1976, Orlitsky, Suresh and Wu 2016.
    """
    grid = k[:, None]
    inside = 2 * grid <= n
    twice = np.exp(log_all_fail(n, c, np.minimum(2 * grid, n)))
    ahead = np.where(inside, 0.0, (2 * grid - n) / np.maximum(n, 1))
    return np.asarray((1 - values) ** 2 - twice + _good_toulmin(c, ahead))


def _good_toulmin(c: IntArray, ahead: FloatArray) -> FloatArray:
    """Problems solved for the first time in `ahead` times as many further draws, as a sum over problems' c."""
    from scipy.special import betainc  # noqa: PLC0415

    out = np.zeros_like(ahead)
    for j in range(1, _TERMS + 1):
        column = np.flatnonzero(c == j)
        if column.size:
            t = ahead[:, column]
            # the chance that Binomial(_TERMS, 1 / (1 + t)) >= j damps the alternating terms
            out[:, column] = -((-t) ** j) * betainc(j, _TERMS - j + 1, 1 / (1 + t))
    return out


def _student(variances: FloatArray, level: float) -> FloatArray:
    """Student's quantile with the degrees of freedom that the variance estimate is worth (Satterthwaite)."""
    from scipy.special import stdtrit  # noqa: PLC0415

    problems = variances.shape[1]
    total = np.maximum(variances.sum(axis=1), 0.0)
    noise = problems * variances.var(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(noise > 0, 2 * total**2 / noise, np.inf)
    return np.asarray(stdtrit(np.clip(freedom, 2.0, 1e6), 0.5 + level / 2))


def _bounded(
    mean: FloatArray, square: FloatArray, problems: int, quantiles: Quantiles, widest: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Score interval for a mean with this squared standard error, never wider than if every value were yes or no."""
    with np.errstate(divide="ignore", invalid="ignore"):
        trials = np.where(square > 0, mean * (1 - mean) / square, problems)
    trials = np.maximum(trials, problems)
    low, high = score_interval(mean * trials, trials, *quantiles)
    least, most = score_interval(mean * problems, problems, widest, widest)
    return np.minimum(np.maximum(low, least), mean), np.maximum(np.minimum(high, most), mean)

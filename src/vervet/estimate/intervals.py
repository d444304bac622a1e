"""Intervals of a share, and the two intervals of coverage.

* population: the problems are draws from all problems of their kind, the samples are draws too. Per-problem estimates
  are independent and unbiased, so their spread holds both levels of chance.
* draws: these very problems, whatever they are; only the samples are draws.

Both are Wilson's score interval on the number of yes/no trials that would be as informative, which respects [0, 1] and
leans the right way near its ends. What Wilson's interval cannot know is how unreliable the standard error itself is:
where few problems carry the spread, its quantile comes from Student's t and from :mod:`vervet.estimate.pivots`. And where
hardly anything is left to chance in the counts at hand (every problem solved many times, or never), the spread that was
seen says nothing about the spread that is possible: what could have been there and was not is added to it.

The constants were chosen on simulations of other distributions and sizes than those of bench/calibration.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vervet.estimate.coverage import log_all_fail
from vervet.records import FloatArray, IntArray

_TERMS = 4
# terms of the smoothed Good-Toulmin series; 2 to 6 calibrate alike
_UNSEEN = (0.05, 0.85)
# down and up: variances of one problem with a single PASS that are added where none with few passes shows
_SEEN = 5.0
# how fast they go as such problems show; 3 to 8 calibrate alike
_SERIES_NOISE = 0.2
# share of the noise of that series which bounds a variance away from 0
_SERIES_STUDENT = 0.5
# how much of the way to Student's quantile an interval goes up beyond k = n / 2
_ONE_TAIL = ((0.1, 0.3), (2.0, 4.0))
# open problems between which all of the error goes to one tail, and between which it goes back to two
_TIES = (0.4, -0.5, 0.25)
# open problems a standard deviation of the trend among the barely solved stands for, and their bounds


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


def population_interval(
    values: FloatArray, level: float = 0.95, pivots: Quantiles | None = None, ties: ArrayLike = 0.0
) -> Interval:
    """Interval for the mean of the population that the problems are independent draws from.

    Where less than a problem's worth of coverage is open, the next problem may be of a kind that these do not show: the
    variance goes over into that of yes or no values, the largest there is. Where about four or fewer may be open, the
    estimate cannot stray up far enough to miss (a set without an open problem is nothing unusual), and the whole of the
    error goes to the other tail, that is to `high`.

    Args: values: unbiased per-problem estimates in [0, 1], shape (ks, problems).
    pivots: simulated quantiles of the studentised estimate; they are averaged with Student's. Without them Student's
    degrees of freedom are the problems that carry what is open (down) and solved (up).
    ties: see :func:`tie_breaker`, one a k; it moves `high` where all of the error is there.

    Source: one two-sided test in place of two one-sided ones, of a statistic with few ties, makes intervals of discrete data
    less conservative (Agresti and Min 2001).
    """
    from scipy.special import stdtrit  # noqa: PLC0415

    problems = values.shape[1]
    mean = values.mean(axis=1)
    se = values.std(axis=1, ddof=1) / np.sqrt(problems) if problems > 1 else np.sqrt(mean * (1 - mean))
    student = np.full(len(mean), float(stdtrit(max(problems - 1, 1), 0.5 + level / 2)))
    if pivots is None:
        quantiles = Quantiles(*(np.maximum(student, _few_carry(part, level)) for part in (1 - values, values)))
    else:
        quantiles = Quantiles(0.5 * student + 0.5 * pivots.down, 0.4 * student + 0.6 * pivots.up)
    rest = np.maximum(mean * (1 - mean) / problems - se**2, 0.0)
    trials = _trials(mean, se**2 + np.exp(-2 * problems * (1 - mean)) * rest, problems)
    low, high = _population_bounds(mean, trials, problems, quantiles, student)
    weight = _one_tail(problems * (1 - high))
    tail = max(normal_quantile(2 * level - 1), 0.0) / normal_quantile(level)
    if pivots is None:
        tail = (1 + tail) / 2  # Wilson's interval reaches too little far up there; simulated quantiles make good for it
    moved = np.clip(mean - np.asarray(ties) * np.minimum(1 - mean, 1 / problems), 0.0, 1.0)
    narrow = Quantiles(quantiles.down, quantiles.up * tail)
    _, nearer = _population_bounds(moved, trials, problems, narrow, student * tail)
    high = (1 - weight) * high + weight * nearer
    return Interval(np.minimum(low, mean), np.maximum(high, mean), se)


def _population_bounds(
    mean: FloatArray, trials: FloatArray, problems: int, quantiles: Quantiles, student: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """As wide as for yes or no values at most, by Wilson's or by Jeffreys' interval: each is too narrow on one side."""
    low, high = score_interval(mean * trials, trials, *quantiles)
    wilson_low, wilson_high = score_interval(mean * problems, problems, student, student)
    other_low, other_high = jeffreys(mean * problems, problems, _level(student[0]))
    return np.maximum(low, np.minimum(wilson_low, other_low)), np.minimum(high, np.maximum(wilson_high, other_high))


def _few_carry(parts: FloatArray, level: float) -> FloatArray:
    """Student's quantile for the number of equal problems that would carry the sum of `parts`, shape (ks, problems)."""
    from scipy.special import stdtrit  # noqa: PLC0415

    total, square = parts.sum(axis=1), (parts**2).sum(axis=1)
    worth = np.where(square > 0, total**2 / np.maximum(square, np.finfo(float).tiny), parts.shape[1])
    return np.asarray(stdtrit(np.clip(worth, 2.0, 1e6), 0.5 + level / 2))


def _one_tail(open_: FloatArray) -> FloatArray:
    """How much of the error goes to one tail where so many problems are open, 0 to 1."""
    (start, full), (rest, end) = _ONE_TAIL
    return np.clip((open_ - start) / (full - start), 0.0, 1.0) * np.clip((end - open_) / (end - rest), 0.0, 1.0)


def tie_breaker(n: IntArray, c: IntArray, k: IntArray) -> FloatArray:
    """What the barely solved problems say of the unsolved, in open problems between -1/2 and 1/4, one a k.

    Near k = n the estimate is the number of open problems, and an interval made from that number alone contains the truth
    too often or not often enough: it takes or leaves all data sets with three open problems together. Those are told apart by
    whether problems with a single PASS are more or fewer than those with two: a trend that falls towards zero says that the
    open ones are more than are to be expected.

    Args: n, c: shape (problems,).  k: shape (ks,), every n >= max(k).
    """
    once, twice = np.sum(c == 1), np.sum(c == 2)
    scale, least, most = _TIES
    trend = (once - twice) / np.sqrt(once + twice + 1)
    return np.asarray(_beyond(n, k) * np.clip(scale * trend, least, most))


def _beyond(n: IntArray, k: IntArray) -> FloatArray:
    """How far k is beyond n / 2: 0 up to there, 1 from 3 n / 4, one a k."""
    return np.asarray(np.clip(4 * k[:, None] / n - 2, 0.0, 1.0).mean(axis=1))


def draws_interval(n: IntArray, c: IntArray, k: IntArray, values: FloatArray, level: float = 0.95) -> Interval:
    """Interval for the mean over these very problems.

    Args: values: pass@k, shape (ks, problems), every n >= max(k).
    """
    problems, mean, z = values.shape[1], values.mean(axis=1), normal_quantile(level)
    variances = draw_variances(n, c, k, values)
    single = draw_variances(n, np.ones_like(n), k, k[:, None] / n).mean(axis=1)
    # The variance is known well where k << n, and as badly as Student's quantile says at k = n / 2. Beyond, it comes from
    # an alternating series that can be 0 or below by accident, and falls with the estimate: one that is too low is too
    # sure of itself and needs part of Student's way up, while down the normal quantile does. Where no problem with few
    # passes shows, hardly any can be lost next time; an unsolved one may be solvable all the same, and does not show.
    known = np.minimum(2 * k[:, None] / n, 1.0).mean(axis=1)
    beyond = _beyond(n, k)
    noise = problems * variances.var(axis=1)
    total = variances.sum(axis=1)
    total = (total + np.sqrt(total**2 + 4 * _SERIES_NOISE * beyond * noise)) / 2
    low, high = score_interval(mean * problems, problems, z, z)
    bounds = []
    for unseen, share in zip(_UNSEEN, (1 - beyond, 1 - (1 - _SERIES_STUDENT) * beyond), strict=True):
        most = total + unseen * single * np.exp(-_SEEN * noise / single**2)
        quantile = z + known * share * (_student(most, noise, level) - z)
        trials = _trials(mean, most / problems**2, problems)
        bounds.append(score_interval(mean * trials, trials, quantile, quantile))
    low, high = np.maximum(low, bounds[0][0]), np.minimum(high, bounds[1][1])
    return Interval(np.minimum(low, mean), np.maximum(high, mean), np.sqrt(total) / problems)


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


def _student(total: FloatArray, noise: FloatArray, level: float) -> FloatArray:
    """Student's quantile with the degrees of freedom that a variance with this variance is worth (Satterthwaite)."""
    from scipy.special import stdtrit  # noqa: PLC0415

    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(noise > 0, 2 * total**2 / noise, np.inf)
    return np.asarray(stdtrit(np.clip(freedom, 2.0, 1e6), 0.5 + level / 2))


def _trials(mean: FloatArray, square: FloatArray, problems: int) -> FloatArray:
    """Yes/no trials as informative as a mean with this squared standard error; at least one a problem."""
    spread = mean * (1 - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        trials = np.where((spread > 0) & (square > 0), spread / square, problems)
    return np.maximum(trials, problems)


def _level(z: float) -> float:
    """The level whose normal quantile is z."""
    from scipy.special import ndtr  # noqa: PLC0415

    return float(2 * ndtr(z) - 1)

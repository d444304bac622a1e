"""How many of k draws pass: pass@k, pass^k and G-Pass@k from one hypergeometric tail.

k draws without replacement from n samples of which c passed hold X passes, X ~ Hypergeometric(n, c, k). Then
pass@k = P(X >= 1), pass^k = P(X >= k) (Yao et al. 2024, arXiv:2406.12045) and G-Pass@k at tau = P(X >= ceil(tau k))
(Liu et al. 2024, arXiv:2412.13147).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from vervet.errors import BadOption, TooFewSamples
from vervet.estimate.coverage import check_counts, check_k
from vervet.records import FloatArray, IntArray


def at_least(n: ArrayLike, c: ArrayLike, k: int, j: int) -> FloatArray:
    """Unbiased probability that k draws contain at least j passes, per problem.

    Args: n, c: decided and passed, shape (problems,).  k: draws, 1 <= k <= n.  j: passes wanted, 0 <= j <= k.
    Returns: shape (problems,), in [0, 1]; relative error below 1e-10.  Time grows with the largest min(c, k).
    Raises: TooFewSamples if any n < k, BadOption for a bad k or j, BadData for impossible counts.
    """
    total, right = check_counts(n, c)
    k = check_k(k)
    if not 0 <= j <= k:
        raise BadOption(f"j = {j} passes among k = {k} draws: j must lie in 0..k")
    usable = np.asarray(total >= k)
    if not np.all(usable):
        raise TooFewSamples(f"{k} draws need {k} samples of every problem: {int(np.sum(~usable))} have fewer", usable)
    return np.array([_tail(int(a), int(b), k, j) for a, b in zip(total.ravel(), right.ravel(), strict=True)]).reshape(
        total.shape
    )


def pass_all(n: ArrayLike, c: ArrayLike, k: int) -> FloatArray:
    """pass^k: the chance that all of k draws pass, C(c, k) / C(n, k), per problem."""
    return at_least(n, c, k, check_k(k))


def g_pass(n: ArrayLike, c: ArrayLike, k: int, tau: float) -> FloatArray:
    """G-Pass@k: the chance that at least ceil(tau k) of k draws pass; tau in [0, 1], where 0 stands for one pass."""
    if not 0 <= tau <= 1:
        raise BadOption(f"tau must lie in [0, 1], not {tau!r}")
    # 0.7 * 10 is 7.000000000000001 in floating point; the intended threshold is 7
    return at_least(n, c, k, max(1, math.ceil(round(tau * check_k(k), 9))))


def mean_g_pass(n: ArrayLike, c: ArrayLike, k: int) -> FloatArray:
    """mG-Pass@k: 2/k times the sum of G-Pass@k at i/k for i from ceil(k/2) + 1 to k, per problem."""
    steps = [at_least(n, c, k, i) for i in range(math.ceil(check_k(k) / 2) + 1, k + 1)]
    total, _ = check_counts(n, c)
    return np.asarray(2 / k * sum(steps, np.zeros(total.shape)))


def _tail(n: int, c: int, k: int, j: int) -> float:
    """P(X >= j), summed from the far side when that is the shorter one."""
    lowest, highest = max(0, k - (n - c)), min(c, k)
    if j <= lowest:
        return 1.0
    if j > highest:
        return 0.0
    mode = ((k + 1) * (c + 1)) // (n + 2)
    if j <= mode:
        return float(min(1.0, max(0.0, 1.0 - math.fsum(_terms(n, c, k, np.arange(lowest, j))))))
    return float(min(1.0, math.fsum(_terms(n, c, k, np.arange(j, highest + 1)))))


def _terms(n: int, c: int, k: int, x: IntArray) -> FloatArray:
    """P(X = x) by the ratio of neighbours, anchored at one exact value."""
    if x.size == 0:
        return np.zeros(0)
    steps = x[:-1].astype(np.float64)
    ratios = np.log((c - steps) * (k - steps) / ((steps + 1) * (n - c - k + steps + 1)))
    return np.exp(_log_probability(n, c, k, int(x[0])) + np.concatenate([[0.0], np.cumsum(ratios)]))


def _log_probability(n: int, c: int, k: int, x: int) -> float:
    """log of C(c, x) C(n-c, k-x) / C(n, k), exact to the last digits by whole-number arithmetic where it is cheap."""
    if n <= 5000:
        return _log_ratio(math.comb(c, x) * math.comb(n - c, k - x), math.comb(n, k))
    from scipy.stats import hypergeom  # noqa: PLC0415

    return float(hypergeom.logpmf(x, n, c, k))


def _log_ratio(top: int, bottom: int) -> float:
    """log(top / bottom) of whole numbers too large for a float."""
    shift = max(0, bottom.bit_length() - 1000)
    small = max(0, top.bit_length() - 1000)
    return math.log(top >> small) - math.log(bottom >> shift) + (small - shift) * math.log(2)

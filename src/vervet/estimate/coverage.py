"""pass@k per problem, and its mean: coverage.

One formula carries the room: the chance that k draws without replacement from n samples, c of them right, are all
wrong, C(n-c, k) / C(n, k) = prod_{i < m} (1 - M / (n - i)) with m = min(c, k), M = max(c, k). Its logarithm:

* c k / n >= 45: below e^-45, nothing in double precision;
* few factors: their log1p, summed;
* many factors: Stirling's series, regrouped so that no large terms cancel. Plain lgamma would lose 8 digits at n = 1e7.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vervet.errors import BadData, BadOption, TooFewSamples
from vervet.records import FloatArray, IntArray

_NEGLIGIBLE = 45.0
# e^-45 = 3e-20: its complement is 1 in double precision
_FACTORS = 24
# products up to this length are summed term by term
_STIRLING_FROM = 32.0
# smallest argument of the series; its error there is below 1e-17


def pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> FloatArray:
    """Unbiased probability that k draws without replacement contain a success, per problem.

    Args: n, c: samples decided and passed, shape (problems,), 0 <= c <= n.  k: draws, k >= 1.
    Returns: shape (problems,), in [0, 1]; exactly 1.0 where n - c < k.  Error below 1e-12 up to n = 1e7.
    Raises: TooFewSamples if any n < k; its `.usable` is the mask of problems that could be estimated.
    BadOption if k < 1; BadData if the counts are impossible.
    Source: Chen et al. 2021, eq. 1 (arXiv:2107.03374).
    """
    total, right = check_counts(n, c)
    k = check_k(k)
    usable = np.asarray(total >= k)
    if not np.all(usable):
        short = int(np.sum(~usable))
        raise TooFewSamples(f"pass@{k} needs {k} samples of every problem: {short} of {usable.size} have fewer", usable)
    return np.asarray(-np.expm1(log_all_fail(total, right, k)))


def pass_curve(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> FloatArray:
    """Unbiased pass@min(k, n) for many k: shape (len(k), problems). A problem with no samples has 0.

    Where n < k this is pass@n: the least that is known about pass@k. Mask with `n >= k` to keep estimates only.
    """
    total, right = check_counts(n, c)
    grid = np.asarray(k, dtype=np.int64)[:, None]
    # many problems share their counts (c = 0 above all): each distinct pair is computed once
    pairs, where = np.unique(np.stack([total, right]), axis=1, return_inverse=True)
    values = -np.expm1(log_all_fail(pairs[0], pairs[1], np.minimum(grid, pairs[0])))
    return np.ascontiguousarray(values[:, where.reshape(-1)])


def log_all_fail(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> FloatArray:
    """log of C(n-c, k) / C(n, k), the chance that k of n samples are all wrong; -inf where n - c < k.

    Broadcasts. Domain: 0 <= c <= n, 0 <= k <= n, unchecked. Relative error of e^result below 1e-13 or so where it is
    above e^-45; below that the result is only an upper bound (-c k / n).
    """
    total, right, draws = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (n, c, k)))
    few, many = np.minimum(right, draws), np.maximum(right, draws)
    left = total - few - many
    bound = few * many / np.maximum(total, 1.0)
    result = np.asarray(-bound)  # right where nothing was drawn or nothing passed, and a bound where it is negligible
    result[left < 0] = -np.inf
    open_ = (bound > 0) & (bound < _NEGLIGIBLE) & (left >= 0)
    direct = open_ & ((few <= _FACTORS) | (left < _STIRLING_FROM))
    series = open_ & ~direct
    result[direct] = _sum_of_factors(total[direct], few[direct], many[direct])
    result[series] = _stirling(total[series], few[series], many[series])
    return result


def _sum_of_factors(total: FloatArray, few: FloatArray, many: FloatArray) -> FloatArray:
    """Term by term; longest products first, so that each round touches only the ones that still have a factor."""
    order = np.argsort(-few, kind="stable")
    total, few, many = total[order], few[order], many[order]
    out = np.zeros_like(total)
    for i in range(int(few[0]) if few.size else 0):
        alive = int(np.searchsorted(-few, -i, side="left"))
        out[:alive] += np.log1p(-many[:alive] / (total[:alive] - i))
    result = np.empty_like(out)
    result[order] = out
    return result


def _stirling(n: FloatArray, m: FloatArray, big: FloatArray) -> FloatArray:
    """lnB! + lnC! - lnA! - lnD! with A = n, B = n - m, C = n - M, D = n - m - M; uses C B - A D = m M."""
    b, c, d = n - m, n - big, n - m - big
    main = m * np.log1p(-big / n) + big * np.log1p(-m / n) - d * np.log1p(-m * big / (b * c))
    half = 0.5 * np.log1p(m * big / (n * d))
    return np.asarray(main + half + _stirling_error(b) + _stirling_error(c) - _stirling_error(n) - _stirling_error(d))


def _stirling_error(x: FloatArray) -> FloatArray:
    """ln x! minus Stirling's formula, x >= 32."""
    y = 1.0 / (x * x)
    return np.asarray((1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188)))) / x)


# -------------------------------------------------------------------------------------------------- all problems


def floor_and_ceiling(n: IntArray, c: IntArray, unknown: IntArray, k: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Least and most that the estimate over all problems can be, shape (len(k),).

    Floor: undecided samples failed, problems that are still short of k count with what they have. Ceiling: undecided
    samples passed, problems with n < k count as solved. No chance is in these: they answer "what if", not "how sure".
    """
    grid = np.asarray(k, dtype=np.int64)
    low = pass_curve(n + unknown, c, grid)
    high = np.where(n >= grid[:, None], pass_curve(n + unknown, c + unknown, grid), 1.0)
    return np.asarray(low.mean(axis=1)), np.maximum(low.mean(axis=1), high.mean(axis=1))


def default_grid(n: IntArray) -> IntArray:
    """1, 2, 5, 10, 20, 50, ... up to the largest n, and the smallest n itself; at least k = 1."""
    top = max(int(np.max(n)), 1)
    grid = {step * 10**power for power in range(len(str(top))) for step in (1, 2, 5)}
    smallest = int(np.min(n))
    return np.array(sorted({k for k in grid if k <= top} | ({smallest} if smallest >= 1 else set())), dtype=np.int64)


# --------------------------------------------------------------------------------------------------------- checks


def check_counts(n: ArrayLike, c: ArrayLike) -> tuple[IntArray, IntArray]:
    """Both as int64 of one shape. Raises: BadData where 0 <= c <= n fails or a count is no whole number."""
    arrays = []
    for name, value in (("n", n), ("c", c)):
        array = np.asarray(value)
        whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and bool(np.all(np.floor(array) == array)))
        if not whole:
            raise BadData(f"{name} must hold whole numbers, not {array.dtype}")
        arrays.append(array.astype(np.int64))
    if arrays[0].shape != arrays[1].shape:
        raise BadData(f"n has shape {arrays[0].shape} and c has {arrays[1].shape}: one entry a problem in both")
    if np.any(arrays[1] < 0) or np.any(arrays[1] > arrays[0]):
        raise BadData("counts must obey 0 <= c <= n for every problem")
    return arrays[0], arrays[1]


def check_k(k: Any) -> int:
    """k as an int. Raises: BadOption unless it is a whole number >= 1."""
    try:
        value = operator.index(k)
    except TypeError:
        raise BadOption(f"k must be a whole number, not {k!r}") from None
    if value < 1:
        raise BadOption(f"k must be at least 1, not {value}: pass@k is about k draws")
    return value


def check_grid(k: Any) -> IntArray:
    """One k or several, as a rising array without repeats. Raises: BadOption for an empty grid or a bad k."""
    values = list(k) if isinstance(k, (Sequence, np.ndarray, set, range)) else [k]
    if not values:
        raise BadOption("k names no number of draws: give at least one")
    return np.array(sorted({check_k(v) for v in values}), dtype=np.int64)


def check_level(level: float) -> float:
    """Raises: BadOption unless 0 < level < 1."""
    if not 0.0 < level < 1.0:
        raise BadOption(f"level must be between 0 and 1, such as 0.95, not {level!r}")
    return float(level)

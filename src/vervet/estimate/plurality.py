"""The plurality answer of k samples, exactly: a vote over class counts, without listing subsets.

For each m, the number of votes that wins: classes with fewer than m samples in all, and the silent ones, can be lumped (they
cannot reach m); every other class gives fewer than m votes, or exactly m and ties. Polynomials in the number of samples drawn
count the subsets; a second set of them carries the sum of the tied classes' values.
"""

from __future__ import annotations

import numpy as np

from vervet.estimate.pools import Table
from vervet.records import FloatArray, IntArray

LARGEST = 128
# samples up to which this is used: it takes milliseconds there, and binomials stay far from overflow


def exact(counts: Table, ks: IntArray) -> FloatArray:
    """Chance that the plurality answer of k samples is right, ties split; shape (ks,), every k <= n <= LARGEST."""
    top = int(ks.max())
    won = np.zeros(top + 1)
    choose = _pascal(counts.n)
    order = np.argsort(counts.counts)
    sizes, values = counts.counts[order], counts.value[order]
    for m in range(1, min(top, int(sizes[-1]) if len(sizes) else 0) + 1):
        small = int(np.searchsorted(sizes, m))
        lumped = counts.silent + int(sizes[:small].sum())
        won += _won_by(m, sizes[small:], values[small:], choose[lumped, : top + 1], choose)
    return np.asarray(np.clip(won[ks] / choose[counts.n, ks], 0.0, 1.0))


def _won_by(m: int, sizes: IntArray, values: FloatArray, lumped: FloatArray, choose: FloatArray) -> FloatArray:
    """Subsets by size, each weighed with the mean value of the classes that tie for first place with m votes."""
    length = len(lumped)
    ties = min(len(sizes), (length - 1) // m)
    # ways[t] and worth[t]: subsets in which t classes have m votes, and the same times the sum of their values
    ways, worth = np.zeros((ties + 1, length)), np.zeros((ties + 1, length))
    ways[0] = lumped
    for size, value in zip(sizes, values, strict=True):
        fewer = _shifts(choose[size, : min(m, length)], length)
        at = choose[size, m]
        new_ways, new_worth = ways @ fewer, worth @ fewer
        new_ways[1:, m:] += at * ways[:-1, : length - m]
        new_worth[1:, m:] += at * (worth[:-1, : length - m] + value * ways[:-1, : length - m])
        ways, worth = new_ways, new_worth
    return np.asarray((worth[1:] / np.arange(1, ties + 1)[:, None]).sum(axis=0))


def _shifts(coefficients: FloatArray, length: int) -> FloatArray:
    """The matrix that multiplies a polynomial (a row) by another one, cut off at `length`."""
    padded = np.zeros(2 * length - 1)
    padded[length - 1 : length - 1 + len(coefficients)] = coefficients
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, length)[::-1])


def _pascal(n: int) -> FloatArray:
    """Binomials up to n over n."""
    out = np.zeros((n + 1, n + 1))
    out[:, 0] = 1.0
    for row in range(1, n + 1):
        out[row, 1:] = out[row - 1, 1:] + out[row - 1, :-1]
    return out

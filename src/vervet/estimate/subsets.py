"""Votes over random subsets, where no closed form is at hand: all subsets while they are few, else random ones.

A random permutation of a problem's samples holds a random subset of every size: its beginnings. So few permutations serve all
k at once, neighbouring k share their chance and the curve is smooth; each k alone is unbiased. The permutations are seeded by
the samples themselves: the same samples always give the same numbers, and two problems never share their chance.
"""

from __future__ import annotations

import functools
import itertools
import math
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from vervet.records import FloatArray, IntArray

_CELLS = 640_000
# permutations times samples
_LEAST, _MOST = 32, 1000
# permutations
FEW_SUBSETS = 4000
# up to this many all subsets of a size are listed


class Expectation(NamedTuple):
    """A mean over subsets for each k, and the variance that simulating it has left in it (0: exact)."""

    values: FloatArray
    noise: FloatArray


class Tally(NamedTuple):
    """Subsets by classes: votes, and sums of weights, shape (subsets, classes)."""

    votes: FloatArray
    weights: FloatArray | None


Judge = Callable[[Tally], FloatArray]
"""Tallies of subsets -> the chance that each one's pick is right, shape (subsets,)."""


def expectation(labels: IntArray, weights: FloatArray | None, classes: int, ks: IntArray, judge: Judge) -> Expectation:
    """The judge's mean over random subsets, for every k in `ks` (rising, <= n).

    Args: labels: class of each sample, shape (n,); `classes` stands for "no vote" and is left out of the tallies.
    """
    n = len(labels)
    values, noise = np.zeros(len(ks)), np.zeros(len(ks))
    few = np.array([_subsets(n, int(k)) <= FEW_SUBSETS for k in ks])
    for i in np.flatnonzero(few):
        rows = np.array(list(itertools.combinations(range(n), int(ks[i]))))
        values[i] = judge(_tally(labels[rows], None if weights is None else weights[rows], classes)).mean()
    many = np.flatnonzero(~few)
    if len(many):
        for i, tally in zip(many, _beginnings(labels, weights, ks[many], classes), strict=True):
            worth = judge(tally)
            values[i], noise[i] = worth.mean(), worth.var(ddof=1) / len(worth)
    return Expectation(values, noise)


def _subsets(n: int, k: int) -> float:
    """C(n, k), as a float: whole numbers of thousands of digits take longer than what they decide."""
    if min(k, n - k) > FEW_SUBSETS:
        return math.inf
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log) if log < 700 else math.inf


def _tally(labels: IntArray, weights: FloatArray | None, classes: int) -> Tally:
    """Votes and weights by class of each row of samples."""
    rows, width = len(labels), classes + 1
    keys = (labels + width * np.arange(rows)[:, None]).ravel()

    def by_class(of: FloatArray | None) -> FloatArray:
        flat = np.bincount(keys, weights=None if of is None else of.ravel(), minlength=rows * width)
        return np.asarray(flat.reshape(rows, width)[:, :classes])

    return Tally(by_class(None), None if weights is None else by_class(weights))


def _beginnings(labels: IntArray, weights: FloatArray | None, ks: IntArray, classes: int) -> Iterator[Tally]:
    """Tallies of the first k samples of each of some permutations, k after k."""
    n = len(labels)
    rng = np.random.default_rng([n, zlib.crc32(np.ascontiguousarray(labels).tobytes())])
    # shuffled samples in shared orders: uniform, and uncorrelated with other problems, at a fraction of the cost
    mixed = rng.permutation(n)
    labels, weights = labels[mixed], None if weights is None else weights[mixed]
    order = _orders(n)
    votes = np.zeros((len(order), classes))
    sums = None if weights is None else np.zeros((len(order), classes))
    done = 0
    for k in ks:
        part = order[:, done:k]
        fresh = _tally(labels[part], None if weights is None else weights[part], classes)
        votes += fresh.votes
        if sums is not None and fresh.weights is not None:
            sums += fresh.weights
        done = int(k)
        yield Tally(votes, sums)


@functools.lru_cache(maxsize=4)
def _orders(n: int) -> IntArray:
    """Random orders of n samples, one a row."""
    repeats = min(max(_CELLS // n, _LEAST), _MOST)
    order = np.random.default_rng(n).permuted(np.tile(np.arange(n, dtype=np.int32), (repeats, 1)), axis=1)
    order.flags.writeable = False
    return np.asarray(order)

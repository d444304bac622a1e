"""Best of k by score, the first answer, and any right answer: expectations over subsets in closed form."""

from __future__ import annotations

import math

import numpy as np

from vervet.estimate.coverage import pass_curve
from vervet.estimate.pools import Pool
from vervet.records import FloatArray, IntArray


def best_of_k(pool: Pool, ks: IntArray) -> FloatArray:
    """Chance that the best scored of k samples is right; shape (ks,), every k <= n.

    Samples are grouped by score, best first: the pick comes out of a group when the subset holds one of it and none of a
    better one, C(n - before, k) - C(n - before - size, k) ways. Within a group each sample is as likely: its share of right
    ones counts. Samples with an answer and no score come last; without an answer a sample is never picked.
    """
    sizes, shares = _groups(pool)
    edges = np.append(0, np.cumsum(sizes))
    out = np.empty(len(ks))
    for i, k in enumerate(ks):
        avoided = _avoids(pool.n, int(k))
        at = avoided[np.minimum(edges, len(avoided) - 1)]
        out[i] = (at[:-1] - at[1:]) @ shares
    return np.clip(out, 0.0, 1.0)


def _avoids(n: int, k: int) -> FloatArray:
    """Chance that a subset of k avoids the first m of n samples, for m = 0, 1, ... until it is below 1e-20; the last is 0."""
    longest = min(n - k, math.ceil(46 * n / k))
    steps = np.log1p(-k / (n - np.arange(longest)))
    return np.concatenate([[1.0], np.exp(np.cumsum(steps)), [0.0]])


def _groups(pool: Pool) -> tuple[IntArray, FloatArray]:
    """Sizes of groups of equal score, best first, and the share of each that is right."""
    usable = pool.classes >= 0
    scores = np.zeros(pool.n) if pool.scores is None else pool.scores
    scores = np.where(np.isnan(scores), -np.inf, scores)[usable]
    levels, which = np.unique(-scores, return_inverse=True)
    sizes = np.bincount(which, minlength=len(levels))
    passed = np.bincount(which, weights=pool.right[usable], minlength=len(levels))
    return sizes.astype(np.int64), passed / np.maximum(sizes, 1)


def first(pool: Pool, ks: IntArray) -> FloatArray:
    """Chance that the first sample with an answer is right, in a random order of a random subset; shape (ks,)."""
    usable = pool.classes >= 0
    answered = int(usable.sum())
    if not answered:
        return np.zeros(len(ks))
    share = float(pool.right[usable].mean())
    return share * np.asarray(pass_curve([pool.n], [answered], ks)[:, 0])


def oracle(pool: Pool, ks: IntArray) -> FloatArray:
    """Chance that any of k samples is right: pass@k; shape (ks,)."""
    return np.asarray(pass_curve([pool.n], [int(pool.right.sum())], ks)[:, 0])

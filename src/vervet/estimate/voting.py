"""Votes over k samples: plain, weighted by score, and after a verifier has thrown out what it rejects."""

from __future__ import annotations

import numpy as np

from vervet.estimate import plurality
from vervet.estimate.coverage import log_all_fail
from vervet.estimate.pools import Pool, Table, table
from vervet.estimate.subsets import Expectation, Tally, expectation
from vervet.records import FloatArray, IntArray

_TIE = 1e-9
# relative difference below which two sums of scores are equal: in another order they round otherwise


def majority(pool: Pool, ks: IntArray) -> Expectation:
    """Chance that the most frequent answer of k samples is right, ties split; every k <= n."""
    return _plurality(table(pool.classes, pool.right), ks)


def _plurality(counts: Table, ks: IntArray) -> Expectation:
    """Exact while that takes milliseconds, and at k = n; else over random subsets."""
    if not len(counts.counts) or not len(ks):
        return Expectation(np.zeros(len(ks)), np.zeros(len(ks)))
    if counts.n <= plurality.LARGEST:
        return Expectation(plurality.exact(counts, ks), np.zeros(len(ks)))
    classes = len(counts.counts)
    labels = np.repeat(np.arange(classes + 1), [*counts.counts, counts.silent])
    return expectation(labels, None, classes, ks, lambda tally: most_votes(tally.votes, counts.value))


def weighted_majority(pool: Pool, ks: IntArray) -> Expectation:
    """Chance that the answer with the largest sum of scores among k samples is right, ties split; every k <= n.

    Only scored samples vote; where none of the k is scored, the plain majority decides. Scores are summed as they are.
    """
    scores = np.full(pool.n, np.nan) if pool.scores is None else pool.scores
    counts = table(pool.classes, pool.right)
    scored = ~np.isnan(scores) & (pool.classes >= 0)
    if not scored.any():
        return majority(pool, ks)
    classes = len(counts.counts)
    dense = np.searchsorted(np.unique(pool.classes[pool.classes >= 0]), pool.classes)
    unscored = ~scored & (pool.classes >= 0)
    # labels: votes with a score, then (if there are any) without, then silence
    kinds = 2 if unscored.any() else 1
    labels = np.where(scored, dense, np.where(unscored, dense + classes, kinds * classes))
    order = np.lexsort((scores, labels))
    weights = np.where(scored, scores, 0.0)

    def judge(tally: Tally) -> FloatArray:
        assert tally.weights is not None
        votes = tally.votes[:, :classes]
        found = _share_of_top(np.where(votes > 0, tally.weights[:, :classes], -np.inf), counts.value)
        if kinds == 1:
            return found
        return np.where(votes.any(axis=1), found, most_votes(tally.votes[:, classes:], counts.value))

    return expectation(labels[order], weights[order], kinds * classes, ks, judge)


def verified(pool: Pool, ks: IntArray) -> Expectation:
    """Chance that a vote among the accepted samples of k is right, or among all where none is accepted; every k <= n.

    A subset either holds an accepted answer: a vote in which all others are silent; or holds none: a subset of the others.
    """
    accepted = (pool.right if pool.accepted is None else pool.accepted) & (pool.classes >= 0)
    among = _plurality(table(np.where(accepted, pool.classes, -1), pool.right), ks)
    rest = int((~accepted).sum())
    inside = ks <= rest
    none = np.exp(log_all_fail(pool.n, pool.n - rest, ks[inside]))
    others = _plurality(table(pool.classes[~accepted], pool.right[~accepted]), ks[inside])
    values, noise = among.values.copy(), among.noise.copy()
    values[inside] += none * others.values
    noise[inside] += none**2 * others.noise
    return Expectation(values, noise)


def most_votes(votes: FloatArray, value: FloatArray) -> FloatArray:
    """Mean value of the classes that tie for the most votes; 0 where nobody voted."""
    top = votes.max(axis=1)
    tied = votes == np.maximum(top, 1.0)[:, None]
    return np.asarray((tied @ value) / np.maximum(tied.sum(axis=1), 1))


def _share_of_top(sums: FloatArray, value: FloatArray) -> FloatArray:
    """Mean value of the classes that tie for the largest sum, -inf for who is out; 0 where all are."""
    top = sums.max(axis=1)
    slack = _TIE * np.maximum(np.abs(top), 1.0)
    tied = (sums >= (top - slack)[:, None]) & np.isfinite(sums)
    return np.asarray((tied @ value) / np.maximum(tied.sum(axis=1), 1))

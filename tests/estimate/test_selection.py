"""Selectors' expectations against every subset listed one by one, with the rules written again in plain Python."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings, strategies as st

from vervet.estimate import plurality, subsets, voting
from vervet.estimate.pools import METHODS, Pool
from vervet.estimate.selection import success, success_of


def _mean(values):
    values = list(values)
    return sum(values, Fraction(0)) / len(values) if values else Fraction(0)


def _vote(pool, chosen, weight, voters=None):
    """The mean value of the answers that tie for the largest total; an answer's value is that of all its voters."""
    voters = np.ones(pool.n, dtype=bool) if voters is None else voters
    totals: dict[int, float] = {}
    for i in chosen:
        totals[pool.classes[i]] = totals.get(pool.classes[i], 0) + weight(i)
    top = max(totals.values(), default=None)
    members = [pool.right[voters & (pool.classes == label)] for label, total in totals.items() if total == top]
    return _mean(_mean(Fraction(int(r)) for r in right) for right in members)


def _pick(pool, method, subset):
    """What the method's pick out of one subset is worth: the rule, read literally."""
    answered = [i for i in subset if pool.classes[i] >= 0]
    accepted = pool.right if pool.accepted is None else pool.accepted
    scored = [i for i in answered if pool.scores is not None and not np.isnan(pool.scores[i])]
    if method == "oracle":
        return Fraction(int(any(pool.right[i] for i in subset)))
    if method == "majority":
        return _vote(pool, answered, lambda _: 1)
    if method == "verified":
        kept = [i for i in answered if accepted[i]]
        return _vote(pool, kept or answered, lambda _: 1, accepted if kept else ~accepted)
    if method == "weighted-majority":
        return _vote(pool, scored, lambda i: pool.scores[i]) if scored else _vote(pool, answered, lambda _: 1)
    if method == "best-of-k":
        top = max((pool.scores[i] for i in scored), default=None)
        best = [i for i in scored if pool.scores[i] == top] or answered
        return _mean(Fraction(int(pool.right[i])) for i in best)
    assert method == "first"
    return _mean(Fraction(int(pool.right[i])) for i in answered)


def brute_force(pool, method, k):
    return _mean(_pick(pool, method, subset) for subset in itertools.combinations(range(pool.n), k))


def _expected(pool, method):
    """The first of a random order is each of the answered with equal chance, so `first` needs no orders."""
    return [float(brute_force(pool, method, k)) for k in range(1, pool.n + 1)]


@st.composite
def pools(draw):
    """Up to seven samples: equal scores, missing scores, no answers, answers that are judged both ways, other verifiers."""
    n = draw(st.integers(1, 7))
    classes = np.array(draw(st.lists(st.integers(-1, 3), min_size=n, max_size=n)))
    right = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n))) & (classes >= 0)
    # quarters add up exactly in any order, so that a tie is a tie
    score = st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0, float("nan")])
    scores = draw(st.none() | st.lists(score, min_size=n, max_size=n))
    accepted = draw(st.none() | st.lists(st.booleans(), min_size=n, max_size=n))
    return Pool(
        classes,
        right,
        None if scores is None else np.array(scores),
        None if accepted is None else np.array(accepted),
    )


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None)
@given(pool=pools())
def test_every_expectation_is_that_over_all_subsets(method, pool):
    ks = np.arange(1, pool.n + 1)
    assert success_of(pool, method, ks).values == pytest.approx(_expected(pool, method), abs=1e-12)


def _large(seed=3, n=400):
    rng = np.random.default_rng(seed)
    classes = np.minimum(rng.geometric(0.15, n) - 1, 30) - (rng.random(n) < 0.1)
    classes = np.maximum(classes, -1)
    right = classes == 1
    return Pool(classes, right, rng.normal(right * 0.5, 1.0) + 2, rng.random(n) < 0.2 + 0.5 * right)


@pytest.mark.parametrize("method", ["majority", "verified"])
def test_simulated_votes_are_near_the_exact_ones(method, monkeypatch):
    """Beyond five standard errors once in a million, at a handful of k: false alarms below 1e-5."""
    pool, ks = _large(n=120), np.array([2, 5, 20, 60])
    exact = success_of(pool, method, ks)
    assert not exact.noise.any()
    monkeypatch.setattr(plurality, "LARGEST", 0)
    monkeypatch.setattr(subsets, "FEW_SUBSETS", 0)
    near = success_of(pool, method, ks)
    assert near.noise.all()
    assert np.abs(near.values - exact.values) == pytest.approx(0, abs=5 * np.sqrt(near.noise.max()) + 1e-9)
    assert np.all(np.abs(near.values - exact.values) <= 5 * np.sqrt(near.noise) + 1e-9)


def test_equal_scores_make_the_weighted_vote_a_plain_one():
    pool, ks = _large(n=120), np.array([1, 3, 10, 120])
    flat = Pool(pool.classes, pool.right, np.ones(pool.n))
    weighted = voting.weighted_majority(flat, ks)
    plain = success_of(pool, "majority", ks)
    assert np.all(np.abs(weighted.values - plain.values) <= 5 * np.sqrt(weighted.noise) + 1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_samples_does_not_matter(method):
    pool, ks = _large(), np.array([1, 7, 100, 400])
    order = np.random.default_rng(0).permutation(pool.n)
    other = Pool(pool.classes[order], pool.right[order], pool.scores[order], pool.accepted[order])
    assert np.array_equal(success_of(pool, method, ks).values, success_of(other, method, ks).values)


def _wrong_pick(pool, method, subset):
    """The same rules with a mistake in each."""
    answered = [i for i in subset if pool.classes[i] >= 0]
    if method == "oracle":  # right only if every sample is
        return Fraction(int(all(pool.right[i] for i in subset)))
    if method == "majority":  # a tie goes to the answer that came first
        label = Counter(int(pool.classes[i]) for i in answered).most_common(1)[0][0] if answered else None
        return _mean(Fraction(int(r)) for r in pool.right[pool.classes == label])
    if method == "verified":  # all vote, accepted or not
        return _pick(pool, "majority", subset)
    if method == "weighted-majority":  # a vote is a vote
        return _pick(pool, "majority", subset)
    if method == "best-of-k":  # the lowest score
        return _pick(Pool(pool.classes, pool.right, None if pool.scores is None else -pool.scores), method, subset)
    assert method == "first"
    return _mean(Fraction(int(pool.right[i])) for i in subset)  # also one without an answer


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_rule_is_found_out(method):
    """Negative control: the comparison over all subsets tells each rule from one with a mistake."""

    def differs(pool):
        found = success_of(pool, method, np.arange(1, pool.n + 1)).values
        subsets_of = (itertools.combinations(range(pool.n), k) for k in range(1, pool.n + 1))
        wrong = [float(_mean(_wrong_pick(pool, method, subset) for subset in group)) for group in subsets_of]
        return wrong != pytest.approx(found, abs=1e-12)

    find(pools(), differs, settings=settings(max_examples=500, deadline=None, database=None, phases=[Phase.generate]))


def test_many_problems_and_ragged_n():
    """Beyond a problem's n its value is that at n, and the limit is what all its samples pick."""
    small = Pool(np.array([0, 0, 1]), np.array([True, True, False]))
    empty = Pool(np.array([], dtype=int), np.array([], dtype=bool))
    found = success([small, empty, _large()], METHODS, np.array([1, 3, 50]))
    for method in METHODS:
        assert found[method].values.shape == (3, 3)
        assert found[method].values[2, 0] == found[method].limits[0]
        assert not found[method].values[:, 1].any()
    assert found["majority"].values[:, 0] == pytest.approx([2 / 3, 1, 1])
    assert list(found["majority"].n) == [3, 0, 400]


def test_no_overflow_in_ten_thousand_samples():
    classes = np.repeat([0, 1, -1], [4000, 3000, 3000])
    pool = Pool(classes, classes == 0, np.linspace(0, 1, 10_000))
    for method in METHODS:
        values = success_of(pool, method, np.array([1, 100, 10_000])).values
        assert np.all((values >= 0) & (values <= 1)), method
        assert values[0] == pytest.approx(0.4, abs=0.15), method

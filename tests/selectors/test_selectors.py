"""Selectors keep the promises of their seam, and on average pick what their expectation says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vervet import plugins
from vervet.estimate.pools import METHODS, Pool
from vervet.estimate.selection import success_of
from vervet.records import Outcome, Sample
from vervet.testing.selectors import conform_to_selector


def _sample(index, answer, score=None, right=False):
    outcome = Outcome.PASS if right else Outcome.FAIL
    return Sample("p", index, f"text {index}", "stop", 3, index, answer=answer, outcome=outcome, score=score)


SAMPLES = [
    _sample(0, "4", 0.5, right=True),
    _sample(1, "5", 0.75),
    _sample(2, "4", 0.25, right=True),
    _sample(3, None),
    _sample(4, "6"),
    _sample(5, "5", 0.125),
    _sample(6, "5", -0.5),
]


def test_every_method_has_a_selector_and_no_more():
    assert plugins.names("selectors") == list(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_conformance(name):
    build = plugins.resolve("selectors", name)
    conform_to_selector(build, SAMPLES, order_free=name in ("majority", "weighted-majority", "best-of-k", "verified"))


@pytest.mark.parametrize("name", ["majority", "weighted-majority", "best-of-k", "verified"])
def test_what_is_picked_is_what_is_expected(name):
    """Where no subset of k ties, the share of subsets in which the pick is right is the expectation."""
    selector = plugins.resolve("selectors", name)()
    k = 7
    subsets = list(itertools.combinations(SAMPLES, k))
    picks = [s[i] for s in subsets if (i := selector.choose(s)) is not None]
    pool = Pool(
        np.array([0, 1, 0, -1, 2, 1, 1]),
        np.array([s.outcome is Outcome.PASS for s in SAMPLES]),
        np.array([np.nan if s.score is None else s.score for s in SAMPLES]),
    )
    share = sum(p.outcome is Outcome.PASS for p in picks) / len(subsets)
    assert share == pytest.approx(success_of(pool, name, np.array([k])).values[0])


def test_equal_answers_meet_under_their_key():
    samples = [_sample(0, "1/2"), _sample(1, "0.5"), _sample(2, "7"), _sample(3, "7"), _sample(4, "0.50")]
    samples = [
        Sample(**{f: getattr(s, f) for f in Sample.__slots__} | {"key": "1/2"}) if s.answer != "7" else s
        for s in samples
    ]
    picked = plugins.resolve("selectors", "majority")().choose(samples)
    assert samples[picked].key == "1/2"

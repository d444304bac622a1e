"""A verifier seen from a stronger one: rates by hand, intervals that know about clusters, coverage by both."""

from __future__ import annotations

import numpy as np
import pytest

from vervet.analysis.agreement import Compared, agreement, rate
from vervet.errors import BadData
from vervet.estimate.intervals import wilson

WHO = Compared("run", "weak", "strong")


def codes(text):
    return np.array([{"F": 0, "P": 1, "U": 2, ".": 3}[c] for c in text])


def test_rates_and_curves_by_hand():
    own = {"a": codes("PPFFU"), "b": codes("PPPP."), "c": codes("FFFFP")}
    strong = {"a": codes("PFFPF"), "b": codes("FFFFF"), "c": codes("FFFFU")}
    found = agreement(WHO, own, strong)
    assert (found.samples, found.undecided, found.problems) == (12, 3, 3)
    assert (found.false_positive.hits, found.false_positive.trials) == (5, 10)
    assert (found.false_negative.hits, found.false_negative.trials) == (1, 2)
    assert (found.problems_accepting, found.problems_refusing) == (("a", "b"), ("a",))
    # problem a: 2 of 4 accepted, one of them right; b: 4 accepted, none right; c: none accepted
    assert found.ceiling == pytest.approx((1 / 2 + 0 + 0) / 3)
    one, four = found.points[0], found.points[-1]
    assert (one.k, four.k) == (1, 4)
    assert (one.coverage, one.stronger) == pytest.approx(((1 / 2 + 1) / 3, (1 / 2) / 3))
    assert (four.coverage, four.stronger, four.first_accepted) == pytest.approx((2 / 3, 1 / 3, 1 / 6))
    assert found.to_dict()["false_positive"]["rate"] == 0.5
    assert found.warnings


def test_agreement_of_equals_is_whole_and_its_interval_counts_problems():
    own = {str(i): codes("PF" * 50) for i in range(20)}
    found = agreement(WHO, own, own)
    assert found.ceiling == 1
    assert found.false_positive.rate == 0
    assert found.false_positive.high == pytest.approx(float(wilson(0, 20)[1]))


def test_nothing_decided_is_refused_and_nothing_wrong_has_no_rate():
    with pytest.raises(BadData, match="no sample is decided by both"):
        agreement(WHO, {"a": codes("UU")}, {"a": codes("PP")})
    assert agreement(WHO, {"a": codes("PP")}, {"a": codes("PP")}).false_positive.rate is None


def test_a_policy_that_looks_at_verdicts_shows_no_coverage():
    found = agreement(Compared("run", "w", "s", "first-pass"), {"a": codes("FP")}, {"a": codes("FP")})
    assert found.points == ()
    assert "first-pass" in found.warnings[0]


@pytest.mark.parametrize("together", [0.05, 0.5])
def test_the_interval_holds_the_rate_where_samples_fail_together(together):
    """Beta-binomial errors, 60 problems of 20 samples: the 95% interval holds the truth in at least 90% of 400 draws.

    The seed is fixed, so the test cannot fail by chance; an interval for independent samples holds it in half of them.
    """
    rng = np.random.default_rng(3)
    truth, size = 0.1, (1 - together) / together
    trials = np.full(60, 20)
    held = plain = 0
    for _ in range(400):
        hits = rng.binomial(trials, rng.beta(truth * size, (1 - truth) * size, len(trials)))
        found = rate(hits, trials)
        held += found.low <= truth <= found.high
        low, high = wilson(hits.sum(), trials.sum())
        plain += low <= truth <= high
    assert held / 400 >= 0.9
    if together > 0.1:
        assert plain / 400 < 0.7

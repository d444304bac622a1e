"""Policies that stop votes: the rules of their papers, replayed and in the order of a run."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

import vervet
from vervet.errors import BadOption
from vervet.estimate.pools import Pool
from vervet.estimate.stopping import AdaptiveConsistency, EarlyStopping, stopping, stops_at, windows_expected
from vervet.policies.votes import AdaptiveConsistencyPolicy, EarlyStoppingPolicy
from vervet.testing.fakes import MemoryTask
from vervet.testing.policies import conform_to_policy


def test_adaptive_consistency_stops_where_the_beta_says():
    """Four of four agree: P(p > 1/2) under Beta(5, 1) is .969; three give .938."""
    rule = AdaptiveConsistency()
    assert stops_at([7, 7, 7, 7], rule) == 4
    assert stops_at([7, 7, 7], rule) is None
    for second in range(12):
        first = rule.enough(second)
        assert beta.sf(0.5, first + 1, second + 1) >= 0.95 > beta.sf(0.5, first, second + 1)
    # an answer that is missing from a text costs a sample and casts no vote
    assert stops_at([7, -1, 7, 7, -1, 7], rule) == 6
    assert stops_at([1, 2, 1, 1, 1, 1, 1], rule) == 7


def test_early_stopping_looks_at_whole_windows():
    rule = EarlyStopping(3)
    assert stops_at([1, 1, 1, 1], rule) == 3
    assert stops_at([2, 1, 1, 1, 1], rule) is None, "the window [1, 1] is not full, [2, 1, 1] not of one mind"
    assert stops_at([2, 1, 1, 1, 1, 1], rule) == 6
    assert stops_at([-1, -1, -1], rule) is None


@pytest.mark.parametrize("rule", [AdaptiveConsistency(), AdaptiveConsistency(0.8), EarlyStopping(2), EarlyStopping(5)])
def test_replayed_orders_follow_the_rule(rule):
    """Means over random orders against the rule read literally in other random orders; five standard errors."""
    rng = np.random.default_rng(1)
    classes = np.repeat([0, 1, 2, -1], [15, 8, 4, 3])
    pool = Pool(classes, classes == 0)
    found = stopping(pool, rule, 20)
    used = np.array([stops_at([int(x) for x in rng.permutation(classes)[:20]], rule) or 20 for _ in range(2000)])
    assert found.samples == pytest.approx(used.mean(), abs=5 * used.std() / np.sqrt(200) + 1e-9)
    assert 0 <= found.success <= 1


def test_unanimous_answers_cost_the_least():
    pool = Pool(np.zeros(40, dtype=int), np.ones(40, dtype=bool))
    found = stopping(pool, AdaptiveConsistency(), 40)
    assert (found.samples, found.success, found.full) == (4, 1, 1)
    assert stopping(pool, EarlyStopping(5), 40).samples == 5


def test_windows_against_their_closed_form():
    """So many samples that drawing without replacement is as good as with; five standard errors."""
    shares = np.array([0.8, 0.15, 0.05])
    classes = np.repeat([0, 1, 2], (shares * 20_000).astype(int))
    found = stopping(Pool(classes, classes == 0), EarlyStopping(4), 24)
    assert found.samples == pytest.approx(windows_expected(shares, 4, 24), abs=5 * 7 / np.sqrt(200))


@pytest.mark.parametrize("policy", [AdaptiveConsistencyPolicy, EarlyStoppingPolicy])
def test_policies_conform(policy):
    class Codes:
        """The suite's outcome codes read as classes: they are as good as any."""

        design = policy(40).design

        def want(self, rows):
            classes = {p: [{3: -2, 2: -1}.get(code, code) for code in row] for p, row in rows.items()}
            return policy(40).want(rows, classes)

    # a stop within a wave takes the rest of the wave back, which is never drawn twice
    conform_to_policy(Codes, most=200, monotone=False)


def test_waves_end_at_the_stopping_sample():
    policy = AdaptiveConsistencyPolicy(40)
    assert policy.want({"p": ()}, {"p": []}) == {"p": 4}
    assert policy.want({"p": (1,) * 4}, {"p": [5] * 4}) == {"p": 4}
    assert policy.want({"p": (1,) * 4}, {"p": [5, 5, 6, 5]}) == {"p": 8}
    assert policy.want({"p": (1,) * 8}, {"p": [5, 5, 6, 5, 5, 5, 5, 5]}) == {"p": 7}
    assert policy.want({"p": (1,) * 6}, {"p": [5, 5, -2, 5, 5, 5]}) == {"p": 6}, "a hole is drawn first"
    assert EarlyStoppingPolicy(40, "3").want({"p": (1,)}, {"p": [1]}) == {"p": 6}


@pytest.mark.parametrize(
    ("policy", "argument"),
    [
        (AdaptiveConsistencyPolicy, "1"),
        (AdaptiveConsistencyPolicy, "x"),
        (EarlyStoppingPolicy, "0"),
        (EarlyStoppingPolicy, "2.5"),
    ],
)
def test_arguments_that_make_no_sense(policy, argument):
    with pytest.raises(BadOption):
        policy(40, argument)


@pytest.mark.parametrize("policy", ["adaptive-consistency", "early-stopping=4"])
def test_a_run_stops_when_its_vote_is_settled(policy, tmp_path):
    """Far fewer samples than asked for, and coverage, for which the design is biased, is refused with the reason."""
    with vervet.run(MemoryTask, model="fake/p=0.9", n=60, seed=1, policy=policy, out=tmp_path / "run") as run:
        assert 16 <= run.facts().samples < 120 < 4 * 60
        counts = run.counts()
        assert counts.design.startswith("votes=")
        with pytest.raises(BadOption, match="biased"):
            vervet.coverage(counts)
        assert vervet.select(run, "majority", [4]).points[0].success is not None

"""Comparison, plan, family slide and verifier noise: known answers, properties, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.data import COUNTS
from vervet.analysis.compare import compare
from vervet.analysis.counts import read_counts
from vervet.analysis.family import family
from vervet.analysis.plan import plan
from vervet.analysis.verifier_noise import verifier_noise
from vervet.errors import BadData, BadOption
from vervet.estimate.coverage import pass_at_k
from vervet.records import Counts


def released(name: str) -> Counts:
    return read_counts(COUNTS / f"{name}.csv")


# ---------------------------------------------------------------------------------------------------------- comparison


def test_pairing_takes_out_what_the_problems_share() -> None:
    """Two models that differ by a fixed step on wildly different problems: the paired interval is far narrower."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.4, 1, 200)
    a = Counts(range(200), [400] * 200, rng.binomial(400, np.minimum(p + 0.05, 1)))
    b = Counts(range(200), [400] * 200, rng.binomial(400, p))
    point = compare(a, b, k=1).points[0]
    assert point.low < 0.05 < point.high
    assert point.low > 0.03
    shuffled = Counts(rng.permutation(200).tolist(), a.n, a.c)  # negative control: problems paired at random
    wrong = compare(shuffled, b, k=1).points[0]
    assert wrong.high - wrong.low > 4 * (point.high - point.low)


def test_paired_interval_holds_its_level() -> None:
    """400 runs, 60 problems: 92 to 98 % (odds of a false alarm 1e-2 at 95 %; the seed is fixed)."""
    rng = np.random.default_rng(2)
    p = rng.beta(0.5, 2, 1_000_000)
    q = np.clip(p * rng.uniform(0.4, 1.2, 1_000_000), 0, 1)
    truth = float(np.mean((1 - q) ** 5 - (1 - p) ** 5))
    rng = np.random.default_rng(1)
    inside = own = 0
    for _ in range(400):
        p = rng.beta(0.5, 2, 60)
        q = np.clip(p * rng.uniform(0.4, 1.2, 60), 0, 1)
        a, b = (Counts(range(60), [50] * 60, rng.binomial(50, x)) for x in (p, q))
        point = compare(a, b, k=5).points[0]
        here = np.mean((1 - q) ** 5 - (1 - p) ** 5)
        own += point.draws_low <= here <= point.draws_high
        inside += point.low <= truth <= point.high
    assert 0.92 <= inside / 400 <= 0.98
    assert 0.92 <= own / 400 <= 0.98


def test_equal_cost_gives_the_cheaper_model_more_samples() -> None:
    a, b = released("math-pythia-12b"), released("math-pythia-2_8b")
    points = compare(a, b, k=[1, 100], cost=(4.0, 1.0)).points
    assert [(p.basis, p.k_a, p.k_b) for p in points] == [
        ("k", 1, 1),
        ("k", 100, 100),
        ("cost", 1, 4),
        ("cost", 100, 400),
    ]
    equal = points[3]
    assert equal.coverage_b == pytest.approx(float(pass_at_k(b.n, b.c, 400).mean()))
    assert equal.difference == pytest.approx(equal.coverage_a - equal.coverage_b)
    assert json.loads(json.dumps(compare(a, b, k=1).to_dict()))["schema"] == "vervet.compare/1"


def test_swapping_the_models_turns_the_difference_round() -> None:
    a, b = released("math-pythia-12b"), released("math-pythia-2_8b")
    one, other = compare(a, b, k=10).points[0], compare(b, a, k=10).points[0]
    assert one.difference == pytest.approx(-other.difference)
    assert one.low == pytest.approx(-other.high)
    assert compare(a, a, k=10).points[0].difference == 0


def test_comparison_says_what_it_leaves_out() -> None:
    a = Counts(["x", "y", "z"], [9, 9, 9], [1, 2, 3])
    b = Counts(["z", "y", "w"], [9, 9, 9], [3, 1, 0])
    result = compare(a, b, k=[1, 99])
    assert result.problems == 2
    assert "2 problems are in one source only" in " ".join(result.warnings)
    assert "1 of 2 points left out" in " ".join(result.warnings)
    with pytest.raises(BadData, match="share no problem id"):
        compare(a, Counts(["q"], [9], [1]))
    with pytest.raises(BadOption, match="cost"):
        compare(a, b, cost=(0.0, 1.0))


# ---------------------------------------------------------------------------------------------------------------- plan


def test_plan_inverts_the_forecast_and_prices_it() -> None:
    from vervet.analysis.forecast import forecast

    counts = Counts(range(128), np.full(128, 100), np.random.default_rng(0).hypergeometric(
        released("math-pythia-410m").c, 10_000 - released("math-pythia-410m").c, 100))  # fmt: skip
    found = plan(counts, target=0.5, usd_per_sample=0.002)
    at = forecast(counts, [found.k - 1, found.k], backtest=False).points
    assert at[0].coverage < 0.5 <= at[1].coverage
    assert found.k_low <= found.k <= found.k_high
    assert found.samples == 128 * (found.k - 100)
    assert found.usd == pytest.approx(found.samples * 0.002)
    assert 0 < found.samples_first_pass < found.samples
    assert json.loads(json.dumps(found.to_dict()))["schema"] == "vervet.plan/1"


def test_a_budget_goes_first_to_unsolved_problems_with_few_samples() -> None:
    n = np.array([10, 10, 400, 10, 10, 10, 10, 10])
    found = plan(Counts(list("abcdefgh"), n, [5, 0, 0, 1, 0, 2, 9, 3]), target=0.9, budget=100)
    given = {share.problem_id: share.samples for share in found.allocation}
    assert sum(given.values()) == 100
    assert set(given) <= {"b", "c", "e"}
    assert given["b"] > given.get("c", 0)
    assert found.expected_solved == pytest.approx(sum(share.chance for share in found.allocation))


@pytest.mark.slow
def test_expected_solves_of_an_allocation_come_true_on_average() -> None:
    """Power-law difficulties, 40 sets: expected and actual first solves agree within 20 %."""
    rng = np.random.default_rng(0)
    expected = actual = 0.0
    for _ in range(40):
        p = rng.beta(0.5, 3, 100) ** 2
        c = rng.binomial(20, p)
        found = plan(Counts(range(100), np.full(100, 20), c), target=0.99, budget=2000)
        expected += found.expected_solved
        actual += sum(1 - (1 - p[int(s.problem_id)]) ** s.samples for s in found.allocation)
    assert expected == pytest.approx(actual, rel=0.2)


def test_plan_refuses_nonsense_and_admits_what_is_out_of_reach() -> None:
    counts = Counts(range(40), [20] * 40, [0] * 40)
    assert plan(counts, target=0.999).k is None
    assert "stays below" in " ".join(plan(counts, target=0.999).warnings)
    for bad in ({"target": 1.0}, {"target": 0.0}, {"usd_per_sample": -1.0}, {"budget": -1}):
        with pytest.raises(BadOption):
            plan(counts, **bad)


# -------------------------------------------------------------------------------------------------------------- family


def test_models_that_differ_by_a_factor_slide_onto_each_other() -> None:
    """A mixture with c(k) = exp(a k^b) scaled in k is a family in the strict sense; a different slope is not."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.3, 8, 3000)
    strong, weak = (Counts(range(3000), np.full(3000, 5000), rng.binomial(5000, x)) for x in (p, p / 10))
    same = family([strong, weak])
    assert same.members[0].k_star == 1
    assert same.members[1].k_star == pytest.approx(10, abs=1)
    assert same.rms_gap < 0.01
    other = Counts(range(3000), np.full(3000, 5000), rng.binomial(5000, np.full(3000, 0.002)))
    assert family([strong, other]).rms_gap > 0.1  # negative control: one difficulty for all problems is much steeper
    assert json.loads(json.dumps(same.to_dict()))["schema"] == "vervet.family/1"


def test_a_model_that_never_reaches_the_anchor_is_left_out() -> None:
    found = family([Counts(["a", "b"], [9, 9], [9, 9]), Counts(["a", "b"], [9, 9], [0, 1])])
    assert found.members[1].k_star is None
    assert found.rms_gap is None
    assert len(found.warnings) == 2
    with pytest.raises(BadData, match="two sources"):
        family([released("math-pythia-70m")])


def test_pythia_models_are_close_to_a_family() -> None:
    found = family([released(f"math-pythia-{size}") for size in ("410m", "2_8b", "12b")])
    assert found.anchor == pytest.approx(0.0232, abs=1e-4)
    assert found.rms_gap < 0.05


# ------------------------------------------------------------------------------------------------------- verifier noise


def test_noise_is_taken_out_again() -> None:
    """1,500 problems, 300 samples, 2 % false acceptance, 10 % false rejection: within .03, uncorrected far off."""
    rng = np.random.default_rng(0)
    r = np.where(rng.random(1500) < 0.3, 0.0, rng.beta(0.6, 3, 1500))
    accept = r * 0.9 + (1 - r) * 0.02
    counts = Counts(range(1500), np.full(1500, 300), rng.binomial(300, accept))
    found = verifier_noise(counts, 0.02, 0.1, k=[1, 10, 100])
    for point in found.points:
        truth = float(np.mean(1 - (1 - r) ** point.k))
        reward = float(np.mean(r * 0.9 / accept * (1 - (1 - accept) ** point.k)))
        assert point.true_coverage == pytest.approx(truth, abs=0.03)
        assert point.reward == pytest.approx(reward, abs=0.03)
        assert point.true_low <= point.true_coverage <= point.true_high
    assert found.points[2].accepted > float(np.mean(1 - (1 - r) ** 100)) + 0.1  # negative control: uncorrected
    assert found.ceiling == pytest.approx(float(np.mean(r * 0.9 / accept)), abs=0.03)
    assert found.points[2].reward <= found.ceiling + 1e-9


def test_a_perfect_verifier_needs_no_correction() -> None:
    counts = released("math-pythia-2_8b")
    point = verifier_noise(counts, 0.0, 0.0, k=100).points[0]
    truth = float(pass_at_k(counts.n, counts.c, 100).mean())
    assert point.accepted == pytest.approx(truth)
    assert point.true_coverage == pytest.approx(truth, abs=0.005)
    assert point.reward == pytest.approx(point.true_coverage)


def test_rates_that_say_nothing_are_refused_and_suspicious_ones_named() -> None:
    counts = Counts(range(3), [50] * 3, [0, 1, 0])
    with pytest.raises(BadOption, match="sum to less than 1"):
        verifier_noise(counts, 0.6, 0.4)
    assert "check the rates" in " ".join(verifier_noise(counts, 0.2).warnings)

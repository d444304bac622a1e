"""Counts collected under a stopping rule: the naive estimator is biased, Vervet's is not, and plain rules are
recognised."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from vervet.analysis.curve import coverage
from vervet.errors import BadData, BadOption
from vervet.estimate.coverage import pass_curve
from vervet.estimate.designs import Design, parse, pass_curve_of, recognise
from vervet.records import Counts

CAP = 8
P = Fraction(1, 4)


def stopped(rule: str, outcomes: tuple[int, ...]) -> tuple[int, int]:
    """n and c of one problem whose outcomes would be these, had sampling gone on to the cap."""
    design = parse(rule)
    for n in range(1, CAP + 1):
        c = sum(outcomes[:n])
        if design.kind == "m-passes" and c >= design.size:
            return n, c
        if design.kind == "blocks" and n % design.size == 0 and c:
            return n, c
    return CAP, sum(outcomes)


def expectation(rule: str, k: int, estimator: str) -> float:
    """Exact expectation of an estimator of 1 - (1-p)^k over every sequence of outcomes."""
    total = 0.0
    for outcomes in product((0, 1), repeat=CAP):
        weight = float(P ** sum(outcomes) * (1 - P) ** (CAP - sum(outcomes)))
        n, c = (np.array([x]) for x in stopped(rule, outcomes))
        if estimator == "design":
            total += weight * pass_curve_of(parse(rule), n, c, np.array([k]))[0, 0]
        else:
            total += weight * pass_curve(n, c, [k])[0, 0]
    return total


@pytest.mark.parametrize("rule", ["first-pass", "m-passes=1", "m-passes=2", "m-passes=3", "blocks=2", "blocks=4"])
@pytest.mark.parametrize("k", [1, 2, 3, 5, 8])
def test_the_designs_estimator_is_exactly_unbiased(rule: str, k: int) -> None:
    assert expectation(rule, k, "design") == pytest.approx(1 - (1 - float(P)) ** k, abs=1e-12)


@pytest.mark.parametrize("rule", ["first-pass", "m-passes=2", "blocks=4"])
def test_the_naive_estimator_is_biased(rule: str) -> None:
    """Negative control: as if n had been chosen in advance, pass@1 comes out too high."""
    assert expectation(rule, 1, "naive") > float(P) + 0.02


def first_pass_counts(problems: int, cap: int, seed: int) -> tuple[Counts, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(0.5, 3, problems)
    first = rng.geometric(np.maximum(p, 1e-12))
    return Counts(range(problems), np.minimum(first, cap), (first <= cap).astype(int)), p


def test_vervet_does_not_commit_the_bias_on_counts_sampled_to_the_first_pass() -> None:
    """400 problems: the naive value is over 5 standard errors off, Vervet's within 4 (odds of a false alarm 1e-4)."""
    counts, p = first_pass_counts(400, 64, 7)
    curve = coverage(counts, k=[1, 4, 16, 64])
    assert curve.design == "first-pass"
    assert any("sampled until it had 1 PASS" in w and "first-pass" in w for w in curve.warnings)
    for point in curve.points:
        truth = float(np.mean(1 - (1 - p) ** point.k))
        se = float(np.sqrt(np.mean((1 - p) ** point.k * (1 - (1 - p) ** point.k)) / 400))
        assert abs(point.coverage - truth) < 4 * se
    naive = float(pass_curve(counts.n, counts.c, [1]).mean())
    assert naive > float(p.mean()) + 5 * float(np.sqrt(np.mean(p * (1 - p)) / 400))


def test_a_design_that_is_given_is_used_and_fixed_is_respected_with_a_warning() -> None:
    counts, _ = first_pass_counts(50, 16, 1)
    given = coverage(counts, k=1, design="first-pass")
    forced = coverage(counts, k=1, design="fixed")
    assert given.points[0].coverage < forced.points[0].coverage
    assert not any("look as if" in w for w in given.warnings)
    assert any("biased: too high" in w for w in forced.warnings)


def test_recognises_stopping_rules_that_show_plainly() -> None:
    assert recognise(np.array([3, 1, 7, 2, 5, 9, 9]), np.array([1, 1, 1, 1, 1, 0, 0])).name == "first-pass"
    assert recognise(np.array([3, 4, 7, 2, 5, 9, 9]), np.array([2, 2, 2, 2, 2, 0, 1])).name == "m-passes=2"
    assert recognise(np.array([4, 8, 12, 4, 8, 16, 16]), np.array([1, 2, 1, 3, 1, 0, 0])).name == "blocks=4"


@pytest.mark.parametrize(
    ("n", "c"),
    [
        ([10] * 8, [1] * 8),  # n is the same everywhere
        ([10, 10, 9, 8, 10, 10], [1, 1, 1, 1, 0, 0]),  # too few stopped to be plain
        ([10, 9, 8, 7, 6, 5, 10], [1, 0, 1, 1, 1, 1, 0]),  # one short problem was not solved
        ([10, 9, 8, 7, 6, 5, 10], [1, 2, 1, 3, 1, 1, 0]),  # short problems have different c
    ],
)
def test_sees_no_rule_where_n_may_have_been_chosen_in_advance(n: list[int], c: list[int]) -> None:
    assert recognise(np.array(n), np.array(c)) is None


def test_fixed_designs_are_hardly_ever_taken_for_a_rule() -> None:
    """Ragged fixed counts, 2,000 sets of 40 problems: never (p of one false alarm below 1e-6 here)."""
    rng = np.random.default_rng(5)
    for _ in range(2000):
        n = rng.integers(8, 17, 40)
        assert recognise(n, rng.binomial(n, rng.beta(0.5, 2, 40))) is None


def test_adaptive_counts_are_refused_with_the_bias_named() -> None:
    with pytest.raises(BadOption, match=r"adaptive design: .* biased"):
        coverage(Counts(range(3), [4, 5, 6], [1, 2, 3], design="adaptive"))


def test_counts_that_contradict_their_design_are_refused() -> None:
    with pytest.raises(BadData, match="more than 1 PASS"):
        coverage(Counts(range(2), [4, 5], [1, 2], design="first-pass"))
    with pytest.raises(BadData, match="multiple of 4"):
        coverage(Counts(range(2), [4, 5], [1, 2], design="blocks=4"))
    with pytest.raises(BadOption, match="unknown design"):
        coverage(Counts(range(2), [4, 5], [1, 2]), design="sequential")


def test_a_problem_given_up_early_censors_larger_k() -> None:
    """Leaving it out would keep the ones that stopped early: the estimate is withheld, floor and ceiling stay."""
    counts = Counts(range(4), [2, 5, 3, 8], [1, 1, 0, 0], design="first-pass")
    points = coverage(counts, k=[3, 4]).points
    assert points[0].coverage == pytest.approx(0.25)
    assert points[1].coverage is None
    assert (points[1].floor, points[1].ceiling) == (0.25, 0.5)


def test_design_names_are_read_as_written() -> None:
    assert parse("m_passes=3") == Design("m-passes", 3, "m-passes=3")
    assert parse("first-pass").size == 1

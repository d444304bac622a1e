"""pass@k against exact arithmetic, brute force, and the properties that make it an estimate of coverage."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tests.estimate import exact
from vervet.errors import BadData, BadOption, TooFewSamples
from vervet.estimate.coverage import default_grid, floor_and_ceiling, pass_at_k, pass_curve

triples = st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))


def test_equals_looking_at_every_subset() -> None:
    for n in range(1, 9):
        for c in range(n + 1):
            for k in range(1, n + 1):
                assert float(pass_at_k([n], [c], k)[0]) == pytest.approx(float(exact.enumerated(n, c, k)), abs=1e-15)


@given(triples)
def test_equals_rational_arithmetic(triple: tuple[int, int, int]) -> None:
    n, c, k = triple
    assert abs(float(pass_at_k([n], [c], k)[0]) - float(exact.pass_at_k(n, c, k))) < 1e-12


def test_holds_twelve_digits_up_to_ten_million_samples() -> None:
    draw = random.Random(1)
    for _ in range(200):
        n = int(10 ** draw.uniform(3, 7))
        c, k = (min(n, int(10 ** draw.uniform(0, np.log10(n)))) for _ in range(2))
        if min(c, k) <= 3000:  # beyond, exact fractions take minutes
            error = abs(float(pass_at_k([n], [c], k)[0]) - float(exact.pass_at_k(n, c, k)))
            assert error < 1e-12, (n, c, k)
    assert pass_at_k([10**7], [10**7 // 2], 10**7 // 2)[0] == 1.0


def test_small_chances_keep_their_digits() -> None:
    assert pass_at_k([10**7], [1], 1)[0] == pytest.approx(1e-7, rel=1e-13)
    assert pass_at_k([10**7], [3], 2)[0] == pytest.approx(float(exact.pass_at_k(10**7, 3, 2)), rel=1e-13)


def test_every_regime_of_the_formula_agrees_at_its_seams() -> None:
    """Sum of factors (short products), Stirling (long ones) and the negligible tail meet without a step."""
    for n in (200, 1000, 20_000):
        for c in (23, 24, 25, 26, 60):
            for k in (23, 24, 25, 26, 33, 60, n - c - 33, n - c - 31, n - c):
                got = float(pass_at_k([n], [c], k)[0])
                assert abs(got - float(exact.pass_at_k(n, c, k))) < 1e-13, (n, c, k)


def test_one_exactly_where_failures_are_fewer_than_draws() -> None:
    assert pass_at_k([10, 10, 10], [6, 7, 10], 5).tolist()[1:] == [1.0, 1.0]
    assert pass_at_k([10], [6], 5)[0] == 1.0
    assert pass_at_k([10], [0], 10)[0] == 0.0


@given(triples)
def test_rises_with_draws_and_with_successes(triple: tuple[int, int, int]) -> None:
    n, c, k = triple
    here = pass_at_k([n], [c], k)[0]
    assert 0.0 <= here <= 1.0
    if k < n:
        assert pass_at_k([n], [c], k + 1)[0] >= here - 1e-15
    if c < n:
        assert pass_at_k([n], [c + 1], k)[0] >= here - 1e-15
    assert here >= 1 - (1 - c / n) ** k - 1e-12  # the plug-in value is too low, never too high


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), min_size=2, max_size=8), st.randoms())
def test_order_of_problems_does_not_matter(rows: list[tuple[int, int]], shuffle: random.Random) -> None:
    n, c = np.array([r[0] for r in rows]), np.array([min(r) for r in rows])
    order = list(range(len(rows)))
    shuffle.shuffle(order)
    k = int(n.min())
    np.testing.assert_array_equal(pass_at_k(n, c, k)[order], pass_at_k(n[order], c[order], k))


def test_is_unbiased_and_the_plug_in_is_not() -> None:
    """Exact expectation over Binomial(n, p): the estimator hits 1-(1-p)^k, the plug-in misses (negative control)."""
    from scipy.stats import binom

    n, p, k = 20, 0.07, 8
    c = np.arange(n + 1)
    weight, truth = binom.pmf(c, n, p), 1 - (1 - p) ** k
    assert weight @ pass_at_k(np.full(n + 1, n), c, k) == pytest.approx(truth, abs=1e-12)
    assert weight @ (1 - (1 - c / n) ** k) < truth - 0.01


def test_too_few_samples_says_which_problems_are_usable() -> None:
    with pytest.raises(TooFewSamples, match="1 of 3 have fewer") as caught:
        pass_at_k([10, 3, 10], [1, 1, 1], 5)
    assert caught.value.usable.tolist() == [True, False, True]


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", None])
def test_refuses_a_k_that_is_no_number_of_draws(k: object) -> None:
    with pytest.raises(BadOption, match="k must be"):
        pass_at_k([10], [1], k)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "c"), [([3], [4]), ([3], [-1]), ([3, 4], [1]), ([3.5], [1]), (["a"], [1])])
def test_refuses_impossible_counts(n: list[object], c: list[object]) -> None:
    with pytest.raises(BadData):
        pass_at_k(n, c, 1)  # type: ignore[arg-type]


def test_curve_equals_the_scalar_function_and_stops_at_n() -> None:
    n, c = np.array([5, 50, 50, 0]), np.array([2, 0, 7, 0])
    curve = pass_curve(n, c, [1, 5, 20])
    np.testing.assert_allclose(curve[:, 2], [pass_at_k([50], [7], k)[0] for k in (1, 5, 20)])
    assert curve[2, 0] == 1.0  # all five samples, two of them right
    assert curve[:, 3].tolist() == [0.0, 0.0, 0.0]


def test_floor_and_ceiling_bracket_what_unknowns_and_short_problems_could_change() -> None:
    n, c, unknown = np.array([10, 10, 4]), np.array([2, 0, 0]), np.array([0, 2, 0])
    floor, ceiling = floor_and_ceiling(n, c, unknown, [1, 10])
    np.testing.assert_allclose(floor, [0.2 / 3, 1 / 3])
    np.testing.assert_allclose(ceiling, [(0.2 + 2 / 12) / 3, (1 + 1 - 1 / 66 + 1) / 3])


def test_default_grid_is_1_2_5_and_holds_the_smallest_n() -> None:
    assert default_grid(np.array([164, 300])).tolist() == [1, 2, 5, 10, 20, 50, 100, 164, 200]
    assert default_grid(np.array([0, 1])).tolist() == [1]
    assert default_grid(np.array([0])).tolist() == [1]

"""pass^k and G-Pass@k against enumeration and exact fractions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tests.estimate import exact
from vervet.errors import BadOption, TooFewSamples
from vervet.estimate.coverage import pass_at_k
from vervet.estimate.draws import at_least, g_pass, mean_g_pass, pass_all

cases = st.integers(1, 300).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)).flatmap(
        lambda t: st.tuples(*map(st.just, t), st.integers(0, t[2]))
    )
)


def test_equals_looking_at_every_subset() -> None:
    for n in range(1, 8):
        for c in range(n + 1):
            for k in range(1, n + 1):
                for j in range(k + 1):
                    assert at_least([n], [c], k, j)[0] == pytest.approx(float(exact.enumerated(n, c, k, j)), abs=1e-14)


@given(cases)
def test_equals_rational_arithmetic(case: tuple[int, int, int, int]) -> None:
    n, c, k, j = case
    assert at_least([n], [c], k, j)[0] == pytest.approx(float(exact.at_least(n, c, k, j)), abs=1e-12)


def test_one_pass_is_pass_at_k_and_all_passes_is_pass_all() -> None:
    n, c = np.array([50, 50, 50]), np.array([0, 7, 50])
    np.testing.assert_allclose(at_least(n, c, 8, 1), pass_at_k(n, c, 8), atol=1e-13)
    np.testing.assert_allclose(pass_all(n, c, 8), [0, math.comb(7, 8) / math.comb(50, 8), 1])
    np.testing.assert_allclose(g_pass(n, c, 8, 1.0), pass_all(n, c, 8))
    np.testing.assert_allclose(g_pass(n, c, 8, 0.0), pass_at_k(n, c, 8), atol=1e-13)


def test_thresholds_do_not_slip_by_rounding() -> None:
    """0.7 * 10 is a little more than 7 in floating point: the threshold is 7 passes, not 8."""
    assert g_pass([20], [14], 10, 0.7)[0] == pytest.approx(float(exact.at_least(20, 14, 10, 7)))


def test_mean_g_pass_sums_the_upper_half() -> None:
    wanted = 2 / 6 * sum(float(exact.at_least(12, 5, 6, i)) for i in (4, 5, 6))
    assert mean_g_pass([12], [5], 6)[0] == pytest.approx(wanted)


def test_plugging_in_the_share_is_biased() -> None:
    """Negative control: (c / n)^k is no substitute for C(c, k) / C(n, k)."""
    from scipy.stats import binom

    n, p, k = 10, 0.6, 5
    c = np.arange(n + 1)
    weight = binom.pmf(c, n, p)
    assert weight @ pass_all(np.full(n + 1, n), c, k) == pytest.approx(p**k, abs=1e-12)
    assert weight @ (c / n) ** k > p**k + 0.02


def test_refuses_impossible_questions() -> None:
    with pytest.raises(BadOption, match=r"must lie in 0\.\.k"):
        at_least([10], [3], 5, 6)
    with pytest.raises(BadOption, match="tau"):
        g_pass([10], [3], 5, 1.5)
    with pytest.raises(TooFewSamples):
        pass_all([4], [3], 5)

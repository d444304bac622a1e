"""G-Pass@k over problems: pass^k and pass@k are its ends, and it is unbiased where the plug-in is not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.estimate import exact
from vervet.analysis.curve import coverage
from vervet.analysis.reliability import reliability
from vervet.errors import BadOption
from vervet.records import Counts

COUNTS = Counts(range(4), [10, 10, 10, 6], [0, 4, 10, 3], [0, 0, 0, 2])


@pytest.mark.parametrize(("tau", "passes"), [(1.0, 5), (0.5, 3), (0.3, 2)])
def test_equals_the_mean_of_exact_fractions(tau: float, passes: int) -> None:
    (point,) = reliability(COUNTS, tau, 5).points
    rows = zip(COUNTS.n, COUNTS.c, strict=True)
    assert point.coverage == pytest.approx(np.mean([float(exact.at_least(n, c, 5, passes)) for n, c in rows]))


def test_no_share_at_all_is_one_pass_which_is_coverage() -> None:
    ours, plain = reliability(COUNTS, 0.0, [1, 5]).points, coverage(COUNTS, [1, 5]).points
    assert [p.coverage for p in ours] == pytest.approx([p.coverage for p in plain])
    assert [p.ceiling for p in ours] == pytest.approx([p.ceiling for p in plain])


def test_falls_with_the_share_and_keeps_floor_and_ceiling_around_it() -> None:
    points = [reliability(COUNTS, tau, 5).points[0] for tau in (0, 0.25, 0.5, 0.75, 1)]
    values = [p.coverage for p in points]
    assert values == sorted(values, reverse=True)
    assert all(p.low <= p.coverage <= p.high and p.floor <= p.coverage <= p.ceiling for p in points)


def test_problems_that_are_short_of_k_are_left_out_and_counted_as_0_and_1_in_the_bounds() -> None:
    (point,) = reliability(COUNTS, 1.0, 8).points
    assert (point.problems, point.censored) == (3, 1)
    assert point.coverage == pytest.approx(1 / 3)
    assert (point.floor, point.ceiling) == (pytest.approx(1 / 4), pytest.approx(2 / 4))


def test_a_power_of_the_share_is_too_high() -> None:
    """Negative control: mean of (c / n)^k over 20,000 problems is 20 standard errors above the truth."""
    rng = np.random.default_rng(0)
    p = rng.beta(2, 2, 20_000)
    c = rng.binomial(10, p)
    (point,) = reliability(Counts(range(len(p)), np.full(len(p), 10), c), 1.0, 5).points
    truth = float(np.mean(p**5))
    assert abs(point.coverage - truth) < 5 * point.se
    assert np.mean((c / 10) ** 5) > truth + 5 * point.se


def test_refuses_what_has_no_estimator() -> None:
    with pytest.raises(BadOption, match="tau must lie"):
        reliability(COUNTS, 1.5)
    with pytest.raises(BadOption, match="under design first-pass"):
        reliability(Counts(range(2), [4, 5], [1, 1]), design="first-pass")

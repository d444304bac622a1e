"""Intervals of a share against published values."""

from __future__ import annotations

import numpy as np
import pytest

from vervet.estimate.intervals import jeffreys, wilson


def test_wilson_and_jeffreys_equal_published_values() -> None:
    """Wilson and Jeffreys for 0 and 1 of 10 and 4 of 10 at 95 %: textbook values."""
    low, high = wilson([0, 1, 4], 10)
    np.testing.assert_allclose(low, [0.0, 0.0179, 0.1682], atol=5e-5)
    np.testing.assert_allclose(high, [0.2775, 0.4042, 0.6873], atol=5e-5)
    low, high = jeffreys([0, 1], 10)
    np.testing.assert_allclose(low, [0.0, 0.0110], atol=1e-4)
    np.testing.assert_allclose(high, [0.2172, 0.3813], atol=1e-3)


@pytest.mark.parametrize("method", [wilson, jeffreys])
def test_no_trials_say_nothing(method: object) -> None:
    low, high = method(0, 0)  # type: ignore[operator]
    assert (float(low), float(high)) == (0.0, 1.0)

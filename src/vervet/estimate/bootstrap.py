"""Resampling problems: bands over a whole curve, and intervals for what is fitted to it.

The points of one curve are correlated (they come from the same problems), so whole problems are drawn again, never
points.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vervet.records import FloatArray

Fitter = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Curves, shape (repeats, ks) -> a and b, shape (repeats,)."""


def resampled_curves(values: FloatArray, repeats: int, seed: int = 0) -> FloatArray:
    """Means over problems drawn with replacement; values: shape (ks, problems). Returns: shape (repeats, ks)."""
    problems = values.shape[1]
    weights = np.random.default_rng(seed).multinomial(problems, np.full(problems, 1 / problems), size=repeats)
    return np.asarray(weights @ values.T / problems)


def percentile_interval(
    values: FloatArray, level: float = 0.95, repeats: int = 1000, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """The plain bootstrap interval of a mean: too narrow for few or skewed problems; for comparison with the others."""
    low, high = np.quantile(resampled_curves(values, repeats, seed), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def fit_interval(
    values: FloatArray, fitter: Fitter, level: float = 0.95, repeats: int = 1000, seed: int = 0
) -> FloatArray | None:
    """Bounds of a and of b, shape (2, 2), from refits to resampled problems; None where hardly any refit succeeds.

    The logarithm of -a, and b, are studentised by the spread of the refits and given Student's quantile: for 30
    problems and more this holds its level where the bare percentiles are a little narrow.
    """
    from scipy.special import stdtrit  # noqa: PLC0415

    if values.shape[1] < 2:
        return None
    a, b = fitter(resampled_curves(values, repeats, seed))
    good = np.isfinite(a) & np.isfinite(b) & (a < 0)
    if good.sum() < 0.5 * repeats:
        return None
    tails = [(1 - level) / 2, (1 + level) / 2]
    widen = float(stdtrit(values.shape[1] - 1, tails[1]) / stdtrit(1e6, tails[1]))
    bounds = []
    for sample in (np.log(-a[good]), b[good]):
        low, high = np.quantile(sample, tails)
        middle = float(np.median(sample))
        bounds.append([middle - widen * (middle - low), middle + widen * (high - middle)])
    (log_low, log_high), slope = bounds
    return np.array([[-np.exp(log_high), -np.exp(log_low)], slope])


def band_quantile(residuals: FloatArray, level: float = 0.95, repeats: int = 2000, seed: int = 0) -> float:
    """How many standard errors a band must reach so that it holds at every k at once.

    residuals: each problem's share of the estimate's error divided by its standard error, shape (ks, problems); rows
    have variance 1 in sum. The largest of the correlated normal variables that they imply is simulated.
    """
    noise = np.random.default_rng(seed).standard_normal((residuals.shape[1], repeats))
    return float(np.quantile(np.abs(residuals @ noise).max(axis=0, initial=0.0), level))

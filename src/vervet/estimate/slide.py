"""Whether models of a family differ by a factor in samples only: the horizontal slide (Brown et al. 2024, section 3.3).

Anchor: the largest pass@1 of the family. Each curve is shifted left on a log axis by log k*, where k* is the number of
samples at which it comes closest to the anchor. If a factor is all that differs, the shifted curves coincide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from vervet.records import FloatArray

CurveAt = Callable[[FloatArray], FloatArray]
"""Coverage at whole numbers k >= 1."""

_POINTS = 60


class Slide(NamedTuple):
    """Result of sliding curves onto each other."""

    anchor: float
    k_star: tuple[int | None, ...]
    # samples at which each model reaches the anchor, None where it never does
    rms: float | None
    # root mean square, over log k and models, of the distance from the mean of the slid curves
    largest: float | None
    # the largest distance between two of them
    reach: float
    # k / k* up to which all could be compared


def slide(curves: Sequence[CurveAt], tops: Sequence[int]) -> Slide:
    """Slide curves onto each other; tops: the largest k that each curve knows."""
    anchor = max(float(curve(np.array([1.0]))[0]) for curve in curves)
    k_star = tuple(_closest(curve, top, anchor) for curve, top in zip(curves, tops, strict=True))
    kept = [(f, top, k) for f, top, k in zip(curves, tops, k_star, strict=True) if k is not None]
    reach = min((top / k for _, top, k in kept), default=0.0)
    if len(kept) < 2 or reach <= 1:
        return Slide(anchor, k_star, None, None, reach)
    grid = np.geomspace(1, reach, _POINTS)
    slid = np.array([_between(curve, np.minimum(grid * k, top)) for curve, top, k in kept])
    spread = slid - slid.mean(axis=0)
    largest = float((slid.max(axis=0) - slid.min(axis=0)).max())
    return Slide(anchor, k_star, float(np.sqrt((spread**2).mean())), largest, float(reach))


def _closest(curve: CurveAt, top: int, anchor: float) -> int | None:
    """The k whose coverage is nearest the anchor, by bisection: coverage rises with k. None where it stays below."""
    if float(curve(np.array([float(top)]))[0]) < anchor - 1e-12:
        return None
    low, high = 1, top
    while low < high:
        middle = (low + high) // 2
        if float(curve(np.array([float(middle)]))[0]) >= anchor:
            high = middle
        else:
            low = middle + 1
    if low == 1:
        return 1
    below, here = (float(x) for x in curve(np.array([low - 1.0, float(low)])))
    return low - 1 if anchor - below < here - anchor else low


def _between(curve: CurveAt, k: FloatArray) -> FloatArray:
    """Coverage at k that need not be whole, on a straight line in log k."""
    low, high = np.floor(k), np.ceil(k)
    at_low, at_high = curve(low), curve(high)
    share = np.where(high > low, np.log(k / low) / np.log(np.maximum(high, low + 1) / low), 0.0)
    return np.asarray(at_low + share * (at_high - at_low))

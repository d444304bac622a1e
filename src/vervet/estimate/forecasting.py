"""Coverage at k beyond n: the default combination, and every single method on its own.

The default averages, in log(-log coverage), two forecasts that err differently: a straight line through the observed curve,
and the hierarchical model. A fixed combination: choosing the best of several methods by a back-test does not rank
them well, because n/4 to n says little about n to 100 n.
"""

from __future__ import annotations

import numpy as np

from vervet.estimate import hierarchy
from vervet.estimate.coverage import pass_curve
from vervet.estimate.curvefit import coverage_of, log_log, paper_grid, power_law, rounded_grid
from vervet.records import FloatArray, IntArray

_MANY = 500
# from this n on the line is least squares on log coverage, which leans less on its noisiest points


def line_forecast(n: IntArray, c: IntArray, k: IntArray) -> FloatArray | None:
    """Coverage on the straight line of the observed curve, None where there is no curve (n = 1, or all solved at once)."""
    top = int(n[n > 0].min(initial=np.iinfo(np.int64).max)) if np.any(n > 0) else 0
    if top < 2:
        return None
    some = n > 0
    total, right = n[some], c[some]
    if not np.any(right):
        # nothing solved: half-way between "nothing ever" and the least that could have been seen
        right = right.copy()
        right[0] = 1
    grid = paper_grid(top) if top >= _MANY else rounded_grid(top)
    curve = pass_curve(total, right, grid).mean(axis=1)
    a, b = power_law(grid, curve) if top >= _MANY else log_log(grid, curve)
    if not np.isfinite(a) or not np.isfinite(b):
        return None
    if b > 0:
        a, b = float(np.mean(np.log(curve[curve < 1]))), 0.0
    return coverage_of(a, b, k)

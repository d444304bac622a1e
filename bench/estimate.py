"""How long estimation takes, beside a straightforward numpy version of the same.

    python bench/estimate.py

Prints JSON. 1,000 problems with 10,000 samples each: counts to curve with both intervals and bands (aim: 0.2 s), the
same from 10 million rows (problem, outcome) (aim: 2 s), and 1,000 bootstrap refits of the power law (aim: 5 s).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from vervet.analysis.curve import coverage
from vervet.estimate.bootstrap import resampled_curves
from vervet.estimate.coverage import pass_curve
from vervet.estimate.curvefit import paper_grid, power_law
from vervet.records import Counts

PROBLEMS, SAMPLES = 1000, 10_000


def seconds(work: Callable[[], Any], repeats: int = 5) -> float:
    """Best of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def plain_curve(n: Any, c: Any, ks: Any) -> Any:
    """pass@k as it is usually written: one product a problem and k."""
    out = np.empty((len(ks), len(n)))
    for i, k in enumerate(ks):
        for j, (total, right) in enumerate(zip(n, c, strict=True)):
            out[i, j] = 1.0 if total - right < k else 1.0 - np.prod(1.0 - k / np.arange(total - right + 1, total + 1))
    return out


def plain_refits(curves: Any, grid: Any) -> Any:
    """One scipy curve_fit a curve."""
    from scipy.optimize import curve_fit

    return [
        curve_fit(lambda k, a, b: a * k**b, grid.astype(float), np.log(one), p0=(-3.0, -0.3), maxfev=5000)[0]
        for one in curves
    ]


def main() -> None:
    rng = np.random.default_rng(0)
    n = np.full(PROBLEMS, SAMPLES)
    c = rng.binomial(n, rng.beta(0.2, 5, PROBLEMS))
    counts = Counts(range(PROBLEMS), n, c)
    ks = np.array([p.k for p in coverage(counts).points])
    grid = paper_grid(SAMPLES)
    curves = resampled_curves(pass_curve(n, c, grid), 1000)
    problem = np.repeat(np.arange(PROBLEMS, dtype=np.int32), SAMPLES)
    passed = rng.random(len(problem)) < np.repeat(c / n, SAMPLES)

    def from_rows() -> None:
        drawn = np.bincount(problem, minlength=PROBLEMS)
        coverage(Counts(range(PROBLEMS), drawn, np.bincount(problem, weights=passed, minlength=PROBLEMS).astype(int)))

    ours, theirs = pass_curve(n, c, ks), plain_curve(n, c, ks)
    result = {
        "benchmark": "estimate",
        "problems": PROBLEMS,
        "samples": SAMPLES,
        "ks": len(ks),
        "counts_to_curve_s": seconds(lambda: coverage(counts)),
        "counts_to_curve_plain_numpy_s": seconds(lambda: plain_curve(n, c, ks), 1),
        "rows_to_curve_with_bands_s": seconds(from_rows, 2),
        "small_set_to_curve_s": seconds(lambda: coverage(Counts(range(128), n[:128], c[:128]))),
        "refits_1000_s": seconds(lambda: power_law(grid, curves), 3),
        "refits_1000_plain_scipy_s": seconds(lambda: plain_refits(curves[:100], grid), 1) * 10,
        "largest_difference_from_plain_numpy": float(np.abs(ours - theirs).max()),
    }
    print(json.dumps({k: round(v, 6) if isinstance(v, float) and v > 1e-6 else v for k, v in result.items()}, indent=1))


if __name__ == "__main__":
    main()

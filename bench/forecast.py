"""Forecasts of coverage at k = 1,000 and 10,000 from 20, 100 and 1,000 samples a problem, on six released outcome sets.

    python bench/forecast.py [--seeds 20] [--method all|combination|...]

Each file is thinned without replacement, with the same draws for every method. Prints JSON: for each method and cell
the mean absolute error, the share of 95 % intervals that contain the truth and their mean width; and leave-one-set-out:
the method that errs least on the other files, scored on the one left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from vervet.analysis.counts import read_counts
from vervet.estimate.coverage import pass_curve
from vervet.estimate.forecasting import Forecaster
from vervet.estimate.methods import FORECAST_METHODS

ROOT = Path(__file__).resolve().parents[1]
CELLS = ((20, 1000), (20, 10_000), (100, 1000), (100, 10_000), (1000, 10_000))
AIMS = {
    (20, 1000): (0.048, 0.28),
    (20, 10_000): (0.057, 0.37),
    (100, 1000): (0.025, 0.155),
    (100, 10_000): (0.032, 0.23),
    (1000, 10_000): (0.018, 0.125),
}
Rows = dict[tuple[str, str, int, int], list[tuple[float, bool, float]]]


def score(seeds: int, methods: tuple[str, ...]) -> Rows:
    """{(method, file, n, k): [(absolute error, contained, width)]}, one entry a seed."""
    rows: Rows = defaultdict(list)
    for file in sorted((ROOT / "src" / "vervet" / "data" / "counts").glob("*.csv")):
        counts = read_counts(file)
        truth = {k: float(pass_curve(counts.n, counts.c, [k]).mean()) for _, k in CELLS}
        for n in sorted({n for n, _ in CELLS}):
            for seed in range(seeds):
                c = np.random.default_rng(seed).hypergeometric(counts.c, counts.n - counts.c, n)
                for method in methods:
                    model = Forecaster.fitted(np.full(len(c), n), c, method)
                    for k in (k for m, k in CELLS if m == n):
                        low, high = model.interval(k)
                        rows[method, file.stem, n, k].append(
                            (abs(model.point(k) - truth[k]), low <= truth[k] <= high, high - low)
                        )
    return rows


def summary(rows: Rows, method: str) -> list[dict[str, Any]]:
    out = []
    for n, k in CELLS:
        values = np.array(
            [v for (m, _, a, b), vs in rows.items() if (m, a, b) == (method, n, k) for v in vs], dtype=float
        )
        error, contained, width = values.mean(axis=0)
        out.append(
            {"n": n, "k": k, "error": round(error, 4), "contained": round(contained, 3), "width": round(width, 4)}
        )
    return out


def leave_one_set_out(rows: Rows) -> list[dict[str, Any]]:
    """Pick the method on five files, score it on the sixth."""
    error = {key: float(np.mean([v[0] for v in vs])) for key, vs in rows.items()}
    files, methods = sorted({f for _, f, _, _ in rows}), sorted({m for m, _, _, _ in rows})
    out = []
    for n, k in CELLS:
        scored = []
        for left in files:
            best = min(methods, key=lambda m: np.mean([error[m, f, n, k] for f in files if f != left]))
            scored.append((best, error[best, left, n, k]))
        picked = sorted({m for m, _ in scored})
        out.append({"n": n, "k": k, "error": round(float(np.mean([e for _, e in scored])), 4), "picked": picked})
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--method", default="all")
    args = parser.parse_args()
    methods = FORECAST_METHODS if args.method == "all" else (args.method,)
    rows = score(args.seeds, methods)
    result: dict[str, Any] = {
        "benchmark": "forecast",
        "seeds": args.seeds,
        "methods": {m: summary(rows, m) for m in methods},
    }
    if len(methods) > 1:
        result["leave_one_set_out"] = leave_one_set_out(rows)
    if FORECAST_METHODS[0] in methods:
        cells = result["methods"][FORECAST_METHODS[0]]
        result["aims"] = [
            {"n": c["n"], "k": c["k"], "error_aim": AIMS[c["n"], c["k"]][0], "width_aim": AIMS[c["n"], c["k"]][1]}
            | {
                "held": bool(
                    c["error"] <= AIMS[c["n"], c["k"]][0]
                    and c["width"] <= AIMS[c["n"], c["k"]][1]
                    and c["contained"] >= 0.9
                )
            }
            for c in cells
        ]
        result["contained_pooled"] = round(float(np.mean([c["contained"] for c in cells])), 3)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

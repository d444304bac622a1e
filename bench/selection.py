"""How long selection takes, and whether its memory depends on the number of problems.

    python bench/selection.py

Prints one JSON document: 128 problems with 10,000 samples each, 40 values of k, majority, weighted majority and best of k with
intervals and plateaus (limit: 10 s); and the peak memory of the same with 16 and with 128 problems, each in a process of its
own (limit: 32 MB more). Real answers are long-tailed: classes are geometric, 3 to 3,000 of them, a twentieth holds no answer.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from _common import finish, spread

from vervet.analysis.selection import select
from vervet.estimate.pools import Pool

PROBLEMS, SAMPLES, KS = 128, 10_000, 40
METHODS = ("majority", "weighted-majority", "best-of-k")
LIMIT_S, LIMIT_MB = 10.0, 32.0


def pools(problems: int) -> Iterator[Pool]:
    """Problems of all difficulties, one at a time."""
    for seed in range(problems):
        rng = np.random.default_rng(seed)
        classes = np.minimum(rng.geometric(rng.uniform(0.003, 0.5), SAMPLES) - 1, 3000)
        right = classes == rng.integers(0, 4)
        classes[rng.random(SAMPLES) < 0.05] = -1
        right &= classes >= 0
        yield Pool(classes, right, rng.normal(0.7 * right, 1.0) + 1)


def grid() -> list[int]:
    """40 values of k from 1 to n, evenly spaced on a log scale."""
    ks, points = np.array([1]), KS
    while len(ks) < KS:
        ks = np.unique(np.geomspace(1, SAMPLES, points).round().astype(int))
        points += 1
    return [int(k) for k in ks[:KS]]


def measure(problems: int) -> dict[str, float]:
    """Seconds and peak memory of one selection in this process."""
    select(pools(1), np.array([SAMPLES]), METHODS, [1, 10], scorer="bench")
    started, cpu = time.perf_counter(), time.process_time()
    found = select(pools(problems), np.full(problems, SAMPLES), METHODS, grid(), scorer="bench")
    assert len(found.points) == len(METHODS) * KS
    return {
        "seconds": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "largest_mc_se": max(p.mc_se for p in found.points),
        "least_se": min(p.se or 1.0 for p in found.points),
    }


def apart(problems: int) -> dict[str, float]:
    """The same in a process of its own, whose peak is nobody else's."""
    out = subprocess.run([sys.executable, __file__, str(problems)], capture_output=True, text=True, check=True).stdout
    return dict(json.loads(out))


def main() -> None:
    few, runs = apart(16), [apart(PROBLEMS) for _ in range(3)]
    results = {
        "problems": PROBLEMS,
        "samples": SAMPLES,
        "ks": KS,
        "methods": list(METHODS),
        **spread([run["seconds"] for run in runs], "seconds"),
        **spread([run["cpu_s"] for run in runs], "cpu_s"),
        "peak_mb_16_problems": round(few["peak_mb"], 1),
        "peak_mb_128_problems": round(max(run["peak_mb"] for run in runs), 1),
        "largest_mc_se": round(runs[0]["largest_mc_se"], 5),
        "least_se": round(runs[0]["least_se"], 5),
    }
    missed = []
    if min(run["seconds"] for run in runs) > LIMIT_S:
        missed.append(f"selection takes {min(run['seconds'] for run in runs):.1f} s, limit {LIMIT_S:g} s")
    if max(run["peak_mb"] for run in runs) - few["peak_mb"] > LIMIT_MB:
        missed.append(f"memory grows from {few['peak_mb']:.0f} to {runs[0]['peak_mb']:.0f} MB with the problems")
    finish("selection", results, missed)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
    else:
        main()

"""Promised times, with a wide margin for a busy machine; bench/estimate prints the real ones. And imports stay
light."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

from vervet.analysis.curve import coverage
from vervet.estimate.bootstrap import resampled_curves
from vervet.estimate.coverage import pass_curve
from vervet.estimate.curvefit import paper_grid, power_law
from vervet.records import Counts


def test_counts_to_curve_and_a_thousand_refits() -> None:
    rng = np.random.default_rng(0)
    counts = Counts(range(1000), np.full(1000, 10_000), rng.binomial(10_000, rng.beta(0.2, 5, 1000)))
    start = time.process_time()
    coverage(counts)
    assert time.process_time() - start < 0.6  # aim 0.2 s
    grid = paper_grid(10_000)
    start = time.process_time()
    a, _ = power_law(grid, resampled_curves(pass_curve(counts.n, counts.c, grid), 1000))
    assert time.process_time() - start < 5
    assert np.isfinite(a).all()


def test_importing_the_analysis_does_not_load_scipy() -> None:
    names = "compare counts curve family fit forecast plan verifier_noise"
    code = f"import sys; [__import__('vervet.analysis.' + n) for n in '{names}'.split()]; print('scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""A small version of bench/calibration: intervals contain the truth about as often as they say; a bad one does not.

The full table (1,000 runs a cell) is in docs/explanation/statistics.md. Here 100 runs a cell at true 95 %: fewer than
88 contained has odds of 1 in 200 a cell, and the seed is fixed, so a change that passes once passes always.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from tests.data import ROOT
from vervet.estimate.bootstrap import percentile_interval
from vervet.estimate.coverage import pass_curve


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_calibration", ROOT / "bench" / "calibration.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUNS = 100


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("log-uniform 1e-5..1", "half 0.02, half 0.8")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["beta(0.2, 5)", "40 % zeros, else beta(0.5, 3)", *SLOW])
def test_coverage_intervals(bench, name: str) -> None:
    run = bench.coverage_cell(name, 30, 50, (1, 10, 50))
    hits = [run(np.random.default_rng([3, i])) for i in range(RUNS)]
    for label in hits[0]:
        assert sum(h[label] for h in hits) >= 0.88 * RUNS, label


def test_the_plain_bootstrap_fails_the_same_test(bench) -> None:
    """Negative control: percentiles of resampled means, 30 problems, k = 1, heavy tail."""
    quantile = bench.DIFFICULTIES["beta(0.2, 5)"]
    truth = bench.true_coverage(quantile, np.array([1]))[0]
    inside = 0
    for i in range(RUNS):
        _, counts = bench.draw(quantile, 30, 50, np.random.default_rng([3, i]))
        low, high = percentile_interval(pass_curve(counts.n, counts.c, [1]), repeats=400)
        inside += low[0] <= truth <= high[0]
    assert inside < 0.9 * RUNS


@pytest.mark.parametrize("model", ["exponentiated-power-law", "beta-binomial"])
def test_fit_intervals(bench, model: str) -> None:
    run = bench.fit_cell("beta(0.2, 5)", model, "log-coverage" if model.startswith("exp") else None, 60, 50)
    hits = [run(np.random.default_rng([4, i])) for i in range(50)]
    for label in ("a", "b"):
        assert sum(h[label] for h in hits) >= 0.86 * 50


@pytest.mark.slow
def test_forecast_intervals(bench) -> None:
    run = bench.forecast_cell(bench.POWER_TAILS["beta(0.3, 20)"], 100, 50, (1000,))
    hits = [run(np.random.default_rng([5, i])) for i in range(60)]
    assert sum(h["k=1000"] for h in hits) >= 0.87 * 60


@pytest.mark.slow
def test_resuming_gives_the_same_table(bench, tmp_path) -> None:
    state = tmp_path / "state.json"
    whole = bench.calibrate({"forecast"}, 2, 1)
    bench.calibrate({"forecast"}, 1, 1, state)
    assert bench.calibrate({"forecast"}, 2, 1, state) == whole


def test_the_table_does_not_depend_on_the_number_of_processes(bench, tmp_path) -> None:
    """Also not on where a run with more processes was cut off."""
    one = ["--only", "coverage", "--seed", "2", "--match", "half 0.02, half 0.8 | P=30"]

    def table(*options: str) -> str:
        command = [sys.executable, str(ROOT / "bench" / "calibration.py"), *one, *options]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    whole = table("--runs", "60")
    assert json.loads(whole)["cells"]
    state = ("--state", str(tmp_path / "state.json"))
    table("--runs", "30", "--jobs", "2", *state)
    assert table("--runs", "60", "--jobs", "3", *state) == whole

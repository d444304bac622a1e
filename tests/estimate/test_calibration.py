"""A small version of bench/calibration: intervals contain the truth about as often as they say; a bad one does not.

The full table is in docs/explanation/statistics.md. Here 100 runs a cell at true 95 %: fewer than 88 contained has odds
of 1 in 680 an entry (3 in 100 for all 24 of coverage), at true 93 % 1 in 45. The seed is fixed: what passes once passes
always.
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
from vervet.estimate.intervals import population_interval, tie_breaker, wilson


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


def test_intervals_at_saturation_contain_the_truth_always(bench) -> None:
    """128 problems, n = 1,000: chance decides nothing, so that each run is as the next (those of the spread seen: 77 %)."""
    name = "half 0.02, half 0.8"
    run = bench.coverage_cell(name, 128, 1000, (500, 1000))
    hits = [run(np.random.default_rng([6, i])) for i in range(20)]
    assert all(all(hit.values()) for hit in hits)
    assert max(bench.events(name, 128, 1000, (500, 1000)).values()) < 0.01


@pytest.mark.slow
def test_no_other_entry_of_the_table_is_at_saturation(bench) -> None:
    table = {name: {} for name in bench.COVERAGE}
    assert {name: sorted(few) for name, few in bench.at_saturation(table).items()} == {
        "coverage | half 0.02, half 0.8 | P=128 n=1000": [
            "k=1000 draws",
            "k=1000 population",
            "k=500 draws",
            "k=500 population",
        ]
    }


@pytest.mark.slow
def test_many_problems_of_which_few_are_open() -> None:
    """600 problems, log-odds normal, k = 750 of n = 1,000: 6.6 open on average, too many problems to simulate.

    2,000 runs at true 95.8 % fall below 94.5 with odds of 1 in 500; the control's 92.3 lie above with odds of 1 in 10,000.
    """
    rng, n, k = np.random.default_rng(3), np.full(600, 1000), np.array([750])
    table = pass_curve(np.full(1001, 1000), np.arange(1001), k)
    difficulty = 1 / (1 + np.exp(3 - 1.5 * rng.standard_normal(1_000_000)))
    truth = -np.expm1(750 * np.log1p(-difficulty)).mean()
    inside = plain = 0
    for _ in range(2000):
        c = rng.binomial(n, rng.choice(difficulty, 600))
        values = table[:, c]
        found = population_interval(values, ties=tie_breaker(n, c, k))
        inside += bool(found.low[0] <= truth <= found.high[0])
        mean, spread = values.mean(), values.std(ddof=1) / np.sqrt(600)
        trials = mean * (1 - mean) / spread**2
        low, high = wilson(mean * trials, trials)
        plain += bool(low <= truth <= high)
    assert inside >= 0.945 * 2000
    assert plain < 0.945 * 2000


def test_plain_intervals_fail_the_same_test(bench) -> None:
    """Negative controls: percentiles of resampled means (population, k = 1), and what each estimate's own chance to be
    otherwise says (draws, k = n: nothing, for a problem is solved or not); 30 problems, heavy tail."""
    quantile = bench.DIFFICULTIES["beta(0.2, 5)"]
    truth = bench.true_coverage(quantile, np.array([1]))[0]
    inside = own = 0
    for i in range(RUNS):
        p, counts = bench.draw(quantile, 30, 50, np.random.default_rng([3, i]))
        low, high = percentile_interval(pass_curve(counts.n, counts.c, [1]), repeats=400)
        inside += low[0] <= truth <= high[0]
        values = pass_curve(counts.n, counts.c, [50])[0]
        half = 1.96 * np.sqrt(np.sum(values * (1 - values))) / 30
        own += abs(values.mean() - np.mean(1 - (1 - p) ** 50)) <= half
    assert inside < 0.88 * RUNS
    assert own < 0.88 * RUNS


@pytest.mark.parametrize("model", ["exponentiated-power-law", "beta-binomial"])
def test_fit_intervals(bench, model: str) -> None:
    run = bench.fit_cell("beta(0.2, 5)", model, "log-coverage" if model.startswith("exp") else None, 60, 50)
    hits = [run(np.random.default_rng([4, i])) for i in range(50)]
    for label in ("a", "b"):
        assert sum(h[label] for h in hits) >= 0.86 * 50


@pytest.mark.slow
def test_forecast_intervals(bench) -> None:
    run = bench.forecast_cell(bench.TAILS["power-law tail"]["beta(0.3, 20)"], 100, 50, (1000,))
    hits = [run(np.random.default_rng([5, i])) for i in range(60)]
    assert sum(h["k=1000"] for h in hits) >= 0.87 * 60


@pytest.mark.slow
def test_resuming_gives_the_same_table(bench, tmp_path) -> None:
    state = tmp_path / "state.json"
    whole = bench.calibrate({"forecast"}, 2, 1)
    bench.calibrate({"forecast"}, 1, 1, state)
    assert bench.calibrate({"forecast"}, 2, 1, state) == whole


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--only", "covrage"], "--only covrage: choose among coverage, fits, forecast"),
        (
            ["--only", "fits", "--match", "nosuch"],
            "--match nosuch: no cell's name contains this; they look like 'fit | ",
        ),
    ],
)
def test_a_choice_of_nothing_is_refused(options: list[str], says: str) -> None:
    """An empty table would look like one without exceptions."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "calibration.py"), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(says)
    assert done.stdout == ""

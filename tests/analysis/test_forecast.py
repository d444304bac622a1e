"""Forecasts: the aims on released outcomes, properties that must hold anywhere, and what is said when data are thin."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from tests.data import COUNTS, ROOT
from vervet.analysis.counts import read_counts
from vervet.analysis.forecast import forecast
from vervet.errors import BadData, UnknownName
from vervet.estimate.coverage import pass_curve
from vervet.estimate.forecasting import Forecaster
from vervet.estimate.methods import FORECAST_METHODS
from vervet.records import Counts


def bench(name: str):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", ROOT / "bench" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_default_holds_its_aims_in_every_cell() -> None:
    """Error, containment and width on the six released sets, 20 seeds: the same draws every time, so no false alarm."""
    module = bench("forecast")
    cells = module.summary(module.score(20, ("combination",)), "combination")
    for cell in cells:
        error, width = module.AIMS[cell["n"], cell["k"]]
        assert cell["error"] <= error, cell
        assert cell["width"] <= width, cell
        assert cell["contained"] >= 0.9, cell
    assert np.mean([cell["contained"] for cell in cells]) >= 0.95


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_default_errs_less_than_every_single_method_overall() -> None:
    module = bench("forecast")
    rows = module.score(5, FORECAST_METHODS)
    overall = {m: np.mean([c["error"] for c in module.summary(rows, m)]) for m in FORECAST_METHODS}
    assert min(overall, key=overall.get) == "combination", overall


def thinned(name: str, n: int) -> Counts:
    counts = read_counts(COUNTS / f"{name}.csv")
    c = np.random.default_rng(0).hypergeometric(counts.c, counts.n - counts.c, n)
    return Counts(counts.problem_ids, np.full(len(c), n), c, source=name)


@pytest.mark.parametrize("method", FORECAST_METHODS)
def test_every_method_rises_with_k_and_stays_in_its_interval(method: str) -> None:
    counts = thinned("math-pythia-2_8b", 100)
    points = forecast(counts, [200, 1000, 10_000, 100_000], method, backtest=False).points
    values = [p.coverage for p in points]
    assert values == sorted(values)
    for p in points:
        assert 0 <= p.low <= p.coverage <= p.high <= 1


@pytest.mark.slow
def test_the_document_has_a_backtest_for_every_method_and_the_sensitivity() -> None:
    result = forecast(thinned("math-pythia-410m", 100), [50, 1000])
    document = json.loads(json.dumps(result.to_dict()))
    assert document["schema"] == "vervet.forecast/1"
    assert {b["method"] for b in document["backtest"]} == set(FORECAST_METHODS)
    assert {b["fit_n"] for b in document["backtest"]} == {10, 25}
    assert all(b["k"] == 100 and 0 <= b["error"] < 0.6 for b in document["backtest"])
    none_left = [s["coverage"] for s in document["sensitivity"] if s["share"] == 1.0 and s["k"] == 1000]
    counts = thinned("math-pythia-410m", 100)
    assert none_left == pytest.approx([float(np.mean(counts.c > 0))])


def test_what_was_seen_is_not_forecast() -> None:
    counts = thinned("math-pythia-410m", 100)
    seen = forecast(counts, [10], backtest=False).points[0]
    assert seen.coverage == pytest.approx(float(pass_curve(counts.n, counts.c, [10]).mean()))


def test_a_bootstrap_would_not_hold() -> None:
    """Negative control: resampling problems knows nothing of the tail. It misses far more often."""
    from vervet.estimate.bootstrap import resampled_curves
    from vervet.estimate.curvefit import coverage_of, log_log, rounded_grid

    ours = theirs = 0
    for name in ("codecontests-gemma-2b", "math-pythia-70m"):
        full = read_counts(COUNTS / f"{name}.csv")
        truth = float(np.mean(full.c > 0))
        for seed in range(12):
            c = np.random.default_rng(seed).hypergeometric(full.c, full.n - full.c, 20)
            n, grid = np.full(len(c), 20), rounded_grid(20)
            low, high = Forecaster.fitted(n, c).interval(10_000)
            ours += low <= truth <= high
            a, b = log_log(grid, resampled_curves(pass_curve(n, c, grid), 300, seed))
            refits = coverage_of(a, b, 10_000)[np.isfinite(a)]
            low, high = np.quantile(refits, [0.025, 0.975]) if len(refits) else (0.0, 0.0)
            theirs += low <= truth <= high
    assert ours >= 22
    assert theirs <= 12


@pytest.mark.parametrize(
    ("n", "c"),
    [
        ([1], [0]),
        ([1], [1]),
        ([1] * 40, [0, 1] * 20),
        ([20] * 40, [0] * 40),
        ([20] * 40, [20] * 40),
        ([7], [3]),
        ([9, 0], [2, 0]),
    ],
)
def test_degenerate_counts_give_a_forecast_with_a_wide_interval(n: list[int], c: list[int]) -> None:
    result = forecast(Counts(range(len(n)), n, c), [1000])
    point = result.points[0]
    assert 0 <= point.low <= point.coverage <= point.high <= 1
    assert np.isfinite([point.low, point.coverage, point.high]).all()


def test_thin_data_are_named() -> None:
    said = " ".join(forecast(Counts(range(5), [20] * 5, [0] * 5), [10_000]).warnings)
    for words in ("no problem was solved", "few problems (5)", "more than 100 times"):
        assert words in said
    said = " ".join(forecast(Counts(range(40), [20] * 40, [0] * 40), [100], "beta-binomial").warnings)
    assert "needs at least one PASS" in said


def test_a_plateau_is_admitted_by_interval_and_warning() -> None:
    """40 % impossible problems, 1,000 samples: the counts say that the power law is wrong."""
    rng = np.random.default_rng(2)
    p = np.where(rng.random(300) < 0.4, 0, rng.beta(0.5, 3, 300))
    counts = Counts(range(300), np.full(300, 1000), rng.binomial(1000, p))
    result = forecast(counts, [10_000], backtest=False)
    assert any("power law" in w for w in result.warnings)
    assert result.points[0].low < float(np.mean(1 - (1 - p) ** 10_000)) + 0.03 < result.points[0].high


def test_adaptive_counts_can_be_forecast_by_likelihood_alone() -> None:
    rng = np.random.default_rng(0)
    c = rng.binomial(20, rng.beta(0.3, 3, 60))
    n = np.where(c > 0, 20, 40)
    result = forecast(Counts(range(60), n, c, design="adaptive"), [1000])
    assert 0 < result.points[0].coverage < 1
    assert result.backtest == ()


def test_names_and_emptiness_are_refused() -> None:
    with pytest.raises(UnknownName, match="no forecast method"):
        forecast(Counts(["a"], [5], [1]), method="magic")
    with pytest.raises(BadData, match="no problem has a decided sample"):
        forecast(Counts(["a"], [0], [0]))


def test_the_wide_interval_holds_the_other_and_hedges_a_tail_that_ends() -> None:
    """40 % impossible problems, 100 samples: the counts cannot tell, the plain interval nearly always misses.

    In 200 runs the wide interval held in 85 %; 5 of 12 or fewer has odds below 1e-3, and the seeds are fixed.
    """
    plain = wide = 0
    for seed in range(12):
        rng = np.random.default_rng([4, seed])
        p = np.where(rng.random(128) < 0.4, 0, rng.beta(0.5, 3, 128))
        counts = Counts(range(128), np.full(128, 100), rng.binomial(100, p))
        later = float(np.mean((counts.c > 0) | (rng.random(128) < 1 - (1 - p) ** 900)))
        (point,) = forecast(counts, [1000], backtest=False).points
        assert point.wide_low <= point.low <= point.coverage <= point.high <= point.wide_high
        plain += point.low <= later <= point.high
        wide += point.wide_low <= later <= point.wide_high
    assert wide > 5
    assert plain < wide


def test_the_interval_spends_its_error_above_rather_than_below() -> None:
    """A quarter of it below: the interval reaches further down than an even one of the same posterior, and less far up."""
    from vervet.estimate import hierarchy

    counts = thinned("math-pythia-70m", 20)
    model = Forecaster.fitted(counts.n, counts.c, "hierarchical")
    low, high = model.interval(1000, 0.8)
    even = np.quantile(hierarchy.draws(model.base, 1000), [0.1, 0.9])
    assert low < even[0]
    assert high < even[1]

"""End to end with a model of known success probability: the interval contains the true curve as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import betaln

import vervet
from tests.helpers import write_problems
from vervet.protocols import SamplerSetup
from vervet.samplers.fake import Fake

pytestmark = pytest.mark.slow

RUNS, PROBLEMS, N, K = 60, 40, 24, 12
A, B = 0.6, 2.5


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, vervet.Curve]]:
    """(difficulty seed, curve) of many small runs through sampler, ledger, extraction and verifier."""
    folder = tmp_path_factory.mktemp("runs")
    task = write_problems(folder / "q.jsonl", PROBLEMS)
    out = []
    for seed in range(RUNS):
        options = {"difficulty_seed": seed, "batch": N}
        run = vervet.run(
            str(task), model=f"fake/beta={A},{B}", n=N, seed=seed, out=folder / str(seed), model_options=options
        )
        out.append((seed, vervet.coverage(run.counts(), k=[1, K])))
        run.close()
    return out


def contained(curves: list[tuple[int, vervet.Curve]], truth: object, interval: tuple[str, str], point: int) -> int:
    """In how many runs the interval at a point contains the truth (a number, or a function of the difficulty seed)."""
    hits = 0
    for seed, curve in curves:
        low, high = (getattr(curve.points[point], name) for name in interval)
        value = truth(seed) if callable(truth) else truth
        hits += low <= value <= high
    return hits


def population(a: float, b: float, k: int) -> float:
    """1 - E[(1 - p)^k] for p ~ Beta(a, b)."""
    return float(1 - np.exp(betaln(a, b + k) - betaln(a, b)))


def these(seed: int, k: int) -> float:
    """The same for the very problems that a difficulty seed draws."""
    fake = Fake(f"beta={A},{B}", SamplerSetup(), difficulty_seed=seed)
    p = np.array([fake.probability(f"q{i}") for i in range(PROBLEMS)])
    return float(np.mean(1 - (1 - p) ** k))


@pytest.mark.parametrize(("point", "k"), [(0, 1), (1, K)])
def test_the_population_interval_contains_the_true_curve(
    curves: list[tuple[int, vervet.Curve]], point: int, k: int
) -> None:
    """60 runs at 95 %: fewer than 50 hits has probability 2e-4 (binomial, p = .95), and still 0.7 % if it were .92."""
    assert contained(curves, population(A, B, k), ("low", "high"), point) >= 50


@pytest.mark.parametrize(("point", "k"), [(0, 1), (1, K)])
def test_the_draws_interval_contains_the_curve_of_these_problems(
    curves: list[tuple[int, vervet.Curve]], point: int, k: int
) -> None:
    """Same odds; it is narrower, because the problems are given."""
    assert contained(curves, lambda seed: these(seed, k), ("draws_low", "draws_high"), point) >= 50
    widths = [
        (c.points[point].high - c.points[point].low, c.points[point].draws_high - c.points[point].draws_low)
        for _, c in curves
    ]  # type: ignore[operator]
    assert np.mean([d < w for w, d in widths]) > 0.9


def test_another_models_curve_is_not_contained(curves: list[tuple[int, vervet.Curve]]) -> None:
    """Negative control: with half the success rate, or the wrong kind of truth, the same check fails."""
    assert contained(curves, population(A / 2, B, 1), ("low", "high"), 0) < 50
    assert contained(curves, population(A, B, 1), ("draws_low", "draws_high"), 0) < 50


def test_the_mean_of_many_runs_is_the_truth(curves: list[tuple[int, vervet.Curve]]) -> None:
    """Unbiased: the mean over 60 runs lies within 4 standard errors (false alarm 6e-5)."""
    for point, k in ((0, 1), (1, K)):
        values = np.array([c.points[point].coverage for _, c in curves])
        assert abs(values.mean() - population(A, B, k)) < 4 * values.std(ddof=1) / np.sqrt(RUNS)

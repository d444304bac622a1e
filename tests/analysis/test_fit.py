"""Fits of counts: known distributions come back, intervals surround estimates, thin data get a sentence instead of a
number."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vervet.analysis.fit import FitResult, fit
from vervet.errors import BadOption, UnknownName
from vervet.estimate.methods import FIT_MODELS, MIXTURES
from vervet.estimate.mixtures import fit_mixture
from vervet.records import Counts


def sample(p: np.ndarray, n: int, seed: int = 0) -> Counts:
    return Counts(range(len(p)), np.full(len(p), n), np.random.default_rng(seed).binomial(n, p))


def test_distributions_of_difficulty_come_back() -> None:
    """2,000 problems, n = 200: within 4 standard errors (odds of a false alarm below 1e-3)."""
    rng = np.random.default_rng(3)
    u, a, b = rng.random(2000), 0.6, 4.0
    beta = rng.beta(a, b, 2000)
    truths = {
        "beta-binomial": (beta, {"a": a, "b": b}),
        "scaled-beta-binomial": (0.3 * beta, {"a": a, "b": b, "scale": 0.3}),
        "zero-inflated-beta-binomial": (np.where(u < 0.3, 0, beta), {"a": a, "b": b, "zero": 0.3}),
        "kumaraswamy-binomial": ((1 - (1 - u) ** (1 / b)) ** (1 / a), {"a": a, "b": b}),
    }
    assert set(truths) == set(MIXTURES)
    for model, (p, wanted) in truths.items():
        counts = sample(p, 200)
        found = fit_mixture(model, counts.n, counts.c)
        for name, value in wanted.items():
            loose = 0.45 if model.startswith("scaled") and name == "b" else 0.15  # b and scale trade off
            assert found.parameters[name] == pytest.approx(value, rel=loose), (model, name)
        assert found.coverage(np.array([10]))[0] == pytest.approx(float(np.mean(1 - (1 - p) ** 10)), abs=0.02)


def test_the_beta_binomial_misses_impossible_problems() -> None:
    """Negative control: without zero inflation, coverage far beyond n is promised where there is none."""
    rng = np.random.default_rng(3)
    counts = sample(np.where(rng.random(1000) < 0.4, 0, rng.beta(0.8, 6, 1000)), 200)
    far = np.array([100_000])
    assert fit_mixture("zero-inflated-beta-binomial", counts.n, counts.c).coverage(far)[0] == pytest.approx(
        0.6, abs=0.05
    )
    assert fit_mixture("beta-binomial", counts.n, counts.c).coverage(far)[0] > 0.75


def test_the_non_parametric_mixture_follows_the_curve() -> None:
    rng = np.random.default_rng(1)
    p = np.where(rng.random(500) < 0.5, 0.02, 0.7)
    counts = sample(p, 100)
    found = fit_mixture("non-parametric", counts.n, counts.c)
    ks = np.array([1, 10, 100])
    truth = [np.mean(1 - (1 - p) ** k) for k in ks]
    np.testing.assert_allclose(found.coverage(ks), truth, atol=0.02)
    assert found.mass.sum() == pytest.approx(1)


def test_every_model_gives_a_document() -> None:
    counts = sample(np.random.default_rng(0).beta(0.4, 3, 60), 50)
    result = fit(counts, "all", space=["log-coverage", "coverage"])
    document = json.loads(json.dumps(result.to_dict()))
    fits = document["sources"][0]["fits"]
    assert document["schema"] == "vervet.fit/1"
    assert [f["model"] for f in fits] == [FIT_MODELS[0], *FIT_MODELS]
    for f in fits:
        wanted = {"model", "space", "a", "b", "a_low", "a_high", "b_low", "b_high", "grid", "error_mean", "error_sd"}
        assert wanted <= set(f)
        if f["a_low"] is not None:
            assert f["a_low"] <= f["a"] <= f["a_high"]
            assert f["b_low"] <= f["b"] <= f["b_high"]
        assert f["error_mean"] < 0.1
    assert FitResult(result.sources * 2).to_dict()["sources"][1] == document["sources"][0]


@pytest.mark.parametrize(
    ("n", "c", "reason"),
    [
        ([5] * 9, [0] * 9, "no problem was solved"),
        ([5] * 9, [5] * 9, "every sample passed"),
        ([1] * 9, [1, 0, 0] * 3, "one k"),
        ([0] * 3, [0] * 3, "no problem has a decided sample"),
        ([50], [7], "too few problems"),
    ],
)
@pytest.mark.parametrize("model", ["exponentiated-power-law", "log-log"])
def test_data_that_cannot_carry_a_fit_say_so(n: list[int], c: list[int], reason: str, model: str) -> None:
    found = fit(Counts(range(len(n)), n, c), model).fits[0]
    assert reason in found.reason
    assert found.a_low is None
    assert json.loads(json.dumps(found.a)) == found.a


def test_names_are_checked_and_underscores_are_hyphens() -> None:
    counts = sample(np.full(30, 0.3), 20)
    assert fit(counts, "beta_binomial").fits[0].model == "beta-binomial"
    with pytest.raises(UnknownName, match="choose from exponentiated-power-law"):
        fit(counts, "power-law")
    with pytest.raises(UnknownName, match="no space 'linear'"):
        fit(counts, space="linear")
    with pytest.raises(BadOption, match="only 20 samples"):
        fit(counts, grid=[1, 50])

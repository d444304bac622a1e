"""Fits of a distribution of pass rates to counts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import betaln

from vervet.estimate.mixtures import fit_beta


def penalised(n, c, a, b):
    """What `fit_beta` minimises, written down again from its docstring."""
    fit = np.sum(betaln(a + c, b + n - c) - betaln(a, b))
    return (np.log(a / b) + 2) ** 2 / 18 + (np.log(a + b) - 0.5) ** 2 / 8 - fit


@pytest.mark.parametrize("problems", [1, 5, 20, 128])
@pytest.mark.parametrize("budget", [1, 4, 100, 10_000])
def test_the_beta_fit_is_the_best_there_is(problems, budget):
    for i in range(6):
        rng = np.random.default_rng([problems, budget, i])
        a, b = np.exp(rng.normal(0, 2, 2))
        n = rng.integers(1, budget + 1, problems)
        c = rng.binomial(n, rng.beta(a, b, problems))
        found = fit_beta(n, c)
        # a method that needs no slope, from two starts: one of them our result
        for start in ([-2.0, 0.5], [np.log(found[0] / found[1]), np.log(sum(found))]):

            def loss(x, n=n, c=c):
                x = np.clip(x, [-16, -6], [16, 8])
                mean = 1 / (1 + np.exp(-x[0]))
                return penalised(n, c, mean * np.exp(x[1]), (1 - mean) * np.exp(x[1]))

            best = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).fun
            assert penalised(n, c, *found) <= best + 1e-6 * (1 + abs(best))


def test_the_beta_fit_finds_what_the_counts_were_drawn_from():
    # 20,000 problems: standard errors of log a and log b below 0.02; wrong by 0.1 once in more than a million runs
    rng = np.random.default_rng(3)
    n = np.full(20_000, 200)
    a, b = fit_beta(n, rng.binomial(n, rng.beta(0.4, 3.0, len(n))))
    assert abs(np.log(a / 0.4)) < 0.1
    assert abs(np.log(b / 3.0)) < 0.1


@pytest.mark.parametrize("c", [np.zeros(5, int), np.full(5, 10)])
def test_the_beta_fit_stays_finite_without_contrast(c):
    a, b = fit_beta(np.full(5, 10), c)
    assert np.isfinite([a, b]).all()
    assert a > 0
    assert b > 0

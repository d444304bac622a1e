"""Distributions of difficulty: the beta fitted to counts."""

from __future__ import annotations

import numpy as np

from vervet.records import FloatArray, IntArray


def fit_beta(n: IntArray, c: IntArray) -> tuple[float, float]:
    """Parameters of a beta distribution of p whose beta-binomial fits the counts, kept finite by a weak prior.

    The prior (logit of the mean ~ N(-2, 3), log of a + b ~ N(0.5, 2)) matters only where the counts say nearly nothing.
    """
    from scipy.optimize import minimize  # noqa: PLC0415
    from scipy.special import betaln, digamma  # noqa: PLC0415

    pairs, weight = np.unique(np.stack([n, c]), axis=1, return_counts=True)
    right, wrong = pairs[1].astype(float), (pairs[0] - pairs[1]).astype(float)

    def loss(x: FloatArray) -> tuple[float, FloatArray]:
        mean, size = 1 / (1 + np.exp(-x[0])), np.exp(x[1])
        a, b = mean * size, (1 - mean) * size
        fit = weight @ (betaln(a + right, b + wrong) - betaln(a, b))
        common = digamma(a + b) - digamma(a + b + right + wrong)
        by_a = weight @ (digamma(a + right) - digamma(a) + common)
        by_b = weight @ (digamma(b + wrong) - digamma(b) + common)
        slope = np.array([(by_a - by_b) * size * mean * (1 - mean), by_a * a + by_b * b])
        prior = (x[0] + 2) ** 2 / 18 + (x[1] - 0.5) ** 2 / 8
        return float(prior - fit), np.array([(x[0] + 2) / 9, (x[1] - 0.5) / 4]) - slope

    share = (right @ weight + 0.5) / ((right + wrong) @ weight + 1.0)
    start = np.array([np.log(share / (1 - share)), 0.0])
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-16, 16), (-6, 8)]).x
    mean, size = 1 / (1 + np.exp(-best[0])), np.exp(best[1])
    return float(mean * size), float((1 - mean) * size)

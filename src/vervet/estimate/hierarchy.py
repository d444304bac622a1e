"""A hierarchical model of difficulty for forecasting: what n samples say about k draws, k far beyond n.

Model: p^(2b) ~ Beta(1/2, B), that is, near p = 0 the density of difficulties is a power law, p^(b-1), which is what makes
coverage follow an exponentiated power law (Schaeffer et al. 2025). ln b ~ N(ln 0.2, 0.8), ln B ~ N(ln 4, 1).
Inference is by quadrature: a grid over (b, B), cells over logit p. Mass below logit p = -30 counts as p = 0.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from vervet.estimate.cells import LOGITS, groups, likelihoods, middles
from vervet.records import FloatArray, IntArray

_SHAPES = 28
# grid points for each of b and B


class Posterior(NamedTuple):
    """Weights of hyperparameters, and of difficulties within each group of problems with equal counts."""

    n: IntArray
    c: IntArray
    problems: IntArray
    # counts and sizes of the groups, shape (groups,)
    weights: FloatArray
    # of the hyperparameters, shape (hyper,), sum 1
    marginal: FloatArray
    # likelihood of each group's counts under each hyperparameter, shape (groups, hyper)
    likelihood: FloatArray
    # of each group's counts in each cell, shape (groups, cells), largest 1


def posterior(n: IntArray, c: IntArray) -> Posterior:
    """The posterior given counts, shape (problems,). A problem with n = 0 adds nothing to it and is kept."""
    mass, prior = _grid()
    total, passed, size = groups(n, c)
    likelihood = likelihoods(total, passed)
    marginal = np.maximum(likelihood @ mass.T, 1e-300)
    log_weight = prior + size @ np.log(marginal)
    weights = np.exp(log_weight - log_weight.max())
    return Posterior(total, passed, size, weights / weights.sum(), marginal, likelihood)


def expected(fit: Posterior, draws: IntArray | int) -> FloatArray:
    """Chance that so many more draws contain a PASS, for each group and hyperparameter: shape (groups, hyper)."""
    mass, _ = _grid()
    more = np.broadcast_to(np.asarray(draws, dtype=float), fit.n.shape)
    fail = np.exp(more[:, None] * np.log1p(-middles()))
    return np.clip(1.0 - (fit.likelihood * fail) @ mass.T / fit.marginal, 0.0, 1.0)


def solved(fit: Posterior, k: int) -> FloatArray:
    """Chance that a problem is solved once it has k samples in all, shape (groups, hyper): 1 where it is solved already."""
    more = np.maximum(k - fit.n, 0)
    return np.where(fit.c[:, None] > 0, 1.0, expected(fit, more))


def share_of(fit: Posterior, chance: FloatArray) -> FloatArray:
    """Mean over problems of a chance given for each group: shape of its other axes."""
    return np.asarray(np.tensordot(fit.problems, chance, axes=1) / fit.problems.sum())


def point(fit: Posterior, k: int) -> float:
    """Coverage at k of these problems: the posterior mean in log(-log coverage), where such forecasts err evenly."""
    edge = 0.01 / fit.problems.sum()
    values = np.clip(share_of(fit, solved(fit, k)), edge, 1 - edge)
    return float(np.exp(-np.exp(fit.weights @ np.log(-np.log(values)))))


def draws(fit: Posterior, k: int, size: int = 4000, seed: int = 0) -> FloatArray:
    """Posterior draws of the share of these problems that is solved once each has k samples, shape (size,).

    Holds what is unknown about the difficulties, and the chance in the draws themselves: given the hyperparameters, the
    problems of a group are solved independently.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(fit.weights), size=size, p=fit.weights)
    count = np.zeros(size)
    for problems, chance in zip(fit.problems, solved(fit, k), strict=True):
        count += rng.binomial(problems, chance[chosen])
    return count / fit.problems.sum()


@lru_cache(maxsize=1)
def _grid() -> tuple[FloatArray, FloatArray]:
    """Mass of each cell under each hyperparameter, (hyper, cells); log prior, (hyper,)."""
    from scipy.special import betainc  # noqa: PLC0415

    index, shape = np.meshgrid(np.geomspace(0.02, 1.5, _SHAPES), np.geomspace(0.2, 60, _SHAPES), indexing="ij")
    index, shape = index.ravel(), shape.ravel()
    prior = -((np.log(index / 0.2) / 0.8) ** 2) / 2 - np.log(shape / 4) ** 2 / 2
    below = betainc(0.5, shape[:, None], np.exp(-2 * index[:, None] * np.logaddexp(0, -LOGITS)))
    return np.maximum(np.diff(below, axis=1, prepend=0.0, append=1.0), 0.0), prior

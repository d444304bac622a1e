"""A hierarchical model of difficulty for forecasting: what n samples say about k draws, k far beyond n.

Model: p^(2b) ~ Beta(1/2, B), that is, near p = 0 the density of difficulties is a power law, p^(b-1), which is what
makes coverage follow an exponentiated power law (Schaeffer et al. 2025). ln b ~ N(ln 0.2, 0.8), ln B ~ N(ln 4, 1).
Inference is by quadrature: a grid over (b, B), cells over logit p. Mass below logit p = -30 counts as p = 0.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from vervet.estimate.cells import LOGITS, groups, likelihoods, middles
from vervet.estimate.coverage import pass_curve
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
    mass: FloatArray
    # of each cell under each hyperparameter, shape (hyper, cells)
    evidence: float
    # log likelihood of the counts, averaged over the prior


def posterior(n: IntArray, c: IntArray, power_tail: bool = True) -> Posterior:
    """The posterior given counts, shape (problems,). A problem with n = 0 adds nothing to it and is kept.

    power_tail=False: under the two alternatives whose coverage bends or ends earlier: a part of the problems can never
    be solved, or log-odds are normal. Never the default: on real counts they are not better, and much wider.
    """
    mass, prior = _grid() if power_tail else _alternatives()
    total, passed, size = groups(n, c)
    likelihood = likelihoods(total, passed)
    marginal = np.maximum(likelihood @ mass.T, 1e-300)
    log_weight = prior + size @ np.log(marginal)
    top = float(log_weight.max())
    weights = np.exp(log_weight - top)
    evidence = top + float(np.log(weights.sum()) - np.log(np.exp(prior - prior.max()).sum()) - prior.max())
    return Posterior(total, passed, size, weights / weights.sum(), marginal, likelihood, mass, evidence)


def expected(fit: Posterior, draws: IntArray | int) -> FloatArray:
    """Chance that so many more draws contain a PASS, for each group and hyperparameter: shape (groups, hyper)."""
    more = np.broadcast_to(np.asarray(draws, dtype=float), fit.n.shape)
    fail = np.exp(more[:, None] * np.log1p(-middles()))
    return np.asarray(np.clip(1.0 - (fit.likelihood * fail) @ fit.mass.T / fit.marginal, 0.0, 1.0))


def solved(fit: Posterior, k: int) -> FloatArray:
    """Chance that a problem's first k samples hold a PASS, shape (groups, hyper): 1 where they are known to."""
    more = np.maximum(k - fit.n, 0)
    known = pass_curve(fit.n, fit.c, [k])[0]
    return np.where((fit.c > 0)[:, None], known[:, None], expected(fit, more))


def belief(fit: Posterior) -> FloatArray:
    """Chance that a problem of each group lies in each cell of difficulty: shape (groups, cells), rows sum to 1."""
    prior = (fit.weights / fit.marginal) @ fit.mass
    joint = fit.likelihood * prior
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def difficulties() -> FloatArray:
    """p in each cell."""
    return middles()


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
        count += problems if chance.min() >= 1.0 else rng.binomial(problems, chance[chosen])
    return np.asarray(count / fit.problems.sum())


@lru_cache(maxsize=1)
def _grid() -> tuple[FloatArray, FloatArray]:
    """Mass of each cell under each hyperparameter, (hyper, cells); log prior, (hyper,)."""
    from scipy.special import betainc  # noqa: PLC0415

    index, shape = np.meshgrid(np.geomspace(0.02, 1.5, _SHAPES), np.geomspace(0.2, 60, _SHAPES), indexing="ij")
    tail, body = index.ravel(), shape.ravel()
    prior = -((np.log(tail / 0.2) / 0.8) ** 2) / 2 - np.log(body / 4) ** 2 / 2
    below = betainc(0.5, body[:, None], np.exp(-2 * tail[:, None] * np.logaddexp(0, -LOGITS)))
    return np.asarray(np.maximum(np.diff(below, axis=1, prepend=0.0, append=1.0), 0.0)), np.asarray(prior)


@lru_cache(maxsize=1)
def _alternatives() -> tuple[FloatArray, FloatArray]:
    """Like `_grid`: the same model with 10 to 90 % impossible problems, and a normal distribution of log-odds."""
    from scipy.special import ndtr  # noqa: PLC0415

    mass, prior = _grid()
    coarse = np.arange(_SHAPES**2).reshape(_SHAPES, _SHAPES)[::3, ::3].ravel()
    blocks, priors = [], []
    for zero in np.linspace(0.1, 0.9, 9):
        part = (1 - zero) * mass[coarse]
        part[:, 0] += zero
        blocks.append(part)
        priors.append(prior[coarse])
    centre, width = np.meshgrid(np.linspace(-14, 2, 17), np.geomspace(0.4, 6, 9), indexing="ij")
    centre, width = centre.reshape(-1, 1), width.reshape(-1, 1)
    blocks.append(np.diff(ndtr((LOGITS - centre) / width), axis=1, prepend=0.0, append=1.0))
    normal = -(((centre + 5) / 4) ** 2) / 2 - ((np.log(width / 2) / 0.7) ** 2) / 2
    priors.append(normal[:, 0] - np.log(np.exp(normal).sum()) + np.log(sum(np.exp(p).sum() for p in priors)))
    return np.concatenate(blocks), np.concatenate(priors)

"""Distributions of difficulty p, fitted to counts by maximum likelihood: what lies under a coverage curve.

coverage at k = E[1 - (1-p)^k]. All but the beta-binomial work on cells over logit p: the mass of a cell is a difference
of the distribution function, the likelihood of counts is evaluated at its middle.
Source: Schaeffer et al. 2025 (arXiv:2502.17578), Kazdan et al. 2025 (arXiv:2510.05197); zero inflation is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vervet.estimate.cells import LOGITS, groups, likelihoods, middles
from vervet.records import FloatArray, IntArray

_EM_STEPS = 400


@dataclass(frozen=True, slots=True)
class Mixture:
    """A fitted distribution of difficulty."""

    model: str
    parameters: dict[str, float]
    # "a", "b", and "scale" or "zero" where the model has one
    errors: dict[str, float]
    # standard error of the logarithm of a and b, from the curvature of the likelihood; empty where that is unusable
    p: FloatArray
    mass: FloatArray
    # support points and their mass, for coverage

    def coverage(self, k: IntArray) -> FloatArray:
        """Expected coverage at each k of problems drawn from the distribution."""
        log_fail = np.log1p(-np.minimum(self.p, 1 - 1e-16))
        return np.asarray(-np.expm1(np.asarray(k, dtype=float)[:, None] * log_fail) @ self.mass)


def fit_mixture(model: str, n: IntArray, c: IntArray) -> Mixture:
    """Maximum likelihood fit of one of `methods.MIXTURES` or "non-parametric"; counts with at least one PASS."""
    if model == "non-parametric":
        return _non_parametric(n, c)
    loss, start, bounds, names = _problem(model, n, c)
    best = _minimise(loss, start, bounds)
    parameters = {name: float(_natural(name, x)) for name, x in zip(names, best, strict=True)}
    return Mixture(model, parameters, _log_errors(loss, best, bounds), middles(), _mass(model, parameters))


def fit_beta(n: IntArray, c: IntArray) -> tuple[float, float]:
    """Parameters of the beta-binomial that fits best, kept finite by a weak prior.

    The prior (logit of the mean ~ N(-2, 3), log of a + b ~ N(0.5, 2)) matters only where the counts say nearly nothing.
    """
    from scipy.special import betaln, digamma  # noqa: PLC0415

    total, passed, weight = groups(n, c)
    right, wrong = passed.astype(float), (total - passed).astype(float)

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
    best = _newton(loss, start, np.array([[-16.0, 16.0], [-6.0, 8.0]]))
    mean, size = 1 / (1 + np.exp(-best[0])), np.exp(best[1])
    return float(mean * size), float((1 - mean) * size)


def _newton(
    loss: Callable[[FloatArray], tuple[float, FloatArray]], start: FloatArray, bounds: FloatArray
) -> FloatArray:
    """A minimum in a box, by damped Newton steps; the curvature comes from differences of the slope.

    For few parameters, in the path of every `vervet coverage`: to import an optimiser costs more than the whole fit.
    Args: loss: the value and its slope, shape (parameters,); bounds: shape (parameters, 2).
    """
    x = start
    value, slope = loss(x)
    for _ in range(_STEPS):
        free = ~(((x <= bounds[:, 0]) & (slope > 0)) | ((x >= bounds[:, 1]) & (slope < 0)))
        if not free.any() or np.abs(slope[free]).max() < _FLAT * (1 + abs(value)):
            break
        nudges = np.eye(len(x))[free] * _NUDGE
        curvature = np.array([(loss(x + d)[1] - loss(x - d)[1])[free] for d in nudges]) / (2 * _NUDGE)
        curves, axes = np.linalg.eigh((curvature + curvature.T) / 2)
        step = np.zeros_like(x)
        step[free] = -axes @ ((axes.T @ slope[free]) / np.maximum(np.abs(curves), 1e-6))
        step *= min(1.0, _LEAP / np.abs(step).max())
        for halving in range(_HALVINGS):
            there = np.clip(x + step / 2**halving, bounds[:, 0], bounds[:, 1])
            new_value, new_slope = loss(there)
            if new_value <= value + 1e-4 * float(slope @ (there - x)):
                break
        else:
            break
        x, value, slope = there, new_value, new_slope
    return x


_STEPS, _HALVINGS = 100, 40
_FLAT, _NUDGE, _LEAP = 1e-9, 1e-4, 2.0
# the slope, relative to the value, at which a minimum is reached; the distance of differences; the longest step


# ------------------------------------------------------------------------------------------------- likelihood problems

Loss = Callable[[FloatArray], float]
_LIMITS = {"a": (-4.6, 4.6), "b": (-4.6, 6.0), "scale": (-12.0, 12.0), "zero": (-12.0, 12.0)}
# of log a, log b and the logits of the shares: 0.01 to 100 (400), and all but 1e-5 of the unit interval


def _natural(name: str, x: float) -> float:
    return float(np.exp(x)) if name in {"a", "b"} else float(1 / (1 + np.exp(-x)))


def _problem(model: str, n: IntArray, c: IntArray) -> tuple[Loss, FloatArray, list[tuple[float, float]], list[str]]:
    """Negative log likelihood over transformed parameters, start, bounds, names."""
    a, b = fit_beta(n, c)
    third = {"scaled-beta-binomial": "scale", "zero-inflated-beta-binomial": "zero"}.get(model)
    names = ["a", "b", third] if third else ["a", "b"]
    start = np.log([np.clip(a, 0.02, 50), np.clip(b, 0.02, 200)])
    if len(names) == 3:
        start = np.append(start, 2.0 if names[2] == "scale" else -1.0)
    total, passed, weight = groups(n, c)
    if model == "beta-binomial":
        loss = _beta_binomial(total, passed, weight)
    else:
        table = likelihoods(total, passed)

        def loss(x: FloatArray) -> float:
            values = {name: _natural(name, v) for name, v in zip(names, x, strict=True)}
            return float(-weight @ np.log(np.maximum(table @ _mass(model, values), 1e-300)))

    return loss, start, [_LIMITS[name] for name in names], names


def _beta_binomial(total: IntArray, passed: IntArray, weight: IntArray) -> Loss:
    from scipy.special import betaln  # noqa: PLC0415

    right, wrong = passed.astype(float), (total - passed).astype(float)

    def loss(x: FloatArray) -> float:
        a, b = np.exp(x)
        return float(-weight @ (betaln(a + right, b + wrong) - betaln(a, b)))

    return loss


def _mass(model: str, parameters: dict[str, float]) -> FloatArray:
    """Mass of p = 0 and of each cell."""
    from scipy.special import betainc  # noqa: PLC0415

    a, b = parameters["a"], parameters["b"]
    p = 1 / (1 + np.exp(-LOGITS))
    if model == "kumaraswamy-binomial":
        below = -np.expm1(b * np.log1p(-np.minimum(p**a, 1 - 1e-16)))
    else:
        below = betainc(a, b, np.minimum(p / parameters.get("scale", 1.0), 1.0))
    zero = parameters.get("zero", 0.0)
    mass = (1 - zero) * np.maximum(np.diff(below, prepend=0.0, append=1.0), 0.0)
    mass[0] += zero
    return np.asarray(mass)


def _minimise(loss: Loss, start: FloatArray, bounds: list[tuple[float, float]]) -> FloatArray:
    from scipy.optimize import minimize  # noqa: PLC0415

    options = {"xatol": 1e-5, "fatol": 1e-7, "maxiter": 2000}
    low, high = np.array(bounds).T
    first = minimize(loss, np.clip(start, low, high), method="Nelder-Mead", bounds=bounds, options=options)
    return np.asarray(minimize(loss, first.x, method="Nelder-Mead", bounds=bounds, options=options).x)


def _log_errors(loss: Loss, best: FloatArray, bounds: list[tuple[float, float]]) -> dict[str, float]:
    """Standard errors of log a and log b by the likelihood's curvature; parameters at a bound count as known."""
    low, high = np.array(bounds).T
    free = [i for i in range(len(best)) if low[i] + 0.05 < best[i] < high[i] - 0.05]
    step, unit = 0.02, np.eye(len(best))
    curvature = np.zeros((len(free), len(free)))
    for i, one in enumerate(free):
        for j, other in enumerate(free):
            moves = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
            values = [loss(best + step * (s * unit[one] + t * unit[other])) for s, t in moves]
            curvature[i, j] = (values[0] - values[1] - values[2] + values[3]) / (4 * step * step)
    names = ("a", "b")
    if not {0, 1} <= set(free) or np.any(np.linalg.eigvalsh(curvature) <= 1e-9):
        return {}
    variance = np.diag(np.linalg.inv(curvature))
    return {name: float(np.sqrt(variance[free.index(i)])) for i, name in enumerate(names)}


def _non_parametric(n: IntArray, c: IntArray) -> Mixture:
    """The distribution on the cells' middles that makes the counts most likely, by expectation and maximisation."""
    total, passed, weight = groups(n, c)
    table = likelihoods(total, passed)
    mass = np.full(table.shape[1], 1 / table.shape[1])
    for _ in range(_EM_STEPS):
        mass = mass * ((weight / np.maximum(table @ mass, 1e-300)) @ table) / weight.sum()
    return Mixture("non-parametric", {}, {}, middles(), mass / mass.sum())

"""Every estimator against its definition written down again, on cases that Hypothesis makes up; and a wrong one with it.

A definition here is an enumeration, exact fractions, a numerical root or integral: nothing of what the estimator does
itself. The wrong variant is a mistake that people make; the same comparison on the same kind of cases has to reject it, so
that a comparison which would accept anything is found out. An estimator without a row is in ELSEWHERE, with its tests.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings, strategies as st
from scipy import integrate, optimize, stats

import vervet.estimate
from tests.data import ROOT
from tests.estimate import exact
from vervet.estimate import (
    bootstrap,
    coverage,
    curvefit,
    designs,
    draws,
    hierarchy,
    intervals,
    mixtures,
    noise,
    pivots,
    search,
    slide,
    stopping,
)
from vervet.estimate.forecasting import Forecaster
from vervet.estimate.methods import MIXTURES
from vervet.estimate.pools import Pool


@dataclass(frozen=True)
class Row:
    """One estimator. All three functions take the same case."""

    cases: st.SearchStrategy[Any]
    estimate: Callable[..., Any]
    definition: Callable[..., Any]
    wrong: Callable[..., Any]
    # what it must not be mistaken for
    within: float = 1e-9
    # allowed difference; larger where a side is simulated or found numerically
    examples: int = 40


def close(one: Any, other: Any, within: float) -> bool:
    return bool(np.allclose(np.asarray(one, float), np.asarray(other, float), rtol=within, atol=within))


# ----------------------------------------------------------------------------------------------------- cases

shares = st.integers(1, 19).map(lambda x: x / 20)
triples = st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))
quadruples = triples.flatmap(lambda t: st.tuples(*map(st.just, t), st.integers(0, t[2])))
trials = st.tuples(st.integers(1, 20), st.integers(0, 20)).map(lambda t: (t[0], min(t))).filter(lambda t: t[1] > 0)
left_over = st.tuples(triples, st.integers(0, 4), st.integers(1, 12)).map(lambda t: (*t[0][:2], *t[1:]))
matrices = st.integers(0, 10**6).map(lambda seed: np.random.default_rng(seed).random((2, 4)))
laws = st.tuples(st.floats(-5, -0.3), st.floats(-1.0, -0.1), st.integers(0, 10**6))


# ------------------------------------------------------------------------------------------------- definitions


def all_fail(n: int, c: int, k: int) -> float:
    return float(Fraction(math.comb(n - c, k), math.comb(n, k)))


def floor_and_ceiling(n: int, c: int, unknown: int, k: int) -> tuple[float, float]:
    """The least and the most of pass@k over all ways to decide what is undecided; k beyond n: pass@n, and 1."""
    every = [exact.pass_at_k(n + unknown, c + good, min(k, n + unknown)) for good in range(unknown + 1)]
    return float(min(every)), float(max(every)) if k <= n else 1.0


def first_draws_pass(rule: str, n: int, c: int, k: int) -> float:
    """Share of the orders that the rule allows in which one of the first k draws passes; k >= n of a stopped one: yes."""
    design = designs.parse(rule)
    orders = [set(order) for order in combinations(range(n), c)]
    if design.kind == "m-passes" and c == design.size:
        orders = [order for order in orders if n - 1 in order]
    if design.kind == "blocks" and c:
        orders = [order for order in orders if min(order) >= n - design.size]
    return sum(min(order, default=n) < k for order in orders) / len(orders)


@st.composite
def stopped(draw: st.DrawFn) -> tuple[str, int, int, int]:
    """Counts that a rule could have left."""
    kind, size = draw(
        st.sampled_from([("m-passes", 1), ("m-passes", 2), ("m-passes", 3), ("blocks", 2), ("blocks", 3)])
    )
    n = draw(st.integers(1, 3)) * size if kind == "blocks" else draw(st.integers(size, 8))
    c = draw(st.integers(0, min(size, n)))
    return f"{kind}={size}", n, c, draw(st.integers(1, n))


def estimate_of_design(rule: str, n: int, c: int, k: int) -> float:
    return float(designs.pass_curve_of(designs.parse(rule), np.array([n]), np.array([c]), np.array([k]))[0, 0])


def share_roots(m: int, x: int, down: float, up: float) -> tuple[float, float]:
    """Where the score test of a share changes its mind, found numerically."""

    def strays(p: float, z: float) -> float:
        return abs(x / m - p) - z * math.sqrt(p * (1 - p) / m)

    share, edge = x / m, 1e-9  # at 0 and 1 themselves the test has a second, empty root
    low = optimize.brentq(strays, edge, share - edge, (down,)) if x else 0.0
    high = optimize.brentq(strays, share + edge, 1 - edge, (up,)) if x < m else 1.0
    return low, high


def beta_tails(m: int, x: int, a: float = 0.5) -> tuple[float, float]:
    """2.5 and 97.5 % of the posterior of a share under Beta(a, a), by integration; angles keep the ends smooth."""

    def density(angle: float) -> float:
        return math.sin(angle) ** (2 * (x + a) - 1) * math.cos(angle) ** (2 * (m - x + a) - 1)

    whole = integrate.quad(density, 0, math.pi / 2)[0]

    def bound(tail: float) -> float:
        angle = optimize.brentq(lambda t: integrate.quad(density, 0, t)[0] / whole - tail, 1e-9, math.pi / 2 - 1e-9)
        return math.sin(angle) ** 2

    return (bound(0.025) if x else 0.0), (bound(0.975) if x < m else 1.0)


def expected_variance(estimator: Callable[..., Any], n: int, k: int, p: float) -> float:
    """Expectation over Binomial(n, p) of what an estimator says about the variance of pass@k."""
    c = np.arange(n + 1)
    values = np.array([[float(exact.pass_at_k(n, int(x), k)) for x in c]])
    return float(stats.binom.pmf(c, n, p) @ estimator(np.full(n + 1, n), c, np.array([k]), values)[0])


def variance(n: int, k: int, p: float) -> float:
    c = np.arange(n + 1)
    chance, values = stats.binom.pmf(c, n, p), np.array([float(exact.pass_at_k(n, int(x), k)) for x in c])
    return float(chance @ values**2 - (chance @ values) ** 2)


def contained(interval: Callable[[int, int], tuple[float, float]], problems: int, share: float) -> float:
    """Exact chance that an interval for yes or no problems contains their share."""
    bounds = [interval(x, problems) for x in range(problems + 1)]
    chance = stats.binom.pmf(np.arange(problems + 1), problems, share)
    return float(sum(w for w, (low, high) in zip(chance, bounds, strict=True) if low <= share <= high))


def of_population(x: int, problems: int) -> tuple[float, float]:
    n, c = np.ones(problems, dtype=int), (np.arange(problems) < x).astype(int)
    values, k = coverage.pass_curve(n, c, [1]), np.array([1])
    found = intervals.population_interval(values, 0.95, pivots.simulate(n, c, k, 0.95))
    return float(found.low[0]), float(found.high[0])


def of_draws(x: int, problems: int) -> tuple[float, float]:
    n, c = np.ones(problems, dtype=int), (np.arange(problems) < x).astype(int)
    found = intervals.stopped_draws_interval(coverage.pass_curve(n, c, [1]))
    return float(found.low[0]), float(found.high[0])


def wald(x: int, problems: int) -> tuple[float, float]:
    share = x / problems
    half = 1.96 * math.sqrt(share * (1 - share) / problems)
    return share - half, share + half


def keeps_its_level(interval: Callable[[int, int], tuple[float, float]]) -> Callable[[int, float], bool]:
    return lambda problems, share: 0.92 <= contained(interval, problems, share) <= 0.99


def level_row(sizes: list[int], interval: Callable[[int, int], tuple[float, float]], examples: int) -> Row:
    """An interval against the level it promises, and Wald's, which does not keep it."""
    cases = st.tuples(st.sampled_from(sizes), shares)
    return Row(
        cases,
        keeps_its_level(interval),
        lambda problems, share: True,
        keeps_its_level(wald),
        examples=examples,
    )


def resamples(values: np.ndarray) -> np.ndarray:
    """Means of every draw with replacement, all equally likely: shape (draws, ks)."""
    problems = values.shape[1]
    return np.array([values[:, list(chosen)].mean(axis=1) for chosen in product(range(problems), repeat=problems)])


def exact_fit_interval(values: np.ndarray, widen: float) -> np.ndarray:
    """The bounds of `fit_interval` on every resample, where the fit reads off a and b as they are."""
    bounds = []
    for sample in resamples(values).T:
        low, middle, high = np.quantile(sample, [0.025, 0.5, 0.975])
        bounds.append([middle - widen * (middle - low), middle + widen * (high - middle)])
    (low, high), slope = bounds
    return np.array([[-np.exp(high), -np.exp(low)], slope])


def read_off(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return -np.exp(curves[:, 0]), curves[:, 1]


def middle_reach(problems: int, c: int, shift: float = 0.5) -> list[float]:
    """Down and up for n = k = 1 from the exact binomial distribution of the fitted share: its mid-distribution."""
    a, b = mixtures.fit_beta(np.ones(problems, dtype=int), (np.arange(problems) < c).astype(int))
    share, x = a / (a + b), np.arange(problems + 1)
    ratio = (x / problems - share) * math.sqrt(problems / (share * (1 - share)))
    chance = stats.binom.pmf(x, problems, share)
    low, high = np.interp([0.025, 0.975], np.cumsum(chance) - shift * chance, ratio)
    z = intervals.normal_quantile(0.95)
    return [float(np.clip(high, 0.8 * z, 1.5 * z)), float(np.clip(-low, 0.8 * z, 2 * z))]


def penalty(n: np.ndarray, c: np.ndarray, a: float, b: float) -> float:
    """What the beta fit minimises: the likelihood by integration, and its prior."""
    log = [math.log(stats.betabinom.pmf(x, m, a, b)) - math.log(math.comb(m, x)) for m, x in zip(n, c, strict=True)]
    return (math.log(a / b) + 2) ** 2 / 18 + (math.log(a + b) - 0.5) ** 2 / 8 - sum(log)


def counts_of(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = rng.integers(2, 12, 8)
    return n, rng.binomial(n, rng.beta(0.7, 2.0, 8))


def best_penalty(seed: int) -> float:
    n, c = counts_of(seed)
    runs = [
        optimize.minimize(lambda x: penalty(n, c, *np.exp(x)), start, method="Nelder-Mead", options={"xatol": 1e-6}).fun
        for start in ([0.0, 0.0], [-1.0, 1.0])
    ]
    return min(runs)


def moments(seed: int) -> float:
    n, c = counts_of(seed)
    share = np.clip(c / n, 0.01, 0.99)
    mean, spread = share.mean(), max(share.var(), 1e-3)
    size = max(mean * (1 - mean) / spread - 1, 0.05)
    return penalty(n, c, mean * size, (1 - mean) * size)


def sparse(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts of 25 problems, 20 samples each, with at least one PASS and one problem without."""
    rng = np.random.default_rng(seed)
    c = rng.binomial(20, rng.beta(0.4, 3.0, 25))
    return np.full(25, 20), np.where(np.arange(25) < 2, [1, 0] + [0] * 23, c)


def likelihood_of(model: str, counts: tuple[np.ndarray, np.ndarray], x: Any) -> float:
    """Log likelihood, without its binomial coefficients, of counts drawn at 1,000 quantiles of the distribution."""
    u = (np.arange(1000) + 0.5) / 1000
    a, b = np.exp(x[:2])
    p = (1 - (1 - u) ** (1 / b)) ** (1 / a) if model.startswith("kumaraswamy") else stats.beta.ppf(u, a, b)
    third = 1 / (1 + math.exp(-x[2])) if len(x) > 2 else 0.0
    p = np.clip(p * (third if model.startswith("scaled") else 1.0), 1e-300, 1 - 1e-12)
    zero = third if model.startswith("zero") else 0.0
    size, n = np.bincount(counts[1]), counts[0][0]
    seen = np.flatnonzero(size)
    chance = np.array([np.mean(np.exp(c * np.log(p) + (n - c) * np.log1p(-p))) for c in seen])
    return float(size[seen] @ np.log((1 - zero) * chance + zero * (seen == 0)))


def transformed(model: str, seed: int) -> list[float]:
    found = mixtures.fit_mixture(model, *sparse(seed)).parameters
    logits = [math.log(found[key] / (1 - found[key])) for key in ("scale", "zero") if key in found]
    return [math.log(found["a"]), math.log(found["b"]), *logits]


def likelihood_found(model: str, seed: int) -> float:
    return likelihood_of(model, sparse(seed), transformed(model, seed))


def likelihood_best(model: str, seed: int) -> float:
    """The most that a search from other starts reaches, inside the limits that the fit keeps."""
    starts = ([-0.5, 1.0], [-1.0, 2.0], transformed(model, seed)[:2])
    third = {"scaled-beta-binomial": [0.0], "zero-inflated-beta-binomial": [-2.0]}.get(model, [])
    limits = [(-4.6, 4.6), (-4.6, 6.0), *[(-12.0, 12.0)] * len(third)]

    def loss(x: np.ndarray) -> float:
        return -likelihood_of(model, sparse(seed), x)

    options = {"maxiter": 80, "fatol": 1e-3, "xatol": 1e-3}
    return max(
        -optimize.minimize(loss, [*x, *third], method="Nelder-Mead", bounds=limits, options=options).fun for x in starts
    )


def power_tail(seed: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of (b, B) on the model's grid, and the expected share solved at k under each, by quantiles of p."""
    n, c = (x[0] if i == 0 else x for i, x in enumerate(sparse(seed)))
    tails, bodies = np.geomspace(0.02, 1.5, 28), np.geomspace(0.2, 60, 28)
    u = (np.arange(2000) + 0.5) / 2000
    size = np.bincount(c)
    seen = np.flatnonzero(size)
    weights, covered = [], []
    for body in bodies:
        base = np.log(stats.beta.ppf(u, 0.5, body))
        for tail in tails:
            p = np.exp(np.minimum(base / (2 * tail), -1e-12))
            chance = np.array(
                [np.mean(np.exp(x * np.log(np.maximum(p, 1e-300)) + (n - x) * np.log1p(-p))) for x in seen]
            )
            later = np.mean((1 - p) ** n * (1 - (1 - p) ** (k - n))) / max(chance[0], 1e-300)
            prior = -((math.log(tail / 0.2) / 0.8) ** 2) / 2 - math.log(body / 4) ** 2 / 2
            weights.append(prior + size[seen] @ np.log(np.maximum(chance, 1e-300)))
            covered.append((size[1:].sum() + size[0] * later) / size.sum())
    weight = np.exp(np.array(weights) - max(weights))
    return weight / weight.sum(), np.array(covered)


def power_tail_forecast(seed: int, k: int) -> float:
    weight, covered = power_tail(seed, k)
    return float(np.exp(-np.exp(weight @ np.log(-np.log(covered)))))


def moments_of(sample: np.ndarray) -> list[float]:
    return [float(sample.mean()), float(sample.std())]


def posterior_moments(seed: int, k: int, luck: bool = True) -> list[float]:
    """Mean and standard deviation of the share solved: difficulties, and a binomial draw for each unsolved problem."""
    weight, covered = power_tail(seed, k)
    solved = np.mean(sparse(seed)[1] > 0)
    chance = (covered - solved) / (1 - solved)
    mean = float(weight @ covered)
    spread = weight @ (covered - mean) ** 2 + luck * (weight @ (chance * (1 - chance))) * (1 - solved) / 25
    return [mean, math.sqrt(spread)]


def both_forecasts(seed: int, k: int) -> tuple[float, float]:
    """A straight line through log(-log c), and the hierarchical model."""
    n, c = sparse(seed)
    grid = curvefit.rounded_grid(20)
    curve = np.array([np.mean([float(exact.pass_at_k(20, int(x), int(one))) for x in c]) for one in grid])
    slope, height = np.polyfit(np.log(grid), np.log(-np.log(curve)), 1)
    return math.exp(-math.exp(height + slope * math.log(k))), hierarchy.point(hierarchy.posterior(n, c), k)


def noisy_curve(a: float, b: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    k = np.array([1, 2, 5, 10, 50])
    jitter = np.random.default_rng(seed).uniform(0.8, 1.2, len(k))
    return k, np.exp(a * k.astype(float) ** b * jitter)


def law_in(space: str) -> Callable[..., list[float]]:
    """Least squares of a k^b on log c or on c by scipy, from the truth."""

    def fitted(a: float, b: float, seed: int) -> list[float]:
        k, curve = noisy_curve(a, b, seed)
        target = np.log(curve) if space == "log-coverage" else curve
        law = (lambda k, a, b: a * k**b) if space == "log-coverage" else (lambda k, a, b: np.exp(a * k**b))
        return list(optimize.curve_fit(law, k.astype(float), target, p0=(a, b), xtol=1e-13, ftol=1e-13)[0])

    return fitted


def regressed(a: float, b: float, seed: int) -> list[float]:
    k, curve = noisy_curve(a, b, seed)
    slope, height = np.polyfit(np.log(k), np.log(-np.log(curve)), 1)
    return [-math.exp(height), slope]


def beta_integral(a: int, b: int) -> Fraction:
    return Fraction(math.factorial(a - 1) * math.factorial(b - 1), math.factorial(a + b - 1))


def one_ahead(a: Fraction, b: Fraction, worth: Fraction) -> int:
    """Samples drawn by one who draws on while the next is worth its price."""
    drawn = 1
    while worth * a / (a + b + drawn) >= 1:
        drawn += 1
    return drawn


def changes_model(a: Fraction, b: Fraction, cheap: Fraction, dear: Fraction) -> int:
    """Failures of the cheap model after which a dear sample promises more passes for its price."""
    drawn = 1
    while a / (a + b + drawn) / cheap >= a / (a + b) / dear:
        drawn += 1
    return drawn


def search_ends(p: float, most: int, first: int) -> float:
    """Mean over every place of the first PASS, or none, of the end of its wave."""
    ends = list(search.waves(first, most))
    places = [(p * (1 - p) ** (i - 1), next(end for end in ends if end >= i)) for i in range(1, most + 1)]
    return sum(chance * end for chance, end in places) + (1 - p) ** most * most


def cascade(p: list[float], most: list[int]) -> tuple[float, float]:
    """Cost and chance of a cascade of single draws, over every sequence of outcomes of all samples it could draw."""
    cost = solved = 0.0
    for outcomes in product((0, 1), repeat=sum(most)):
        tape, chance, spent, found = iter(outcomes), 1.0, 0.0, False
        for level, (one, cap) in enumerate(zip(p, most, strict=True)):
            for _ in range(cap):
                passed = next(tape)
                chance *= one if passed else 1 - one
                if not found:
                    spent += 10.0**level
                    found = bool(passed)
        cost, solved = cost + chance * spent, solved + chance * found
    return cost, solved


def both_models(p: list[float], most: list[int]) -> tuple[float, float]:
    """As if the dear model were asked whatever the cheap one found."""
    cost = sum(10.0**i * cascade([one], [cap])[0] for i, (one, cap) in enumerate(zip(p, most, strict=True)))
    return cost, cascade(p, most)[1]


def nearest_k(exponents: tuple[float, float]) -> list[int | None]:
    """Each curve's k with coverage nearest the family's best pass@1, by trying every k."""
    curves = [1 - np.exp(-x * np.arange(1, 201) ** 0.7) for x in exponents]
    anchor = max(curve[0] for curve in curves)
    return [None if curve[-1] < anchor - 1e-12 else int(np.abs(curve - anchor).argmin()) + 1 for curve in curves]


def slid(exponents: tuple[float, float]) -> list[int | None]:
    def curve(x: float) -> slide.CurveAt:
        return lambda k: 1 - np.exp(-x * k**0.7)

    return list(slide.slide([curve(x) for x in exponents], [200, 200]).k_star)


def first_reaching(exponents: tuple[float, float]) -> list[int | None]:
    curves = [1 - np.exp(-x * np.arange(1, 201) ** 0.7) for x in exponents]
    anchor = max(curve[0] for curve in curves)
    return [None if curve[-1] < anchor - 1e-12 else int(np.argmax(curve >= anchor - 1e-12)) + 1 for curve in curves]


def windows(share: float, size: int, cap: int) -> float:
    """Mean of where early stopping ends, over every sequence of two answers."""
    total = 0.0
    for answers in product((0, 1), repeat=cap):
        chance = math.prod(share if answer else 1 - share for answer in answers)
        total += chance * (stopping.stops_at(answers, stopping.EarlyStopping(size)) or cap)
    return total


def settled(answers: list[int], threshold: float) -> int | None:
    """Where P(the leader beats the second) first reaches the threshold; by fair coins, which is exact for whole counts."""
    for place in range(1, len(answers) + 1):
        counts = [*sorted((answers[:place].count(x) for x in set(answers)), reverse=True), 0]
        flips = sum(counts[:2]) + 1
        if Fraction(sum(math.comb(flips, i) for i in range(counts[0] + 1)), 2**flips) >= Fraction(str(threshold)):
            return place
    return None


def every_order(answers: list[int]) -> float:
    rule = stopping.AdaptiveConsistency(0.8)
    ends = [stopping.stops_at(order, rule) or len(order) for order in permutations(answers)]
    return sum(ends) / len(ends)


def replayed(answers: list[int]) -> float:
    pool = Pool(np.array(answers), np.array(answers) == 0)
    return stopping.stopping(pool, stopping.AdaptiveConsistency(0.8), len(answers)).samples


def behind(case: tuple[float, float, float], corrected: bool = True) -> list[float]:
    """True coverage at 5 and the ceiling, from 400 equal problems with as many passes as expected of 200,000 samples."""
    r, slip, miss = case
    accept = r * (1 - miss) + (1 - r) * slip
    n, c = np.full(400, 200_000), np.full(400, round(200_000 * accept))
    found = noise.Corrector(n, c, *((slip, miss) if corrected else (0.0, 0.0))).at(np.array([5]))
    return [float(found.true_coverage[0]), found.ceiling]


def behind_exactly(case: tuple[float, float, float]) -> list[float]:
    r, slip, miss = case
    return [1 - (1 - r) ** 5, r * (1 - miss) / (r * (1 - miss) + (1 - r) * slip)]


# ------------------------------------------------------------------------------------------------------ the table

Z = intervals.normal_quantile(0.95)
GENERATE = settings(max_examples=200, deadline=None, database=None, derandomize=True, phases=[Phase.generate])
# the first case that tells two apart will do
ROWS: dict[str, Row] = {
    "coverage.pass_at_k": Row(
        triples,
        lambda n, c, k: coverage.pass_at_k([n], [c], k)[0],
        exact.enumerated,
        lambda n, c, k: 1 - (1 - c / n) ** k,
    ),
    "coverage.pass_curve": Row(
        st.tuples(triples, st.integers(1, 12)).map(lambda t: (*t[0][:2], t[1])),
        lambda n, c, k: coverage.pass_curve([n], [c], [k])[0, 0],
        lambda n, c, k: exact.enumerated(n, c, min(n, k)),
        lambda n, c, k: 1 - (1 - c / n) ** k,
    ),
    "coverage.log_all_fail": Row(
        triples,
        lambda n, c, k: np.exp(coverage.log_all_fail([n], [c], k)[0]),
        all_fail,
        lambda n, c, k: (1 - c / n) ** k,
    ),
    "coverage.floor_and_ceiling": Row(
        left_over,
        lambda n, c, unknown, k: np.ravel(coverage.floor_and_ceiling(*(np.array([x]) for x in (n, c, unknown)), [k])),
        floor_and_ceiling,
        lambda n, c, unknown, k: [float(exact.pass_at_k(n, c, min(n, k)))] * 2,  # undecided samples left out
    ),
    "draws.at_least": Row(
        quadruples,
        lambda n, c, k, j: draws.at_least([n], [c], k, j)[0],
        exact.enumerated,
        lambda n, c, k, j: stats.binom.sf(j - 1, k, c / n),  # with replacement
    ),
    "draws.pass_all": Row(
        triples,
        lambda n, c, k: draws.pass_all([n], [c], k)[0],
        lambda n, c, k: exact.enumerated(n, c, k, k),
        lambda n, c, k: (c / n) ** k,
    ),
    "draws.g_pass": Row(
        st.tuples(triples, st.integers(0, 10)).map(lambda t: (*t[0], t[1])),
        lambda n, c, k, tenths: draws.g_pass([n], [c], k, tenths / 10)[0],
        lambda n, c, k, tenths: exact.enumerated(n, c, k, max(1, math.ceil(Fraction(tenths, 10) * k))),
        lambda n, c, k, tenths: exact.enumerated(n, c, k, max(1, tenths * k // 10)),  # rounded down
    ),
    "draws.mean_g_pass": Row(
        triples,
        lambda n, c, k: draws.mean_g_pass([n], [c], k)[0],
        lambda n, c, k: 2 / k * sum(exact.enumerated(n, c, k, i) for i in range(math.ceil(k / 2) + 1, k + 1)),
        lambda n, c, k: 2 / k * sum(exact.enumerated(n, c, k, i) for i in range(math.ceil(k / 2), k + 1)),
    ),
    "designs.pass_curve_of": Row(
        stopped(),
        estimate_of_design,
        first_draws_pass,
        lambda rule, n, c, k: exact.enumerated(n, c, k),  # as if n had been chosen in advance
    ),
    "intervals.wilson": Row(
        trials,
        lambda m, x: intervals.wilson(x, m),
        lambda m, x: share_roots(m, x, Z, Z),
        lambda m, x: np.clip(wald(x, m), 0, 1),
        within=1e-6,
    ),
    "intervals.score_interval": Row(
        st.tuples(trials, st.floats(0.5, 3), st.floats(0.5, 3)).map(lambda t: (*t[0], *t[1:])),
        lambda m, x, down, up: intervals.score_interval(x, m, down, up),
        share_roots,
        lambda m, x, down, up: intervals.score_interval(x, m, up, down),  # the wrong way round
        within=1e-6,
    ),
    "intervals.jeffreys": Row(
        trials,
        lambda m, x: intervals.jeffreys(x, m),
        beta_tails,
        lambda m, x: beta_tails(m, x, 1.0),  # a flat prior
        within=1e-5,
    ),
    "intervals.draw_variances": Row(
        st.tuples(st.integers(2, 12), shares).flatmap(
            lambda t: st.tuples(st.just(t[0]), st.integers(1, t[0] // 2), st.just(t[1]))
        ),
        lambda n, k, p: expected_variance(intervals.draw_variances, n, k, p),
        variance,
        lambda n, k, p: expected_variance(lambda n, c, k, values: values * (1 - values), n, k, p),
    ),
    "intervals.population_interval, pivots.simulate": level_row([30, 40], of_population, 5),
    "intervals.stopped_draws_interval": level_row([30, 60], of_draws, 20),
    "pivots.simulate": Row(
        st.integers(60, 100).flatmap(lambda p: st.tuples(st.just(p), st.integers(3, p - 3))),
        lambda problems, c: np.ravel(
            pivots.simulate(*(np.ones(problems, int), (np.arange(problems) < c).astype(int)), np.array([1]), 0.95)
        ),
        middle_reach,
        lambda problems, c: middle_reach(problems, c)[::-1],  # the wrong way round
        within=0.15,
        examples=15,
    ),
    "bootstrap.resampled_curves": Row(
        matrices,
        lambda values: np.cov(bootstrap.resampled_curves(values, 20_000).T, ddof=0),
        lambda values: np.cov(resamples(values).T, ddof=0),
        lambda values: np.diag(resamples(values).var(axis=0)),  # points drawn apart, not whole problems
        within=0.002,
        examples=10,
    ),
    "bootstrap.percentile_interval": Row(
        matrices,
        lambda values: bootstrap.percentile_interval(values, repeats=20_000),
        lambda values: np.quantile(resamples(values), [0.025, 0.975], axis=0),
        lambda values: values.mean(axis=1) + np.array([[-1.96], [1.96]]) * values.std(axis=1, ddof=1),  # of one problem
        within=0.03,
        examples=10,
    ),
    "bootstrap.fit_interval": Row(
        matrices,
        lambda values: bootstrap.fit_interval(values, read_off, repeats=20_000),
        lambda values: exact_fit_interval(values, stats.t.ppf(0.975, 3) / Z),
        lambda values: exact_fit_interval(values, 1.0),  # bare percentiles
        within=0.08,
        examples=10,
    ),
    "bootstrap.band_quantile": Row(
        st.integers(1, 6).map(lambda m: (m,)),
        lambda m: bootstrap.band_quantile(np.eye(m), repeats=40_000),
        lambda m: stats.norm.ppf((1 + 0.95 ** (1 / m)) / 2),  # independent estimates: Sidak
        lambda m: Z,  # one k at a time
        within=0.02,
        examples=6,
    ),
    "curvefit.log_log": Row(
        laws,
        lambda a, b, seed: [float(x) for x in curvefit.log_log(*noisy_curve(a, b, seed))],
        regressed,
        law_in("log-coverage"),
    ),
    "curvefit.power_law": Row(
        laws,
        lambda a, b, seed: [float(x) for x in curvefit.power_law(*noisy_curve(a, b, seed))],
        law_in("log-coverage"),
        law_in("coverage"),
        within=1e-4,
    ),
    "curvefit.coverage_of": Row(
        st.tuples(st.floats(-5, -0.3), st.floats(-1.0, -0.1), st.integers(1, 50)),
        curvefit.coverage_of,
        lambda a, b, k: math.exp(a * math.exp(b * math.log(k))),
        lambda a, b, k: 1 - math.exp(a * math.exp(b * math.log(k))),
    ),
    "mixtures.fit_beta": Row(
        st.integers(0, 1000).map(lambda seed: (seed,)),
        lambda seed: penalty(*counts_of(seed), *mixtures.fit_beta(*counts_of(seed))),
        best_penalty,
        moments,
        within=1e-4,
        examples=5,
    ),
    "mixtures.fit_mixture": Row(
        st.tuples(st.sampled_from(MIXTURES), st.integers(0, 1000)),
        likelihood_found,
        likelihood_best,
        lambda model, seed: likelihood_of("beta-binomial", sparse(seed), [0.5, 0.5]),  # no fit at all
        within=0.05,  # cells against a fine grid
        examples=4,
    ),
    "hierarchy.posterior, hierarchy.point": Row(
        st.tuples(st.integers(0, 1000), st.sampled_from([30, 1000])),
        lambda seed, k: hierarchy.point(hierarchy.posterior(*sparse(seed)), k),
        power_tail_forecast,
        lambda seed, k: float(np.mean(1 - (1 - np.divide(*sparse(seed)[::-1])) ** k)),  # c / n for p
        within=0.01,
        examples=2,
    ),
    "hierarchy.draws": Row(
        st.tuples(st.integers(0, 1000), st.sampled_from([30, 1000])),
        lambda seed, k: moments_of(hierarchy.draws(hierarchy.posterior(*sparse(seed)), k, 40_000)),
        posterior_moments,
        lambda seed, k: posterior_moments(seed, k, luck=False),  # difficulties alone
        within=0.004,
        examples=2,
    ),
    "forecasting.Forecaster.point": Row(
        st.tuples(st.integers(0, 1000), st.sampled_from([100, 10_000])),
        lambda seed, k: Forecaster.fitted(*sparse(seed)).point(k),
        lambda seed, k: math.exp(-math.sqrt(math.prod(-math.log(x) for x in both_forecasts(seed, k)))),
        lambda seed, k: sum(both_forecasts(seed, k)) / 2,  # averaged in coverage
        within=1e-6,
        examples=5,
    ),
    "noise.Corrector": Row(
        st.tuples(st.floats(0.05, 0.9), st.floats(0.0, 0.2), st.floats(0.0, 0.3)).map(lambda t: (t,)),
        behind,
        behind_exactly,
        lambda case: behind(case, corrected=False),
        within=0.03,
        examples=10,
    ),
    "search.PassPrior.next_pass": Row(
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 6)),
        lambda a, b, n: search.PassPrior(a, b).next_pass(n),
        lambda a, b, n: beta_integral(a + 1, b + n) / beta_integral(a, b + n),
        lambda a, b, n: a / (a + b),  # nothing learnt
    ),
    "search.PassPrior.worth_it": Row(
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 60)),
        lambda a, b, worth: search.PassPrior(a / 2, b / 2).worth_it(worth / 2),
        lambda a, b, worth: one_ahead(Fraction(a, 2), Fraction(b, 2), Fraction(worth, 2)),
        lambda a, b, worth: max(1, a * worth // 4),  # as if each failure said nothing of the next sample
    ),
    "search.PassPrior.switch": Row(
        st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 8), st.integers(1, 60)),
        lambda a, b, cheap, dear: search.PassPrior(a / 2, b / 2).switch(cheap / 4, dear / 4),
        lambda a, b, cheap, dear: changes_model(Fraction(a, 2), Fraction(b, 2), Fraction(cheap), Fraction(dear)),
        lambda a, b, cheap, dear: max(1, dear // cheap),  # until as much is spent as one dear sample costs
    ),
    "search.expected_samples": Row(
        st.tuples(shares, st.integers(1, 30), st.integers(1, 5)),
        search.expected_samples,
        search_ends,
        lambda p, most, first: (1 - (1 - p) ** most) / p,  # as if a wave ended at its PASS
    ),
    "search.expected_cost": Row(
        st.tuples(st.lists(shares, min_size=2, max_size=2), st.lists(st.integers(1, 4), min_size=2, max_size=2)),
        lambda p, most: search.expected_cost(p, [1.0, 10.0], most),
        cascade,
        lambda p, most: (
            sum(10.0**i * cascade([one], [cap])[0] for i, (one, cap) in enumerate(zip(p, most, strict=True))),
            0.0,
        ),
        examples=15,
    ),
    "slide.slide": Row(
        st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).map(lambda t: (t,)),
        lambda exponents: [x or 0 for x in slid(exponents)],
        lambda exponents: [x or 0 for x in nearest_k(exponents)],
        lambda exponents: [x or 0 for x in first_reaching(exponents)],
    ),
    "stopping.stops_at": Row(
        st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=9), st.sampled_from([0.7, 0.8, 0.9, 0.95])),
        lambda answers, threshold: stopping.stops_at(answers, stopping.AdaptiveConsistency(threshold)) or 0,
        lambda answers, threshold: settled(answers, threshold) or 0,
        lambda answers, threshold: settled(answers, 0.6) or 0,
    ),
    "stopping.stopping": Row(
        st.lists(st.integers(0, 2), min_size=2, max_size=6).map(lambda answers: (answers,)),
        replayed,
        every_order,
        len,
        within=0.6,  # 200 orders
        examples=15,
    ),
    "stopping.windows_expected": Row(
        st.tuples(shares, st.sampled_from([1, 2, 3]), st.sampled_from([6])),
        lambda share, size, cap: stopping.windows_expected(np.array([share, 1 - share]), size, cap),
        windows,
        lambda share, size, cap: size / (share**size + (1 - share) ** size),  # no cap
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_equals_its_definition(name: str) -> None:
    row = ROWS[name]

    # where a side is simulated, the same cases every time: what passes once passes always
    @settings(max_examples=row.examples, deadline=None, derandomize=row.within > 1e-4)
    @given(row.cases)
    def holds(case: Any) -> None:
        arguments = case if isinstance(case, tuple) else (case,)
        assert close(row.estimate(*arguments), row.definition(*arguments), row.within)

    holds()


@pytest.mark.parametrize("name", ROWS)
def test_the_same_comparison_rejects_a_wrong_variant(name: str) -> None:
    """Negative control; `find` fails where no case tells the two apart."""
    row = ROWS[name]

    def differs(case: Any) -> bool:
        arguments = case if isinstance(case, tuple) else (case,)
        return not close(row.wrong(*arguments), row.definition(*arguments), row.within)

    find(row.cases, differs, settings=GENERATE)


# ------------------------------------------------------------------------------------------------- nothing is left out

ELSEWHERE = {
    "intervals.draws_interval": (
        "estimate/test_calibration.py::test_coverage_intervals",
        "estimate/test_calibration.py::test_plain_intervals_fail_the_same_test",
    ),
    "intervals.tie_breaker": (
        "estimate/test_intervals.py::test_the_barely_solved_tell_data_sets_with_equally_many_open_problems_apart",
    ),
    "selection.success_of, selection.success, subsets.expectation, plurality.exact, ranking.best_of_k, ranking.first, "
    "ranking.oracle, voting.majority, voting.weighted_majority, voting.verified, voting.most_votes": (
        "estimate/test_selection.py::test_every_expectation_is_that_over_all_subsets",
        "estimate/test_selection.py::test_a_wrong_rule_is_found_out",
    ),
    "designs.recognise": (
        "estimate/test_designs.py::test_recognises_stopping_rules_that_show_plainly",
        "estimate/test_designs.py::test_sees_no_rule_where_n_may_have_been_chosen_in_advance",
    ),
    "forecasting.Forecaster.interval, forecasting.Forecaster.wide_interval": (
        "estimate/test_calibration.py::test_forecast_intervals",
        "analysis/test_forecast.py::test_a_bootstrap_would_not_hold",
    ),
}
"""Estimators that are held against their definition in other files, and their negative control there."""

PARTS = """
bootstrap.Fitter cells.middles cells.groups cells.likelihoods coverage.default_grid coverage.check_counts coverage.check_k
coverage.check_grid coverage.check_level curvefit.paper_grid curvefit.rounded_grid designs.Design designs.parse
designs.check designs.known_to forecasting.Forecaster.fitted hierarchy.Posterior hierarchy.expected hierarchy.solved
hierarchy.belief hierarchy.difficulties hierarchy.share_of intervals.Interval intervals.Quantiles
intervals.normal_quantile methods.spelt mixtures.Mixture mixtures.Mixture.coverage noise.Corrected noise.Corrector.at
pools.Pool pools.Table pools.table search.waves search.PassPrior selection.Success slide.Slide
stopping.AdaptiveConsistency stopping.AdaptiveConsistency.enough stopping.EarlyStopping stopping.Stopped
subsets.Expectation subsets.Tally
"""
"""Records, checks, grids, and steps on the way to an estimate in the table, which show only there."""


def public_names() -> set[str]:
    """module.function, module.Class and module.Class.method of the room."""
    found = set()
    for module in (
        importlib.import_module(f"vervet.estimate.{m.name}") for m in pkgutil.iter_modules(vervet.estimate.__path__)
    ):
        short = module.__name__.rpartition(".")[2]
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", "") != module.__name__:
                continue
            found.add(f"{short}.{name}")
            if inspect.isclass(thing) and not issubclass(thing, tuple):
                found |= {
                    f"{short}.{name}.{method}"
                    for method, what in vars(thing).items()
                    if not method.startswith("_") and (inspect.isfunction(what) or isinstance(what, classmethod))
                }
    return found


def test_every_estimator_has_a_definition_and_a_negative_control() -> None:
    named = {name for row in (*ROWS, *ELSEWHERE) for name in row.split(", ")}
    assert public_names() - named - set(PARTS.split()) - {"forecasting.Forecaster"} == set()
    assert named & set(PARTS.split()) == set()
    for tests in ELSEWHERE.values():
        for path, _, test in (one.partition("::") for one in tests):
            assert f"def {test}(" in (ROOT / "tests" / path).read_text()

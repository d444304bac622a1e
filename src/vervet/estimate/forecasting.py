"""Coverage at k beyond n: the default combination, and every single method on its own.

The default averages, in log(-log coverage), two forecasts that err differently: a line through the observed curve, and
the hierarchical model. A fixed combination: picking the best of several methods by a back-test does not rank them well,
because n/4 to n says little about n to 100 n.

Its interval holds the hierarchical posterior's, and 0.85 of that moved onto the forecast in log(-log coverage): where
line and model disagree, neither is sure. A quarter of the level's error is spent below and the rest above: forecasts of
real outcome sets that err promise too much. A bootstrap over problems or samples does not hold: it knows nothing of how
the tail of difficulties may go on.

The wide interval hedges against that: it holds the quantiles of a posterior in which, with prior odds of 1 to 4, the
tail bends or ends (a share of impossible problems, normal log-odds).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vervet.estimate import hierarchy
from vervet.estimate.curvefit import coverage_of, log_log, paper_grid, power_law, rounded_grid
from vervet.estimate.designs import Design, known_to, pass_curve_of
from vervet.estimate.methods import FORECAST_METHODS, MIXTURES, spelt
from vervet.estimate.mixtures import Mixture, fit_mixture
from vervet.records import FloatArray, IntArray

_MANY = 500
# from this n on the line is least squares on log coverage: it leans less on the curve's noisiest points
_MISFIT = 5.0
# log evidence by which another family must explain the counts better before the interval admits it

_MOVED = 0.85
# of the model's interval goes along to the forecast; with the part that stays, full width where both agree is enough
_BELOW = 0.25
# share of the level's error that lies below the interval
_OTHER_LAWS = 0.2
# prior chance, in the wide interval, that the tail does not go on as a power law
_DRAWS = 4000

Line = tuple[float, float]
"""a and b of c = exp(a k^b)."""


@dataclass(frozen=True, slots=True)
class Forecaster:
    """One method fitted to counts; cheap to ask about many k."""

    method: str
    problems: int
    base: hierarchy.Posterior
    other: hierarchy.Posterior
    # the alternative families, whose coverage bends or ends earlier
    line: Line | None
    mixture: Mixture | None

    @classmethod
    def fitted(
        cls, n: IntArray, c: IntArray, method: str = FORECAST_METHODS[0], design: Design | None = None
    ) -> Forecaster:
        """Fit to counts, shape (problems,). Raises: UnknownName for a method that does not exist."""
        method = spelt(method, FORECAST_METHODS, "forecast method")
        rule = design or Design("fixed")
        base = hierarchy.posterior(n, c)
        other = hierarchy.posterior(n, c, power_tail=False)
        mixture = fit_mixture(method, n, c) if method in {*MIXTURES, "non-parametric"} and np.any(c) else None
        line = None if rule.kind == "adaptive" else _line(rule, n, c, method)
        return cls(method, len(n), base, other, line, mixture)

    @property
    def misfit(self) -> bool:
        """The alternative families explain the counts clearly better than a power-law tail."""
        return self.other.evidence - self.base.evidence > _MISFIT

    @property
    def weight_of_others(self) -> float:
        """Posterior chance of the alternative families, from prior odds of 1 to 4."""
        odds = _OTHER_LAWS / (1 - _OTHER_LAWS) * np.exp(np.clip(self.other.evidence - self.base.evidence, -50, 50))
        return float(odds / (1 + odds))

    @property
    def missing(self) -> str:
        """Why the named method could not be fitted, "" where it was."""
        needs_line = self.method in {"log-log", "exponentiated-power-law", "exponentiated-power-law-in-coverage"}
        if needs_line and self.line is None:
            return f"{self.method} needs coverage strictly between 0 and 1 at two k or more"
        if self.method in {*MIXTURES, "non-parametric"} and self.mixture is None:
            return f"{self.method} needs at least one PASS"
        return ""

    def point(self, k: int) -> float:
        """Coverage at k; the hierarchical model's where the method could not be fitted."""
        if self.mixture is not None:
            return float(self.mixture.coverage(np.array([k]))[0])
        model = hierarchy.point(self.base, k)
        if self.line is None or self.method == "hierarchical":
            return model
        line = float(coverage_of(*self.line, k))
        return line if self.method != FORECAST_METHODS[0] else float(_raw(0.5 * (_log_log(line) + _log_log(model))))

    def interval(self, k: int, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """For the share of these problems that k samples each will solve."""
        model, here = _log_log(hierarchy.point(self.base, k)), _log_log(self.point(k))
        own = _quantiles(hierarchy.draws(self.base, k, _DRAWS, seed), level, _BELOW)
        bounds = own + [_raw(here + _MOVED * (_log_log(q) - model)) for q in own]
        if self.misfit:
            bounds += _quantiles(hierarchy.draws(self.other, k, _DRAWS, seed), level)
        return float(min(bounds)), float(max(bounds))

    def wide_interval(self, k: int, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """The interval, and what it would be if the tail might not go on as a power law. Never inside `interval`."""
        others = round(_DRAWS * self.weight_of_others)
        mixed = [
            hierarchy.draws(fit, k, size, seed)
            for fit, size in ((self.base, _DRAWS - others), (self.other, others))
            if size > 0
        ]
        bounds = [*self.interval(k, level, seed), *_quantiles(np.concatenate(mixed), level)]
        return min(bounds), max(bounds)


def _quantiles(draws: FloatArray, level: float, below: float = 0.5) -> list[float]:
    """Bounds that leave `below` of the error under them and the rest above."""
    return [float(q) for q in np.quantile(draws, [(1 - level) * below, 1 - (1 - level) * (1 - below)])]


def _line(design: Design, n: IntArray, c: IntArray, method: str) -> Line | None:
    """The line through the observed curve, None where there is none (n = 1, or solved at once)."""
    some = n > 0
    n, c = n[some], c[some]
    top = int(np.min(known_to(design, n, c), initial=int(n.max(initial=0))))
    if top < 2:
        return None
    if not np.any(c):
        # nothing was solved: half-way between never and the least that could have been seen
        c = np.concatenate([[1], c[1:]])
    squares = method.startswith("exponentiated") or (method == FORECAST_METHODS[0] and top >= _MANY)
    grid = paper_grid(top) if squares else rounded_grid(top)
    curve = pass_curve_of(design, n, c, grid).mean(axis=1)
    space = "coverage" if method.endswith("in-coverage") else "log-coverage"
    a, b = (float(x) for x in (power_law(grid, curve, space) if squares else log_log(grid, curve)))
    if not (np.isfinite(a) and np.isfinite(b)) or np.all(curve >= 1):
        return None
    if b > 0:  # coverage cannot fall: the level line
        inside = curve[(curve > 0) & (curve < 1)]
        a, b = -float(np.exp(np.mean(np.log(-np.log(inside))))), 0.0
    return a, b


def _log_log(c: float) -> float:
    return float(np.log(-np.log(min(max(c, 1e-12), 1 - 1e-12))))


def _raw(x: float) -> float:
    return float(np.exp(-np.exp(x)))

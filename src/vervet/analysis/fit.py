"""Counts -> scaling laws: parameters with intervals, and how far the fitted curve is from the observed one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.analysis.curve import FEW_PROBLEMS, settle_design
from vervet.errors import BadOption
from vervet.estimate.bootstrap import fit_interval
from vervet.estimate.coverage import check_grid, check_level
from vervet.estimate.curvefit import coverage_of, log_log, paper_grid, power_law, rounded_grid
from vervet.estimate.designs import Design, check, known_to, pass_curve_of
from vervet.estimate.intervals import normal_quantile
from vervet.estimate.methods import FIT_MODELS, SPACES, spelt
from vervet.estimate.mixtures import fit_mixture
from vervet.records import Counts, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Fit:
    """One model fitted to one source. Numbers are None where the data cannot carry them; `reason` says why."""

    model: str
    space: str | None
    # where least squares was done; None for maximum likelihood
    a: float | None
    b: float | None
    # c = exp(a k^b), natural logarithm; or the parameters of the distribution of difficulty
    a_low: float | None
    a_high: float | None
    b_low: float | None
    b_high: float | None
    grid: tuple[int, ...]
    # k at which curve and fit are compared, and least squares is done
    error_mean: float | None
    error_sd: float | None
    # of |fitted - observed coverage| over the grid, as the paper prints them
    scale: float | None = None
    zero: float | None = None
    # third parameter of the scaled and the zero-inflated beta-binomial
    reason: str = ""
    # why there is no fit or, where a and b are given, why they have no interval


@dataclass(frozen=True, slots=True)
class SourceFits:
    """Fits of one source."""

    source: str
    level: float
    fits: tuple[Fit, ...]
    warnings: tuple[str, ...] = ()

    def entry(self) -> dict[str, Any]:
        fits = [dataclasses.asdict(f) | {"grid": list(f.grid)} for f in self.fits]
        return {"source": self.source, "level": self.level, "fits": fits, "warnings": list(self.warnings)}


@dataclass(frozen=True, slots=True)
class FitResult:
    """Fits of several sources."""

    sources: tuple[SourceFits, ...]

    @property
    def fits(self) -> tuple[Fit, ...]:
        """All fits of all sources, in order."""
        return tuple(f for source in self.sources for f in source.fits)

    def to_dict(self) -> dict[str, Any]:
        """The document vervet.fit/1."""
        return {"schema": "vervet.fit/1", "sources": [source.entry() for source in self.sources]}


def fit(
    counts: Counts,
    model: str | Sequence[str] = FIT_MODELS[0],
    space: str | Sequence[str] | None = None,
    level: float = 0.95,
    grid: Sequence[int] | None = None,
    design: str | None = None,
) -> FitResult:
    """Fit scaling laws to counts.

    Args: model: one or several of `FIT_MODELS`, or "all".  space: "log-coverage" (the paper's, the default), "coverage"
    or both: where an exponentiated power law is fitted.  grid: k for least squares and errors (default: the paper's 40
    points on a log scale up to the smallest n, repeats removed).
    Intervals: for curves, problems are resampled and the curve refitted 1,000 times; for distributions of difficulty,
    from the curvature of the likelihood. Both are for the population that the problems are drawn from.
    Raises: UnknownName, BadOption. Data that cannot carry a fit give None and a `reason`.
    """
    check_level(level)
    names = FIT_MODELS if model == "all" else [model] if isinstance(model, str) else model
    spaces = [space] if isinstance(space, str) else list(space or SPACES[:1])
    rule, remarks = settle_design(counts, design)
    check(rule, counts.n, counts.c)
    data = _Data.of(counts, rule, grid, level)
    fits: list[Fit] = []
    for name in names:
        spelling = spelt(name, FIT_MODELS, "model")
        if spelling == FIT_MODELS[0]:
            fits += [_curve_fit(data, spelling, spelt(one, SPACES, "space")) for one in spaces]
        elif spelling == "log-log":
            fits.append(_curve_fit(data, spelling, None))
        else:
            fits.append(_mixture_fit(data, spelling))
    return FitResult((SourceFits(counts.source, level, tuple(fits), tuple(remarks + data.warnings)),))


@dataclass(frozen=True, slots=True)
class _Data:
    n: IntArray
    c: IntArray
    rule: Design
    grid: IntArray
    values: FloatArray
    # pass@k on the grid, shape (ks, problems)
    level: float
    warnings: list[str]

    @classmethod
    def of(cls, counts: Counts, rule: Design, grid: Sequence[int] | None, level: float) -> _Data:
        some = counts.n > 0
        n, c = counts.n[some], counts.c[some]
        warnings = []
        if not some.all():
            warnings.append(f"{int(np.sum(~some))} problems without a decided sample are left out")
        if len(n) < FEW_PROBLEMS:
            warnings.append(f"few problems ({len(n)}): intervals of parameters are rough below {FEW_PROBLEMS} problems")
        top = int(min(known_to(rule, n, c).min(initial=np.iinfo(np.int64).max), n.max(initial=0)))
        ks = paper_grid(max(top, 1)) if grid is None else check_grid(grid)
        if len(n) and ks[-1] > top:
            raise BadOption(f"the grid reaches k = {ks[-1]}, but some problems have only {top} samples: end it there")
        return cls(n, c, rule, ks, pass_curve_of(rule, n, c, ks), level, warnings)

    @property
    def curve(self) -> FloatArray:
        return np.asarray(self.values.mean(axis=1))

    def at(self, grid: IntArray) -> FloatArray:
        return pass_curve_of(self.rule, self.n, self.c, grid)


def _no_fit(data: _Data, model: str, space: str | None, reason: str) -> Fit:
    grid = tuple(int(k) for k in data.grid)
    return Fit(model, space, None, None, None, None, None, None, grid, None, None, reason=reason)


def _lacking(data: _Data) -> str:
    """What is missing for any fit, "" where nothing is."""
    if len(data.n) == 0:
        return "no problem has a decided sample"
    if not np.any(data.c):
        return "no problem was solved: there is no curve to fit; draw more samples"
    if np.all(data.c == data.n):
        return "every sample passed: coverage is 1 at every k, any steep enough law fits"
    return ""


def _curve_fit(data: _Data, model: str, space: str | None) -> Fit:
    """Least squares on the curve."""
    reason = _lacking(data)
    if not reason and len(data.grid) < 2:
        reason = "one k: a law with two parameters needs coverage at two k or more; draw more samples"
    if reason:
        return _no_fit(data, model, space, reason)
    if model == "log-log" and len(data.grid) > 2 and data.grid[-1] == paper_grid(int(data.grid[-1]))[-1]:
        # regression on log(-log c) is stated on the rounded grid (40 points to the same k)
        data = dataclasses.replace(data, grid=rounded_grid(int(data.grid[-1])))
        data = dataclasses.replace(data, values=data.at(data.grid))

    def fitter(curves: FloatArray) -> tuple[FloatArray, FloatArray]:
        return log_log(data.grid, curves) if space is None else power_law(data.grid, curves, space)

    a, b = (float(x) for x in fitter(data.curve))
    if not (np.isfinite(a) and np.isfinite(b)):
        return _no_fit(data, model, space, "coverage lies strictly between 0 and 1 at fewer than two k: no line to fit")
    bounds = fit_interval(data.values, fitter, data.level)
    reason = "" if bounds is not None else "too few problems, or too few of them solved"
    limits = [None] * 4 if bounds is None else [float(x) for x in bounds.ravel()]
    return _done(data, model, space, [a, b, *limits], coverage_of(a, b, data.grid), reason)


def _mixture_fit(data: _Data, model: str) -> Fit:
    """Maximum likelihood on the counts. The rule that stopped the sampling drops out of the likelihood."""
    reason = _lacking(data)
    if reason:
        return _no_fit(data, model, None, reason)
    found = fit_mixture(model, data.n, data.c)
    z = normal_quantile(data.level)
    limits: list[float | None] = []
    for name in ("a", "b"):
        spread = [np.exp(sign * z * found.errors[name]) for sign in (-1, 1)] if name in found.errors else []
        limits += [float(found.parameters[name] * x) for x in spread] or [None, None]
    if model != "non-parametric" and not found.errors:
        reason = "the likelihood is flat or ends at a bound"
    numbers = [found.parameters.get("a"), found.parameters.get("b"), *limits]
    done = _done(data, model, None, numbers, found.coverage(data.grid), reason)
    return dataclasses.replace(done, scale=found.parameters.get("scale"), zero=found.parameters.get("zero"))


def _done(
    data: _Data, model: str, space: str | None, numbers: Sequence[float | None], fitted: FloatArray, reason: str
) -> Fit:
    """numbers: a, b, a_low, a_high, b_low, b_high."""
    a, b, a_low, a_high, b_low, b_high = numbers
    error = np.abs(fitted - data.curve)
    return Fit(
        model=model,
        space=space,
        a=a,
        b=b,
        a_low=a_low,
        a_high=a_high,
        b_low=b_low,
        b_high=b_high,
        grid=tuple(int(k) for k in data.grid),
        error_mean=float(error.mean()),
        error_sd=float(error.std()),
        reason=reason,
    )

"""Least squares of scaling laws on a coverage curve, one curve or thousands at once (bootstrap).

Exponentiated power law: log c = a k^b, c = exp(a k^b), a < 0, b < 0 (natural logarithm; Brown et al. 2024, section 3).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vervet.records import FloatArray, IntArray

BoolArray = NDArray[np.bool_]

PAPER_GRID_POINTS = 40


def paper_grid(n: int) -> IntArray:
    """unique(int(logspace(0, log10 n, 40))): 37 points for n = 10,000."""
    top = np.logspace(0, np.log10(n), PAPER_GRID_POINTS) if n > 1 else np.ones(1)
    # the last entry may come out as 9999.999...: n itself belongs to the grid
    return np.unique(np.append(np.floor(top[:-1] + 1e-9), n)).astype(np.int64)


def rounded_grid(n: int) -> IntArray:
    """unique(round(logspace(0, log10 n, 40))): the grid of log-log regression."""
    return np.unique(np.round(np.logspace(0, np.log10(max(n, 1)), PAPER_GRID_POINTS))).astype(np.int64)


def log_log(k: IntArray, curves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """a and b of log(-log c) = log(-a) + b log k by ordinary least squares; curves: shape (..., ks).

    Points at c = 0 or c = 1 have no log(-log): they are left out. A curve with fewer than two points left gives nan.
    """
    usable = (curves > 0) & (curves < 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.where(usable, np.log(-np.log(np.where(usable, curves, 0.5))), 0.0)
        x = np.where(usable, np.log(k), 0.0)
        count = usable.sum(axis=-1)
        mean_x, mean_y = x.sum(axis=-1) / count, y.sum(axis=-1) / count
        dx = np.where(usable, x - mean_x[..., None], 0.0)
        b = (dx * y).sum(axis=-1) / (dx * dx).sum(axis=-1)
        a = -np.exp(mean_y - b * mean_x)
    enough = count >= 2
    return np.where(enough, a, np.nan), np.where(enough, b, np.nan)


def power_law(k: IntArray, curves: FloatArray, space: str = "log-coverage") -> tuple[FloatArray, FloatArray]:
    """a and b of log c = a k^b by least squares on log c, or on c with space="coverage"; curves: shape (..., ks).

    Points at c = 0 have no logarithm and are left out. nan where fewer than two points are left or nothing converges.
    Log-coverage weighs small k, coverage weighs large k: `a` differs by up to 15 % between them on real curves.
    """
    flat = np.atleast_2d(curves.reshape(-1, curves.shape[-1]))
    usable = flat > 0
    target = np.where(usable, np.log(np.where(usable, flat, 1.0)) if space == "log-coverage" else flat, 0.0)
    a, b = _start(k, flat)
    a, b = _levenberg(_Points(np.log(k), target, usable, space == "log-coverage"), a, b)
    enough = usable.sum(axis=1) >= 2
    shape = curves.shape[:-1]
    return np.where(enough, a, np.nan).reshape(shape), np.where(enough, b, np.nan).reshape(shape)


def _start(k: IntArray, curves: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log-log regression where it exists; a flat guess elsewhere."""
    a, b = log_log(k, curves)
    good = np.isfinite(a) & np.isfinite(b)
    return np.where(good, np.clip(a, -1e3, -1e-6), -1.0), np.where(good, np.clip(b, -3.0, 1.0), -0.3)


class _Points(NamedTuple):
    """What is fitted: log k, and for each curve the targets and which of them count."""

    log_k: FloatArray
    target: FloatArray
    usable: BoolArray
    logarithmic: bool


def _levenberg(points: _Points, a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Levenberg and Marquardt's iteration on (log -a, b) for all curves at once."""
    u, damping = np.log(-a), np.full(len(a), 1e-3)
    residual, slope_u, slope_b = _model(points, u, b)
    cost = (residual**2).sum(axis=1)
    for _ in range(200):
        uu, ub, bb = (slope_u**2).sum(axis=1), (slope_u * slope_b).sum(axis=1), (slope_b**2).sum(axis=1)
        gu, gb = (slope_u * residual).sum(axis=1), (slope_b * residual).sum(axis=1)
        uu, bb = uu * (1 + damping) + 1e-300, bb * (1 + damping) + 1e-300
        det = np.maximum(uu * bb - ub * ub, 1e-300)
        du, db = (bb * gu - ub * gb) / det, (uu * gb - ub * gu) / det
        du, db = np.clip(du, -2, 2), np.clip(db, -1, 1)
        trial = _model(points, u + du, b + db)
        trial_cost = (trial[0] ** 2).sum(axis=1)
        better = trial_cost <= cost
        u, b = np.where(better, u + du, u), np.where(better, b + db, b)
        residual, slope_u, slope_b = (
            np.where(better[:, None], new, old) for new, old in zip(trial, (residual, slope_u, slope_b), strict=True)
        )
        cost = np.where(better, trial_cost, cost)
        damping = np.clip(np.where(better, damping / 5, damping * 8), 1e-12, 1e12)
        if np.all((np.abs(du) < 1e-10) & (np.abs(db) < 1e-10) | (damping >= 1e12)):
            break
    return -np.exp(u), b


def _model(points: _Points, u: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Residual (target - model), and the model's slopes in u = log(-a) and b."""
    power = np.exp(np.clip(u[:, None] + b[:, None] * points.log_k, -50, 50))
    value = -power if points.logarithmic else np.exp(-power)
    slope = -power if points.logarithmic else -power * value
    slope = np.where(points.usable, slope, 0.0)
    return np.where(points.usable, points.target - value, 0.0), slope, slope * points.log_k


def coverage_of(a: FloatArray | float, b: FloatArray | float, k: FloatArray | IntArray | float) -> FloatArray:
    """exp(a k^b)."""
    return np.asarray(np.exp(np.asarray(a) * np.asarray(k, dtype=np.float64) ** np.asarray(b)))

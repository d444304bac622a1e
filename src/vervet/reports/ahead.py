"""Beyond the data: a forecast with its interval, and the fitted law, as far as ten times the samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vervet.analysis.fit import fit
from vervet.analysis.forecast import ForecastPoint, forecast
from vervet.errors import VervetError
from vervet.records import Counts

FEWEST = 4
# samples that every problem must have: from fewer a forecast is a guess
FAR = 10
# times the data's k
_STEPS = 7


@dataclass(frozen=True, slots=True)
class Ahead:
    """What may come after the last k that was seen."""

    points: tuple[ForecastPoint, ...]
    # rising in k
    method: str
    law: tuple[float, float] | None
    # a and b of coverage = exp(a k^b), fitted to the curve; None where there is no such fit
    warnings: tuple[str, ...]

    def fitted(self, k: int) -> float | None:
        """The law's coverage at k."""
        return None if self.law is None else math.exp(self.law[0] * k ** self.law[1])


def look_ahead(counts: Counts, end: int, level: float) -> Ahead | None:
    """Forecast from `end` to ten times as many samples; None where the counts cannot carry one.

    That is so where nothing or everything was solved, where some problem has fewer than FEWEST decided samples, and where
    the estimators refuse the design.
    """
    if int(counts.n.min()) < FEWEST or not counts.c.any() or bool(np.all(counts.c == counts.n)):
        return None
    ks = sorted({round(k) for k in np.geomspace(1.2 * end, FAR * end, _STEPS)} - {end})
    try:
        found = forecast(counts, [k for k in ks if k > end], level=level, backtest=False)
        return Ahead(found.points, found.method, _law(counts, level), found.warnings)
    except VervetError:
        return None


def _law(counts: Counts, level: float) -> tuple[float, float] | None:
    one = fit(counts, level=level).fits[0]
    return None if one.a is None or one.b is None else (one.a, one.b)

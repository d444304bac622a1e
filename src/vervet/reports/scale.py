"""Axes: where a value stands on a drawing, and which ticks a person would choose."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vervet.reports.format import round_percent, short


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis; minor ticks have no label."""

    at: float
    # px
    label: str


@dataclass(frozen=True, slots=True)
class LogAxis:
    """Attempts k from 1 to `top`, on a logarithmic scale between two places."""

    top: float
    # largest k, >= 1
    start: float
    end: float
    # px

    def at(self, k: float) -> float:
        """Place of k; the only place there is, the middle, where top is 1."""
        if self.top <= 1:
            return (self.start + self.end) / 2
        return self.start + (self.end - self.start) * math.log(k) / math.log(self.top)

    def ticks(self) -> list[Tick]:
        """Powers of ten with labels; 2 and 5 too where the axis is short; the digits between as minor ticks."""
        if self.top <= 1:
            return [Tick(self.at(1), "1")]
        decades = math.log10(self.top)
        named = {1} if decades > 2.3 else {1, 2, 5} if decades > 0.85 else set(range(1, 8))
        powers = range(int(decades) + 1)
        return [
            Tick(self.at(k), short(k) if digit in named else "")
            for power in powers
            for digit in range(1, 10)
            if (k := digit * 10**power) <= self.top
        ]


@dataclass(frozen=True, slots=True)
class ShareAxis:
    """Shares from 0 to a round `top`, between two places."""

    top: float
    start: float
    end: float

    def at(self, share: float) -> float:
        return self.start + (self.end - self.start) * min(share, self.top) / self.top

    def ticks(self) -> list[Tick]:
        step = _round_step(self.top / 4)
        count = math.floor(self.top / step + 1e-9)
        return [Tick(self.at(i * step), round_percent(i * step)) for i in range(count + 1)]


def round_top(largest: float) -> float:
    """A round share at or a little above `largest`, at most 1."""
    if largest < 1e-12:  # nothing, to the eye
        return 0.1
    step = _round_step(largest / 4)
    return min(1.0, math.ceil(largest / step - 1e-9) * step)


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten (2.5 where that gives quarters of a whole), at or above `rough`."""
    power = 10.0 ** math.floor(math.log10(rough) + 1e-12)
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * (1 - 1e-9))

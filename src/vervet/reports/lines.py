"""Small line drawings besides the curve: selection against k, coverage against cost. Geometry only, like `chart`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vervet.reports.chart import Look
from vervet.reports.scale import ShareAxis, Tick, round_top

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """What is drawn: places (x > 0, a share) that are joined, or single marks."""

    label: str
    look: Look
    places: tuple[Place, ...]
    joined: bool = True
    plain: bool = False
    # a thin reference line without marks


@dataclass(frozen=True, slots=True)
class Drawn:
    """A series in pixels."""

    label: str
    look: Look
    line: str
    marks: tuple[Place, ...]
    plain: bool


@dataclass(frozen=True, slots=True)
class Lines:
    """A drawing of `width` x `height` px."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    title: str
    # of the horizontal axis
    series: tuple[Drawn, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def draw(series: Sequence[Series], width: int, height: int, title: str, label: Callable[[float], str]) -> Lines | None:
    """Series on a logarithmic axis from the smallest to the largest x; None where there is nothing to draw."""
    places = [place for one in series for place in one.places]
    if not places:
        return None
    left, right, top, bottom = 52.0, width - 16.0, 12.0, height - 44.0
    low, high = min(x for x, _ in places), max(x for x, _ in places)
    span = math.log(high / low) if high > low else 1.0
    shift = 0.0 if high > low else 0.5

    def at(x: float) -> float:
        return round(left + (right - left) * (math.log(x / low) / span + shift), 1)

    y = ShareAxis(round_top(max(share for _, share in places)), bottom, top)
    drawn = tuple(_drawn(one, at, y) for one in series)
    ticks = tuple(Tick(at(x), label(x) if named else "") for x, named in _ticks(low, high))
    return Lines(width, height, left, right, top, bottom, title, drawn, ticks, tuple(y.ticks()))


def _drawn(one: Series, at: Callable[[float], float], y: ShareAxis) -> Drawn:
    places = tuple((at(x), round(y.at(share), 1)) for x, share in one.places)
    line = "M" + "L".join(f"{a} {b}" for a, b in places) if one.joined and len(places) > 1 else ""
    return Drawn(one.label, one.look, line, () if one.plain else places, one.plain)


def _ticks(low: float, high: float) -> list[tuple[float, bool]]:
    """Values on the axis, and whether each is named: powers of ten, with 2 and 5 where there are few of them."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]
    inside = [x for x in every if low * (1 - 1e-9) <= x <= high * (1 + 1e-9)]
    powers = [x for x in inside if abs(math.log10(x) - round(math.log10(x))) < 1e-9]
    named = inside if len(powers) < 3 else powers if len(powers) < 8 else powers[::2]
    return [(x, x in named) for x in inside] or [(low, True)]

"""The coverage chart as geometry: places in pixels and SVG path data. The template turns it into elements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vervet.records import CurvePoint
from vervet.reports.page import FEW_RUNS, Entry, Page
from vervet.reports.scale import LogAxis, ShareAxis, Tick, round_top

COLOURS, DASHES = 6, 2
MARKERS = (
    "M4 0A4 4 0 1 1-4 0A4 4 0 1 1 4 0Z",  # disc
    "M-3.6-3.6H3.6V3.6H-3.6Z",  # square
    "M0-4.8L4.4 3.2H-4.4Z",  # triangle
    "M0-5L5 0L0 5L-5 0Z",  # diamond
    "M0 4.8L4.4-3.2H-4.4Z",  # triangle, point down
    "M-1.5-4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5V-1.5H-1.5Z",  # cross
)
_LABELS = 6
# up to so many curves are named at their ends
_LINE = 17
# px between two names


@dataclass(frozen=True, slots=True)
class Look:
    """How a series is told from others: colour, then dash; markers repeat with the colours, hollow the second time."""

    colour: int
    dash: int
    marker: str
    hollow: bool


def look(number: int) -> Look:
    """Twelve different looks, then they repeat."""
    turn = number // COLOURS
    return Look(number % COLOURS, turn % DASHES, MARKERS[number % len(MARKERS)], turn % 2 == 1)


@dataclass(frozen=True, slots=True)
class Shape:
    """One curve, drawn."""

    number: int
    label: str
    look: Look
    line: str
    # path data where all problems have k samples
    thinner: str
    # beyond that
    band: str
    # interval for the population
    draws: str
    # interval for these very problems
    undecided: str
    # floor to ceiling; "" where every sample is decided
    marks: tuple[tuple[float, float], ...]
    whiskers: str
    # instead of bands where there is one k only
    ahead: str
    # the forecast beyond the data, joined to its end
    ahead_band: str
    law: str
    # the fitted law beyond the data
    name_at: tuple[float, float] | None
    # where its name stands; None: in the legend only


@dataclass(frozen=True, slots=True)
class Rule:
    """A baseline: one attempt of another model as a level line."""

    label: str
    y: float
    crossings: tuple[tuple[int, float], ...]
    # number of each run that reaches it, and the place on the axis


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing of `width` x `height` px with its plot area."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    x: LogAxis
    y: ShareAxis
    shapes: tuple[Shape, ...]
    quiet: bool
    # bands are shown for the series under attention only
    rules: tuple[Rule, ...]
    x_ticks: list[Tick] = field(default_factory=list)
    y_ticks: list[Tick] = field(default_factory=list)


def coverage_chart(page: Page, width: int, height: int) -> Chart:
    """All curves of a page; names at their ends where the drawing is wide and the curves are few."""
    named = width > 600 and 1 < len(page.entries) <= _LABELS
    left, right, top, bottom = 54.0, width - (162.0 if named else 16.0), 14.0, height - 46.0
    x = LogAxis(page.reach, left, right)
    y = ShareAxis(_top(page), bottom, top)
    ends = _spread([_end(e, y) for e in page.entries], top, bottom) if named else []
    shapes = tuple(_shape(e, x, y, ends[i] if named else None) for i, e in enumerate(page.entries))
    quiet = len(page.entries) > FEW_RUNS
    return Chart(width, height, left, right, top, bottom, x, y, shapes, quiet, _rules(page, x, y), x.ticks(), y.ticks())


def _top(page: Page) -> float:
    """The largest share that is drawn."""
    shares = [p.high if len(page.entries) <= FEW_RUNS else p.coverage for e in page.entries for p in e.path]
    shares += [p.coverage for e in page.entries if e.ahead for p in e.ahead.points]
    shares += [base.success for base in page.baselines]
    floors = [p.ceiling for e in page.entries if e.curve.unknown for p in e.path]
    return round_top(max([*(s for s in shares if s is not None), *floors], default=1.0))


def _rules(page: Page, x: LogAxis, y: ShareAxis) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            base.name,
            round(y.at(base.success), 1),
            tuple((e.number, round(x.at(k), 1)) for e in page.entries if (k := e.crossings[i].k) is not None),
        )
        for i, base in enumerate(page.baselines)
    )


def _end(entry: Entry, y: ShareAxis) -> float:
    if entry.ahead:
        return y.at(entry.ahead.points[-1].coverage)
    known = [p.coverage for p in entry.path if p.coverage is not None]
    return y.at(known[-1] if known else 0.0)


def _spread(places: Sequence[float], low: float, high: float) -> list[float]:
    """Names moved as little as needs be, so that none covers another."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    out = list(places)
    floor = low
    for i in order:
        out[i] = max(out[i], floor)
        floor = out[i] + _LINE
    ceiling = high
    for i in reversed(order):
        out[i] = min(out[i], ceiling)
        ceiling = out[i] - _LINE
    return out


def _shape(entry: Entry, x: LogAxis, y: ShareAxis, name_y: float | None) -> Shape:
    known = [p for p in entry.path if p.coverage is not None]
    marks = [p for p in entry.curve.points if p.coverage is not None and p.k <= entry.path[-1].k]
    full = [p for p in known if not p.censored]
    rest = [p for p in known if p.censored]
    single = len(known) == 1
    last = known[-1] if known else None
    points = entry.ahead.points if entry.ahead and last else ()
    beyond = [(last.k, last.coverage), *((p.k, p.coverage) for p in points)] if points and last else []
    law = [(k, entry.ahead.fitted(k)) for k, _ in beyond] if entry.ahead else []
    end = points[-1].k if points else last.k if last else 1
    return Shape(
        number=entry.number,
        label=entry.label,
        look=look(entry.number),
        line=_line(full, x, y),
        thinner=_line([*full[-1:], *rest], x, y) if rest else "",
        band="" if single else _area([(p.k, p.low, p.high) for p in known], x, y),
        draws="" if single or entry.few else _area([(p.k, p.draws_low, p.draws_high) for p in known], x, y),
        undecided=_area([(p.k, p.floor, p.ceiling) for p in entry.path], x, y) if entry.curve.unknown else "",
        marks=tuple((round(x.at(p.k), 1), round(y.at(p.coverage or 0.0), 1)) for p in marks),
        whiskers=_whiskers(known[0], x, y) if single else "",
        ahead=_places(beyond, x, y),
        ahead_band=_area([(p.k, p.low, p.high) for p in points], x, y) if len(points) > 1 else "",
        law=_places(law, x, y),
        name_at=(round(x.at(end), 1) + 12, round(name_y, 1)) if last and name_y is not None else None,
    )


def _line(points: Iterable[CurvePoint], x: LogAxis, y: ShareAxis) -> str:
    places = [f"{x.at(p.k):.1f} {y.at(p.coverage or 0.0):.1f}" for p in points]
    return "M" + "L".join(places) if len(places) > 1 else ""


def _places(rows: Sequence[tuple[int, float | None]], x: LogAxis, y: ShareAxis) -> str:
    places = [f"{x.at(k):.1f} {y.at(share):.1f}" for k, share in rows if share is not None]
    return "M" + "L".join(places) if len(places) > 1 else ""


def _area(rows: list[tuple[int, float | None, float | None]], x: LogAxis, y: ShareAxis) -> str:
    """There along the upper bounds and back along the lower ones."""
    known = [(x.at(k), y.at(low), y.at(high)) for k, low, high in rows if low is not None and high is not None]
    if not known:
        return ""
    if len(known) == 1:
        at, low, high = known[0]
        known = [(at - 14, low, high), (at + 14, low, high)]
    there = [f"{at:.1f} {high:.1f}" for at, _, high in known]
    back = [f"{at:.1f} {low:.1f}" for at, low, _ in reversed(known)]
    return "M" + "L".join(there + back) + "Z"


def _whiskers(point: CurvePoint, x: LogAxis, y: ShareAxis) -> str:
    if point.low is None or point.high is None:
        return ""
    at, low, high = x.at(point.k), y.at(point.low), y.at(point.high)
    return f"M{at:.1f} {low:.1f}V{high:.1f}M{at - 7:.1f} {low:.1f}h14M{at - 7:.1f} {high:.1f}h14"

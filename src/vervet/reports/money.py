"""Cost against coverage: one unit for all runs of a page, money where it is known, else FLOPs, else tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vervet.analysis.baseline import Crossing
from vervet.analysis.cost import RunCost
from vervet.reports.chart import look
from vervet.reports.format import number, percent, plural, visible
from vervet.reports.lines import Series
from vervet.reports.page import Entry, Page


@dataclass(frozen=True, slots=True)
class Unit:
    """What cost is counted in."""

    name: str
    # "US dollars", "FLOPs", "completion tokens"
    per_sample: Callable[[RunCost], float | None]
    show: Callable[[float], str]


def usd(value: float) -> str:
    """0.00012 -> "$0.00012", 12.5 -> "$12.50"."""
    return f"${value:,.2f}" if value >= 1 else f"${value:.2g}" if value >= 1e-4 else f"${value:.1e}"


def flops(value: float) -> str:
    """2e14 -> "2e14"."""
    return f"{value:.2g}".replace("e+", "e")


def _tokens(cost: RunCost) -> float | None:
    return cost.completion_tokens / cost.samples if cost.completion_tokens and cost.samples else None


UNITS = (
    Unit("US dollars", lambda c: c.usd_per_sample, usd),
    Unit("FLOPs", lambda c: c.flops_per_sample, flops),
    Unit("completion tokens", _tokens, lambda v: number(round(v))),
)


def unit_of(page: Page) -> Unit | None:
    """The first unit in which every run with samples can be counted; None where there is none."""
    costs = [e.subject.cost for e in page.entries]
    return next((u for u in UNITS if all(c is not None and (u.per_sample(c) or 0) > 0 for c in costs)), None)


def series(page: Page, unit: Unit) -> list[Series]:
    """Coverage against the cost of k samples of a problem; baselines of the same unit are single marks."""
    out = []
    for entry in page.entries:
        each = _each(entry, unit)
        end = entry.path[-1].k
        known = [p for p in entry.curve.points if p.coverage is not None and p.k <= end]
        places = tuple((p.k * each, p.coverage or 0.0) for p in known)
        out.append(Series(entry.label, look(entry.number), places))
    for i, base in enumerate(page.baselines):
        value = base.usd if unit is UNITS[0] else base.flops if unit is UNITS[1] else None
        if value:
            out.append(Series(base.name, look(len(page.entries) + i), ((value, base.success),), joined=False))
    return out


def _each(entry: Entry, unit: Unit) -> float:
    assert entry.subject.cost is not None
    return unit.per_sample(entry.subject.cost) or 0.0


def rows(page: Page, unit: Unit) -> list[tuple[Entry, float, float, float | None]]:
    """Each run with the cost of a sample, of all attempts at a problem, and the coverage that they reach."""
    out = []
    for entry in page.entries:
        each, last = _each(entry, unit), entry.last or entry.first
        out.append((entry, each, each * last.k, last.coverage))
    return out


def crossing_words(found: Crossing) -> str:
    """Where a run reaches a baseline."""
    base = found.baseline
    name = f"one attempt of {visible(base.name, 60)} ({percent(base.success)})"
    if found.k is None:
        return f"It does not reach {name} within the {plural(found.k_max, 'attempt')} that every problem has."
    text = f"It reaches {name} with {plural(found.k, 'attempt')} ({percent(found.coverage)})"
    for own, other, show in ((found.usd, base.usd, usd), (found.flops, base.flops, lambda v: f"{flops(v)} FLOPs")):
        if own is not None:
            text += f", for {show(own)} a problem" + (f" against {show(other)}" if other else "")
    return text + "."

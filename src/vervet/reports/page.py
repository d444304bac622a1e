"""What every section of a page is made from: the subjects with their curves, on one grid of k."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vervet.analysis.baseline import Baseline, Crossing, crossing
from vervet.analysis.curve import FEW_PROBLEMS, coverage
from vervet.records import Curve, CurvePoint
from vervet.reports.ahead import Ahead, look_ahead
from vervet.reports.subject import Subject, labels, task_name

_STEPS = 64
# places along a curve, besides the k of the table
FEW_RUNS = 3
# up to so many curves, every one shows its bands


@dataclass(frozen=True, slots=True)
class Entry:
    """One subject on the page."""

    subject: Subject
    label: str
    number: int
    # from 0: decides colour, dash and marker
    curve: Curve
    # as `vervet coverage` prints it
    path: tuple[CurvePoint, ...]
    # the same curve on the page's fine grid, as far as it is drawn
    ahead: Ahead | None = None
    # what may come beyond the data; None: nothing can be said, or nobody asked
    crossings: tuple[Crossing, ...] = ()
    # where it reaches the page's baselines

    @property
    def cut(self) -> bool:
        """Whether the table goes further than the drawing."""
        return self.curve.points[-1].k > self.path[-1].k

    @property
    def few(self) -> bool:
        """So few problems that the interval of these very problems is not drawn as a band.

        Its width is an estimate too, and with few problems it jumps from one k to the next. The table has the numbers.
        """
        return self.curve.problems < FEW_PROBLEMS

    @property
    def last(self) -> CurvePoint | None:
        """The point with the most attempts that stands on every problem; None where a problem has no decided sample."""
        full = [p for p in self.curve.points if not p.censored]
        return full[-1] if full else None

    @property
    def first(self) -> CurvePoint:
        """pass@1."""
        return self.curve.points[0]

    @property
    def solved(self) -> int:
        """Problems with at least one PASS."""
        return self.curve.problems - self.curve.never_solved


@dataclass(frozen=True, slots=True)
class Page:
    """Everything a section may look at."""

    title: str
    entries: tuple[Entry, ...]
    level: float
    grid: tuple[int, ...]
    # every k at which curves are drawn, rising
    made: datetime.datetime
    # UTC
    version: str
    baselines: tuple[Baseline, ...] = ()
    # single attempts of other models

    @property
    def reach(self) -> int:
        """Largest k that is drawn, forecasts included."""
        return max([self.top, *(e.ahead.points[-1].k for e in self.entries if e.ahead)])

    @property
    def single(self) -> bool:
        return len(self.entries) == 1

    @property
    def top(self) -> int:
        """Largest k."""
        return self.grid[-1]

    @property
    def shared_k(self) -> int | None:
        """The most attempts that every curve has, on all its problems."""
        last = [e.last for e in self.entries]
        k = min((p.k if p else 0) for p in last)
        return k or None

    def at(self, entry: Entry, k: int) -> CurvePoint | None:
        """A curve's point at a k of the grid; None beyond its end."""
        return next((p for p in entry.path if p.k == k), None)


def build(
    subjects: Sequence[Subject],
    level: float,
    version: str,
    title: str | None = None,
    *,
    steps: int = _STEPS,
    baselines: tuple[Baseline, ...] = (),
    forecasts: bool = False,
) -> Page:
    """Estimate every curve, `steps` places along it; with `forecasts` also beyond the data.

    Raises: BadOption for a level outside (0, 1).
    """
    curves = [coverage(s.counts, level=level) for s in subjects]
    ends = [_end(s, curve) for s, curve in zip(subjects, curves, strict=True)]
    grid = _grid([p.k for curve, end in zip(curves, ends, strict=True) for p in curve.points if p.k <= end], steps)
    names = labels(subjects)
    entries = []
    for number, (subject, curve, name, end) in enumerate(zip(subjects, curves, names, ends, strict=True)):
        own = [k for k in grid if k <= end]
        path = coverage(subject.counts, k=own, level=level).points
        ahead = look_ahead(subject.counts, end, level) if forecasts else None
        entries.append(Entry(subject, name, number, curve, path, ahead, _crossings(subject, baselines)))
    return Page(
        title=title or _title(subjects, names),
        entries=tuple(entries),
        level=level,
        grid=grid,
        made=datetime.datetime.now(datetime.UTC),
        version=version,
        baselines=baselines,
    )


def _crossings(subject: Subject, baselines: Sequence[Baseline]) -> tuple[Crossing, ...]:
    cost = subject.cost
    per = (cost.usd_per_sample, cost.flops_per_sample, cost.flops_per_prompt or 0.0) if cost else (None, None, 0.0)
    return tuple(crossing(subject.counts, base, *per) for base in baselines)


def _end(subject: Subject, curve: Curve) -> int:
    """Where a curve's drawing ends: beyond, more than half of its problems have no k samples, and the rest mislead."""
    half = [p.k for p in curve.points if p.coverage is not None and 2 * p.problems >= curve.problems]
    return max(1, int(np.quantile(subject.counts.n, 0.5, method="lower")), *half)


def _grid(ks: list[int], steps: int) -> tuple[int, ...]:
    fine = np.unique(np.rint(np.geomspace(1, max(ks), steps)).astype(np.int64))
    return tuple(sorted({*ks, *(int(k) for k in fine)}))


def _title(subjects: Sequence[Subject], names: Sequence[str]) -> str:
    tasks = list(dict.fromkeys(task_name(s) for s in subjects))
    if len(subjects) > 1:
        where = f" on {tasks[0]}" if len(tasks) == 1 and all(s.is_run for s in subjects) else ""
        return f"{len(subjects)} " + (f"runs{where}" if any(s.is_run for s in subjects) else "tables of counts")
    config = subjects[0].config
    return f"{config.model} on {tasks[0]}" if config else names[0]

"""Two runs at equal money and at equal FLOPs: paired differences, where they break even, the front, cost a solved problem."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.analysis.compare import Difference, _difference
from vervet.analysis.cost import Priced, RunCost, cost
from vervet.errors import BadData
from vervet.estimate.coverage import check_grid, check_level, default_grid, pass_curve
from vervet.records import Counts, FloatArray, IntArray

UNITS = ("usd", "flops")
_STEPS = 200
# values of k on which curves are followed


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Where one run overtakes the other as both get more to spend."""

    unit: str
    cost: float
    # of one problem: up to here one is ahead, beyond it the other
    k_a: int
    k_b: int
    # most samples that this buys
    coverage: float
    # of the run that takes the lead
    leader: str
    # "a" or "b": who is ahead from here on


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """A point that no other beats: for this cost nothing solves more."""

    unit: str
    run: str
    # "a" or "b"
    k: int
    cost: float
    # of one problem
    coverage: float
    cost_per_solved: float
    # of all problems, over those that are solved


@dataclass(frozen=True, slots=True)
class Exchange:
    """What `exchange` found."""

    a: str
    b: str
    level: float
    problems: int
    points: tuple[Difference, ...]
    # basis "usd" or "flops": B gets as many samples as A's k pay for
    break_even: tuple[BreakEven, ...]
    front: tuple[FrontPoint, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Fields that vervet.compare/1 gains."""
        return {
            "points": [dataclasses.asdict(point) for point in self.points],
            "break_even": [dataclasses.asdict(point) for point in self.break_even],
            "front": [dataclasses.asdict(point) for point in self.front],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class _Side:
    """One run's curve, and what k samples of a problem cost it."""

    counts: Counts
    fixed: float
    # paid once a problem
    each: float
    # paid a sample

    def cost(self, k: IntArray | int) -> Any:
        return self.fixed + self.each * np.asarray(k, dtype=np.float64)

    def affords(self, budget: float) -> int:
        """Most samples of a problem for so much, at most the smallest n."""
        # a hair of slack: 3 * 0.1 buys three at 0.1
        return int(min(self.counts.n.min(), max(0.0, (budget * (1 + 1e-12) - self.fixed) // self.each)))


def exchange(a: Priced, b: Priced, k: int | Sequence[int] | None = None, level: float = 0.95) -> Exchange:
    """Compare two runs at equal money and equal FLOPs, as far as both are known.

    Args: k: samples of A at which they are compared (default: 1, 2, 5, 10, ... up to A's smallest n).
    A prompt is paid once a problem in FLOPs, whatever k; money a sample is what the run paid on average.
    Raises: BadData where the runs share no problem, BadOption for a bad k or level.
    """
    check_level(level)
    left, right = _shared(a.counts, b.counts)
    remarks: list[str] = []
    found = cost([a, b])
    grid = default_grid(np.array([int(left.n.min())])) if k is None else check_grid(k)
    points: list[Difference] = []
    even: list[BreakEven] = []
    front: list[FrontPoint] = []
    for unit in UNITS:
        sides = _sides(unit, (left, right), found.runs)
        if sides is None:
            remarks.append(f"no comparison at equal {unit}: it is not known for both")
            continue
        points += [p for one in grid if (p := _at(unit, *sides, int(one), level)) is not None]
        even += _break_even(unit, *sides)
        front += _front(unit, *sides)
    return Exchange(
        left.source, right.source, level, len(left), tuple(points), tuple(even), tuple(front), tuple(remarks)
    )


def _shared(a: Counts, b: Counts) -> tuple[Counts, Counts]:
    """Both on the problems that both have sampled, in one order. Raises: BadData where there are none."""
    where = {problem: i for i, problem in enumerate(b.problem_ids) if b.n[i]}
    rows = [(i, where[problem]) for i, problem in enumerate(a.problem_ids) if problem in where and a.n[i]]
    if not rows:
        raise BadData("the two sources share no problem id: a paired comparison needs the same problems")
    ids = [a.problem_ids[i] for i, _ in rows]
    left, right = (list(side) for side in zip(*rows, strict=True))
    return (
        Counts(ids, a.n[left], a.c[left], a.unknown[left], a.design, a.source),
        Counts(ids, b.n[right], b.c[right], b.unknown[right], b.design, b.source),
    )


def _sides(unit: str, counts: tuple[Counts, Counts], runs: Sequence[RunCost]) -> tuple[_Side, _Side] | None:
    out = []
    for one, run in zip(counts, runs, strict=True):
        each = run.usd_per_sample if unit == "usd" else run.flops_per_sample
        fixed = 0.0 if unit == "usd" else run.flops_per_prompt or 0.0
        if not each or one.n.min() < 1:
            return None
        out.append(_Side(one, fixed, each))
    return out[0], out[1]


def _at(unit: str, a: _Side, b: _Side, k: int, level: float) -> Difference | None:
    """None where B cannot buy one sample, or A has no k."""
    if k > a.counts.n.min():
        return None
    other = int((float(a.cost(k)) * (1 + 1e-12) - b.fixed) // b.each)
    if not 1 <= other <= b.counts.n.min():
        return None
    return _difference(a.counts, b.counts, unit, (k, other), level)


def _followed(side: _Side) -> tuple[IntArray, FloatArray]:
    """k on a dense grid, and coverage there."""
    top = int(side.counts.n.min())
    ks = np.unique(np.geomspace(1, top, _STEPS).round().astype(np.int64))
    return ks, np.asarray(pass_curve(side.counts.n, side.counts.c, ks).mean(axis=1))


def _coverage(side: _Side) -> Callable[[int], float]:
    return lambda k: float(pass_curve(side.counts.n, side.counts.c, [k]).mean()) if k else 0.0


def _break_even(unit: str, a: _Side, b: _Side) -> list[BreakEven]:
    """Budgets at which the lead changes, among those that both can spend to the end."""
    top = min(float(a.cost(int(a.counts.n.min()))), float(b.cost(int(b.counts.n.min()))))
    budgets = np.unique(np.concatenate([a.cost(_followed(a)[0]), b.cost(_followed(b)[0])]))
    of_a, of_b = _coverage(a), _coverage(b)
    out: list[BreakEven] = []
    lead = 0
    for budget in budgets[budgets <= top * (1 + 1e-12)]:
        ka, kb = a.affords(float(budget)), b.affords(float(budget))
        va, vb = of_a(ka), of_b(kb)
        now = 0 if abs(va - vb) <= 1e-12 else 1 if va > vb else -1
        if now and lead and now != lead:
            out.append(BreakEven(unit, float(budget), ka, kb, max(va, vb), "a" if now > 0 else "b"))
        lead = now or lead
    return out


def _front(unit: str, a: _Side, b: _Side) -> list[FrontPoint]:
    """Points of both curves that no cheaper point reaches, by rising cost."""
    points = []
    for run, side in (("a", a), ("b", b)):
        ks = default_grid(np.array([int(side.counts.n.min())]))
        values = pass_curve(side.counts.n, side.counts.c, ks).mean(axis=1)
        points += [(float(side.cost(int(k))), -float(v), run, int(k)) for k, v in zip(ks, values, strict=True)]
    out: list[FrontPoint] = []
    best = 0.0
    for spent, negative, run, k in sorted(points):
        if -negative > best:
            best = -negative
            out.append(FrontPoint(unit, run, k, spent, best, spent / best))
    return out

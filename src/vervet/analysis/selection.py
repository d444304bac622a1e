"""Success rate and precision of selection methods against k, and the plateau of each vote."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.analysis.curve import FEW_PROBLEMS
from vervet.analysis.stopping import Saving
from vervet.errors import BadData, UserError
from vervet.estimate.coverage import check_grid, check_level, default_grid
from vervet.estimate.intervals import population_interval
from vervet.estimate.methods import spelt
from vervet.estimate.pools import METHODS, NEEDS_SCORES, VOTES, Pool
from vervet.estimate.selection import Success, success
from vervet.records import FloatArray, IntArray

_PLATEAU_STEPS = 25
# values of k among which the plateau's beginning is looked for
_POINT = 0.01


@dataclass(frozen=True, slots=True)
class SelectionPoint:
    """One method at one k. Shares in [0, 1]; None where no problem has n >= k."""

    method: str
    k: int
    success: float | None
    # share of problems whose selected answer is right
    low: float | None
    high: float | None
    # for the population that the problems are drawn from
    coverage: float | None
    # on the same problems
    precision: float | None
    # success / coverage; None where coverage is 0
    se: float | None
    # standard error behind low and high
    mc_se: float
    # the part of it that comes from simulating subsets; 0: exact
    problems: int
    # problems with n >= k
    censored: int


@dataclass(frozen=True, slots=True)
class Plateau:
    """Where a vote ends up as k grows."""

    method: str
    limit: float
    # share of problems whose largest class (sum of scores, accepted class) over all their samples is right, ties split
    low: float
    high: float
    k_within_1pt: int | None
    # from here on success stays within one point of the limit, over all problems; None: no k up to the smallest n


@dataclass(frozen=True, slots=True)
class Selection:
    """What `select` found."""

    source: str
    problems: int
    n_min: int
    n_max: int
    level: float
    scorer: str
    # "" without scores
    points: tuple[SelectionPoint, ...]
    plateaus: tuple[Plateau, ...]
    stopping: tuple[Saving, ...]
    # what stopping a vote early would save
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The document vervet.select/1."""
        plain = dataclasses.asdict(self)
        lists = {name: list(plain[name]) for name in ("points", "plateaus", "stopping", "warnings")}
        return {"schema": "vervet.select/1"} | plain | lists


@dataclass(slots=True)
class _Seen:
    """What is noted about pools as they pass by."""

    unparsed: int = 0
    samples: int = 0
    unscored: int = 0
    negative: bool = False
    problems: int = 0
    n: list[int] = dataclasses.field(default_factory=list)

    def watch(self, pools: Iterable[Pool]) -> Iterator[Pool]:
        for pool in pools:
            silent = pool.classes < 0
            self.unparsed += int(silent.sum())
            self.samples += pool.n
            if pool.scores is not None:
                self.unscored += int((np.isnan(pool.scores) & ~silent).sum())
                self.negative |= bool(np.any(pool.scores[~np.isnan(pool.scores)] < 0))
            yield pool


def select(
    pools: Sequence[Pool] | Iterable[Pool],
    sizes: IntArray,
    method: str | Sequence[str] | None = None,
    k: int | Sequence[int] | None = None,
    level: float = 0.95,
    *,
    source: str = "",
    scorer: str = "",
    accepted_by: str = "",
    stopping: Sequence[Saving] = (),
    remarks: Sequence[str] = (),
) -> Selection:
    """Success of each method at each k, as an expectation over random subsets of k samples.

    Args: pools: one a problem; may be an iterator, of which one at a time is held.  sizes: their n, shape (problems,).
    method: names of :data:`METHODS`, one or several (default: all that there is data for: best-of-k and weighted-majority
    need a scorer, verified another verifier, `accepted_by`).  k: default 1, 2, 5, 10, ... up to the largest n, and the
    smallest n.
    Returns: points for each method and k; a point stands on the problems with n >= k. Plateaus for the votes.
    Raises: UnknownName, BadOption, UserError where a method needs scores that are not there, BadData without any sample.
    """
    check_level(level)
    sizes = np.asarray(sizes, dtype=np.int64)
    if not len(sizes) or not sizes.any():
        raise BadData(f"{source or 'these pools'}: no decided sample: there is nothing to select from")
    methods = _methods(method, bool(scorer), bool(accepted_by))
    grid = default_grid(sizes) if k is None else check_grid(k)
    votes = [name for name in methods if name in VOTES]
    fine = np.unique(np.concatenate([grid, _fine(int(sizes.min()))])) if votes else grid
    seen = _Seen()
    found = success(seen.watch(pools), ["oracle", *(m for m in methods if m != "oracle")], fine)
    points = [p for name in methods for p in _points(name, found[name], found["oracle"], fine, grid, level)]
    return Selection(
        source=source,
        problems=len(sizes),
        n_min=int(sizes.min()),
        n_max=int(sizes.max()),
        level=level,
        scorer=scorer,
        points=tuple(points),
        plateaus=tuple(_plateau(name, found[name], fine, level) for name in votes),
        stopping=tuple(stopping),
        warnings=(*remarks, *_warnings(seen, methods, sizes, grid)),
    )


def _methods(given: str | Sequence[str] | None, scored: bool, accepted: bool) -> list[str]:
    if given is None:
        left_out = (*(() if scored else NEEDS_SCORES), *(() if accepted else ("verified",)))
        return [name for name in METHODS if name not in left_out]
    names = [given] if isinstance(given, str) else list(given)
    methods = list(dict.fromkeys(spelt(name, METHODS, "selection method") for name in names))
    for name in methods:
        if name in NEEDS_SCORES and not scored:
            raise UserError(f"{name} needs scores, and there are none: `vervet score RUN -m SCORER` makes them")
    return methods


def _fine(smallest: int) -> IntArray:
    """A dense grid up to the smallest n, on which a plateau can be placed."""
    if smallest < 1:
        return np.array([], dtype=np.int64)
    return np.unique(np.geomspace(1, smallest, _PLATEAU_STEPS).round().astype(np.int64))


def _points(
    name: str, own: Success, oracle: Success, fine: IntArray, grid: IntArray, level: float
) -> Iterator[SelectionPoint]:
    for k in grid:
        row = int(np.searchsorted(fine, k))
        usable = own.n >= k
        used = int(usable.sum())
        if not used:
            yield SelectionPoint(name, int(k), None, None, None, None, None, None, 0.0, 0, len(usable))
            continue
        values = own.values[row][usable]
        wide = population_interval(values[None, :], level)
        covered = float(oracle.values[row][usable].mean())
        mean = float(values.mean())
        yield SelectionPoint(
            method=name,
            k=int(k),
            success=mean,
            low=float(wide.low[0]),
            high=float(wide.high[0]),
            coverage=covered,
            precision=mean / covered if covered > 0 else None,
            se=float(wide.se[0]),
            mc_se=float(np.sqrt(own.noise[row][usable].sum()) / used),
            problems=used,
            censored=len(usable) - used,
        )


def _plateau(name: str, own: Success, fine: IntArray, level: float) -> Plateau:
    limits = own.limits
    wide = population_interval(limits[None, :], level)
    limit = float(limits.mean())
    inside = fine <= own.n.min()
    return Plateau(
        name, limit, float(wide.low[0]), float(wide.high[0]), _settles(own.values[inside], fine[inside], limit)
    )


def _settles(values: FloatArray, ks: IntArray, limit: float) -> int | None:
    """The k from which on the mean stays within a point of the limit."""
    near = np.abs(values.mean(axis=1) - limit) <= _POINT + 1e-12
    if not len(near) or not near[-1]:
        return None
    away = np.flatnonzero(~near)
    return int(ks[away[-1] + 1] if len(away) else ks[0])


def _warnings(seen: _Seen, methods: Sequence[str], sizes: IntArray, grid: IntArray) -> list[str]:
    out = []
    if len(sizes) < FEW_PROBLEMS:
        out.append(f"few problems ({len(sizes)}): low and high are rough below {FEW_PROBLEMS} problems")
    if seen.unparsed:
        out.append(
            f"{seen.unparsed} of {seen.samples} samples hold no answer: they are draws that cast no vote and are never picked"
        )
    scored = [m for m in methods if m in NEEDS_SCORES]
    if scored and seen.unscored:
        out.append(f"{seen.unscored} samples with an answer have no score: they rank last and do not vote by weight")
    if seen.negative and "weighted-majority" in methods:
        out.append("some scores are negative: summed as they are, they count against an answer that is given often")
    top = int(sizes.min())
    if np.any(grid > top):
        out.append(f"beyond k = {top} some problems have fewer than k samples: those points stand on the others only")
    if top and any(m in VOTES for m in methods):
        out.append(
            f"limits are what all samples of a problem pick (n = {top} and more): with more samples they may move"
        )
    return out

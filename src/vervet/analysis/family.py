"""Do the models of a family differ by a factor in samples only? The paper's horizontal slide, with a number for the
gap."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.analysis.curve import settle_design
from vervet.errors import BadData
from vervet.estimate.designs import check, known_to, pass_curve_of
from vervet.estimate.slide import CurveAt, slide
from vervet.records import Counts, FloatArray


@dataclass(frozen=True, slots=True)
class Member:
    """One model of the family."""

    source: str
    pass_at_1: float
    k_star: int | None
    # samples at which it comes closest to the best model's pass@1; None where it never gets there


@dataclass(frozen=True, slots=True)
class Family:
    """Curves slid onto each other."""

    anchor: float
    members: tuple[Member, ...]
    rms_gap: float | None
    # root mean square distance of the slid curves from their mean, in coverage, over log k; 0: a factor is all there is
    largest_gap: float | None
    reach: float
    # k / k* up to which all curves could be compared
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document vervet.family/1."""
        plain = dataclasses.asdict(self)
        lists = {"members": list(plain["members"]), "warnings": list(self.warnings)}
        return {"schema": "vervet.family/1"} | plain | lists


def family(sources: Sequence[Counts]) -> Family:
    """Slide the coverage curves of several models horizontally onto each other.

    Raises: BadData for fewer than two sources, or a source without samples.
    """
    if len(sources) < 2:
        raise BadData("a family needs two sources or more")
    curves, tops = zip(*(_curve(counts) for counts in sources), strict=True)
    found = slide(curves, tops)
    ones = [float(curve(np.array([1.0]))[0]) for curve in curves]
    members = tuple(Member(counts.source, one, k) for counts, one, k in zip(sources, ones, found.k_star, strict=True))
    warnings = [
        f"{m.source} never reaches pass@1 of the best model and is left out" for m in members if m.k_star is None
    ]
    if found.rms is None:
        warnings.append("fewer than two curves overlap after the slide: there is no gap to measure")
    return Family(found.anchor, members, found.rms, found.largest, found.reach, tuple(warnings))


def _curve(counts: Counts) -> tuple[CurveAt, int]:
    rule, _ = settle_design(counts, None)
    check(rule, counts.n, counts.c)
    top = int(min(known_to(rule, counts.n, counts.c).min(), counts.n.max()))
    if top < 1:
        raise BadData(f"{counts.source or 'counts'}: some problem has no decided sample: leave it out")

    def at(k: FloatArray) -> FloatArray:
        return np.asarray(pass_curve_of(rule, counts.n, counts.c, np.asarray(k, dtype=np.int64)).mean(axis=1))

    return at, top

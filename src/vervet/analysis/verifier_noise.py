"""Coverage behind a verifier whose error rates are known: what its acceptances are worth, and where they stop
helping."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.analysis.curve import FEW_PROBLEMS, settle_design
from vervet.errors import BadData, BadOption
from vervet.estimate.coverage import check_grid, check_level, default_grid, pass_curve
from vervet.estimate.designs import check
from vervet.estimate.noise import Corrector
from vervet.records import Counts, FloatArray

_REPEATS = 200


@dataclass(frozen=True, slots=True)
class NoisePoint:
    """At one k; shares in [0, 1], intervals for the population of problems."""

    k: int
    accepted: float
    # what the verifier shows: k draws hold an accepted sample
    true_coverage: float
    true_low: float
    true_high: float
    # k draws hold a right sample
    reward: float
    reward_low: float
    reward_high: float
    # the first accepted of k samples is right


@dataclass(frozen=True, slots=True)
class VerifierNoise:
    """What `verifier_noise` found."""

    source: str
    false_positive: float
    false_negative: float
    level: float
    ceiling: float
    # of the reward, however many samples are drawn
    points: tuple[NoisePoint, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document vervet.noise/1."""
        plain = dataclasses.asdict(self)
        lists = {"points": list(plain["points"]), "warnings": list(self.warnings)}
        return {"schema": "vervet.noise/1"} | plain | lists


def verifier_noise(
    counts: Counts,
    false_positive: float,
    false_negative: float = 0.0,
    k: int | Sequence[int] | None = None,
    level: float = 0.95,
) -> VerifierNoise:
    """Coverage corrected for a verifier that accepts wrong samples and rejects right ones at known rates.

    Args: false_positive: share of wrong samples that are accepted.  false_negative: share of right samples rejected.
    Both must hold for every problem alike, and verdicts on different samples must err independently.
    Raises: BadOption for rates below 0 or that sum to 1 or more; BadData without decided samples.
    """
    check_level(level)
    if not (false_positive >= 0 and false_negative >= 0 and false_positive + false_negative < 1):
        raise BadOption("false_positive and false_negative must be 0 or more and sum to less than 1")
    rule, remarks = settle_design(counts, None)
    check(rule, counts.n, counts.c)
    some = counts.n > 0
    if not some.any():
        raise BadData(f"{counts.source or 'counts'}: no problem has a decided sample")
    n, c = counts.n[some], counts.c[some]
    grid = default_grid(n) if k is None else check_grid(k)
    model = Corrector(n, c, false_positive, false_negative)
    found = model.at(grid)
    shown = np.where(
        grid <= n.min(), pass_curve(n, c, grid).mean(axis=1), Corrector(n, c, 0.0, 0.0).at(grid).true_coverage
    )
    rng = np.random.default_rng(0)
    again = [model.at(grid, rng.multinomial(len(n), model.size / len(n))) for _ in range(_REPEATS)]
    true = _bounds(np.array([one.true_coverage for one in again]), level)
    reward = _bounds(np.array([one.reward for one in again]), level)
    rows = zip(grid, shown, found.true_coverage, *true, found.reward, *reward, strict=True)
    points = tuple(NoisePoint(int(row[0]), *(float(x) for x in row[1:])) for row in rows)
    if len(n) < FEW_PROBLEMS:
        remarks.append(f"few problems ({len(n)}): the intervals, which resample problems, are too narrow")
    elif len(model.size) == 1:
        remarks.append("every problem has the same counts: resampling them shows no spread, the intervals say nothing")
    if np.any(c.sum() / n.sum() < false_positive):
        remarks.append("fewer samples are accepted than false acceptance alone would give: check the rates")
    return VerifierNoise(counts.source, false_positive, false_negative, level, found.ceiling, points, tuple(remarks))


def _bounds(values: FloatArray, level: float) -> FloatArray:
    return np.asarray(np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0))

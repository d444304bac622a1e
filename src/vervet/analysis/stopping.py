"""What stopping a vote early saves, and what it loses: rules replayed over random orders of a run's samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vervet.estimate.pools import Pool
from vervet.estimate.stopping import AdaptiveConsistency, EarlyStopping, Rule, stopping
from vervet.records import FloatArray

CAP = 40
# samples a problem at most, as in the rules' papers


@dataclass(frozen=True, slots=True)
class Saving:
    """One rule against a vote over `cap` samples of every problem."""

    policy: str
    cap: int
    samples: float
    # a problem on average
    saved: float
    # share of the cap that is not drawn
    success: float
    full: float
    # success of the vote over `cap` samples
    difference: float
    low: float
    high: float
    # of success - full, for the population of problems, paired by problem
    problems: int
    # with at least `cap` samples


def rules() -> list[Rule]:
    """The two rules as their papers use them."""
    return [AdaptiveConsistency(), EarlyStopping()]


def savings(pools: Iterable[Pool], cap: int | None = None, level: float = 0.95) -> list[Saving]:
    """Each rule on the problems with at least `cap` samples (default: the least n, 40 at most). [] where there are none."""
    found = [pool for pool in pools if pool.n]
    if not found:
        return []
    least = min(pool.n for pool in found)
    top = min(CAP, least) if cap is None else cap
    usable = [pool for pool in found if pool.n >= top]
    if not usable or top < 1:
        return []
    return [_saving(rule, usable, top, level) for rule in rules()]


def _saving(rule: Rule, pools: list[Pool], cap: int, level: float) -> Saving:
    table = np.array([stopping(pool, rule, cap)[:3] for pool in pools])
    gap = table[:, 1] - table[:, 2]
    half = _half_width(gap, level)
    samples, success, full = (float(x) for x in table.mean(axis=0))
    return Saving(
        policy=rule.name,
        cap=cap,
        samples=samples,
        saved=1 - samples / cap,
        success=success,
        full=full,
        difference=float(gap.mean()),
        low=max(-1.0, float(gap.mean()) - half),
        high=min(1.0, float(gap.mean()) + half),
        problems=len(pools),
    )


def _half_width(gap: FloatArray, level: float) -> float:
    """Of the interval for a mean difference: Student's, and where hardly any problem differs at least the rule of three (with m
    problems alike, up to about 3 / m of all problems may differ, by up to 1)."""
    from scipy.special import stdtrit  # noqa: PLC0415

    problems = len(gap)
    unseen = 1 - (1 - level) ** (1 / problems)
    if problems < 2:
        return float(unseen)
    spread = float(stdtrit(problems - 1, 0.5 + level / 2)) * float(gap.std(ddof=1)) / problems**0.5
    return float(max(spread, unseen))

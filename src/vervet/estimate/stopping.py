"""When a vote may stop: rules over answers in the order in which they are drawn, and what they save.

Adaptive consistency stops when the leading answer would stay ahead of the second with a given probability, as a Beta posterior
over their two counts says. Early-stopping self-consistency draws windows and stops after one in which all answers agree.
Sources: Aggarwal et al. 2023 (arXiv:2305.11860), Li et al. 2024 (arXiv:2401.10480).
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vervet.errors import BadOption
from vervet.estimate.pools import Pool, table
from vervet.estimate.voting import most_votes
from vervet.records import FloatArray, IntArray

_REPEATS = 200
# random orders a problem


@dataclass(frozen=True, slots=True)
class AdaptiveConsistency:
    """Stop when P(the leader beats the second) >= threshold: 1 - I(1/2; a + 1, b + 1) for their counts a >= b."""

    threshold: float = 0.95
    name: str = "adaptive-consistency"

    def __post_init__(self) -> None:
        if not 0.5 < self.threshold < 1:
            raise BadOption(f"adaptive-consistency={self.threshold:g}: the probability must be above 0.5 and below 1")

    def enough(self, second: int) -> int:
        """The leader's count from which on this is enough."""
        return _enough(self.threshold, second)


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """Stop after a window of `window` samples, counted from the first sample on, that all give one answer."""

    window: int = 5
    name: str = "early-stopping"

    def __post_init__(self) -> None:
        if self.window < 1:
            raise BadOption(f"early-stopping={self.window}: the window must hold at least 1 sample")


Rule = AdaptiveConsistency | EarlyStopping


@functools.lru_cache(maxsize=4096)
def _enough(threshold: float, second: int) -> int:
    from scipy.special import betainc  # noqa: PLC0415

    first = second
    while 1 - betainc(first + 1, second + 1, 0.5) < threshold:
        first += 1
    return first


def stops_at(classes: Sequence[int], rule: Rule) -> int | None:
    """Samples after which the rule stops, in the order of `classes` (< 0: no answer); None: it would draw on."""
    counts: dict[int, int] = {}
    if isinstance(rule, EarlyStopping):
        for start in range(0, len(classes) - rule.window + 1, rule.window):
            part = set(classes[start : start + rule.window])
            if len(part) == 1 and min(part) >= 0:
                return start + rule.window
        return None
    for place, label in enumerate(classes, 1):
        if label < 0:
            continue
        counts[label] = counts.get(label, 0) + 1
        first, second = (*sorted(counts.values(), reverse=True)[:2], 0)[:2]
        if first >= rule.enough(second):
            return place
    return None


class Stopped(NamedTuple):
    """A rule on one problem, over random orders of its samples."""

    samples: float
    # drawn on average, the cap at most
    success: float
    # chance that the vote over what was drawn is right, ties split
    full: float
    # the same for a vote over `cap` samples, in the same orders
    noise: float
    # variance that simulation has left in success - full


def stopping(pool: Pool, rule: Rule, cap: int) -> Stopped:
    """What a rule draws and gets right where at most `cap` samples (<= n) are drawn, in random order."""
    counts = table(pool.classes, pool.right)
    labels = np.repeat(np.arange(len(counts.counts) + 1), [*counts.counts, counts.silent])
    rng = np.random.default_rng([pool.n, cap, zlib.crc32(labels.tobytes())])
    drawn = rng.permuted(np.tile(labels, (_REPEATS, 1)), axis=1)[:, :cap]
    used = _used(drawn, rule, len(counts.counts))
    value = np.append(counts.value, 0.0)
    early = _vote(drawn, used, value)
    full = _vote(drawn, np.full(len(drawn), cap), value)
    gap = early - full
    return Stopped(
        float(used.mean()),
        float(early.mean()),
        float(full.mean()),
        float(gap.var(ddof=1) / len(gap)) if cap > 1 else 0.0,
    )


def _used(drawn: IntArray, rule: Rule, silence: int) -> IntArray:
    """Samples after which the rule stops, in each row; the row's length where it does not."""
    rows, cap = drawn.shape
    used = np.full(rows, cap)
    open_ = np.ones(rows, dtype=bool)
    if isinstance(rule, EarlyStopping):
        for start in range(0, cap - rule.window + 1, rule.window):
            part = drawn[:, start : start + rule.window]
            agree = open_ & (part == part[:, :1]).all(axis=1) & (part[:, 0] != silence)
            used[agree] = start + rule.window
            open_ &= ~agree
        return used
    enough = np.array([rule.enough(second) for second in range(cap + 1)])
    counts = np.zeros((rows, silence + 1), dtype=np.int64)
    leader, first, second = np.full(rows, -1), np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    every = np.arange(rows)
    for place in range(cap):
        label = drawn[:, place]
        votes = label != silence
        counts[every, label] += votes
        mine = counts[every, label]
        ahead = votes & (mine > first)
        takes_over = ahead & (label != leader)
        second = np.where(
            takes_over, first, np.where(votes & ~ahead & (label != leader), np.maximum(second, mine), second)
        )
        leader, first = np.where(ahead, label, leader), np.where(ahead, mine, first)
        stop = open_ & votes & (first >= enough[second])
        used[stop] = place + 1
        open_ &= ~stop
    return used


def _vote(drawn: IntArray, used: IntArray, value: FloatArray) -> FloatArray:
    """Value of the plurality answer among the first `used` samples of each row."""
    rows, cap = drawn.shape
    width = len(value)
    keys = drawn + width * np.arange(rows)[:, None]
    kept: Any = np.arange(cap) < used[:, None]
    votes = np.bincount(keys[kept], minlength=rows * width).reshape(rows, width)
    return most_votes(votes[:, :-1].astype(np.float64), value[:-1])


def windows_expected(shares: FloatArray, window: int, cap: int) -> float:
    """Samples that early stopping draws on average where answers are independent draws with these shares.

    `cap`: a multiple of the window. Source: the geometric law of windows, each unanimous with chance sum of shares^window.
    """
    agree = float(np.sum(np.asarray(shares) ** window))
    windows = cap // window
    return window * float(sum((1 - agree) ** i for i in range(windows)))

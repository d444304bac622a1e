"""How success is spread over problems: counts of problems by the share of their samples that passed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vervet.records import Counts
from vervet.reports.format import round_percent

_FINE, _COARSE = (1.0, 2.0, 5.0), (1.0, 3.0)
# steps in each power of ten: for few samples a problem, and for many
_MANY = 250
_CROWDED = 9
# with more bins a small drawing labels powers of ten only


@dataclass(frozen=True, slots=True)
class Bin:
    """Problems with low < c/n <= high; the ends stand apart: never (c = 0) and always (c = n)."""

    label: str
    low: float
    high: float
    kind: str
    # "never", "some", "always"


@dataclass(frozen=True, slots=True)
class Bar:
    """A bin's bar, in pixels."""

    bin: Bin
    problems: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """A drawing of `width` x `height` px."""

    width: int
    height: int
    base: float
    bars: tuple[Bar, ...]
    edges: tuple[tuple[float, str], ...]
    # labels between bars
    left_out: int
    # problems with no decided sample


def bins(all_counts: Sequence[Counts]) -> tuple[Bin, ...]:
    """Never; 1-2-5 or 1-3 steps from the smallest share that the samples can show up to 1; always."""
    top = max(int(c.n.max()) for c in all_counts)
    lowest = math.floor(math.log10(1 / max(top, 1)) + 1e-9)
    edges = [step * 10.0**power for power in range(lowest, 0) for step in (_FINE if top < _MANY else _COARSE)]
    # the first edge that the smallest share 1/n lies on or below begins the scale
    edges = [e for i, e in enumerate(edges) if i + 1 == len(edges) or edges[i + 1] * top > 1 + 1e-9] if top > 1 else []
    some = [
        Bin(f"above {round_percent(low)}, up to {round_percent(high)}", low, high, "some")
        for low, high in zip(edges, [*edges[1:], 1.0], strict=False)
    ]
    if len(some) == 1:
        some = [Bin("sometimes", 0.0, 1.0, "some")]
    elif some:
        some[0] = Bin(f"up to {round_percent(some[0].high)}", 0.0, some[0].high, "some")
        some[-1] = Bin(f"above {round_percent(some[-1].low)}", some[-1].low, 1.0, "some")
    return (Bin("never", 0.0, 0.0, "never"), *some, Bin("always", 1.0, 1.0, "always"))


def count(counts: Counts, kinds: Sequence[Bin]) -> list[int]:
    """Problems in each bin; problems with n = 0 are in none."""
    n, c = counts.n[counts.n > 0], counts.c[counts.n > 0]
    share = c / n
    inner = (c > 0) & (c < n)
    out = []
    for kind in kinds:
        if kind.kind == "some":
            inside = inner & (share > kind.low + 1e-12) & (share <= kind.high + 1e-12)
        else:
            inside = (c == 0) if kind.kind == "never" else (c == n)
        out.append(int(np.sum(inside)))
    return out


def draw(counts: Counts, kinds: Sequence[Bin], width: int, height: int) -> Histogram:
    """Bars with a gap beside the two ends."""
    problems = count(counts, kinds)
    gap, base, head = 14.0, height - 30.0, 22.0
    step = (width - 2 * gap - 12) / len(kinds)
    tallest = max(1, *problems)
    bars, edges = [], []
    for i, (kind, many) in enumerate(zip(kinds, problems, strict=True)):
        at = 6 + i * step + (0 if kind.kind == "never" else gap if kind.kind == "some" else 2 * gap)
        tall = (base - head) * many / tallest
        bars.append(Bar(kind, many, round(at, 1), round(base - tall, 1), round(step - 3, 1), round(tall, 1)))
        crowded = len(kinds) > _CROWDED and width < 600 and abs(math.log10(kind.low or 1) % 1) > 1e-9
        if kind.kind == "some" and kind.low > 0 and not crowded:
            edges.append((round(at - 1.5, 1), round_percent(kind.low)))
    return Histogram(width, height, base, tuple(bars), tuple(edges), int(np.sum(counts.n == 0)))

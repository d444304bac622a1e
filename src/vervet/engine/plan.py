"""What to ask for next: wanted minus stored.

First run, resume after a crash, more samples: one code path. The plan goes in rounds of growing blocks over all problems, so
that wherever it stops, the problems have nearly equal n.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

FIRST_ROUND = 16
# samples a problem after the first round; each further round doubles it


class StoredRow(Protocol):
    """Which indexes of a problem are stored: 0 .. count + len(holes) - 1, without the holes."""

    @property
    def count(self) -> int: ...
    @property
    def holes(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Span:
    """Samples [first, first + n) of a problem: one request."""

    problem_id: str
    first: int
    n: int


def missing(stored: StoredRow, want: int) -> list[tuple[int, int]]:
    """Half-open ranges of indexes below `want` that are not stored, in order."""
    ranges: list[tuple[int, int]] = []
    top = stored.count + len(stored.holes)
    for index in (*(h for h in stored.holes if h < want), *([top] if top < want else [])):
        end = want if index == top else index + 1
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((index, end))
    return ranges


def plan(stored: Mapping[str, StoredRow], want: Mapping[str, int], max_n: int) -> Iterator[Span]:
    """Requests for everything missing, in rounds: each index below `want` that is not stored exactly once.

    Args: max_n: samples in one request at most.  Order: round by round, within a round by problem, within a problem by index.
    """
    gaps = {p: missing(stored[p], w) for p, w in want.items()}
    low, top = 0, max(want.values(), default=0)
    high = max(FIRST_ROUND, max_n)
    while low < top:
        for problem_id, ranges in gaps.items():
            for start, end in ranges:
                a, b = max(start, low), min(end, high)
                for first in range(a, b, max_n):
                    yield Span(problem_id, first, min(max_n, b - first))
        low, high = high, high * 2


def total(stored: Mapping[str, StoredRow], want: Mapping[str, int]) -> int:
    """Samples that the plan will ask for."""
    return sum(end - start for p, w in want.items() for start, end in missing(stored[p], w))

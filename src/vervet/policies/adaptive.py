"""Samples where they are worth most: the same total as `fixed`, moved from solved problems to those that are not.

A sample is worth the chance that it solves a problem which nothing has solved yet. Solved problems are worth nothing; among
the others that chance falls with every failure (under any prior that the problems share, the posterior mean of p after n
failures falls in n), so the next sample goes to the unsolved problem with the fewest. Every problem gets a base of a quarter
of n first, whatever its outcomes: those samples, in index order, are what an unbiased curve may count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vervet.errors import BadOption
from vervet.policies.m_passes import PASS, wave

_BASE = 4
# the base is a quarter of n


class Adaptive:
    """`adaptive`: n samples a problem on average; unsolved problems share what solved ones leave."""

    design = "adaptive"

    def __init__(self, n: int, argument: str = "") -> None:
        """Raises: BadOption."""
        if argument:
            raise BadOption(f"--policy adaptive takes no argument, not {argument!r}")
        self._n, self.base = n, max(1, n // _BASE)

    def want(self, rows: Mapping[str, Sequence[int]]) -> Mapping[str, int]:
        want = {problem: max(len(row), self.base) for problem, row in rows.items()}
        if any(len(row) < self.base for row in rows.values()):
            return want
        left = self._n * len(rows) - sum(want.values())
        unsolved = sorted((p for p, row in rows.items() if PASS not in row), key=lambda p: want[p])
        if left <= 0 or not unsolved:
            return want
        # those that are behind catch up first; all together get a wave, a smaller one where the total is near
        level = _level([want[p] for p in unsolved], wave(want[unsolved[0]]), left)
        for problem in unsolved:
            want[problem] = max(want[problem], level)
        rest = self._n * len(rows) - sum(want.values())
        for problem in unsolved[:rest] if level < wave(len(rows[unsolved[0]])) else []:
            want[problem] += 1
        return want


def _level(have: Sequence[int], level: int, left: int) -> int:
    """The highest level, no higher than `level`, to which `left` samples can raise everybody below it."""
    low, high = have[0], level
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(max(0, middle - h) for h in have) <= left else (low, middle - 1)
    return low

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
        # those that are behind catch up first; all together get a wave
        level = wave(want[unsolved[0]])
        for problem in unsolved:
            more = min(max(0, level - want[problem]), left)
            want[problem] += more
            left -= more
        return want

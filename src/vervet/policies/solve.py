"""Sampling for one answer: it ends with the first PASS wherever it comes from, and what is under way then is dropped.

That is `first-pass` without its patience: the samples that were cut short are more often long ones, so that no curve can be
read off what is left, and the estimators refuse it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vervet.errors import BadOption
from vervet.estimate.search import GROWTH
from vervet.policies.m_passes import MISSING, PASS, wave


class Solve:
    """`solve[=B]`: until a sample passed, `n` at most; B samples first, then waves of a quarter of what is there"""

    design = "adaptive"

    def __init__(self, n: int, argument: str = "") -> None:
        """Raises: BadOption."""
        if argument and not (argument.isdigit() and int(argument) >= 1):
            raise BadOption(f"--policy solve={argument}: write solve=B with a first batch of at least 1 sample")
        self._n = n
        self._first = int(argument) if argument else wave(0)

    def want(self, rows: Mapping[str, Sequence[int]]) -> Mapping[str, int]:
        return {problem: self._one(row) for problem, row in rows.items()}

    def _one(self, row: Sequence[int]) -> int:
        if PASS in row:
            # nothing more, holes included
            return 0
        have = len(row)
        if MISSING in row[: self._n]:
            return min(self._n, have)
        return min(self._n, have + max(self._first, have // GROWTH))

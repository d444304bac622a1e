"""Sampling that ends, problem by problem, with the M-th PASS in index order: solved problems cost no more.

Waves grow by a quarter of what is there, so that a stop overshoots by a fifth at most and many requests go out at once.
What a wave brings beyond the stopping sample is kept; the counts of the design end at the stopping sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vervet.errors import BadOption

PASS, MISSING = 1, 3
_LEAST = 4
# samples in a wave
_GROWTH = 4
# a wave is a quarter of what is there


class MPasses:
    """`m-passes=M`: until M samples passed, `n` samples at most."""

    def __init__(self, n: int, argument: str = "") -> None:
        """Raises: BadOption."""
        if not argument.isdigit() or int(argument) < 1:
            raise BadOption(f"--policy m-passes={argument}: write m-passes=M with M of at least 1, such as m-passes=3")
        self._n, self._m = n, int(argument)
        self.design = "first-pass" if self._m == 1 else f"m-passes={self._m}"

    def want(self, rows: Mapping[str, Sequence[int]]) -> Mapping[str, int]:
        return {problem: self._one(row) for problem, row in rows.items()}

    def _one(self, row: Sequence[int]) -> int:
        at = position(row, self._m)
        if at is not None:
            return at
        # holes are drawn before anything new is: a later PASS does not count while an earlier sample is missing
        return min(self._n, len(row) if MISSING in row[: self._n] else wave(len(row)))


class FirstPass(MPasses):
    """`first-pass`: until a sample passed, `n` samples at most."""

    def __init__(self, n: int, argument: str = "") -> None:
        """Raises: BadOption."""
        if argument:
            raise BadOption(f"--policy first-pass takes no argument, not {argument!r}")
        super().__init__(n, "1")


def position(row: Sequence[int], m: int) -> int | None:
    """Samples up to and with the m-th PASS, nothing missing before it; None where there is no such sample."""
    seen = 0
    for index, code in enumerate(row):
        if code == MISSING:
            return None
        seen += code == PASS
        if seen == m:
            return index + 1
    return None


def wave(have: int) -> int:
    """Samples after the next wave."""
    return have + max(_LEAST, have // _GROWTH)

"""Policies that stop when a vote is settled: they look at answers, never at what is right.

Waves grow by a quarter of what is there: requests go out together, and a stop overshoots by a fifth at most. What a wave brings
beyond the stopping sample is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vervet.errors import BadOption
from vervet.estimate.stopping import AdaptiveConsistency, EarlyStopping, Rule, stops_at

_LEAST = 4
_GROWTH = 4
_MISSING = -2


class _Votes:
    """Draws until the rule holds, `n` samples at most."""

    uses_classes = True

    def __init__(self, n: int, rule: Rule, design: str, wave: int) -> None:
        self._n, self._rule, self.design, self._wave = n, rule, design, wave

    def want(
        self, rows: Mapping[str, Sequence[int]], classes: Mapping[str, Sequence[int]] | None = None
    ) -> Mapping[str, int]:
        """Args: classes: problem id -> number of each answer's class in index order; -1: no answer, -2: missing."""
        known = {} if classes is None else classes
        return {problem: self._one(row, known.get(problem, ())) for problem, row in rows.items()}

    def _one(self, row: Sequence[int], classes: Sequence[int]) -> int:
        hole = next((i for i, label in enumerate(classes) if label == _MISSING), None)
        at = stops_at(classes if hole is None else classes[:hole], self._rule)
        if at is not None:
            return min(at, self._n)
        if hole is not None and hole < self._n:
            # holes are drawn before anything new is: a later agreement does not count while an earlier sample is missing
            return min(self._n, len(row))
        have = len(classes)
        grown = have + max(_LEAST, have // _GROWTH)
        return min(self._n, -(-grown // self._wave) * self._wave)


class AdaptiveConsistencyPolicy(_Votes):
    """`adaptive-consistency[=P]`: until the leading answer stays ahead with probability P (0.95)"""

    def __init__(self, n: int, argument: str = "") -> None:
        """Raises: BadOption."""
        rule = AdaptiveConsistency(_number(argument, "adaptive-consistency", 0.95))
        super().__init__(n, rule, f"votes=adaptive-consistency:{rule.threshold:g}", 1)


class EarlyStoppingPolicy(_Votes):
    """`early-stopping[=W]`: until a window of W samples (5) agrees"""

    def __init__(self, n: int, argument: str = "") -> None:
        """Raises: BadOption."""
        window = _number(argument, "early-stopping", 5)
        if window != int(window):
            raise BadOption(f"--policy early-stopping={argument}: the window is a whole number of samples")
        super().__init__(n, EarlyStopping(int(window)), f"votes=early-stopping:{int(window)}", int(window))


def _number(argument: str, name: str, default: float) -> float:
    try:
        return float(argument) if argument else default
    except ValueError:
        raise BadOption(f"--policy {name}={argument}: write a number after the =") from None

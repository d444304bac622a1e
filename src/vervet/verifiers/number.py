"""The answer is a number equal to the expected one, compared exactly: 0.1 + 0.2 is 0.3 here.

Check: {"expected": number as text, "tolerance": optional, the largest absolute difference, as text or number}.
Read are signs, thousands commas, decimals, exponents, a/b, and a currency sign before or a per cent sign after; the two
signs are units that either side may leave out, so 50% equals 50 and not 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.text.numbers import parse_number
from vervet.verifiers import _fields


class Number:
    """Compares numbers; nothing is executed."""

    name = "number"
    version = "1"
    needs: frozenset[str] = frozenset()

    def settings(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def load(self, problem: Problem) -> None:
        """Raises: BadData that names the problem."""
        _expected(problem)

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        """PASS or FAIL, never UNKNOWN; a text that is no number is FAIL."""
        expected, tolerance = _expected(problem)
        return [_verdict(answer, expected, tolerance) for answer in answers]

    async def aclose(self) -> None:
        """Nothing to close."""


def _expected(problem: Problem) -> tuple[Fraction, Fraction]:
    check = _fields.only(problem, frozenset({"expected", "tolerance"}))
    values: list[Fraction] = []
    for name, value in (("expected", check.get("expected")), ("tolerance", check.get("tolerance", 0))):
        number = isinstance(value, (int, float, str)) and not isinstance(value, bool)
        parsed = parse_number(str(value)) if number else None
        if parsed is None:
            _fields.bad(problem, f"its check needs a number {name!r}, not {value!r}")
        values.append(parsed)
    if values[1] < 0:
        _fields.bad(problem, "its tolerance is negative")
    return values[0], values[1]


def _verdict(answer: str, expected: Fraction, tolerance: Fraction) -> Verdict:
    value = parse_number(answer)
    if value is None:
        reason, log = (Reason.WRONG, "not a number") if answer.strip() else (Reason.NO_ANSWER, "")
        return Verdict(Outcome.FAIL, reason, Strength.EXACT, log=log)
    if abs(value - expected) <= tolerance:
        return Verdict(Outcome.PASS, Reason.ACCEPTED, Strength.EXACT)
    return Verdict(Outcome.FAIL, Reason.WRONG, Strength.EXACT)

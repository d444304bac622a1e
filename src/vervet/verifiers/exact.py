"""The answer is one of the expected texts, character for character; white space around either does not count.

Check: {"expected": text, or a list of texts of which any will do}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.verifiers import _fields


class Exact:
    """Compares texts; nothing is executed."""

    name = "exact"
    version = "1"
    needs: frozenset[str] = frozenset()

    def settings(self) -> Mapping[str, Any]:
        """None."""
        return {}

    def load(self, problem: Problem) -> None:
        """Raises: BadData that names the problem."""
        _expected(problem)

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        """PASS or FAIL, never UNKNOWN; an empty answer is no answer."""
        expected = _expected(problem)
        return [_verdict(answer.strip(), expected) for answer in answers]

    async def aclose(self) -> None:
        """Nothing to close."""


def _expected(problem: Problem) -> frozenset[str]:
    _fields.only(problem, frozenset({"expected"}))
    return frozenset(text.strip() for text in _fields.texts(problem, "expected"))


def _verdict(answer: str, expected: frozenset[str]) -> Verdict:
    if answer in expected:
        return Verdict(Outcome.PASS, Reason.ACCEPTED, Strength.EXACT)
    return Verdict(Outcome.FAIL, Reason.WRONG if answer else Reason.NO_ANSWER, Strength.EXACT)

"""Placeholder until the sandbox branch lands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vervet.records import Outcome, Problem, Reason, Strength, Verdict


class Exact:
    name = "exact"
    version = "1"
    needs: frozenset[str] = frozenset()

    def settings(self) -> Mapping[str, Any]:
        return {}

    def load(self, problem: Problem) -> None: ...

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        e = problem.check["expected"]
        return [
            Verdict(Outcome.PASS, Reason.ACCEPTED, Strength.EXACT)
            if a.strip() == e
            else Verdict(Outcome.FAIL, Reason.WRONG, Strength.EXACT)
            for a in answers
        ]

    async def aclose(self) -> None: ...

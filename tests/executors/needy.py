"""Verifiers with demands, for workers that import them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from vervet.errors import MissingPart
from vervet.records import Problem, Verdict, VerifierSpec
from vervet.testing.fakes import ScriptedVerifier


class Needy(ScriptedVerifier):
    needs: ClassVar[frozenset[str]] = frozenset({"sandbox", "unobtainium"})


class Picky(ScriptedVerifier):
    """Has no sandbox on the nodes that a file names."""

    def __init__(self, node: str, *, refused: str) -> None:
        super().__init__()
        self._node, self._refused = node, refused

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        if self._node in _words(self._refused):
            raise MissingPart("no sandbox here")
        return await super().verify(problem, answers)


def _words(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").split()


class Deadly(ScriptedVerifier):
    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        if "die" in answers:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().verify(problem, answers)


def build_deadly(spec: VerifierSpec) -> Deadly:
    return Deadly()

"""The whole answer, without white space around it, matches a regular expression (Python's `re`, fullmatch).

Check: {"pattern": expression}.

A pattern can take exponential time on a hostile answer, so matching happens in a process of its own with a limit on its
processor time. No code of the answer runs there, so it needs no container. A match that does not end is UNKNOWN: the
pattern, ours, is at fault as much as the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vervet.errors import BadOption
from vervet.protocols import Limits
from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.sandbox.functions import Candidate, Ending, FunctionRuntime
from vervet.sandbox.inside.checks import FunctionTests
from vervet.verifiers import _fields

_MATCHER = "import re\ndef matches(pattern, text):\n    return re.fullmatch(pattern, text) is not None\n"


class Regex:
    """Matches answers in a killable process."""

    name = "regex"
    version = "1"
    needs: frozenset[str] = frozenset()

    def __init__(self, *, cpu_s: float = 1.0) -> None:
        """Args: cpu_s: processor seconds for one answer."""
        if not 0 < cpu_s <= 3600:
            raise BadOption("cpu_s is a number of seconds between 0 and 3600")
        self._cpu_s = float(cpu_s)
        self._runtime: FunctionRuntime | None = None

    def settings(self) -> Mapping[str, Any]:
        """The limit: a match that needs longer is UNKNOWN."""
        return {"cpu_s": self._cpu_s}

    def load(self, problem: Problem) -> None:
        """Raises: BadData that names the problem."""
        _pattern(problem)

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        """PASS, FAIL, or UNKNOWN where matching does not end in time."""
        pattern = _pattern(problem)
        return [await self._match(pattern, answer.strip()) for answer in answers]

    async def _match(self, pattern: str, answer: str) -> Verdict:
        if not answer:
            return Verdict(Outcome.FAIL, Reason.NO_ANSWER, Strength.EXACT)
        if self._runtime is None:
            self._runtime = FunctionRuntime("none", slots=1)
        tests = FunctionTests("matches", "", f"assert matches({pattern!r}, {answer!r})", "statements")
        limits = Limits(cpu_s=self._cpu_s, wall_s=10 * self._cpu_s + 10)
        [ending] = await self._runtime.run(tests, [Candidate(((_MATCHER,),))], limits)
        return _verdict(ending)

    async def aclose(self) -> None:
        """End the matching process."""
        if self._runtime is not None:
            await self._runtime.aclose()
            self._runtime = None


def _pattern(problem: Problem) -> str:
    _fields.only(problem, frozenset({"pattern"}))
    pattern = _fields.text(problem, "pattern")
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        _fields.bad(problem, f"its pattern is no regular expression: {error}")
    return pattern


def _verdict(ending: Ending) -> Verdict:
    if ending.status == "pass" and not ending.limit:
        return Verdict(Outcome.PASS, Reason.ACCEPTED, Strength.EXACT)
    if ending.status == "wrong" and not ending.limit:
        return Verdict(Outcome.FAIL, Reason.WRONG, Strength.EXACT)
    log = ending.error or "matching did not end within its processor time"
    return Verdict(Outcome.UNKNOWN, Reason.SANDBOX if ending.error else Reason.VERIFIER, Strength.EXACT, log=log)

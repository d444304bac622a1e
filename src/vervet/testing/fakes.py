"""Small parts for tests of other parts: a task whose problems are Python, a verifier that does what an answer says.

The fake model is `vervet.samplers.fake`; `vervet.testing.executors` has a serial executor, `scorers` and `selectors` one
reference each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from vervet.records import (
    DataSource,
    Message,
    Outcome,
    Params,
    Problem,
    Prompt,
    PromptForm,
    Reason,
    Strength,
    Verdict,
    VerifierSpec,
    fingerprint,
)


class MemoryTask:
    """Questions and answers given in Python, judged by `exact`. To use it by name, subclass it::

    class Sums(MemoryTask):
        name = "sums"
        questions = {"What is 1 + 1?": "2", "What is 2 + 2?": "4"}

    vervet.run(Sums, model="fake/p=0.3", n=10)
    """

    name = "memory"
    extractor = "memory/1"
    verifier = VerifierSpec("exact")
    questions: ClassVar[Mapping[str, str]] = {f"What is {i} + 1?": str(i + 1) for i in range(4)}

    def problems(self) -> Sequence[Problem]:
        """One problem a question, named q0, q1, ..."""
        return [
            Problem(f"q{i}", {"expected": answer}, {"prompt": question}, answer)
            for i, (question, answer) in enumerate(self.questions.items())
        ]

    def source(self) -> DataSource:
        return DataSource(self.name, "", fingerprint(list(self.questions.items())))

    def params(self, form: PromptForm) -> Params:  # noqa: ARG002  the same for both
        return Params(temperature=1.0, top_p=None, max_tokens=64)

    def prompt(self, problem: Problem, form: PromptForm) -> Prompt:
        text = str(problem.data["prompt"])
        return text if form == "completion" else (Message("user", text),)

    def extract(self, text: str) -> str | None:
        """All of the text but white space around it."""
        return text.strip() or None

    def canonical(self, answer: str) -> str:
        return answer.strip()

    def example(self, problem: Problem, right: bool) -> str | None:
        return problem.reference if right else f"not {problem.reference}"


class ScriptedVerifier:
    """Does what an answer says, so that an executor's every situation can be written down as a list of answers::

    "pass" "fail" "unknown"     that verdict
    "sleep=0.1 pass"            after so many seconds
    "raise"                     RuntimeError
    "lose"                      CancelledError, as where the verifier cancelled a task of its own and awaits it
    "short"                     the batch loses its last verdict

    Whatever follows another blank is ignored and keeps answers distinct: "pass 17". Anything else is FAIL.
    """

    name = "scripted"
    version = "1"
    needs: frozenset[str] = frozenset()

    def __init__(self, *, note: str = "") -> None:
        """Args: note: tells two verifiers apart."""
        self._note = note
        self.closed = 0
        # times that aclose was called

    def settings(self) -> Mapping[str, Any]:
        return {"note": self._note}

    def load(self, problem: Problem) -> None:
        """Takes any check."""

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:  # noqa: ARG002  the seam's
        """Raises: RuntimeError and CancelledError where an answer says so."""
        verdicts = [await _obey(answer) for answer in answers]
        return verdicts[:-1] if any(_step(a) == "short" for a in answers) else verdicts

    async def aclose(self) -> None:
        self.closed += 1


def _step(answer: str) -> str:
    return (answer.split(" ") or [""])[0]


async def _obey(answer: str) -> Verdict:
    step = _step(answer)
    if step.startswith("sleep="):
        await asyncio.sleep(float(step.removeprefix("sleep=")))
        return await _obey(answer.partition(" ")[2])
    if step == "raise":
        raise RuntimeError("the answer said so")
    if step == "lose":
        raise asyncio.CancelledError
    if step == "pass":
        return Verdict(Outcome.PASS, Reason.ACCEPTED, Strength.EXACT)
    if step == "unknown":
        return Verdict(Outcome.UNKNOWN, Reason.NO_VERDICT, Strength.EXACT)
    return Verdict(Outcome.FAIL, Reason.WRONG, Strength.EXACT)


def build_scripted(spec: VerifierSpec) -> ScriptedVerifier:
    """The verifier of a spec. A function of a module, so that executors can send it to their workers."""
    return ScriptedVerifier(**spec.settings)

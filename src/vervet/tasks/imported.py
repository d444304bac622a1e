"""Samples from elsewhere whose task is not known: problems that are ids, answers that are whole texts."""

from __future__ import annotations

from collections.abc import Sequence

from vervet.errors import UserError
from vervet.records import DataSource, Params, Problem, Prompt, PromptForm, VerifierSpec


class Imported:
    """The task of a run that `vervet import` made without --task. It cannot be chosen by name: it has no data."""

    name = "imported"
    extractor = "imported/1"
    verifier = VerifierSpec("imported")

    def source(self) -> DataSource:
        return DataSource("imported", "", "")

    def problems(self) -> Sequence[Problem]:
        """Raises: UserError: there are none but those in the run."""
        raise UserError("the task 'imported' has no problems of its own: they are in the run that was imported")

    def params(self, form: PromptForm) -> Params:  # noqa: ARG002
        """Stands where parameters have to stand: how the samples were drawn is not known."""
        return Params(temperature=1.0, top_p=None, max_tokens=1, extra={"recorded": False})

    def prompt(self, problem: Problem, form: PromptForm) -> Prompt:  # noqa: ARG002
        return ""

    def extract(self, text: str) -> str | None:
        return text

    def canonical(self, answer: str) -> str:
        return answer

    def example(self, problem: Problem, right: bool) -> str | None:
        return problem.reference if right else None

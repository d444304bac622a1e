"""One prompt of your own as a task of one problem: `vervet solve --prompt FILE`.

The prompt is text, or JSON with a list of chat messages. What answers it is decided by whatever verifier you name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import orjson

from vervet.errors import BadData, BadOption
from vervet.records import DataSource, Message, Params, Problem, Prompt, PromptForm, VerifierSpec, fingerprint
from vervet.text.fences import blocks

ID = "prompt"
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_ROLES = frozenset({"system", "user", "assistant"})


class OnePrompt:
    """A single prompt; options path or text, answer (auto, text, last-line), check, reference, id"""

    name = "prompt"

    def __init__(
        self,
        *,
        path: Path | None = None,
        text: str | None = None,
        messages: Sequence[Mapping[str, str]] | None = None,
        answer: Literal["auto", "text", "last-line", "number"] = "auto",
        check: Mapping[str, Any] | None = None,
        reference: str | None = None,
        id: str = ID,
    ) -> None:
        """Options (-T): path: a file with the prompt.  text, messages: the prompt itself.  answer: what of a reply is the
        answer: "auto" (the last fenced block, else all of it), "text" (all of it), "last-line", "number" (the last one).
        check, reference: what a verifier needs.  id: the problem's name.
        """
        if sum(x is not None for x in (path, text, messages)) > 1:
            raise BadOption("task prompt: one of path, text and messages says what the prompt is")
        self._path, self._text, self._messages = path, text, messages
        self._answer = answer
        self.extractor = f"prompt-{answer}/1"
        self.verifier = VerifierSpec("exact")
        self._problem: Problem | None = None
        self._given = (id, dict(check or {}), reference)

    def source(self) -> DataSource:
        problem = self.problems()[0]
        return DataSource("prompt", "", fingerprint(problem.id, problem.data, problem.check_fingerprint))

    def problems(self) -> Sequence[Problem]:
        if self._problem is None:
            name, check, reference = self._given
            if not check and reference is not None:
                check = {"expected": reference}
            self._problem = Problem(name, check, {"prompt": self._prompt()}, reference)
        return [self._problem]

    def _prompt(self) -> Any:
        if self._messages is not None:
            return _messages(list(self._messages), "the messages")
        if self._path is None:
            if not self._text:
                raise BadOption("task prompt: say what the prompt is, with -T path=FILE or -T text=...")
            return self._text
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadData(f"{self._path} cannot be read as text: {error}") from error
        if not text.strip():
            raise BadData(f"{self._path} is empty: it has to hold the prompt")
        if self._path.suffix == ".json":
            try:
                return _messages(orjson.loads(text), str(self._path))
            except orjson.JSONDecodeError as error:
                raise BadData(f"{self._path} is not JSON: {error}") from error
        return text

    def params(self, form: PromptForm) -> Params:  # noqa: ARG002  the same for both
        return Params(temperature=0.8, top_p=None, max_tokens=1024)

    def prompt(self, problem: Problem, form: PromptForm) -> Prompt:
        said = problem.data["prompt"]
        if isinstance(said, str):
            return said if form == "completion" else (Message("user", said),)
        turns = tuple(Message(m["role"], m["content"]) for m in said)
        return turns if form == "chat" else "\n\n".join(m.content for m in turns)

    def extract(self, text: str) -> str | None:
        stripped = text.strip()
        if self._answer == "number":
            numbers = _NUMBER.findall(text)
            return numbers[-1].replace(",", "") if numbers else None
        if self._answer == "last-line":
            return stripped.rpartition("\n")[2].strip() or None
        if self._answer == "auto":
            found = blocks(text)
            if found:
                return found[-1].code or None
        return stripped or None

    def canonical(self, answer: str) -> str:
        return answer.strip()

    def example(self, problem: Problem, right: bool) -> str | None:
        if problem.reference is None:
            return None
        return problem.reference if right else f"not {problem.reference}"


def _messages(value: Any, where: str) -> list[dict[str, str]]:
    """Chat messages as plain JSON. Raises: BadData."""
    if not isinstance(value, list) or not value:
        raise BadData(f"{where}: a list of chat messages is expected")
    for message in value:
        if (
            not isinstance(message, Mapping)
            or message.get("role") not in _ROLES
            or not isinstance(message.get("content"), str)
        ):
            raise BadData(f'{where}: a message is {{"role": "system", "user" or "assistant", "content": text}}')
    return [{"role": m["role"], "content": m["content"]} for m in value]

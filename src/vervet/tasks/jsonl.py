"""Your own problems, one JSON object a line (or a Parquet row).

Columns: `id`, `prompt` (text, or a list of chat messages), and either `answer` (the expected answer) or `check` (what another
verifier needs). Column names can be changed: `-T id=task_id -T answer=gold`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import orjson

from vervet.errors import BadData, MissingPart
from vervet.records import DataSource, Message, Params, Problem, Prompt, PromptForm, VerifierSpec, fingerprint

_MARKED = re.compile(r"(?:####|final answer(?: is)?|answer(?: is)?)[ \t]*:?[ \t]*([^\n]+)", re.IGNORECASE)


class Jsonl:
    """A file of problems as a task; judged by `exact` on the column `answer` unless -T verifier= says otherwise."""

    name = "jsonl"

    def __init__(
        self,
        *,
        path: Path,
        id: str = "id",
        prompt: str = "prompt",
        answer: str = "answer",
        verifier: str = "exact",
        extract: Literal["answer", "text", "number"] = "answer",
    ) -> None:
        """Options (-T): path.  id, prompt, answer: column names.  verifier: its name.  extract: what the answer in a text is:
        "answer" (after the last "Answer:" or "####", else the last line), "text" (all of it), "number" (the last number).
        """
        self._path = path
        self._columns = (id, prompt, answer)
        self._extract = extract
        self.extractor = f"jsonl-{extract}/1"
        self.verifier = VerifierSpec(verifier)
        self._problems: list[Problem] | None = None

    def source(self) -> DataSource:
        marks = [[p.id, p.data, p.check_fingerprint] for p in self.problems()]
        return DataSource(self._path.name, "", fingerprint(marks))

    def problems(self) -> Sequence[Problem]:
        if self._problems is None:
            seen: set[str] = set()
            self._problems = [self._problem(where, row, seen) for where, row in _rows(self._path)]
            if not self._problems:
                raise BadData(f"{self._path} holds no problems")
        return self._problems

    def _problem(self, where: str, row: dict[str, Any], seen: set[str]) -> Problem:
        id_column, prompt_column, answer_column = self._columns
        for column in (id_column, prompt_column):
            if column not in row:
                raise BadData(f"{where} has no {column!r}: it has {', '.join(map(repr, row)) or 'nothing'}")
        problem_id, prompt = str(row[id_column]), row[prompt_column]
        if problem_id in seen:
            raise BadData(f"{where}: problem {problem_id!r} appears twice")
        seen.add(problem_id)
        if not _is_prompt(prompt):
            raise BadData(f"{where}: {prompt_column!r} must be text or a list of {{role, content}} messages")
        expected = row.get(answer_column)
        check = row.get("check", {"expected": None if expected is None else str(expected)})
        if not isinstance(check, dict):
            raise BadData(f"{where}: 'check' must be an object")
        reference = row.get("reference", expected)
        return Problem(problem_id, check, {"prompt": prompt}, None if reference is None else str(reference))

    def params(self, form: PromptForm) -> Params:  # noqa: ARG002  the same for both
        return Params(temperature=0.8, top_p=None, max_tokens=512)

    def prompt(self, problem: Problem, form: PromptForm) -> Prompt:
        prompt = problem.data["prompt"]
        if isinstance(prompt, str):
            return prompt if form == "completion" else (Message("user", prompt),)
        messages = tuple(Message(m["role"], m["content"]) for m in prompt)
        return messages if form == "chat" else "\n\n".join(m.content for m in messages)

    def extract(self, text: str) -> str | None:
        stripped = text.strip()
        if self._extract == "text":
            return stripped or None
        if self._extract == "number":
            numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
            return numbers[-1].replace(",", "") if numbers else None
        found = _marked(text)
        return (stripped.rpartition("\n")[2] if found is None else found).strip() or None

    def canonical(self, answer: str) -> str:
        return answer.strip()

    def example(self, problem: Problem, right: bool) -> str | None:
        if problem.reference is None:
            return None
        if self._extract == "text":
            return problem.reference if right else f"not {problem.reference}"
        if self._extract == "number":
            return f"#### {problem.reference}" if right else f"#### {problem.reference}1"
        return f"Answer: {problem.reference}" if right else f"Answer: not {problem.reference}"


def _marked(text: str) -> str | None:
    """What follows the mark in the last line that has one; None where no line has."""
    end = len(text)
    while end >= 0:
        start = text.rfind("\n", 0, end) + 1
        line = text[start:end]
        # the pattern tries every character: on a kilobyte of prose it costs more than all else that is done to a sample
        if "####" in line or "answer" in line.casefold():
            match = _MARKED.search(line)
            if match:
                return match[1]
        end = start - 1
    return None


def _is_prompt(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in value
        )
    )


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, row). Raises: BadData with file and line."""
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise BadData(f"{where} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise BadData(f"{where} is not a JSON object")
        yield where, row


def _parquet_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        from pyarrow import parquet  # noqa: PLC0415  an extra
    except ImportError as error:
        raise MissingPart("reading Parquet needs pyarrow: pip install 'vervet[parquet]'") from error
    try:
        rows = parquet.read_table(path).to_pylist()
    except OSError as error:
        raise BadData(f"{path} cannot be read as Parquet: {error}") from error
    for number, row in enumerate(rows):
        yield f"{path} row {number}", row

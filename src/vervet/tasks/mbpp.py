"""MBPP: 500 small Python functions from a sentence and three assertions (Austin et al. 2021, arXiv:2108.07732; CC BY 4.0)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from vervet.records import DataSource, Message, Params, Problem, Prompt, PromptForm, VerifierSpec, fingerprint
from vervet.tasks import _choice, _hub, _rows
from vervet.tasks.humaneval import HumanEval
from vervet.text.fences import lines_of

REPO = "google-research-datasets/mbpp"
INSTRUCTION = (
    "Write a Python function for this task. Reply with one fenced Python code block that holds the whole function."
)


class Mbpp:
    """MBPP, small Python functions judged by assertions, which the prompt shows.

    Options (-T): path: a file of rows as on the hub.  set: full (500 test problems) or sanitized (257, corrected by hand).
    subset, subset_seed: a seeded choice.
    """

    name = "mbpp"
    extractor = "mbpp/1"
    verifier = VerifierSpec("python_tests")

    def __init__(
        self,
        *,
        path: Path | None = None,
        set: Literal["full", "sanitized"] = "full",
        revision: str = "main",
        subset: int | None = None,
        subset_seed: int = 0,
    ) -> None:
        self._path, self._set, self._revision = path, set, revision
        self._subset, self._subset_seed = subset, subset_seed
        self._finder = HumanEval()

    def source(self) -> DataSource:
        """Identity of all problems, before any choice."""
        digest = fingerprint([[p.id, p.check_fingerprint, dict(p.data)] for p in self._everything])
        if self._path is not None:
            return DataSource(str(self._path), "", digest)
        return DataSource(f"{REPO} {self._set}", self._files[1], digest)

    def problems(self) -> Sequence[Problem]:
        """The chosen problems in the data set's order. Raises: BadData, BadOption, MissingPart, ServiceError."""
        return _choice.subset(self._everything, self._subset, self._subset_seed)

    @cached_property
    def _files(self) -> tuple[list[Path], str]:
        return _hub.files(_hub.HubSet(REPO, (f"{self._set}/test-*.parquet",)), self._revision)

    @cached_property
    def _everything(self) -> tuple[Problem, ...]:
        paths = [self._path] if self._path is not None else self._files[0]
        return tuple(_problem(where, row) for path in paths for where, row in _rows.read(path))

    def params(self, form: PromptForm) -> Params:
        """Temperature 0.6 and top-p 0.95, as for HumanEval."""
        return Params(temperature=0.6, top_p=0.95, max_tokens=512, stop=("\n```",) if form == "completion" else ())

    def prompt(self, problem: Problem, form: PromptForm) -> Prompt:
        tests = "\n".join(problem.data["tests"])
        task = f"{problem.data['text']}\n\nIt has to pass these tests:\n\n```python\n{tests}\n```"
        if form == "completion":
            return f"{INSTRUCTION}\n\n{task}\n\n```python\n"
        return (Message("user", f"{INSTRUCTION}\n\n{task}"),)

    def extract(self, text: str) -> str | None:
        """The program, as for HumanEval: the last fenced block that defines something, else from the first definition on."""
        return self._finder.extract(text)

    def canonical(self, answer: str) -> str:
        return "\n".join(line.rstrip() for line in lines_of(answer) if line.strip())

    def example(self, problem: Problem, right: bool) -> str | None:
        if problem.reference is None:
            return None
        code = problem.reference if right else f"def {problem.check['entry_point']}(*args):\n    return None\n"
        return f"```python\n{code.strip()}\n```\n"


def _problem(where: str, row: Mapping[str, Any]) -> Problem:
    tests, code = row.get("test_list"), _rows.text(where, row, "code").replace("\r\n", "\n").replace("\t", "    ")
    if not isinstance(tests, list) or not tests or not all(isinstance(t, str) for t in tests):
        _rows.bad(where, "'test_list' must be a list of assertions")
    text = row.get("text") or row.get("prompt")
    if not isinstance(text, str) or not text.strip():
        _rows.bad(where, "'text' or 'prompt' must be a text that is not empty")
    joined = "\n".join(tests)
    names = [n for n in re.findall(r"^def[ ]+(\w+)", code, re.MULTILINE) if re.search(rf"\b{n}\b", joined)]
    if not names:
        _rows.bad(where, "no function of its 'code' is named in its tests")
    setup = "\n".join([*(row.get("test_imports") or ()), row.get("test_setup_code") or ""]).strip()
    check = {"entry_point": names[-1], "asserts": list(tests), "setup": setup}
    return Problem(f"MBPP/{row.get('task_id', where)}", check, {"text": text.strip(), "tests": list(tests)}, code)

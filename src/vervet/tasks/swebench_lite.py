"""SWE-bench Lite: issues of real Python projects, resolved by a patch (Jimenez et al. 2024, arXiv:2310.06770; MIT).

300 instances; 34 of them have tests that pass and fail by chance (Brown et al. 2024, arXiv:2407.21787): `FLAKY`.
See docs/tasks/swebench-lite.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from vervet.errors import BadData
from vervet.records import DataSource, Message, Params, Problem, Prompt, PromptForm, Recipe, VerifierSpec, fingerprint
from vervet.tasks import _choice, _hub, _rows
from vervet.text import diffs

REPO = "SWE-bench/SWE-bench_Lite"
"""Called princeton-nlp/SWE-bench_Lite before the benchmark had an organisation of its own."""
HARNESS = ("image", "eval_script", "log_parser", "eval_type")
"""Columns that the harness needs since its version 5; rows from before lack them."""
TESTS = ("FAIL_TO_PASS", "PASS_TO_PASS")
_FLAKY = {
    "django__django": (
        "13315 13447 13590 13710 13757 13933 13964 14017 14238 14382 14608 14672 14752 14915 14997 14999 15320 15738 "
        "15790 15814 15819 16229 16379 16400 17051"
    ),
    "sympy__sympy": "13146 13177 16988",
    "psf__requests": "863 2317 2674 3362",
    "scikit-learn__scikit-learn": "13241",
    "matplotlib__matplotlib": "23987",
}
FLAKY = frozenset(f"{project}-{number}" for project, numbers in _FLAKY.items() for number in numbers.split())
"""Instances whose tests give the same patch now one verdict, now another (table 3 of arXiv:2407.21787)."""
INSTRUCTION = (
    "Resolve the issue below by changing the repository {repo}, at commit {base_commit}. Reply with one fenced block of the "
    "language diff that holds the whole change as a unified diff, with paths from the repository's root behind a/ and b/, "
    "so that `git apply` takes it. Leave the tests alone: others will be run."
)
PAPER = Recipe(
    source="Brown et al. 2024, arXiv:2407.21787",
    n=250,
    form="chat",
    guesses=(
        "the agent: there Moatless Tools (commit a1017b78) over DeepSeek-Coder-V2-Instruct; run one with -m command/PATH",
        "temperature: 1.6, chosen there among 1.0, 1.4, 1.6 and 1.8 on 50 problems of the test set itself",
        "the harness's images and time limit of today, not those of 2024",
    ),
)


class SWEBenchLite:
    """SWE-bench Lite: an answer is a patch, a unified diff.

    Options (-T): path: a file or folder of rows.  split: test or dev.  revision: of the data set on the hub.  harness: rows
    that have the columns for the harness, where those of the data set lack them.  contexts: rows with `instance_id` and
    `text`, source code for example, shown to plain models before the issue.  flaky: false leaves the 34 flaky instances out.
    subset, subset_seed: a seeded choice.  protocol: modern or paper.
    """

    name = "swebench-lite"
    extractor = "swebench/1"
    verifier = VerifierSpec("swebench")

    def __init__(
        self,
        *,
        path: Path | None = None,
        split: Literal["test", "dev"] = "test",
        revision: str = "main",
        harness: Path | None = None,
        contexts: Path | None = None,
        flaky: bool = True,
        subset: int | None = None,
        subset_seed: int = 0,
        protocol: Literal["modern", "paper"] = "modern",
    ) -> None:
        self._path, self._split, self._revision = path, split, revision
        self._harness, self._contexts = harness, contexts
        self._with_flaky, self._subset, self._subset_seed = flaky, subset, subset_seed
        self._paper = protocol == "paper"
        self.recipe: Recipe | None = PAPER if self._paper else None

    # ------------------------------------------------------------------------------------------------- the data

    def source(self) -> DataSource:
        """Identity of all instances, their tests and contexts, before any choice."""
        digest = fingerprint([[p.id, p.check_fingerprint, dict(p.data)] for p in self._everything])
        if self._path is not None:
            return DataSource(str(self._path), "", digest)
        return DataSource(REPO, self._files[1], digest)

    def problems(self) -> Sequence[Problem]:
        """The chosen instances in the data set's order. Raises: BadData, MissingPart, ServiceError."""
        kept = [p for p in self._everything if self._with_flaky or not p.check["flaky"]]
        return _choice.subset(kept, self._subset, self._subset_seed)

    @cached_property
    def _files(self) -> tuple[list[Path], str]:
        return _hub.files(_hub.HubSet(REPO, (f"data/{self._split}-*.parquet",)), self._revision)

    @cached_property
    def _everything(self) -> tuple[Problem, ...]:
        paths = [self._path] if self._path is not None else self._files[0]
        found = _rows.problems(paths, self._problem)
        if not found:
            raise BadData(f"{paths[0]} holds no instances")
        return found

    def _problem(self, where: str, row: Mapping[str, Any]) -> Problem:
        name = _rows.text(where, row, "instance_id")
        row = {**self._columns.get(name, {}), **{k: v for k, v in row.items() if v is not None}}
        lacking = [column for column in HARNESS if not row.get(column)]
        if lacking:
            _rows.bad(
                where,
                f"instance {name!r} has no {lacking[0]!r}, which the harness needs since swebench 5: take the rows of a newer "
                "edition, or name some that have it (those of all of SWE-bench, say) with -T harness=FILE",
            )
        check: dict[str, Any] = {"instance_id": name, **{column: str(row[column]) for column in HARNESS}}
        check |= {column: str(row.get(column) or "") for column in ("repo", "version")}
        check |= {column: _tests(where, row, column) for column in TESTS}
        check["flaky"] = name in FLAKY
        data = {k: str(row.get(k) or "") for k in ("repo", "base_commit")}
        data["problem_statement"] = _rows.text(where, row, "problem_statement")
        if name in self._shown:
            data["context"] = self._shown[name]
        gold = row.get("patch")
        return Problem(name, check, data, gold if isinstance(gold, str) and gold.strip() else None)

    @cached_property
    def _columns(self) -> dict[str, dict[str, Any]]:
        """The harness's columns of other rows, by instance."""
        if self._harness is None:
            return {}
        rows = _rows.read(self._harness)
        return {str(row.get("instance_id")): {k: row[k] for k in HARNESS if row.get(k)} for _, row in rows}

    @cached_property
    def _shown(self) -> dict[str, str]:
        """What is shown before an issue, by instance."""
        if self._contexts is None:
            return {}
        rows = _rows.read(self._contexts)
        return {_rows.text(w, row, "instance_id"): _rows.text(w, row, "text") for w, row in rows}

    # ------------------------------------------------------------------------------------------------- prompts

    def params(self, form: PromptForm) -> Params:
        """The paper's temperature for its agent is 1.6; plain models are held together by less."""
        stop = ("\n```",) if form == "completion" else ()
        if self._paper:
            return Params(temperature=1.6, top_p=None, max_tokens=4096, stop=stop)
        return Params(temperature=0.8, top_p=0.95, max_tokens=4096, stop=stop)

    def prompt(self, problem: Problem, form: PromptForm) -> Prompt:
        data = problem.data
        head = INSTRUCTION.format(repo=data["repo"], base_commit=data["base_commit"])
        shown = f"<code>\n{data['context'].strip()}\n</code>\n\n" if "context" in data else ""
        text = f"{head}\n\n{shown}<issue>\n{str(data['problem_statement']).strip()}\n</issue>"
        return f"{text}\n\n```diff\n" if form == "completion" else (Message("user", text),)

    # ------------------------------------------------------------------------------------------------- answers

    def extract(self, text: str) -> str | None:
        """The diff in a text, fenced or not; a prediction that is a diff stays as it is, byte for byte."""
        return diffs.find(text)

    def canonical(self, answer: str) -> str:
        """Without blob names, times and hunk titles."""
        return diffs.canonical(answer)

    def example(self, problem: Problem, right: bool) -> str | None:
        """A fenced block with the gold patch, or with one that adds a file and resolves nothing."""
        if problem.reference is None:
            return None
        wrong = "--- /dev/null\n+++ b/vervet-example.txt\n@@ -0,0 +1 @@\n+nothing is resolved by this\n"
        patch = problem.reference if right else wrong
        return f"```diff\n{patch}{'' if patch.endswith(chr(10)) else chr(10)}```\n"


def _tests(where: str, row: Mapping[str, Any], column: str) -> list[str]:
    """A list of tests, which the data set keeps as JSON in a text."""
    value = row.get(column)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            _rows.bad(where, f"{column!r} is a text that is not JSON")
    if not isinstance(value, list) or not all(isinstance(test, str) for test in value):
        _rows.bad(where, f"{column!r} must be a list of tests, or one as JSON")
    return value

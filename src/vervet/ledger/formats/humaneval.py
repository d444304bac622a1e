"""HumanEval's `{"task_id", "completion"}`, as its own grader reads it, and as that grader writes it back with `passed`.

The grader runs prompt + completion + tests. So on export an answer that continues the prompt goes out as it is; one that is a
whole program goes out after a newline, and defines the function once more behind the prompt's own. A sample without an
answer has the completion "": the bare prompt, which fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vervet.ledger.formats import containers, jsonl
from vervet.ledger.formats.rows import Columns, Entry, Head, Run

COLUMNS = Columns(problem_id="task_id", text="completion", correct=("passed", "correct"))
_DEFINES = re.compile(r"^(?:(?:async[ \t]+)?def|class)[ \t]+\w", re.MULTILINE)


def recognises(head: Head) -> bool:
    return COLUMNS.begin(head)


def read(path: Path) -> Iterator[Entry]:
    """Raises: BadData where the file cannot be read; single lines that cannot are skipped."""
    return containers.rows(path, COLUMNS)


def write(out: BinaryIO, run: Run) -> int:
    """One line a sample, problem by problem; returns how many."""
    written = 0
    for problem, sample, _ in run.samples():
        out.write(jsonl.dumps({"task_id": problem.id, "completion": completion(sample.answer)}))
        written += 1
    return written


def completion(answer: str | None) -> str:
    """What stands behind the prompt so that both together are the answer's program."""
    if answer is None:
        return ""
    return answer if continues(answer) else f"\n{answer}"


def continues(answer: str) -> bool:
    """Whether an answer goes on where the prompt ends, rather than being a whole program."""
    return answer.lstrip("\r\n")[:1] in (" ", "\t") or not _DEFINES.search(answer)

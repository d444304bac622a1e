"""EvalPlus' `{"task_id", "solution"}`: whole programs for HumanEval+ and MBPP+."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vervet.ledger.formats import containers, jsonl
from vervet.ledger.formats.humaneval import continues
from vervet.ledger.formats.rows import Columns, Entry, Head, Run

COLUMNS = Columns(problem_id="task_id", text="solution")


def recognises(head: Head) -> bool:
    return COLUMNS.begin(head)


def read(path: Path) -> Iterator[Entry]:
    """Raises: BadData where the file cannot be read; single rows that cannot are skipped."""
    return containers.rows(path, COLUMNS)


def write(out: BinaryIO, run: Run) -> int:
    """One line a sample; returns how many. An answer that continues its prompt goes out behind it, none as ""."""
    written = 0
    for problem, sample, _ in run.samples():
        answer = sample.answer or ""
        prompt = str(problem.check.get("prompt", "")) if answer and continues(answer) else ""
        out.write(jsonl.dumps({"task_id": problem.id, "solution": prompt + answer}))
        written += 1
    return written

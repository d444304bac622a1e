"""SWE-bench predictions, `{"instance_id", "model_name_or_path", "model_patch"}`: JSONL or a JSON array, many an instance.

An empty or missing patch is an attempt without an answer, not a row that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vervet.ledger.formats import containers, jsonl
from vervet.ledger.formats.rows import Columns, Entry, Head, Run, Skipped, row_of

COLUMNS = Columns(problem_id="instance_id", text="model_patch", correct=("resolved", "correct"))


def recognises(head: Head) -> bool:
    return head.first is not None and COLUMNS.problem_id in head.first and COLUMNS.text in head.first


def read(path: Path) -> Iterator[Entry]:
    """Raises: BadData where the file cannot be read; single rows that cannot are skipped."""
    for entry in containers.objects(path):
        if isinstance(entry, Skipped):
            yield entry
            continue
        where, cells = entry
        patch = cells.get(COLUMNS.text)
        if patch is None or patch == "":
            cells = {**cells, COLUMNS.text: "", "answer": None, "correct": False}
        yield row_of(where, cells, COLUMNS)


def write(out: BinaryIO, run: Run) -> int:
    """One line a sample, as the harness reads it; returns how many."""
    written = 0
    for problem, sample, _ in run.samples():
        row = {"instance_id": problem.id, "model_name_or_path": run.model, "model_patch": sample.answer or ""}
        out.write(jsonl.dumps(row))
        written += 1
    return written

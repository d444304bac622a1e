"""Counts as CSV: one row a problem, `problem_id,n,c,unknown`, as `vervet coverage` and most other tools read them."""

from __future__ import annotations

import csv
import io
from typing import BinaryIO

from vervet.ledger.formats.rows import Run


def write(out: BinaryIO, run: Run) -> int:
    """One row a problem; returns how many."""
    counts = run.counts()
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("problem_id", "n", "c", "unknown"))
    rows = zip(counts.problem_ids, counts.n.tolist(), counts.c.tolist(), counts.unknown.tolist(), strict=True)
    table.writerows(rows)
    out.write(text.getvalue().encode())
    return len(counts)

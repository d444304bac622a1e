"""One object a sample under the plain names: `problem_id, sample_index, text[, answer, correct, score]`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vervet.ledger.formats import containers, parquet
from vervet.ledger.formats.rows import PLAIN, Entry, Head


def recognises(head: Head) -> bool:
    return PLAIN.begin(head)


def recognises_table(head: Head) -> bool:
    return head.magic.startswith(parquet.MAGIC) and recognises(head)


def read(path: Path) -> Iterator[Entry]:
    """Raises: BadData where the file cannot be read; single rows that cannot are skipped."""
    return containers.rows(path, PLAIN)

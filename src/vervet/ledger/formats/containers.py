"""Objects out of a file, whatever holds them: one JSON object a line (also gzipped), a JSON array, a Parquet table.

What the objects mean is a format's business; how they are stored is not. Nothing here holds more than a batch of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vervet.errors import BadData
from vervet.ledger.formats import array, jsonl, parquet
from vervet.ledger.formats.rows import Columns, Entry, Head, Skipped, row_of

Found = tuple[str, Mapping[str, Any]] | Skipped
"""(where in the file, object), or why a line is none."""


def head(path: Path) -> Head:
    """The first bytes and the first object. Raises: BadData where the file cannot be read, or holds no object."""
    magic = _magic(path)
    if not magic:
        raise BadData(f"{path} is empty")
    if magic.startswith(b"PK\x03\x04"):
        # an archive: those who know it look inside
        return Head(magic, None, path)
    if magic.startswith(parquet.MAGIC):
        return Head(magic, parquet.first_object(path), path)
    if array.recognises(magic):
        return Head(magic, array.first_object(path), path)
    return Head(magic, jsonl.first_object(path), path)


def objects(path: Path, columns: Sequence[str] | None = None, *, at_once: int = 256) -> Iterator[Found]:
    """Every object of a file, in order.

    Args: columns: what a table is read of; None: everything.  at_once: rows of a table in memory.
    Raises: BadData where the file cannot be read to its end, MissingPart where its kind needs an extra.
    """
    magic = _magic(path)
    if magic.startswith(parquet.MAGIC):
        return parquet.objects(path, columns, at_once)
    if array.recognises(magic):
        return array.objects(path)
    return jsonl.objects(path)


def rows(path: Path, columns: Columns) -> Iterator[Entry]:
    """Rows of any format that keeps one sample in one object."""
    for entry in objects(path, columns.all()):
        yield entry if isinstance(entry, Skipped) else row_of(entry[0], entry[1], columns)


def _magic(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror or error}") from error

"""Parquet with the columns of the plain JSONL, read batch by batch and written in row groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import orjson

from vervet.errors import BadData, MissingPart
from vervet.ledger.formats.rows import PLAIN, Entry, Head, Run, Skipped, encodable, row_of

MAGIC = b"PAR1"
_BATCH = 256
# rows read at once: texts may be long
_GROUP_ROWS, _GROUP_CHARS = 16384, 16 * 1024 * 1024
# a row group is written when it has so much


def recognises(head: Head) -> bool:
    return head.magic.startswith(MAGIC)


def read(path: Path) -> Iterator[Entry]:
    """Raises: BadData where the file is damaged or lacks a column; MissingPart without pyarrow."""
    pyarrow, parquet = _modules("reading")
    try:
        with path.open("rb") as file:
            # buffered by page, not by column: a column of a row group may be larger than memory
            table = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
            have = table.schema_arrow.names
            _require_columns(path, have)
            wanted = [name for name in PLAIN.all() if name in have]
            number = 0
            for batch in table.iter_batches(batch_size=_BATCH, columns=wanted, use_threads=False):
                for cells in _cells(batch):
                    number += 1
                    where = f"row {number}"
                    yield Skipped(where, "not UTF-8 text") if cells is None else row_of(where, cells)
    except (pyarrow.ArrowException, OSError) as error:
        detail = (str(error).splitlines() or ["no detail"])[0]
        raise BadData(f"{path} cannot be read as Parquet: {detail}") from error


def _require_columns(path: Path, have: list[str]) -> None:
    missing = [name for name in (PLAIN.problem_id, PLAIN.text) if name not in have]
    if missing:
        raise BadData(
            f"{path} has no column {' and no column '.join(missing)}; it has {', '.join(have[:12]) or 'none'}"
        )
    twice = [name for name in PLAIN.all() if have.count(name) > 1]
    if twice:
        raise BadData(f"{path}: two columns are named {twice[0]}")


def _cells(batch: Any) -> list[dict[str, Any] | None]:
    """The batch's rows; None for one whose text is not UTF-8."""
    try:
        rows: list[dict[str, Any] | None] = batch.to_pylist()
    except UnicodeDecodeError:
        if len(batch) == 1:
            return [None]
        return [cells for i in range(len(batch)) for cells in _cells(batch.slice(i, 1))]
    return rows


def write(out: BinaryIO, run: Run) -> int:
    """One row a sample, a row group at a time; returns how many. Raises: MissingPart without pyarrow."""
    pyarrow, parquet = _modules("writing")
    schema = _schema(pyarrow, run)
    written = 0
    with parquet.ParquetWriter(out, schema, compression="zstd") as table:
        for group in _groups(run):
            table.write_table(pyarrow.Table.from_pylist(group, schema=schema))
            written += len(group)
    return written


def _schema(pyarrow: ModuleType, run: Run) -> Any:
    text, long_text, whole = pyarrow.string(), pyarrow.large_string(), pyarrow.int64()
    columns = [
        ("problem_id", text),
        ("sample_index", whole),
        ("text", long_text),
        ("answer", long_text),
        ("outcome", text),
        ("correct", pyarrow.bool_()),
        ("finish_reason", text),
        ("completion_tokens", whole),
        ("seed", whole),
        ("reasoning", long_text),
        *((name, pyarrow.float64()) for name in run.score_columns),
        *((name, long_text) for name in (("check", "reference") if run.with_checks else ())),
    ]
    return pyarrow.schema(columns)


def _groups(run: Run) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    size = 0
    for row in run.rows():
        group.append(_row(row, run))
        size += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(group) >= _GROUP_ROWS or size >= _GROUP_CHARS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _row(row: dict[str, Any], run: Run) -> dict[str, Any]:
    """As Parquet can hold it: no objects, no lone surrogates (their rows are counted)."""
    if "check" in row:
        row = row | {"check": orjson.dumps(row["check"]).decode()}
    odd = {name: value for name, value in row.items() if isinstance(value, str) and not encodable(value)}
    if odd:
        run.replaced += 1
        row = row | {name: _whole_characters(value) for name, value in odd.items()}
    return row


def _whole_characters(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _modules(what: str) -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow  # noqa: PLC0415  an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise MissingPart(f"{what} Parquet needs pyarrow: pip install 'vervet[parquet]'") from error
    return pyarrow, parquet

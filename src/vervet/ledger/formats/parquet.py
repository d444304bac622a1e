"""Parquet with the columns of the plain JSONL, read batch by batch and written in row groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import orjson

from vervet.errors import BadData, MissingPart
from vervet.ledger.formats.rows import Run, Skipped, encodable

MAGIC = b"PAR1"
_GROUP_ROWS, _GROUP_CHARS = 16384, 16 * 1024 * 1024
# a row group is written when it has so much


def objects(path: Path, columns: Sequence[str] | None, at_once: int) -> Iterator[tuple[str, dict[str, Any]] | Skipped]:
    """(where, cells) of every row, `at_once` rows in memory; of a table without any of `columns` the rows are empty.

    Raises: BadData where the file is damaged or a column appears twice; MissingPart without pyarrow.
    """
    pyarrow, parquet = _modules("reading")
    number = 0
    try:
        with path.open("rb") as file:
            # buffered by page, not by column: a column of a row group may be larger than memory
            table = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
            wanted = _wanted(path, table.schema_arrow.names, columns)
            for batch in table.iter_batches(batch_size=at_once, columns=wanted, use_threads=False):
                for cells in _cells(batch):
                    number += 1
                    where = f"row {number}"
                    yield Skipped(where, "not UTF-8 text") if cells is None else (where, cells)
    except (pyarrow.ArrowException, OSError) as error:
        detail = (str(error).splitlines() or ["no detail"])[0]
        raise BadData(f"{path} cannot be read as Parquet: {detail}") from error


def first_object(path: Path) -> dict[str, Any] | None:
    """The first row that can be read, or where there is none, its columns without values. Raises: BadData, MissingPart."""
    pyarrow, parquet = _modules("reading")
    try:
        names = parquet.read_schema(path).names
    except (pyarrow.ArrowException, OSError) as error:
        detail = (str(error).splitlines() or ["no detail"])[0]
        raise BadData(f"{path} cannot be read as Parquet: {detail}") from error
    first = next((entry[1] for entry in objects(path, None, 1) if not isinstance(entry, Skipped)), None)
    return first or dict.fromkeys(names)


def _wanted(path: Path, have: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    wanted = list(have) if columns is None else [name for name in columns if name in have]
    twice = [name for name in wanted if have.count(name) > 1]
    if twice:
        raise BadData(f"{path}: two columns are named {twice[0]}")
    return list(dict.fromkeys(wanted))


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
        for group in _groups(run, [field.name for field in schema if field.type == pyarrow.large_string()]):
            table.write_table(_table(pyarrow, group, schema, run))
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


def _groups(run: Run, long: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Rows of one row group, without objects; `long` names the columns whose size counts."""
    group: list[dict[str, Any]] = []
    size = 0
    for row in run.rows():
        if run.with_checks:
            row["check"] = orjson.dumps(row["check"]).decode()
        group.append(row)
        size += sum(len(row[name] or "") for name in long)
        if len(group) >= _GROUP_ROWS or size >= _GROUP_CHARS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _table(pyarrow: ModuleType, group: list[dict[str, Any]], schema: Any, run: Run) -> Any:
    """Column by column: half the time of `Table.from_pylist`."""
    try:
        return _columns(pyarrow, group, schema)
    except UnicodeEncodeError:
        return _columns(pyarrow, [_whole_row(row, run) for row in group], schema)


def _columns(pyarrow: ModuleType, group: list[dict[str, Any]], schema: Any) -> Any:
    arrays = [pyarrow.array([row[field.name] for row in group], field.type) for field in schema]
    return pyarrow.Table.from_arrays(arrays, schema=schema)


def _whole_row(row: dict[str, Any], run: Run) -> dict[str, Any]:
    """Without lone surrogates, which Parquet cannot hold; their rows are counted."""
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

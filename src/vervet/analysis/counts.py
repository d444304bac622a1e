"""Counts from a table: CSV, JSONL or Parquet with columns problem_id, n, c and optionally unknown.

Other columns are ignored. Whatever is wrong is one `BadData` line that names the file and the line or row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from vervet.errors import BadData, MissingPart
from vervet.records import Counts

_NEEDED = ("problem_id", "n", "c")
_EXPECTED = "Expected problem_id, n, c and optionally unknown"
_LARGEST = 2**53
# beyond this a whole number does not survive as a float in other people's tables

Row = tuple[str, Mapping[str, Any]]
"""Where it stands, for people ("line 3"), and its cells."""


def read_counts(path: str | Path) -> Counts:
    """Per-problem counts from `path`, by its ending: .parquet, .jsonl or .ndjson, else CSV (.tsv: tab-separated).

    Raises: BadData naming file and line for missing columns, c > n, negative or non-numeric counts, a problem that
    appears twice, no rows, an empty file, text that is not UTF-8, an unreadable file; MissingPart for Parquet without
    pyarrow.
    """
    file = Path(path)
    ending = file.suffix.lower()
    try:
        if ending in {".parquet", ".pq"}:
            rows = _parquet(file)
        elif ending in {".jsonl", ".ndjson"}:
            rows = _jsonl(file)
        else:
            rows = _csv(file, "\t" if ending == ".tsv" else ",")
        return _collect(file, rows)
    except UnicodeDecodeError as error:
        raise BadData(f"{file}: not UTF-8 text (byte {error.start}): save the table as UTF-8") from None
    except OSError as error:
        raise BadData(f"{file}: cannot be read: {error.strerror or error}") from None


def _collect(file: Path, rows: Iterator[Row]) -> Counts:
    seen: dict[str, str] = {}
    columns: dict[str, list[int]] = {"n": [], "c": [], "unknown": []}
    for where, row in rows:
        problem = _problem_id(file, where, row)
        if problem in seen:
            raise BadData(f"{file}, {where}: problem {problem!r} appears twice, first at {seen[problem]}")
        seen[problem] = where
        n, c, unknown = (_count(file, where, problem, name, row) for name in columns)
        if c > n:
            raise BadData(f"{file}, {where}: problem {problem!r} has c = {c} > n = {n}: c counts the passes among n")
        for name, value in zip(columns, (n, c, unknown), strict=True):
            columns[name].append(value)
    if not seen:
        raise BadData(f"{file}: no rows: there is nothing to count")
    return Counts(list(seen), columns["n"], columns["c"], columns["unknown"], source=str(file))


def _problem_id(file: Path, where: str, row: Mapping[str, Any]) -> str:
    value = row.get("problem_id")
    if value is None or isinstance(value, (bool, list, dict)) or not str(value).strip():
        raise BadData(f"{file}, {where}: no problem_id")
    return str(value).strip()


def _count(file: Path, where: str, problem: str, name: str, row: Mapping[str, Any]) -> int:
    value = row.get(name)
    if name == "unknown" and (value is None or not str(value).strip()):
        return 0
    number = _whole(value)
    if number is None:
        raise BadData(f"{file}, {where}: {name} of problem {problem!r} is {value!r}, not a whole number")
    if number < 0:
        raise BadData(f"{file}, {where}: {name} of problem {problem!r} is negative: {number}")
    return number


def _whole(value: object) -> int | None:
    """The whole number that a cell holds; 10.0 and "10.0" are 10 (tables with gaps are often stored as floats)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not abs(number) <= _LARGEST or number != int(number):
        return None
    return int(number)


# --------------------------------------------------------------------------------------------------------- formats


def _csv(file: Path, delimiter: str) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, delimiter=delimiter)
        try:
            header = [name.strip() for name in next(reader, [])]
            _check_header(file, header)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) > len(header):
                    raise BadData(f"{file}, line {reader.line_num}: {len(cells)} cells under {len(header)} names")
                yield f"line {reader.line_num}", dict(zip(header, cells, strict=False))
        except csv.Error as error:
            raise BadData(f"{file}, line {reader.line_num}: not CSV: {error}") from None


def _check_header(file: Path, header: list[str]) -> None:
    if not any(header):
        raise BadData(f"{file}: empty: expected a table with columns problem_id,n,c")
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        has = ", ".join(name[:40] for name in header[:12])
        raise BadData(f"{file}: no column {' and no column '.join(missing)}; it has {has}. {_EXPECTED}")
    twice = [name for name in (*_NEEDED, "unknown") if header.count(name) > 1]
    if twice:
        raise BadData(f"{file}: two columns are named {twice[0]}")


def _jsonl(file: Path) -> Iterator[Row]:
    empty = True
    with file.open(encoding="utf-8-sig") as text:
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            empty = False
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise BadData(f"{file}, line {number}: not JSON: {error}") from None
            if not isinstance(row, dict):
                raise BadData(f"{file}, line {number}: not a JSON object. {_EXPECTED}")
            missing = [name for name in _NEEDED if name not in row]
            if missing:
                raise BadData(f"{file}, line {number}: no {' and no '.join(missing)}. {_EXPECTED}")
            yield f"line {number}", row
    if empty:
        raise BadData(f"{file}: empty: expected one JSON object a line")


def _parquet(file: Path) -> Iterator[Row]:
    try:
        import pyarrow  # noqa: PLC0415  an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise MissingPart(f"{file}: reading Parquet needs pyarrow: pip install 'vervet[parquet]'") from None
    try:
        with file.open("rb") as handle:
            reader = pq.ParquetFile(handle)
            header = list(reader.schema_arrow.names)
            _check_header(file, header)
            rows = reader.read(columns=[name for name in (*_NEEDED, "unknown") if name in header]).to_pylist()
    except pyarrow.ArrowException as error:
        raise BadData(f"{file}: not a Parquet table: {str(error).splitlines()[0]}") from None
    for number, row in enumerate(rows, 1):
        yield f"row {number}", row

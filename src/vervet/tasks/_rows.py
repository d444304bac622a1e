"""Rows of a data set on disk: JSON lines, a JSON list, Parquet, plain or gzipped, with the place of each for messages."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import orjson

from vervet.errors import BadData, MissingPart
from vervet.records import Problem

Row = tuple[str, Mapping[str, Any]]
"""Where it stands ("data.jsonl line 3"), and the row."""


def read(path: Path) -> Iterator[Row]:
    """Every row of a file, or of all data files of a folder in the order of their names.

    The format is told by content. Raises: BadData with file and line, MissingPart (no such file, or no pyarrow).
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.name.endswith(_ENDINGS))
        if not files:
            raise BadData(f"{path} holds no data files ({', '.join(_ENDINGS)})")
        for file in files:
            yield from read(file)
        return
    if _starts(path) == b"PAR1":
        yield from _parquet(path)
        return
    raw = _bytes(path)
    if raw.lstrip()[:1] == b"[":
        yield from _json_list(path, raw)
    else:
        yield from _lines(path, raw)


def problems(
    paths: Iterable[Path], problem_of: Callable[[str, Mapping[str, Any]], Problem | None]
) -> tuple[Problem, ...]:
    """The problems of all rows, in order, without those for which `problem_of(where, row)` is None.

    Raises: BadData where an id comes twice, and what `read` raises.
    """
    found: dict[str, Problem] = {}
    for path in paths:
        for where, row in read(path):
            problem = problem_of(where, row)
            if problem is None:
                continue
            if problem.id in found:
                bad(where, f"problem {problem.id!r} appears twice")
            found[problem.id] = problem
    return tuple(found.values())


_ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".parquet")


def text(where: str, row: Mapping[str, Any], field: str) -> str:
    """A field that is a text and not blank. Raises: BadData."""
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        has = ", ".join(map(repr, row)) or "nothing"
        bad(where, f"{field!r} must be a text that is not empty (the row has {has})")
    return value


def bad(where: str, message: str) -> NoReturn:
    """Raise BadData that says where."""
    raise BadData(f"{where}: {message}")


def _starts(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except FileNotFoundError as error:
        raise MissingPart(f"there is no file {path}: give one that is there") from error
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}") from error


def _bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadData(f"{path} is damaged: not a whole gzip file ({error})") from error
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror}") from error


def _lines(path: Path, raw: bytes) -> Iterator[Row]:
    for number, line in enumerate(raw.split(b"\n"), 1):
        if line.strip():
            where = f"{path} line {number}"
            yield where, _object(where, _json(where, line))


def _json_list(path: Path, raw: bytes) -> Iterator[Row]:
    for number, row in enumerate(_json(str(path), raw)):
        where = f"{path} row {number}"
        yield where, _object(where, row)


def _json(where: str, raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadData(f"{where} is not JSON: {error}") from error


def _object(where: str, row: Any) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        bad(where, f"expected a JSON object, found {type(row).__name__}")
    return row


def _parquet(path: Path) -> Iterator[Row]:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415  an extra
    except ImportError as error:
        raise MissingPart("reading Parquet needs pyarrow: pip install 'vervet[parquet]'") from error
    number = 0
    try:
        # batch by batch: CodeContests' rows hold megabytes of tests each
        for batch in parquet.ParquetFile(path).iter_batches(256):
            for row in batch.to_pylist():
                yield f"{path} row {number}", row
                number += 1
    except (ArrowException, OSError) as error:
        raise BadData(f"{path} cannot be read as Parquet: {error}") from error

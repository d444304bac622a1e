"""Plain JSONL: one object a line, `problem_id, sample_index, text[, answer, correct, score]`; may be compressed by gzip.

Lines end where bytes say so, whatever Unicode thinks of line separators. Texts keep lone surrogates: they are JSON, if odd.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from vervet.errors import BadData
from vervet.ledger.formats.rows import Run, Skipped

LONGEST_LINE = 256 * 1024 * 1024
# bytes: a problem with all its samples in lists may be long, and a line has to fit into memory
_LINES_TRIED = 1000
# until an object is found that shows the format


def first_object(path: Path) -> dict[str, Any] | None:
    """The first line that is an object, None where the file has other JSON. Raises: BadData where it has no JSON at all."""
    wrong = None
    for number, entry in enumerate(objects(path)):
        if not isinstance(entry, Skipped):
            return entry[1]
        wrong = wrong or entry
        if number >= _LINES_TRIED:
            break
    if wrong is None:
        raise BadData(f"{path} is empty")
    raise BadData(f"{path} holds no JSON object ({wrong}): write one object a line")


def objects(path: Path, longest: int = LONGEST_LINE) -> Iterator[tuple[str, dict[str, Any]] | Skipped]:
    """(where, object) of every line that is not blank. Raises: BadData where the file cannot be read to its end."""
    number = 0
    try:
        with _open(path) as file:
            while line := file.readline(longest + 1):
                number += 1
                where = f"line {number}"
                if len(line) > longest:
                    while line and not line.endswith(b"\n"):
                        line = file.readline(longest)
                    yield Skipped(where, f"longer than {longest >> 20} MiB")
                    continue
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line and not line.isspace():
                    yield _object(where, line)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadData(f"{path} is damaged after line {number}: not a whole gzip file") from error
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror or error}") from error


def _object(where: str, line: bytes) -> tuple[str, dict[str, Any]] | Skipped:
    try:
        value = loads(line)
    except UnicodeDecodeError:
        return Skipped(where, "not UTF-8 text")
    except (ValueError, RecursionError) as error:
        return Skipped(where, f"not JSON: {str(error)[:100]}")
    if not isinstance(value, dict):
        return Skipped(where, "not a JSON object")
    return where, value


def loads(line: bytes) -> Any:
    """JSON, also what many tools write and strict readers refuse: NaN, lone surrogates. Raises: ValueError, RecursionError."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line.decode())


@contextlib.contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        zipped = file.peek(2)[:2] == b"\x1f\x8b"
        if not zipped:
            yield file
            return
        with gzip.open(file) as unzipped:
            yield cast("BinaryIO", unzipped)


def write(out: BinaryIO, run: Run) -> int:
    """One line a sample; returns how many."""
    written = 0
    for row in run.rows():
        out.write(dumps(row))
        written += 1
    return written


def dumps(row: Mapping[str, Any]) -> bytes:
    """A line of JSON. Lone surrogates are written as escapes, so that they come back as they were."""
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return json.dumps(row, separators=(",", ":")).encode() + b"\n"

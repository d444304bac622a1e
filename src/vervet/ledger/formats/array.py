"""A JSON array of objects, read one object at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from vervet.errors import BadData, MissingPart
from vervet.ledger.formats.rows import Skipped


def recognises(magic: bytes) -> bool:
    return magic.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def first_object(path: Path) -> dict[str, Any] | None:
    """The first element that is an object; None where there is none. Raises: BadData, MissingPart."""
    return next((entry[1] for entry in objects(path) if not isinstance(entry, Skipped)), None)


def objects(path: Path) -> Iterator[tuple[str, dict[str, Any]] | Skipped]:
    """(where, object) of every element. Raises: BadData where the file is damaged, MissingPart without ijson."""
    ijson = _ijson()
    number = 0
    try:
        with path.open("rb") as file:
            for number, value in enumerate(ijson.items(file, "item", use_float=True), 1):
                where = f"item {number}"
                yield (where, value) if isinstance(value, dict) else Skipped(where, "not a JSON object")
    except ijson.JSONError as error:
        detail = " ".join(str(error).split())[:100]
        raise BadData(f"{path} is damaged after item {number}: {detail}") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is damaged after item {number}: not UTF-8 text") from error
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror or error}") from error


def _ijson() -> ModuleType:
    try:
        import ijson  # noqa: PLC0415  an extra
    except ImportError as error:
        raise MissingPart("reading a JSON array needs ijson: pip install 'vervet[formats]'") from error
    module: ModuleType = ijson
    return module

"""Inspect's `.eval` logs: an archive with one JSON document a sample; epochs are samples.

The verdict is that of the log's first scorer where it says C or I, 1 or 0; partial credit is no verdict. A sample that ended
in an error of the harness is no sample. Entries are compressed by Zstandard, which `zipfile` does not read before Python 3.14.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from vervet.errors import BadData
from vervet.ledger.formats.jsonl import LONGEST_LINE, loads
from vervet.ledger.formats.rows import Entry, Head, Skipped, row_of

MAGIC = b"PK\x03\x04"
_HEADERS = ("header.json", "_journal/start.json")
# the second is all there is of a log that was cut short
_STORED, _DEFLATED, _ZSTANDARD = 0, 8, 93
_TRUTHS = {"C": True, "I": False, "N": False, True: True, False: False}
# Inspect's letters: correct, incorrect, no answer; numbers equal to 1 and 0 are the last two
_DAMAGED = (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error)
# what `zipfile` raises over a table of contents that makes no sense
_FINISH = {"max_tokens": "length", "model_length": "length"}


def recognises(head: Head) -> bool:
    if not head.magic.startswith(MAGIC):
        return False
    try:
        with zipfile.ZipFile(head.path) as archive:
            return bool(set(_HEADERS) & set(archive.namelist()))
    except (*_DAMAGED, OSError):
        return False


def read(path: Path) -> Iterator[Entry]:
    """Raises: BadData where the archive is damaged; single samples that cannot be read are skipped."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                if info.filename.startswith("samples/") and info.filename.endswith(".json"):
                    yield _entry(file, info)
    except _DAMAGED as error:
        raise BadData(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror or error}") from error


def _entry(file: BinaryIO, info: zipfile.ZipInfo) -> Entry:
    where = info.filename[:200]
    try:
        sample = loads(_body(file, info))
    except (ValueError, RecursionError, zlib.error, zstandard.ZstdError, struct.error) as error:
        return Skipped(where, f"cannot be read: {str(error)[:100]}")
    if not isinstance(sample, dict):
        return Skipped(where, "not a JSON object")
    return _sample(where, sample)


def _body(file: BinaryIO, info: zipfile.ZipInfo) -> bytes:
    """An entry's content, never more than the longest that is taken. Raises: ValueError and what decompressors raise."""
    file.seek(info.header_offset)
    local = file.read(30)
    name, extra = struct.unpack("<HH", local[26:30])
    file.seek(name + extra, 1)
    packed = file.read(min(info.compress_size, LONGEST_LINE))
    if info.compress_type == _ZSTANDARD:
        with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            body = stream.read(LONGEST_LINE + 1)
    elif info.compress_type == _DEFLATED:
        body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, LONGEST_LINE + 1)
    elif info.compress_type == _STORED:
        body = packed
    else:
        raise ValueError(f"compression method {info.compress_type} is not known")
    if len(body) > LONGEST_LINE:
        raise ValueError(f"longer than {LONGEST_LINE >> 20} MiB")
    return body


def _sample(where: str, sample: Mapping[str, Any]) -> Entry:
    if sample.get("error"):
        detail = sample["error"].get("message", "") if isinstance(sample["error"], dict) else ""
        return Skipped(where, f"ended in an error of the harness: {str(detail)[:80]}")
    epoch = sample.get("epoch")
    choice = _first(_dict(sample.get("output")).get("choices"))
    text, reasoning = _content(_dict(choice.get("message")).get("content"), _dict(sample.get("attachments")))
    stop = choice.get("stop_reason")
    cells = {
        "problem_id": sample.get("id"),
        "sample_index": epoch - 1 if isinstance(epoch, int) and epoch > 0 else None,
        "text": text,
        "reasoning": reasoning,
        "finish_reason": _FINISH.get(stop, stop) if isinstance(stop, str) else None,
        "completion_tokens": _dict(_dict(sample.get("output")).get("usage")).get("output_tokens"),
        "reference": sample.get("target") if isinstance(sample.get("target"), str) else None,
        "prompt": _prompt(sample.get("input")),
        **_score(sample.get("scores")),
    }
    return row_of(where, cells)


def _score(scores: Any) -> dict[str, Any]:
    """The first scorer's verdict and answer, as far as they are plain."""
    score = _first(list(scores.values()) if isinstance(scores, dict) else None)
    value = score.get("value")
    answer = score.get("answer")
    found: dict[str, Any] = {"correct": _TRUTHS.get(value) if isinstance(value, (str, int, float)) else None}
    if isinstance(answer, str) and answer:
        found["answer"] = answer
    return found


def _content(content: Any, attachments: Mapping[str, Any]) -> tuple[str, str]:
    """(text, reasoning) of a message, whose content is text or a list of parts; long pieces may stand among attachments."""
    if isinstance(content, str):
        return _resolved(content, attachments), ""
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    found = {
        kind: "".join(_resolved(p[kind], attachments) for p in parts if isinstance(p.get(kind), str))
        for kind in ("text", "reasoning")
    }
    return found["text"], found["reasoning"]


def _resolved(text: str, attachments: Mapping[str, Any]) -> str:
    found = attachments.get(text.removeprefix("attachment://")) if text.startswith("attachment://") else None
    return found if isinstance(found, str) else text


def _prompt(given: Any) -> str:
    """The input, or what its user messages say."""
    if isinstance(given, list):
        users = [m for m in given if isinstance(m, dict) and m.get("role") == "user"]
        return "\n\n".join(m["content"] for m in users if isinstance(m.get("content"), str))
    return given if isinstance(given, str) else ""


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(values: Any) -> Mapping[str, Any]:
    return _dict(values[0]) if isinstance(values, list) and values else {}

"""NeMo-Skills' `output-rsSEED.jsonl`: one file a seed, one line a problem, in the same order in all of them.

A folder of such files is one run; of a single file every problem has one sample. A problem is known by its `id`, else by its
line. The verdict is `symbolic_correct` or, in older files, `is_correct`; else the judge's "Judgement: Yes" or "No".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vervet.ledger.formats import containers
from vervet.ledger.formats.rows import Entry, Head, Skipped, row_of

_FILE = re.compile(r"output-rs(\d{1,6})\.jsonl(?:\.gz)?")
_JUDGEMENT = re.compile(r"judg(?:e?)ment:\s*\**\s*(yes|no)\b", re.IGNORECASE)


def recognises(head: Head) -> bool:
    first = head.first or {}
    return "generation" in first and ("predicted_answer" in first or "expected_answer" in first)


def recognises_folder(folder: Path) -> bool:
    return bool(_files(folder))


def read(path: Path) -> Iterator[Entry]:
    """Raises: BadData where a file cannot be read; single rows that cannot are skipped."""
    for index, file in _files(path) if path.is_dir() else [(0, path)]:
        name = f"{file.name}, " if path.is_dir() else ""
        for number, entry in enumerate(containers.objects(file)):
            if isinstance(entry, Skipped):
                yield Skipped(f"{name}{entry.where}", entry.why)
            else:
                yield row_of(f"{name}{entry[0]}", _cells(entry[1], number, index))


def _files(folder: Path) -> list[tuple[int, Path]]:
    """(seed, file), by seed."""
    found = ((_FILE.fullmatch(path.name), path) for path in folder.iterdir() if path.is_file())
    return sorted((int(match.group(1)), path) for match, path in found if match)


def _cells(row: Mapping[str, Any], number: int, index: int) -> dict[str, Any]:
    own = row.get("id", row.get("problem_id"))
    problem = row.get("problem", row.get("question"))
    cells = {
        "problem_id": number if own is None else own,
        "sample_index": index,
        "text": row.get("generation"),
        "reference": row.get("expected_answer") if isinstance(row.get("expected_answer"), (str, int, float)) else None,
        "prompt": problem if isinstance(problem, str) else "",
        "correct": _verdict(row),
        "score": row.get("reward_model_score"),
        "completion_tokens": row.get("num_generated_tokens"),
        "finish_reason": row.get("finish_reason"),
    }
    return cells | ({"answer": row["predicted_answer"]} if "predicted_answer" in row else {})


def _verdict(row: Mapping[str, Any]) -> Any:
    for name in ("symbolic_correct", "is_correct"):
        if row.get(name) is not None:
            return row[name]
    judgement = row.get("judgement")
    found = _JUDGEMENT.search(judgement) if isinstance(judgement, str) else None
    return found.group(1).lower() == "yes" if found else None

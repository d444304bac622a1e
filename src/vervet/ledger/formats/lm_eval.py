"""lm-evaluation-harness' `samples_TASK_*.jsonl` (`--log_samples`) of generation tasks: one row a document and filter.

Rows of the first filter in the file count; the others hold the same texts again. The tool judges a document, not a response:
where it drew several (`repeats`), its number belongs to none of them alone and they stay without a verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vervet.ledger.formats import containers
from vervet.ledger.formats.rows import Entry, Head, Skipped, row_of


def recognises(head: Head) -> bool:
    return {"doc_id", "resps", "filtered_resps"} <= set(head.first or ())


def read(path: Path) -> Iterator[Entry]:
    """Raises: BadData where the file cannot be read; single rows that cannot are skipped."""
    chosen: Any = None
    for entry in containers.objects(path):
        if isinstance(entry, Skipped):
            yield entry
            continue
        where, cells = entry
        chosen = cells.get("filter") if chosen is None else chosen
        if cells.get("filter") == chosen:
            yield from _samples(where, cells)


def _samples(where: str, cells: Mapping[str, Any]) -> Iterator[Entry]:
    texts = _flat(cells.get("resps"))
    if texts is None:
        yield Skipped(where, "resps holds no generated texts (a task of log-likelihoods has no samples)")
        return
    answers = _flat(cells.get("filtered_resps")) or []
    target = cells.get("target")
    for index, text in enumerate(texts):
        sample = {
            "problem_id": cells.get("doc_id"),
            "sample_index": index,
            "text": text,
            "reference": target if isinstance(target, (str, int, float)) else None,
            "prompt": _prompt(cells.get("arguments")),
        }
        if len(answers) == len(texts):
            sample["answer"] = answers[index]
        if len(texts) == 1:
            sample["correct"] = _verdict(cells)
        yield row_of(where if len(texts) == 1 else f"{where}, sample {index}", sample)


def _flat(value: Any) -> list[Any] | None:
    """Texts out of [["a", "b"]], ["a"] or [[["a"]]]; None where there are none."""
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    return value if isinstance(value, list) and value and all(isinstance(v, str) for v in value) else None


def _verdict(cells: Mapping[str, Any]) -> bool | None:
    """The first metric's value where it is 0 or 1."""
    metrics = cells.get("metrics")
    name = metrics[0] if isinstance(metrics, list) and metrics else "exact_match"
    value = cells.get(name) if isinstance(name, str) else None
    return bool(value) if isinstance(value, (int, float)) and value in (0, 1) else None


def _prompt(arguments: Any) -> str:
    first = next(iter(arguments.values()), None) if isinstance(arguments, dict) else None
    text = first.get("arg_0") if isinstance(first, dict) else None
    return text if isinstance(text, str) else ""

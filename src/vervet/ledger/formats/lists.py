"""One object a problem, its samples in lists of equal length.

`lists` is the general form: `problem_id` with `samples` (texts) or `preds` (answers), and where there are any `correct` and
`rm_score`. `monkey_business` is the data set released with "Large Language Monkeys" (arXiv 2407.21787): `question, samples,
is_corrects, gt_answer, orig_dset_idx`. A cell that is wrong skips one sample; lists that do not fit each other, the problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vervet.ledger.formats import containers
from vervet.ledger.formats.rows import Entry, Head, Skipped, row_of

_AT_ONCE = 1
# rows of a table: a row holds thousands of samples


@dataclass(frozen=True, slots=True)
class ListColumns:
    """Where a format keeps what. Names that are tried in order."""

    problem_id: tuple[str, ...]
    texts: tuple[str, ...]
    # lists; without any the answers are the texts
    answers: tuple[str, ...] = ()
    correct: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    prompt: tuple[str, ...] = ()

    def all(self) -> tuple[str, ...]:
        """Every column that is looked at."""
        return (
            *self.problem_id, *self.texts, *self.answers, *self.correct, *self.scores, *self.reference, *self.prompt
        )  # fmt: skip


LISTS = ListColumns(
    problem_id=("problem_id", "id", "idx", "task_id"),
    texts=("samples", "texts", "responses"),
    answers=("preds", "answers"),
    correct=("correct", "is_corrects"),
    scores=("rm_score", "scores", "score"),
    reference=("reference", "gold", "gt_answer"),
    prompt=("prompt", "question"),
)
MONKEYS = ListColumns(
    problem_id=("orig_dset_idx", "problem_id"),
    texts=("samples",),
    correct=("is_corrects",),
    reference=("gt_answer",),
    prompt=("question",),
)


def recognises_monkeys(head: Head) -> bool:
    return _has(head, "samples") and _has(head, "is_corrects") and "orig_dset_idx" in (head.first or {})


def recognises_lists(head: Head) -> bool:
    first = head.first or {}
    return any(name in first for name in LISTS.problem_id) and any(
        _has(head, name) for name in (*LISTS.texts, *LISTS.answers)
    )


def _has(head: Head, name: str) -> bool:
    return isinstance((head.first or {}).get(name), list)


def read_monkeys(path: Path) -> Iterator[Entry]:
    """Raises: BadData where the file cannot be read; what cannot be in it is skipped."""
    return _read(path, MONKEYS)


def read_lists(path: Path) -> Iterator[Entry]:
    """Raises: BadData where the file cannot be read; what cannot be in it is skipped."""
    return _read(path, LISTS)


def _read(path: Path, columns: ListColumns) -> Iterator[Entry]:
    for entry in containers.objects(path, columns.all(), at_once=_AT_ONCE):
        if isinstance(entry, Skipped):
            yield entry
        else:
            yield from samples(entry[0], entry[1], columns)


def samples(where: str, cells: Mapping[str, Any], columns: ListColumns) -> Iterator[Entry]:
    """One problem's samples, numbered in the lists' order."""
    lists = {
        kind: found
        for kind in ("texts", "answers", "correct", "scores")
        if (found := _first(cells, getattr(columns, kind), list)) is not None
    }
    problem = _first(cells, columns.problem_id, object)
    sizes = {kind: len(found) for kind, found in lists.items()}
    if "texts" not in lists and "answers" not in lists:
        yield Skipped(where, f"no list {' or '.join((*columns.texts, *columns.answers))}")
    elif len(set(sizes.values())) > 1:
        yield Skipped(where, "lists of different lengths: " + ", ".join(f"{k} {n}" for k, n in sizes.items()))
    else:
        shared = {
            "problem_id": problem,
            "reference": _scalar(_first(cells, columns.reference, object)),
            "prompt": _first(cells, columns.prompt, str),
        }
        for index in range(next(iter(sizes.values()), 0)):
            yield row_of(f"{where}, sample {index}", shared | _one(lists, index))


def _one(lists: Mapping[str, Sequence[Any]], index: int) -> dict[str, Any]:
    """The cells of one sample under their plain names. An answer that is null is none."""
    cells: dict[str, Any] = {"sample_index": index}
    if "answers" in lists:
        cells["answer"] = lists["answers"][index]
    cells["text"] = lists["texts"][index] if "texts" in lists else _words(cells["answer"])
    for kind, name in (("correct", "correct"), ("scores", "score")):
        if kind in lists:
            cells[name] = lists[kind][index]
    return cells


def _words(answer: Any) -> Any:
    if answer is None:
        return ""
    return str(answer) if isinstance(answer, (int, float)) and not isinstance(answer, bool) else answer


def _scalar(value: Any) -> Any:
    return value if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None


def _first(cells: Mapping[str, Any], names: Sequence[str], kind: type) -> Any:
    """The first cell of this kind that is there and says something."""
    return next((cells[n] for n in names if cells.get(n) is not None and isinstance(cells[n], kind)), None)

"""What formats and the ledger exchange: one row a sample, a line for what is none, and a run on its way out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import orjson

from vervet.records import Counts, Params, Problem, Prompt, Sample

LARGEST_INDEX = 9_999_999
# a sample_index beyond it is something else (a time, a hash), and would make holes that nobody can list


@dataclass(frozen=True, slots=True)
class Head:
    """What a file begins with."""

    magic: bytes
    # its first 8 bytes
    first: Mapping[str, Any] | None
    # its first object, where it has any
    path: Path
    # the file, for formats that have to look inside


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that is not imported."""

    where: str
    # "line 3", "row 3"
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


class Row(NamedTuple):
    """One sample as a file has it. A tuple, because a million are made: a frozen dataclass takes twice as long."""

    where: str
    problem_id: str
    text: str
    sample_index: int | None = None
    # None: the order in the file counts
    answer: str | None = None
    # None: not said
    unanswered: bool = False
    # the file says that there is no answer in the text, and that this is a failure
    correct: bool | None = None
    # None: not judged
    score: float | None = None
    finish_reason: str = "stop"
    completion_tokens: int | None = None
    seed: int | None = None
    reasoning: str = ""
    reference: str | None = None
    check: Mapping[str, Any] | None = None
    prompt: str = ""
    # what the model was asked, where the file tells


Entry = Row | Skipped


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    run: str
    problems: int
    samples: int
    judged: int
    # samples with a verdict in the file
    skipped: tuple[str, ...] = ()
    # the first 1000 rows that were not imported, a line each; all of them are in the run's log.txt
    skipped_total: int = 0
    contradictions: int = 0
    # distinct answers that the file judges right in one sample and wrong in another
    absent: int = 0
    # problems of the task that have no sample
    format: str = ""

    def to_dict(self) -> dict[str, Any]:
        """vervet.import/1."""
        return {
            "schema": "vervet.import/1",
            "run": self.run,
            "format": self.format,
            "problems": self.problems,
            "samples": self.samples,
            "judged": self.judged,
            "skipped_total": self.skipped_total,
            "skipped": list(self.skipped),
            "contradictions": self.contradictions,
            "absent": self.absent,
        }


class Run(Protocol):
    """A run on its way out, as writers see it."""

    score_columns: tuple[str, ...]
    with_checks: bool
    per_problem: int | None
    # rows a problem that are wanted at most, for formats that choose
    model: str
    # as the run names it, without its provider where the samples were imported
    task: str
    # "" where nobody knows
    params: Params
    verifier: str
    # name of the one behind the outcomes
    replaced: int
    # rows in which a writer had to replace characters that its format cannot hold

    def samples(self) -> Iterator[tuple[Problem, Sample, Mapping[str, float | None]]]:
        """Problem by problem, in index order; with the scores by column."""
        ...

    def rows(self) -> Iterator[dict[str, Any]]:
        """The same as plain rows."""
        ...

    def counts(self) -> Counts: ...

    def prompt(self, problem_id: str) -> Prompt: ...


# ------------------------------------------------------------------------------------------------- cells into rows


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a format keeps what. Names that are tried in order; a row that has none of them does not say."""

    problem_id: str = "problem_id"
    text: str = "text"
    index: str = "sample_index"
    correct: tuple[str, ...] = ("correct",)

    def all(self) -> tuple[str, ...]:
        """Every column that is looked at."""
        return (self.problem_id, self.text, self.index, *self.correct, *_OTHERS)

    def begin(self, head: Head) -> bool:
        """Whether a file begins with a problem and a text under these names."""
        return head.first is not None and self.problem_id in head.first and self.text in head.first


PLAIN = Columns()


class _Wrong(ValueError):
    """A cell that does not say what its column should."""


def row_of(where: str, cells: Mapping[str, Any], columns: Columns = PLAIN) -> Entry:
    """A row out of a JSON object or a table's row; Skipped with the reason where a cell is missing or of a wrong type.

    `correct` may be a bool, 0 or 1, or "true" or "false"; null and NaN mean "not said" in every column but the problem and
    the text. What is only told for the record (finish reason, tokens, seed) is kept where it is of the right kind.
    """
    get = cells.get
    try:
        correct = None
        for name in columns.correct:
            if correct is None:
                correct = _truth(name, get(name))
        return Row(
            where,
            _id(columns.problem_id, get(columns.problem_id)),
            _text(columns.text, get(columns.text)),
            _index(columns.index, get(columns.index)),
            unanswered=correct is False and "answer" in cells and cells["answer"] is None,
            correct=correct,
            # most files have few of them
            **{name: take(name, cells[name]) for name, take in _OTHERS.items() if get(name) is not None},
        )
    except _Wrong as error:
        return Skipped(where, str(error))


def _id(name: str, value: Any) -> str:
    if value is None or value == "":
        raise _Wrong(f"no {name}")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _Wrong(f"{name} must be text or a whole number, not {_kind(value)}")
    if not encodable(value):
        raise _Wrong(f"{name} holds half a character (a lone surrogate)")
    return value


def _text(name: str, value: Any) -> str:
    if value is None:
        raise _Wrong(f"no {name}")
    if not isinstance(value, str):
        raise _Wrong(f"{name} must be text, not {_kind(value)}")
    return value


def _index(name: str, value: Any) -> int | None:
    if _absent(value):
        return None
    whole = _whole(value)
    if whole is None:
        raise _Wrong(f"{name} must be a whole number, not {_show(value)}")
    if not 0 <= whole <= LARGEST_INDEX:
        raise _Wrong(
            f"{name} must be between 0 and {LARGEST_INDEX:,}, not {whole}: leave the column out to number by order"
        )
    return whole


def _words(name: str, value: Any) -> str | None:
    """Text, or a number as text: many files have numbers as answers."""
    if _absent(value):
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise _Wrong(f"{name} must be text or a number, not {_kind(value)}")
    return value


_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def _truth(name: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    if _absent(value):
        return None
    found = _TRUTHS.get(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        raise _Wrong(f"{name} must be true, false, 1, 0 or null, not {_show(value)}")
    return found


def _score(name: str, value: Any) -> float | None:
    if _absent(value):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Wrong(f"{name} must be a number, not {_show(value)}")
    try:
        score = float(value)
    except OverflowError:
        score = math.inf
    if math.isinf(score):
        raise _Wrong(f"{name} must be finite")
    return score


def _check(name: str, value: Any) -> Mapping[str, Any] | None:
    """An object, or its JSON text (tables have no objects)."""
    if _absent(value):
        return None
    try:
        check = orjson.loads(value) if isinstance(value, str) else value
        # what the ledger keeps must have one spelling: no half characters, no numbers beyond 64 bits
        orjson.dumps(check, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, TypeError) as error:
        raise _Wrong(f"{name} is not JSON: {error}") from error
    if not isinstance(check, dict):
        raise _Wrong(f"{name} must be an object, not {_kind(check)}")
    return check


def _finish(_: str, value: Any) -> str:
    return (
        value if isinstance(value, str) and value.isascii() and value.isprintable() and 0 < len(value) <= 40 else "stop"
    )


def _count(_: str, value: Any) -> int | None:
    whole = _whole(value)
    return whole if whole is not None and 0 <= whole < 1 << 63 else None


def _told(_: str, value: Any) -> str:
    return value if isinstance(value, str) else ""


_OTHERS: Mapping[str, Callable[[str, Any], Any]] = {
    "answer": _words,
    "score": _score,
    "finish_reason": _finish,
    "completion_tokens": _count,
    "seed": _count,
    "reasoning": _told,
    "reference": _words,
    "check": _check,
    "prompt": _told,
}


def _whole(value: Any) -> int | None:
    """3 and 3.0: tables with gaps keep whole numbers as floats."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


_KINDS: Sequence[tuple[type | tuple[type, ...], str]] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    (bytes, "bytes"),
    (list, "a list"),
    (dict, "an object"),
)


def _kind(value: Any) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), f"a {type(value).__name__}")


def _show(value: Any) -> str:
    return repr(value)[:40] if isinstance(value, (bool, int, float, str)) else _kind(value)


def encodable(text: str) -> bool:
    """Whether the text is whole Unicode: no lone surrogates, which JSON can say and UTF-8 cannot."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

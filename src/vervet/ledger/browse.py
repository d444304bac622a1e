"""What a person who looks into a run asks for: a problem's samples and classes of answers, one attempt, a search in texts.

Lists are arrays and read no text; a text is decompressed when it is shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.errors import UserError
from vervet.ledger.read import _NONE, _UNEXTRACTED, FAIL, PASS, PENDING, UNKNOWN, View, majority, problem_key, trials
from vervet.ledger.store import Ledger, decode, encode, storage
from vervet.records import IntArray, Reason, derive_seed

NO_ANSWER, NOT_LOOKED = _NONE, _UNEXTRACTED
OUTCOMES = {FAIL: "FAIL", PASS: "PASS", UNKNOWN: "UNKNOWN", PENDING: "pending"}
Codes = np.ndarray[Any, np.dtype[np.int8]]


def problem_names(ledger: Ledger) -> list[str]:
    """Problem ids in the run's order."""
    return list(ledger.problem_keys())


# ------------------------------------------------------------------------------------------------ a problem's samples


@dataclass(frozen=True, slots=True)
class Attempts:
    """A problem's samples in index order: arrays of one length."""

    index: IntArray
    text: IntArray
    # ids of texts
    answer: IntArray
    # ids of distinct answers, NO_ANSWER or NOT_LOOKED
    outcome: Codes
    # see OUTCOMES
    reason: IntArray
    # ids of names; 0 where there is none
    finish: IntArray
    # ids of names
    tokens: IntArray
    # -1 where nobody counted
    names: dict[int, str]

    def __len__(self) -> int:
        return len(self.index)

    def chosen(self, mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Attempts:
        """The samples where `mask` is true."""
        return Attempts(
            self.index[mask],
            self.text[mask],
            self.answer[mask],
            self.outcome[mask],
            self.reason[mask],
            self.finish[mask],
            self.tokens[mask],
            self.names,
        )


def attempts(ledger: Ledger, which: View, problem_id: str) -> Attempts:
    """All samples of a problem by one verifier. Raises: UserError."""
    key, check = problem_key(ledger, problem_id)
    query = (
        "SELECT s.idx, s.text, CASE WHEN e.text IS NULL THEN -2 ELSE ifnull(e.answer, -1) END, s.finish, "
        "ifnull(s.tokens, -1) FROM samples s LEFT JOIN extractions e ON e.extractor = ? AND e.text = s.text "
        "WHERE s.config = 0 AND s.problem = ? ORDER BY s.idx"
    )
    with storage(ledger.path):
        rows = np.array(ledger.db.execute(query, (which.extractor, key)).fetchall(), np.int64).reshape(-1, 5)
        verdicts = _effective(ledger, which, check)
        names = ledger.names() | {0: ""}
    index, text, answer, finish, tokens = rows.T
    missing = ledger.known_name(Reason.NO_ANSWER.value)
    names.setdefault(-1, Reason.NO_ANSWER.value)
    ids, where = np.unique(answer, return_inverse=True)
    table = np.array([_judged(int(a), verdicts, missing or -1) for a in ids], np.int64).reshape(-1, 2)
    outcome, reason = table[where].T if len(answer) else (np.zeros(0, np.int64), np.zeros(0, np.int64))
    return Attempts(index, text, answer, outcome.astype(np.int8), reason, finish, tokens, names)


def _judged(answer: int, verdicts: dict[int, tuple[int, int]], no_answer: int) -> tuple[int, int]:
    if answer == NO_ANSWER:
        return FAIL, no_answer
    return (PENDING, 0) if answer == NOT_LOOKED else verdicts.get(answer, (PENDING, 0))


def _effective(ledger: Ledger, which: View, check: int) -> dict[int, tuple[int, int]]:
    """Distinct answer -> outcome by majority of decided trials, and the last trial's reason that agrees."""
    query = "SELECT answer, outcome, reason FROM verdicts WHERE verifier = ? AND check_id = ? ORDER BY answer, trial"
    found: dict[int, list[tuple[int, int]]] = {}
    for answer, outcome, reason in ledger.db.execute(query, (which.verifier, check)):
        found.setdefault(answer, []).append((outcome, reason))
    return {answer: majority(rows) for answer, rows in found.items()}


# ------------------------------------------------------------------------------------------------ classes of answers


@dataclass(frozen=True, slots=True)
class AnswerClass:
    """Samples whose answers mean the same by the task's canonical form."""

    key: str
    # hexadecimal; "none": no answer found, "pending": nobody has looked yet
    samples: int
    spellings: int
    # distinct answers
    first: int
    # index of the first sample
    outcomes: tuple[int, int, int, int]
    # samples by outcome code
    example: int
    # id of the most common spelling, < 0 where there is none


def classes(ledger: Ledger, problem_id: str, found: Attempts) -> list[AnswerClass]:
    """A problem's classes, most samples first; among equals the earlier one."""
    key, _ = problem_key(ledger, problem_id)
    keys = class_keys(ledger, key)
    labels = np.array([keys.get(int(a), "none" if a == NO_ANSWER else "pending") for a in found.answer], dtype=object)
    groups: dict[str, list[int]] = {}
    for position, label in enumerate(labels):
        groups.setdefault(label, []).append(position)
    out = [_class(label, np.array(where), found) for label, where in groups.items()]
    return sorted(out, key=lambda c: (-c.samples, c.first))


def class_keys(ledger: Ledger, problem: int) -> dict[int, str]:
    """Distinct answer -> its class, hexadecimal."""
    query = "SELECT id, lower(hex(ifnull(class, hash))) FROM answers WHERE problem = ?"
    with storage(ledger.path):
        return dict(ledger.db.execute(query, (problem,)))


def _class(label: str, where: IntArray, found: Attempts) -> AnswerClass:
    ids, counts = np.unique(found.answer[where], return_counts=True)
    codes = np.bincount(found.outcome[where], minlength=4)
    return AnswerClass(
        key=label,
        samples=len(where),
        spellings=len(ids) if label not in ("none", "pending") else 0,
        first=int(found.index[where[0]]),
        outcomes=(int(codes[0]), int(codes[1]), int(codes[2]), int(codes[3])),
        example=int(ids[np.argmax(counts)]),
    )


# ------------------------------------------------------------------------------------------------ one attempt


@dataclass(frozen=True, slots=True)
class Attempt:
    """One stored sample with everything that belongs to it."""

    problem_id: str
    index: int
    text: str
    reasoning: str
    trace: str
    answer: str | None
    looked: bool
    # whether an answer was looked for
    key: str
    # its class, as in AnswerClass
    finish: str
    tokens: int | None
    logprob: float | None
    seed: int
    trials: tuple[dict[str, Any], ...]
    # verdicts, oldest first
    server: str
    request: tuple[int, int]
    # first index and number of samples of the request that drew it


def attempt(ledger: Ledger, which: View, problem_id: str, index: int) -> Attempt:
    """Raises: UserError where there is no such sample."""
    key, _ = problem_key(ledger, problem_id)
    query = (
        "SELECT s.text, s.reasoning, s.trace, s.finish, s.tokens, s.logprob, e.answer, e.text, r.seed, r.server, r.first, r.n, "
        "lower(hex(ifnull(a.class, a.hash))) FROM samples s LEFT JOIN extractions e ON e.extractor = ? AND e.text = s.text "
        "LEFT JOIN answers a ON a.id = e.answer JOIN requests r ON r.id = s.request "
        "WHERE s.config = 0 AND s.problem = ? AND s.idx = ?"
    )
    with storage(ledger.path):
        row = ledger.db.execute(query, (which.extractor, key, index)).fetchone()
        if row is None:
            raise UserError(f"{ledger.folder} has no sample {index} of {problem_id!r}")
        text, reasoning, trace, finish, tokens, logprob, answer, looked, seed, server, first, n, mark = row
        names = ledger.names()
        return Attempt(
            problem_id=problem_id,
            index=index,
            text=ledger.text(text),
            reasoning=ledger.text(reasoning) if reasoning else "",
            trace=ledger.text(trace) if trace else "",
            answer=None if answer is None else ledger.answer(answer),
            looked=looked is not None,
            key=mark or ("none" if looked is not None else "pending"),
            finish=names.get(finish, ""),
            tokens=tokens,
            logprob=logprob,
            seed=derive_seed(ledger.run_seed, problem_id, index) if seed is None else seed,
            trials=tuple(trials(ledger, which, answer)) if answer is not None else (),
            server=names.get(server, ""),
            request=(first, n),
        )


# ------------------------------------------------------------------------------------------------ search


@dataclass(frozen=True, slots=True)
class Hit:
    """A text in which something was found."""

    problem_id: str
    index: int
    # the first sample with this text
    samples: int
    # samples with it
    where: str
    # "text", "reasoning" or "trace"
    before: str
    match: str
    after: str


@dataclass(frozen=True, slots=True)
class Found:
    """One stretch of a search through all texts, in the order in which they were stored."""

    hits: tuple[Hit, ...]
    looked_at: int
    # texts in this stretch
    reached: int
    # id of the last text: where the next stretch begins
    done: bool
    # nothing is left


_STRETCH = 512
# texts fetched at once: short transactions while a run writes
_AROUND = 90
# characters shown on each side


def search(
    ledger: Ledger, wanted: str, *, after: int = 0, problem_id: str | None = None, limit: int = 50, seconds: float = 1.0
) -> Found:
    """Texts that contain `wanted`, letter case ignored, from the text behind `after` on.

    Stops after `limit` hits or `seconds`; each distinct text is looked at once, however many samples share it.
    """
    needle = _Needle(wanted)
    key = None if problem_id is None else problem_key(ledger, problem_id)[0]
    hits: list[Hit] = []
    looked, reached, end = 0, after, time.monotonic() + seconds
    with storage(ledger.path):
        names = {number: name for name, number in ledger.problem_keys().items()}
        for number, problem, body in _texts(ledger, after, key):
            looked, reached = looked + 1, number
            place = needle.find(body)
            if place is not None and (hit := _hit(ledger, names[problem], problem, number, *place)) is not None:
                hits.append(hit)
            if len(hits) >= limit or (looked % 64 == 0 and time.monotonic() > end):
                return Found(tuple(hits), looked, reached, False)
    return Found(tuple(hits), looked, reached, True)


def _texts(ledger: Ledger, after: int, problem: int | None) -> Iterator[tuple[int, int, bytes]]:
    only = "" if problem is None else "AND +problem = :problem "
    query = f"SELECT id, problem, dictionary, body FROM texts WHERE id > :after {only}ORDER BY id LIMIT {_STRETCH}"  # noqa: S608  two constants
    while rows := ledger.db.execute(query, {"after": after, "problem": problem}).fetchall():
        for number, owner, dictionary, body in rows:
            yield number, owner, ledger.codec(dictionary).unpack(body)
        after = rows[-1][0]


class _Needle:
    """Finds a text in others; bytes with ASCII letters folded where the text allows it."""

    def __init__(self, wanted: str) -> None:
        self._ascii = encode(wanted).lower() if wanted.isascii() else None
        self._folded = wanted.casefold()

    def find(self, body: bytes) -> tuple[str, str, str] | None:
        """What stands before, the match as it is written, what stands behind."""
        if self._ascii is not None:
            at = body.lower().find(self._ascii)
            if at < 0:
                return None
            end = at + len(self._ascii)
            return _cut(body[max(0, at - 4 * _AROUND) : at]), decode(body[at:end]), _cut(body[end : end + 4 * _AROUND])
        text = decode(body)
        folded = text.casefold()
        at = folded.find(self._folded)
        if at < 0:
            return None
        # folding may change lengths ("ß"): the place is then near, not exact
        end = at + len(self._folded)
        return text[max(0, at - _AROUND) : at], text[at:end], text[end : end + _AROUND]


def _cut(piece: bytes) -> str:
    """UTF-8 that may have lost half a character at either end."""
    start = next((i for i, byte in enumerate(piece[:3]) if byte & 0xC0 != 0x80), 0)
    return piece[start:].decode("utf-8", "replace").rstrip("\ufffd") if piece else ""


def _hit(ledger: Ledger, problem_id: str, problem: int, text: int, before: str, match: str, behind: str) -> Hit | None:
    query = (
        "SELECT idx, text = :text, ifnull(reasoning = :text, 0) FROM samples WHERE config = 0 AND problem = :problem "
        "AND (text = :text OR reasoning = :text OR trace = :text) ORDER BY idx"
    )
    rows = ledger.db.execute(query, {"text": text, "problem": problem}).fetchall()
    if not rows:
        return None
    index, in_text, in_reasoning = rows[0]
    where = "text" if in_text else "reasoning" if in_reasoning else "trace"
    return Hit(problem_id, index, len(rows), where, before[-_AROUND:], match, behind[:_AROUND])

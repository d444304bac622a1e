"""Samples of other tools by the thousand: rows are gathered and inserted table by table, one statement a table.

A statement for each row costs more than what it does. Ids are therefore given out here, and what waits to be inserted is found
like what is stored. One sample has one request, one trial judges an answer.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from vervet.ledger.store import Ledger, encode, hash16
from vervet.ledger.write import (
    INSERT_ANSWER,
    INSERT_EXTRACTION,
    INSERT_REQUEST,
    INSERT_SAMPLE,
    INSERT_TEXT,
    INSERT_VERDICT,
    Extracted,
    Press,
    class_of,
    place_of,
)

_LIKE = 16
# equal texts, or answers, that are looked through for one that also agrees in everything else

_TABLES = {
    "requests": INSERT_REQUEST,
    "texts": INSERT_TEXT,
    "answers": INSERT_ANSWER,
    "extractions": INSERT_EXTRACTION,
    "verdicts": INSERT_VERDICT,
    "scores": "INSERT INTO scores VALUES (?, 0, ?, ?)",
    "samples": INSERT_SAMPLE,
}
_SLOTS = 1 << 26
# bits that tell which hashes may be stored: 8 MB, and one in 60 new ones looks stored after a million

Key = tuple[int, bytes]
"""(problem, hash)"""
Judged = tuple[int, int, int]
"""(outcome code, reason, strength); the latter two are names."""


class _Equals:
    """What has the same key, in a ledger that begins empty: rows that wait, and those stored, asked for once a batch."""

    def __init__(self, db: sqlite3.Connection, query: str) -> None:
        """`query`: (hash, row...) of a problem and the first bytes of a hash, the newest so many; its parameters."""
        self._db, self._query = db, query
        self._here: dict[Key, list[Any]] = {}
        self._new: dict[Key, list[Any]] = {}
        self._perhaps = bytearray(_SLOTS >> 3)

    def newest(self, key: Key, *parameters: int) -> list[Any]:
        """At most _LIKE rows, the newest first."""
        stored = self._here.get(key)
        if stored is None:
            stored = self._here[key] = self._stored(key, parameters)
        new = self._new.get(key)
        return stored if new is None else [*new[: -_LIKE - 1 : -1], *stored][:_LIKE]

    def _stored(self, key: Key, parameters: tuple[int, ...]) -> list[Any]:
        slot = _slot(key)
        if not self._perhaps[slot >> 3] & 1 << (slot & 7):
            return []
        problem, mark = key
        rows = self._db.execute(self._query, (*parameters, problem, mark[:6], _LIKE))
        return [row[1:] for row in rows if row[0] == mark]

    def add(self, key: Key, row: Any) -> None:
        self._new.setdefault(key, []).append(row)

    def flushed(self) -> None:
        """What waited is stored."""
        for key in self._new:
            slot = _slot(key)
            self._perhaps[slot >> 3] |= 1 << (slot & 7)
        self._here.clear()
        self._new.clear()


def _slot(key: Key) -> int:
    problem, mark = key
    return (int.from_bytes(mark[:4], "little") ^ problem * 0x9E3779B1) & (_SLOTS - 1)


class Batch:
    """The rows that a new ledger gets next. Nobody else may write to it meanwhile."""

    def __init__(self, ledger: Ledger, *, extractor: int, verifier: int) -> None:
        self._ledger, self._db = ledger, ledger.db
        self._press = Press(ledger)
        self._extractor, self._verifier = extractor, verifier
        self.scorer = 0
        # key of the one whose scores are stored; 0: none yet
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _TABLES}
        self._top = dict.fromkeys(("requests", "texts", "answers"), 0)
        self._raw: list[bytes] = []
        # the texts' encodings, in the order of their rows
        self._answers = _Equals(
            self._db,
            "SELECT a.hash, a.id, v.outcome FROM answers a "
            "LEFT JOIN verdicts v ON v.verifier = ? AND v.check_id = ? AND v.answer = a.id "
            "WHERE a.problem = ? AND substr(a.hash, 1, 6) = ? ORDER BY a.id DESC LIMIT ?",
        )
        self._texts = _Equals(
            self._db,
            "SELECT t.hash, t.id, e.text IS NOT NULL, e.answer, s.value FROM texts t "
            "LEFT JOIN extractions e ON e.extractor = ? AND e.text = t.id "
            "LEFT JOIN scores s ON s.scorer = ? AND s.kind = 0 AND s.target = t.id "
            "WHERE t.problem = ? AND substr(t.hash, 1, 6) = ? ORDER BY t.id DESC LIMIT ?",
        )
        self._samples: set[tuple[int, int]] = set()

    def flush(self) -> None:
        """Insert all rows, inside a transaction of the caller's."""
        texts = self._rows["texts"]
        texts[:] = [(*row, *packed) for row, packed in zip(texts, self._press.pack_all(self._raw), strict=True)]
        self._raw.clear()
        for table, statement in _TABLES.items():
            self._db.executemany(statement, self._rows[table])
            self._rows[table].clear()
        self._answers.flushed()
        self._texts.flushed()
        self._samples.clear()

    # ------------------------------------------------------------------------------------------- what is there

    def has_sample(self, problem: int, index: int) -> bool:
        query = "SELECT 1 FROM samples WHERE config = 0 AND problem = ? AND idx = ?"
        return (problem, index) in self._samples or self._db.execute(query, (problem, index)).fetchone() is not None

    def answers(self, key: Key, check: int) -> list[tuple[int, int | None]]:
        """(id, outcome code or None) of the problem's answers with this hash, the newest _LIKE of them."""
        return self._answers.newest(key, self._verifier, check)

    def text(self, key: Key, answer: int | None, score: float | None) -> int | None:
        """Id of a text with this hash in which this answer was found and that has this score."""
        want = True, answer, score
        for text_id, *rest in self._texts.newest(key, self._extractor, self.scorer):
            if tuple(rest) == want:
                return int(text_id)
        return None

    # ------------------------------------------------------------------------------------------- what comes

    def add_answer(
        self, key: Key, found: Extracted, raw: bytes, *, text: tuple[int, str], check: int, verdict: Judged | None
    ) -> int:
        """`raw` is the answer's encoding, `text` id and wording of what it was found in."""
        new = self._next("answers")
        place = place_of(self._ledger, found.answer, raw, *text)
        self._rows["answers"].append((new, *key, class_of(found), *place))
        if verdict is not None:
            self._rows["verdicts"].append((self._verifier, check, new, 0, *verdict, None, None, None))
        self._answers.add(key, (new, None if verdict is None else verdict[0]))
        return new

    def add_text(self, key: Key, raw: bytes) -> int:
        new = self._next("texts")
        self._raw.append(raw)
        self._rows["texts"].append((new, *key))
        return new

    def add_extraction(self, key: Key, text_id: int, answer: int | None, score: float | None) -> None:
        """What was found in a text that was added just now, and its score."""
        self._rows["extractions"].append((self._extractor, text_id, answer))
        if score is not None:
            self._rows["scores"].append((self.scorer, text_id, score))
        self._texts.add(key, (text_id, True, answer, score))

    def told(self, problem: int, text: str) -> int:
        """Id of a text in which no answer is looked for, made if need be."""
        raw = encode(text)
        key = problem, hash16(raw)
        for text_id, *_ in self._texts.newest(key, self._extractor, self.scorer):
            return int(text_id)
        text_id = self.add_text(key, raw)
        self._texts.add(key, (text_id, False, None, None))
        return text_id

    def add_sample(
        self,
        problem: int,
        index: int,
        text_id: int,
        *,
        reasoning: int | None,
        finish: int,
        tokens: int | None,
        seed: int,
        told_by: tuple[int, int],
    ) -> None:
        """A sample with a request of its own. `told_by`: names of who counted its tokens and of its server."""
        request = self._next("requests")
        counted_by, server = told_by
        self._rows["requests"].append((request, problem, index, 1, seed, None, None, tokens, counted_by, None, server))
        self._rows["samples"].append((problem, index, request, 0, text_id, reasoning, None, finish, tokens, None))
        self._samples.add((problem, index))

    def _next(self, table: str) -> int:
        self._top[table] += 1
        return self._top[table]

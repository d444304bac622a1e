"""What selection needs of a run: per problem the class, the outcome and the score of every sample. Reads no text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from vervet.errors import UserError
from vervet.estimate.pools import Pool
from vervet.ledger.read import PASS, UNKNOWN, View, _Arrays, _snapshot, _texts_by_problem
from vervet.ledger.store import Ledger, storage
from vervet.records import FloatArray, IntArray, canonical_json, fingerprint

BY_TEXT, BY_ANSWER = 0, 1
# what a score is about: a sample's text, or the answer in it


@dataclass(frozen=True, slots=True)
class Ballot:
    """One problem's samples."""

    problem_id: str
    pool: Pool
    # the decided ones
    undecided: int
    # pending or UNKNOWN: left out


def scorers(ledger: Ledger) -> list[dict[str, Any]]:
    """Name, version, settings and fingerprint of every scorer that scored here, oldest first."""
    with storage(ledger.path):
        rows = ledger.db.execute("SELECT body, lower(hex(fingerprint)) FROM scorers ORDER BY id").fetchall()
    return [orjson.loads(body) | {"fingerprint": mark} for body, mark in rows]


def scorer_key(ledger: Ledger, scorer: str | None) -> int:
    """Key of the newest scorer of that name (or fingerprint); of the newest at all for None. 0: no scores here.

    Raises: UserError that lists the scorers, where a named one never scored here.
    """
    with storage(ledger.path):
        rows = ledger.db.execute("SELECT id, name, lower(hex(fingerprint)) FROM scorers ORDER BY id DESC").fetchall()
    if scorer is None:
        return int(rows[0][0]) if rows else 0
    for key, name, mark in rows:
        if scorer in (name, mark):
            return int(key)
    known = ", ".join(sorted({name for _, name, _ in rows})) or "none"
    raise UserError(f"{ledger.folder} has no scores by {scorer!r} (it has: {known}): run `vervet score` first")


def scores_of(ledger: Ledger, scorer: int, kind: int = BY_TEXT) -> FloatArray:
    """Score by text id (or answer id); NaN where there is none."""
    source = "texts" if kind == BY_TEXT else "answers"
    with storage(ledger.path):
        top = ledger.db.execute(f"SELECT ifnull(max(id), 0) FROM {source}").fetchone()[0]  # noqa: S608  two fixed tables
        out = np.full(top + 1, np.nan)
        query = "SELECT target, value FROM scores WHERE scorer = ? AND kind = ? AND value IS NOT NULL"
        for target, value in ledger.db.execute(query, (scorer, kind)):
            if target <= top:
                out[target] = value
    return out


def ballots(ledger: Ledger, which: View, scorer: int = 0, accepted_by: View | None = None) -> Iterator[Ballot]:
    """Every problem of the run, in its order; one at a time is held.

    Args: scorer: key of the scorer, 0 for none.  accepted_by: the verifier that may be asked before a vote.
    """
    with storage(ledger.path), _snapshot(ledger.db):
        arrays = _Arrays(ledger, which)
        other = None if accepted_by is None else _Arrays(ledger, accepted_by)
        by_text = scores_of(ledger, scorer) if scorer else None
        by_answer = scores_of(ledger, scorer, BY_ANSWER) if scorer else None
        names = {key: name for name, key in ledger.problem_keys().items()}
        merged = _merges(ledger)
        for key, stored in _texts_by_problem(ledger.db):
            outcomes = arrays.outcomes(stored)
            decided = outcomes < UNKNOWN
            texts = stored[decided]
            answers = arrays.answer_of_text[texts].astype(np.int64)
            scores = None
            if by_text is not None and by_answer is not None:
                scores = np.where(np.isnan(by_text[texts]), by_answer[np.maximum(answers, 0)], by_text[texts])
            pool = Pool(
                _classes(ledger, key, answers, merged),
                outcomes[decided] == PASS,
                scores,
                None if other is None else other.outcomes(texts) == PASS,
            )
            yield Ballot(names[key], pool, int((~decided).sum()))


def _merges(ledger: Ledger) -> dict[int, int]:
    """Answer id -> the answer that it was found equal to."""
    return dict(ledger.db.execute("SELECT answer, into_answer FROM merges"))


def _classes(ledger: Ledger, problem: int, answers: IntArray, merged: dict[int, int]) -> IntArray:
    """Numbers of the classes that answers belong to, -1 for no answer; they depend on the answers alone."""
    present = np.unique(answers[answers >= 0])
    if not len(present):
        return np.full(len(answers), -1)
    keys = dict(ledger.db.execute("SELECT id, ifnull(class, hash) FROM answers WHERE problem = ?", (problem,)))
    of_present = [keys[_root(int(answer), merged)] for answer in present]
    number = {key: i for i, key in enumerate(sorted(set(of_present)))}
    classes = np.array([number[key] for key in of_present])
    return np.where(answers >= 0, classes[np.minimum(np.searchsorted(present, answers), len(present) - 1)], -1)


def _root(answer: int, merged: dict[int, int]) -> int:
    seen = {answer}
    while (into := merged.get(answer)) is not None and into not in seen:
        answer = into
        seen.add(answer)
    return answer


# ---------------------------------------------------------------------------------------------- scores coming in


def scorer_id(ledger: Ledger, name: str, version: str, settings: Mapping[str, object]) -> int:
    """Key of a scorer's fingerprint, made if need be. Writers only, inside a transaction."""
    mark = bytes.fromhex(fingerprint(name, version, settings))
    body = canonical_json({"name": name, "version": version, "settings": settings}).decode()
    ledger.db.execute("INSERT OR IGNORE INTO scorers (fingerprint, name, body) VALUES (?, ?, ?)", (mark, name, body))
    return int(ledger.db.execute("SELECT id FROM scorers WHERE fingerprint = ?", (mark,)).fetchone()[0])


def unscored(ledger: Ledger, scorer: int, problem_id: str) -> tuple[dict[int, int], int]:
    """Index -> text id of the first sample with each text that the scorer has not looked at, and how many texts it has."""
    query = (
        "SELECT min(s.idx), s.text, EXISTS (SELECT 1 FROM scores c WHERE c.scorer = ? AND c.kind = 0 AND c.target = s.text) "
        "FROM samples s JOIN problems p ON p.id = s.problem WHERE s.config = 0 AND p.name = ? GROUP BY s.text ORDER BY 1"
    )
    with storage(ledger.path):
        rows = ledger.db.execute(query, (scorer, problem_id)).fetchall()
    return {index: text for index, text, known in rows if not known}, sum(known for _, _, known in rows)


def add_scores(ledger: Ledger, scorer: int, kind: int, scores: Sequence[tuple[int, float | None]]) -> None:
    """Append (text or answer id, score) pairs. Writers only, inside a transaction."""
    ledger.db.executemany(
        "INSERT INTO scores VALUES (?, ?, ?, ?)", [(scorer, kind, target, value) for target, value in scores]
    )

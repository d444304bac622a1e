"""Counting and fetching: nothing here reads a text unless a text is what was asked for."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from vervet.errors import UserError
from vervet.ledger.store import TALLY, Ledger, decode, storage
from vervet.records import Counts, IntArray, Outcome, Reason, Sample, VerifierSpec, derive_seed

FAIL, PASS, UNKNOWN, PENDING = 0, 1, 2, 3
_OUTCOMES = {FAIL: Outcome.FAIL, PASS: Outcome.PASS, UNKNOWN: Outcome.UNKNOWN}
_NONE = -1
# the answer of a text in which none was found
_UNEXTRACTED = -2


@dataclass(frozen=True, slots=True)
class Stored:
    """Which sample indexes of a problem are in the ledger."""

    count: int
    holes: tuple[int, ...] = ()
    # indexes below the highest stored one that are missing


@dataclass(frozen=True, slots=True)
class View:
    """Which extractor and which verifier a count is about: a count never mixes two of either."""

    extractor: int
    verifier: int


def view(ledger: Ledger, verifier: str | None = None) -> View:
    """The run's own extractor and verifier, or the newest verifier of that name (or fingerprint).

    Raises: UserError where the ledger knows no such verifier.
    """
    extractor = ledger.known_name(ledger.meta("extractor", ""))
    wanted = verifier or ledger.meta("verifier", "")
    rows = ledger.db.execute("SELECT id, name, lower(hex(fingerprint)) FROM verifiers ORDER BY id DESC").fetchall()
    for key, name, mark in rows:
        if wanted in (name, mark):
            return View(extractor, key)
    if verifier:
        known = ", ".join(sorted({name for _, name, _ in rows})) or "none"
        raise UserError(f"{ledger.folder} has no verdicts by {verifier!r} (it has: {known}): run `vervet verify` first")
    return View(extractor, 0)


def verifiers(ledger: Ledger) -> list[dict[str, Any]]:
    """Name, version, settings and fingerprint of every verifier that judged here."""
    rows = ledger.db.execute("SELECT body, lower(hex(fingerprint)) FROM verifiers ORDER BY id")
    return [orjson.loads(body) | {"fingerprint": mark} for body, mark in rows]


# ---------------------------------------------------------------------------------------------- what is stored


def stored(ledger: Ledger) -> dict[str, Stored]:
    """For every problem of the run, in order, how many samples there are and where there are holes."""
    with storage(ledger.path):
        keys = {key: name for name, key in ledger.problem_keys().items()}
        out = {name: Stored(0) for name in keys.values()}
        rows = ledger.db.execute(
            "SELECT problem, count(*), max(idx) FROM samples WHERE config = 0 GROUP BY problem"
        ).fetchall()
        for problem, count, top in rows:
            holes: tuple[int, ...] = ()
            if count != top + 1:
                query = "SELECT idx FROM samples WHERE config = 0 AND problem = ?"
                have = {row[0] for row in ledger.db.execute(query, (problem,))}
                holes = tuple(i for i in range(top + 1) if i not in have)
            out[keys[problem]] = Stored(count, holes)
    return out


# ---------------------------------------------------------------------------------------------- counting


class _Arrays:
    """Dense arrays over text ids and answer ids: what a count needs, and nothing else."""

    def __init__(self, ledger: Ledger, which: View) -> None:
        self._db = ledger.db
        top_text = self._db.execute("SELECT ifnull(max(id), 0) FROM texts").fetchone()[0]
        top_answer = self._db.execute("SELECT ifnull(max(id), 0) FROM answers").fetchone()[0]
        self.answer_of_text = np.full(top_text + 1, _UNEXTRACTED, np.int32)
        self._fill_answers(which.extractor, top_text)
        self.outcome_of_answer = np.full(top_answer + 1, PENDING, np.int8)
        self._fill_outcomes(which.verifier, top_answer)

    def _fill_answers(self, extractor: int, top: int) -> None:
        query = (
            "SELECT group_concat(text), group_concat(ifnull(answer, -1)) FROM extractions "
            "WHERE extractor = ? AND text > ? AND text <= ?"
        )
        for low in range(0, top, _CHUNK):
            texts, answers = self._db.execute(query, (extractor, low, low + _CHUNK)).fetchone()
            if texts:
                self.answer_of_text[_numbers(texts)] = _numbers(answers)

    def _fill_outcomes(self, verifier: int, top: int) -> None:
        query = "SELECT group_concat(answer), group_concat(outcome) FROM verdicts WHERE verifier = ? AND check_id = ?"
        balance = np.zeros(top + 1, np.int32)
        judged = np.zeros(top + 1, bool)
        for (check,) in self._db.execute("SELECT id FROM checks").fetchall():
            answers, outcomes = self._db.execute(query, (verifier, check)).fetchone()
            if answers:
                ids, codes = _numbers(answers), _numbers(outcomes)
                np.add.at(balance, ids, (codes == PASS).astype(np.int32) - (codes == FAIL))
                judged[ids] = True
        self.outcome_of_answer[judged] = UNKNOWN
        self.outcome_of_answer[balance > 0] = PASS
        self.outcome_of_answer[balance < 0] = FAIL

    def outcomes(self, texts: IntArray) -> np.ndarray[Any, np.dtype[np.int8]]:
        """Outcome codes of samples, by their text ids."""
        answers = self.answer_of_text[texts]
        codes = (
            self.outcome_of_answer[np.maximum(answers, 0)]
            if len(self.outcome_of_answer)
            else np.zeros(len(texts), np.int8)
        )
        return np.where(answers >= 0, codes, np.where(answers == _NONE, FAIL, PENDING)).astype(np.int8)


_CHUNK = 100_000
# texts at a time: their numbers pass through strings, in the memory of the run that leaves its counts behind


def _numbers(text: str | int) -> IntArray:
    """Whole numbers out of SQLite's group_concat: ten times faster than a row each."""
    return np.fromstring(str(text), dtype=np.int64, sep=",")


def _texts_by_problem(db: sqlite3.Connection) -> Iterator[tuple[int, IntArray]]:
    """(problem key, text ids in index order)."""
    query = "SELECT group_concat(text) FROM (SELECT text FROM samples WHERE config = 0 AND problem = ? ORDER BY idx)"
    for (problem,) in db.execute("SELECT id FROM problems ORDER BY id").fetchall():
        (texts,) = db.execute(query, (problem,)).fetchone()
        yield problem, _numbers(texts) if texts is not None else np.zeros(0, np.int64)


def tally(ledger: Ledger, which: View) -> tuple[Counts, int, int, int]:
    """Counts over all problems of the run, and how many samples are pending, unparsed and on distinct answers.

    unknown_i holds pending and UNKNOWN samples. Problems without a sample have n = 0. What a writer left behind
    (`remember`) is taken where nothing was written since, else the samples are gone through.
    """
    with storage(ledger.path), _snapshot(ledger.db):
        return left_behind(ledger, which) or derive(ledger, which)


def left_behind(ledger: Ledger, which: View) -> tuple[Counts, int, int, int] | None:
    """What a writer left behind for `tally`; None where it did not, or where something was written since."""
    kept = ledger.meta(TALLY)
    if kept is None or kept["of"] != _state(ledger.db, which):
        return None
    n, c, unknown = (np.array(kept[name], np.int64) for name in ("n", "c", "unknown"))
    return _counts(ledger, n, c, unknown), kept["pending"], kept["unparsed"], kept["distinct"]


def derive(ledger: Ledger, which: View) -> tuple[Counts, int, int, int]:
    """What `tally` says, from the samples themselves. Inside a transaction, or where nobody writes."""
    arrays = _Arrays(ledger, which)
    problems = len(ledger.problem_keys())
    n, c, unknown = (np.zeros(problems, np.int64) for _ in range(3))
    pending = unparsed = distinct = 0
    for row, (_, texts) in enumerate(_texts_by_problem(ledger.db)):
        codes = np.bincount(arrays.outcomes(texts), minlength=4)
        n[row], c[row], unknown[row] = codes[FAIL] + codes[PASS], codes[PASS], codes[UNKNOWN] + codes[PENDING]
        answers = arrays.answer_of_text[texts]
        pending += int(codes[PENDING])
        unparsed += int((answers == _NONE).sum())
        distinct += len(np.unique(answers[answers >= 0]))
    return _counts(ledger, n, c, unknown), pending, unparsed, distinct


def remember(ledger: Ledger) -> None:
    """Leave the counts of the run's own view beside its samples, for readers; the next write takes them away. Writers only."""
    which = view(ledger)
    with ledger.transaction(counts_stay=True):
        if ledger.meta(TALLY) is not None:
            return
        table, pending, unparsed, distinct = derive(ledger, which)
        kept = {name: getattr(table, name).tolist() for name in ("n", "c", "unknown")}
        kept |= {"of": _state(ledger.db, which), "pending": pending, "unparsed": unparsed, "distinct": distinct}
        ledger.set_meta(TALLY, kept)


def _counts(ledger: Ledger, n: IntArray, c: IntArray, unknown: IntArray) -> Counts:
    names, design = list(ledger.problem_keys()), ledger.meta("design", "fixed")
    return Counts(names, n, c, unknown, design=design, source=str(ledger.folder))


def _state(db: sqlite3.Connection, which: View) -> list[int]:
    """The view, and how far the tables go: counts of another view, or of a file that other hands wrote, are not taken."""
    tops = (db.execute(f"SELECT ifnull(max(id), 0) FROM {t}").fetchone()[0] for t in ("requests", "texts", "answers"))  # noqa: S608
    return [which.extractor, which.verifier, *tops]


def counts(ledger: Ledger, verifier: str | None = None) -> Counts:
    """Per-problem counts by one verifier (the run's own by default), of the samples that belong to the run's design."""
    from vervet.ledger.rows import designed_counts  # noqa: PLC0415  it reads with what is above

    return designed_counts(ledger, view(ledger, verifier))


def outcomes(ledger: Ledger, which: View) -> dict[str, np.ndarray[Any, np.dtype[np.int8]]]:
    """Outcome codes of every problem's samples in index order; missing indexes are left out."""
    with storage(ledger.path), _snapshot(ledger.db):
        arrays = _Arrays(ledger, which)
        names = {key: name for name, key in ledger.problem_keys().items()}
        return {names[key]: arrays.outcomes(texts) for key, texts in _texts_by_problem(ledger.db)}


def solved(ledger: Ledger, which: View) -> int:
    """Problems with at least one PASS, in memory that does not grow with the run; for a glance, tries not weighed."""
    query = (
        "SELECT count(DISTINCT a.problem) FROM verdicts v JOIN answers a ON a.id = v.answer "
        "WHERE v.verifier = ? AND v.outcome = 1"
    )
    with storage(ledger.path):
        return int(ledger.db.execute(query, (which.verifier,)).fetchone()[0])


class _snapshot:  # noqa: N801  a context manager
    """One consistent state of the ledger while a run goes on writing; nothing to do inside a writer's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._mine = not db.in_transaction

    def __enter__(self) -> None:
        if self._mine:
            self._db.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        if self._mine and self._db.in_transaction:
            self._db.execute("COMMIT")


# ---------------------------------------------------------------------------------------------- work to do


def unextracted(ledger: Ledger, extractor: int, limit: int) -> list[tuple[str, int]]:
    """Up to `limit` (problem id, text id) of samples' texts in which this extractor has not looked yet."""
    query = (
        "SELECT DISTINCT p.name, s.text FROM samples s JOIN problems p ON p.id = s.problem "
        "WHERE NOT EXISTS (SELECT 1 FROM extractions e WHERE e.extractor = ? AND e.text = s.text) LIMIT ?"
    )
    return ledger.db.execute(query, (extractor, limit)).fetchall()


def undecided(ledger: Ledger, which: View) -> dict[str, list[int]]:
    """Problem id -> ids of the distinct answers that are pending or UNKNOWN."""
    with storage(ledger.path), _snapshot(ledger.db):
        arrays = _Arrays(ledger, which)
        names = {key: name for name, key in ledger.problem_keys().items()}
        out = {}
        for key, texts in _texts_by_problem(ledger.db):
            answers = arrays.answer_of_text[texts]
            ids = np.unique(answers[answers >= 0])
            todo = ids[arrays.outcome_of_answer[ids] >= UNKNOWN] if len(ids) else ids
            if len(todo):
                out[names[key]] = [int(i) for i in todo]
        return out


# ---------------------------------------------------------------------------------------------- fetching


def problem_key(ledger: Ledger, problem_id: str) -> tuple[int, int]:
    """Keys of a problem and of its check. Raises: UserError where the run has no such problem."""
    with storage(ledger.path):
        try:
            row = ledger.db.execute("SELECT id, check_id FROM problems WHERE name = ?", (problem_id,)).fetchone()
        except UnicodeEncodeError:  # a lone surrogate: no stored name has one
            row = None
    if row is None:
        raise UserError(f"{ledger.folder} has no problem {problem_id!r}: `vervet show {ledger.folder}` lists them")
    return int(row[0]), int(row[1])


def samples(ledger: Ledger, problem_id: str, which: View, *, indexes: Sequence[int] | None = None) -> Iterator[Sample]:
    """A problem's samples in index order, texts decompressed as they are asked for."""
    key, check = problem_key(ledger, problem_id)
    names, run_seed = ledger.names(), ledger.run_seed
    # one statement for all there is of a sample: one for each part of it took twice the time
    query = (
        "SELECT s.idx, s.text, t.dictionary, t.body, s.reasoning, s.trace, s.finish, s.tokens, s.logprob, r.seed, "
        "e.text, e.answer, a.text, a.start, a.length, a.body, "
        "(SELECT group_concat(outcome || ' ' || reason) FROM (SELECT outcome, reason FROM verdicts "
        "WHERE verifier = ? AND check_id = ? AND answer = e.answer ORDER BY trial)) "
        "FROM samples s JOIN requests r ON r.id = s.request LEFT JOIN texts t ON t.id = s.text "
        "LEFT JOIN extractions e ON e.extractor = ? AND e.text = s.text LEFT JOIN answers a ON a.id = e.answer "
        "WHERE s.config = 0 AND s.problem = ?"
    )
    parameters: list[Any] = [which.verifier, check, which.extractor, key]
    if indexes is not None:
        query += " AND s.idx IN (SELECT value FROM json_each(?))"
        parameters.append(orjson.dumps(list(indexes)).decode())
    judged = _Judged(names)
    with storage(ledger.path):
        for (
            index, text_id, dictionary, body, reasoning, trace, finish, tokens, logprob, seed,
            extracted, answer_id, source, start, length, literal, trials,
        ) in ledger.db.execute(query + " ORDER BY s.idx", parameters):  # fmt: skip
            text = ledger.text(text_id) if body is None else ledger.unpack(dictionary, body)
            if answer_id is None:
                answer = None
            elif source == text_id:
                answer = text[start : start + length]
            else:
                answer = ledger.answer(answer_id) if literal is None else ledger.unpack(0, literal)
            no_answer = extracted is not None and answer_id is None
            outcome, reason = (Outcome.FAIL, Reason.NO_ANSWER.value) if no_answer else judged[trials]
            yield Sample(
                problem_id=problem_id,
                index=index,
                text=text,
                finish_reason=names[finish],
                completion_tokens=tokens,
                seed=derive_seed(run_seed, problem_id, index) if seed is None else seed,
                reasoning=ledger.text(reasoning) if reasoning else "",
                logprob=logprob,
                trace=ledger.text(trace) if trace else None,
                answer=answer,
                outcome=outcome,
                reason=reason,
            )


class _Judged(dict[str | None, tuple[Outcome | None, str]]):
    """Effective verdicts by the trials that led to them, "outcome reason,..." as stored: few of them differ."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__({None: (None, "")})
        self._names = names

    def __missing__(self, trials: str) -> tuple[Outcome | None, str]:
        pairs = [trial.split(" ") for trial in trials.split(",")]
        outcome, reason = majority([(int(code), int(name)) for code, name in pairs])
        self[trials] = _OUTCOMES[outcome], self._names.get(reason, Reason.NO_VERDICT.value)
        return self[trials]


def majority(trials: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Outcome of (outcome, reason) trials, oldest first, and the last reason that agrees, 0 where none does.

    The majority of decided trials; a tie or none is UNKNOWN.
    """
    if len(trials) == 1:
        return trials[0]
    balance = sum((outcome == PASS) - (outcome == FAIL) for outcome, _ in trials)
    outcome = PASS if balance > 0 else FAIL if balance < 0 else UNKNOWN
    agreeing = [reason for o, reason in trials if o == outcome]
    return outcome, agreeing[-1] if agreeing else 0


def trials(ledger: Ledger, which: View, answer: int | None) -> list[dict[str, Any]]:
    """Every verdict on a distinct answer by the view's verifier, oldest first."""
    names = ledger.names()
    query = (
        "SELECT v.outcome, v.reason, v.strength, v.isolation, v.cpu_ms, l.body FROM verdicts v "
        "LEFT JOIN logs l ON l.id = v.log WHERE v.verifier = ? AND v.answer = ? AND v.check_id = "
        "(SELECT p.check_id FROM answers a JOIN problems p ON p.id = a.problem WHERE a.id = v.answer) ORDER BY v.trial"
    )
    return [
        {
            "outcome": _OUTCOMES[outcome],
            "reason": names[reason],
            "strength": names[strength],
            "isolation": names.get(isolation, ""),
            "cpu_s": None if cpu_ms is None else cpu_ms / 1000,
            "log": decode(ledger.codec(0).unpack(log)) if log else "",
        }
        for outcome, reason, strength, isolation, cpu_ms, log in ledger.db.execute(query, (which.verifier, answer))
    ]


def trials_of_sample(ledger: Ledger, which: View, problem_id: str, index: int) -> list[dict[str, Any]]:
    """Every verdict on a sample's answer. Raises: UserError where there is no such sample."""
    row = ledger.db.execute(
        "SELECT e.answer FROM samples s JOIN problems p ON p.id = s.problem "
        "LEFT JOIN extractions e ON e.extractor = ? AND e.text = s.text WHERE s.config = 0 AND p.name = ? AND s.idx = ?",
        (which.extractor, problem_id, index),
    ).fetchone()
    if row is None:
        raise UserError(f"{ledger.folder} has no sample {index} of {problem_id!r}")
    return [] if row[0] is None else trials(ledger, which, row[0])


# ---------------------------------------------------------------------------------------------- facts


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run holds, in numbers."""

    problems: int
    samples: int
    pending: int
    passed: int
    failed: int
    unknown: int
    # judged and undecidable
    distinct_answers: int
    truncated: int
    # cut off at max_tokens
    unparsed: int
    # no answer found
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    # None where no request has a known price; what was lost is in it at its worst case
    requests: int = 0
    # answered
    lost_requests: int = 0
    # under a budget: paid for at their worst case because nobody knows what they used
    lost_usd: float | None = None


def facts(ledger: Ledger, which: View) -> tuple[Facts, Counts]:
    """Run totals by one verifier, and the counts they come from."""
    table, pending, unparsed, distinct = tally(ledger, which)
    length = ledger.known_name("length")
    with storage(ledger.path):
        total, truncated = ledger.db.execute(
            "SELECT count(*), ifnull(sum(finish = ?), 0) FROM samples", (length,)
        ).fetchone()
        requests, lost, lost_usd = ledger.db.execute(
            "SELECT ifnull(sum(state = 1), 0), ifnull(sum(state != 1), 0), sum(cost_usd) FILTER (WHERE state != 1) "
            "FROM requests"
        ).fetchone()
    passed = int(table.c.sum())
    return (
        Facts(
            problems=len(table),
            samples=total,
            pending=pending,
            passed=passed,
            failed=int(table.n.sum()) - passed,
            unknown=int(table.unknown.sum()) - pending,
            distinct_answers=distinct,
            truncated=truncated,
            unparsed=unparsed,
            **spent(ledger),
            requests=requests,
            lost_requests=lost,
            lost_usd=lost_usd,
        ),
        table,
    )


def spent(ledger: Ledger) -> dict[str, Any]:
    """Tokens and money of all requests, by the names they have in Facts."""
    with storage(ledger.path):
        tokens = ledger.db.execute("SELECT ifnull(sum(tokens), 0) FROM samples").fetchone()[0]
        prompt, completion, usd = ledger.db.execute(
            "SELECT ifnull(sum(prompt_tokens), 0), ifnull(sum(completion_tokens), 0), sum(cost_usd) FROM requests"
        ).fetchone()
    return {"prompt_tokens": prompt, "completion_tokens": max(completion, tokens), "cost_usd": usd}


def verifier_spec(ledger: Ledger) -> VerifierSpec:
    """The run's own verifier."""
    return VerifierSpec(**ledger.meta("verifier_spec"))

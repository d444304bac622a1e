"""Samples of other tools into a ledger, row by row, in memory that does not grow with the file.

A ledger keeps one verdict for each distinct answer, files keep one for each sample, and graders contradict themselves. So that
every count stays the file's, an equal answer with another verdict becomes an answer of its own, and an equal text with another
answer or score a text of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vervet.ledger.formats.rows import Entry, Imported, Row, Skipped
from vervet.ledger.store import Ledger, encode, hash16, storage
from vervet.ledger.write import OUTCOME_CODES, REQUEST, SAMPLE, Extracted, Recorder, verifier_id
from vervet.records import (
    Outcome,
    Params,
    Problem,
    Prompt,
    Reason,
    Reply,
    Request,
    Strength,
    Usage,
    canonical_json,
    fingerprint,
)

NAME = "imported"
# the verifier and the scorer that stand for whoever judged the file
VERSION = "1"
EXTRACTOR = "imported/1"
# answers as the file has them, else the whole text
NO_SEED = -1
# of a sample whose seed nobody knows
_CHUNK_ROWS, _CHUNK_CHARS = 2000, 8 * 1024 * 1024
# rows in one transaction
_KEPT = 1000
# skipped rows that are kept in memory; all are in the log
_FINISH_REASONS = 64
# distinct ones; the rest are "other"
_LIKE = 16
# equal texts that are looked through for one with the same answer and score

Known = Callable[[Row], tuple[Problem, Prompt] | None]
"""The problem that a row is about; None where there is none."""
Find = Callable[[str, str | None], Extracted | None]
"""(text, the file's answer) -> the answer with its canonical form; None where the file gives none and none is found."""
_PARAMS = Params(temperature=1.0, top_p=None, max_tokens=1)


@dataclass(slots=True)
class _Seen:
    """What is known of a problem while rows come in."""

    key: int
    check: int
    top: int
    # highest index so far
    numbered: bool
    reference: str | None


class Intake(Recorder):
    """Fills one new ledger. Nothing is executed."""

    def __init__(self, ledger: Ledger, *, extractor: str, known: Known, find: Find | None, log: Path) -> None:
        """Args: find: see Find; None: the file's answer counts as it is, else the whole text is the answer.
        log: gets a line for every row that is skipped.
        """
        super().__init__(ledger, extractor)
        self._known, self._find_answer, self._log_path = known, find, log
        self._seen: dict[str, _Seen] = {}
        self._finish_reasons = {"stop"}
        self._given = False
        self._skipped: list[str] = []
        self._skipped_total = self._samples = self._judged = self._contradictions = 0
        with ledger.transaction():
            self._extractor_id = ledger.name_id(extractor)
            self._verifier = verifier_id(ledger, NAME, VERSION, {})
            self._scorer = 0

    def take(self, entries: Iterable[Entry]) -> None:
        """Store all rows, in transactions of some thousand."""
        with storage(self._log_path), self._log_path.open("a", encoding="utf-8", errors="backslashreplace") as log:
            for chunk in _chunks(entries):
                self._meet(entry for entry in chunk if isinstance(entry, Row))
                with self._ledger.transaction():
                    placed = [self._place(entry) if isinstance(entry, Row) else entry for entry in chunk]
                for skipped in placed:
                    if skipped is not None:
                        self._note(skipped, log.write)

    def done(self, run: str, format: str) -> Imported:
        """Close the books. The ledger says from now on whose answers it holds."""
        with self._ledger.transaction():
            label = self._label()
            self._ledger.db.execute("UPDATE names SET name = ? WHERE id = ?", (label, self._extractor_id))
            self._ledger.set_meta("extractor", label)
            self._ledger.set_meta("chosen", list(self._seen))
        return Imported(
            run=run,
            problems=len(self._seen),
            samples=self._samples,
            judged=self._judged,
            skipped=tuple(self._skipped),
            skipped_total=self._skipped_total,
            contradictions=self._contradictions,
            format=format,
        )

    def _label(self) -> str:
        """The extractor's name, or, where the file gave answers of its own, a name that keeps them from being replaced."""
        if self._given and not self._extractor.startswith(EXTRACTOR):
            return f"{EXTRACTOR}+{self._extractor}"
        return self._extractor

    def _note(self, skipped: Skipped, write: Callable[[str], object]) -> None:
        self._skipped_total += 1
        line = " ".join(str(skipped).split())
        write(f"skipped {line}\n")
        if len(self._skipped) < _KEPT:
            self._skipped.append(line)

    # ------------------------------------------------------------------------------------------- problems

    def _meet(self, rows: Iterable[Row]) -> None:
        """Store the problems that are new; what a problem is, its first row says."""
        fresh: dict[str, tuple[tuple[Problem, Prompt], Row]] = {}
        for row in rows:
            if row.problem_id in self._seen or row.problem_id in fresh:
                continue
            found = self._known(row)
            if found is not None:
                fresh[row.problem_id] = (found, row)
        if fresh:
            self._ledger.add_problems([found for found, _ in fresh.values()])
        for problem_id, (_, row) in fresh.items():
            query = "SELECT id, check_id FROM problems WHERE name = ?"
            key, check = self._db.execute(query, (problem_id,)).fetchone()
            self._seen[problem_id] = _Seen(key, check, -1, row.index is not None, row.reference)

    # ------------------------------------------------------------------------------------------- samples

    def _place(self, row: Row) -> Skipped | None:
        """Store one sample. Returns why not, where it cannot be."""
        seen = self._seen.get(row.problem_id)
        if seen is None:
            return Skipped(row.where, f"the task has no problem {row.problem_id[:80]!r}")
        wrong = self._contradicts(row, seen)
        if wrong is not None:
            return Skipped(row.where, wrong)
        index = seen.top + 1 if row.index is None else row.index
        seen.top = max(seen.top, index)
        self._sample(row, seen.key, index, self._text_with_answer(row, seen, self._answer(row)))
        self._samples += 1
        self._judged += row.correct is not None
        return None

    def _contradicts(self, row: Row, seen: _Seen) -> str | None:
        if seen.numbered != (row.index is not None):
            have, has = ("have", "has none") if seen.numbered else ("have no", "has one")
            return f"earlier rows of problem {row.problem_id[:80]!r} {have} sample_index, this one {has}"
        # with a task, its own references count
        if self._find_answer is None and row.reference is not None and row.reference != seen.reference:
            return f"another reference than the first row of problem {row.problem_id[:80]!r}"
        if row.index is not None and row.index <= seen.top:
            query = "SELECT 1 FROM samples WHERE config = 0 AND problem = ? AND idx = ?"
            if self._db.execute(query, (seen.key, row.index)).fetchone():
                return f"sample {row.index} of problem {row.problem_id[:80]!r} appears twice"
        return None

    def _answer(self, row: Row) -> Extracted | None:
        """The file's answer, else what the task finds, else (nothing found, and yet correct) the whole text."""
        if self._find_answer is None:
            answer = row.text if row.answer is None else row.answer
            return None if row.unanswered else Extracted(answer, answer)
        self._given |= row.answer is not None
        found = self._find_answer(row.text, row.answer)
        if found is None and row.correct:
            self._given = True
            return self._find_answer(row.text, row.text)
        return found

    def _text_with_answer(self, row: Row, seen: _Seen, found: Extracted | None) -> int:
        """The id of a stored text that has this text, answer, verdict and score; made if need be."""
        raw = encode(row.text)
        mark, answer_mark = hash16(raw), hash16(encode(found.answer) if found else b"")
        answer_id = self._known_answer(seen, answer_mark, row.correct) if found else None
        if found is None or answer_id is not None:
            text_id = self._known_text(seen.key, mark, answer_id, row.score)
            if text_id is not None:
                return text_id
        text_id = self._new_text(seen.key, raw, mark)
        if found is not None and answer_id is None:
            answer_id = self._new_answer(seen.key, found, answer_mark, text_id, row.text)
            self._judge(seen.check, answer_id, row.correct)
        self._db.execute("INSERT INTO extractions VALUES (?, ?, ?)", (self._extractor_id, text_id, answer_id))
        if row.score is not None:
            self._db.execute("INSERT INTO scores VALUES (?, 0, ?, ?)", (self._scorer_id(), text_id, row.score))
        return text_id

    def _known_answer(self, seen: _Seen, mark: bytes, correct: bool | None) -> int | None:
        want = None if correct is None else OUTCOME_CODES[Outcome.PASS if correct else Outcome.FAIL]
        others = set()
        for answer_id in self._equal("answers", seen.key, mark):
            query = "SELECT outcome FROM verdicts WHERE verifier = ? AND check_id = ? AND answer = ?"
            row = self._db.execute(query, (self._verifier, seen.check, answer_id)).fetchone()
            outcome = row[0] if row else None
            if outcome == want:
                return answer_id
            others.add(outcome)
        self._contradictions += want is not None and bool(others - {None})
        return None

    def _known_text(self, problem: int, mark: bytes, answer_id: int | None, score: float | None) -> int | None:
        for text_id in self._equal("texts", problem, mark):
            query = "SELECT answer FROM extractions WHERE extractor = ? AND text = ?"
            extraction = self._db.execute(query, (self._extractor_id, text_id)).fetchone()
            if extraction == (answer_id,) and self._score_of(text_id) == score:
                return text_id
        return None

    def _score_of(self, text_id: int) -> float | None:
        query = "SELECT value FROM scores WHERE scorer = ? AND kind = 0 AND target = ?"
        row = self._db.execute(query, (self._scorer, text_id)).fetchone() if self._scorer else None
        return None if row is None else row[0]

    def _equal(self, table: str, problem: int, mark: bytes) -> list[int]:
        query = (
            f"SELECT id, hash FROM {table} WHERE problem = ? AND substr(hash, 1, 6) = ? "  # noqa: S608  two fixed tables
            "ORDER BY id DESC LIMIT ?"
        )
        return [key for key, full in self._db.execute(query, (problem, mark[:6], _LIKE)).fetchall() if full == mark]

    def _judge(self, check: int, answer_id: int, correct: bool | None) -> None:
        if correct is None:
            return
        outcome, reason = (Outcome.PASS, Reason.ACCEPTED) if correct else (Outcome.FAIL, Reason.REJECTED)
        name = self._ledger.name_id
        self._db.execute(
            "INSERT INTO verdicts VALUES (?, ?, ?, 0, ?, ?, ?, NULL, NULL, NULL)",
            (self._verifier, check, answer_id, OUTCOME_CODES[outcome], name(reason), name(Strength.IMPORTED)),
        )

    def _scorer_id(self) -> int:
        if not self._scorer:
            body = {"name": NAME, "version": VERSION, "settings": {}}
            mark = bytes.fromhex(fingerprint(NAME, VERSION, {}))
            row = self._db.execute(
                "INSERT INTO scorers (fingerprint, name, body) VALUES (?, ?, ?)",
                (mark, NAME, canonical_json(body).decode()),
            )
            self._scorer = int(row.lastrowid or 0)
        return self._scorer

    def _sample(self, row: Row, problem: int, index: int, text_id: int) -> None:
        if row.finish_reason not in self._finish_reasons and len(self._finish_reasons) < _FINISH_REASONS:
            self._finish_reasons.add(row.finish_reason)
        finish = row.finish_reason if row.finish_reason in self._finish_reasons else "other"
        request = Request(row.problem_id, "", _PARAMS, index, 1, 0)
        reply = Reply((), Usage(completion_tokens=row.completion_tokens), NAME)
        asked = self._request_row(request, reply, NO_SEED if row.seed is None else row.seed)
        request_id = self._db.execute(REQUEST, (None, *asked)).lastrowid
        reasoning = self._add_texts([(problem, row.reasoning)])[0][0] if row.reasoning else None
        what = text_id, reasoning, None, self._ledger.name_id(finish), row.completion_tokens, None
        self._db.execute(SAMPLE, (problem, index, request_id, 0, *what))


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    chunk: list[Entry] = []
    size = 0
    for entry in entries:
        chunk.append(entry)
        size += len(entry.text) if isinstance(entry, Row) else 0
        if len(chunk) >= _CHUNK_ROWS or size >= _CHUNK_CHARS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk

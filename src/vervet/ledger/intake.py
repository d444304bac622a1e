"""Samples of other tools into a ledger, row by row, in memory that does not grow with the file.

A ledger keeps one verdict for each distinct answer, files keep one for each sample, and graders contradict themselves. So that
every count stays the file's, an equal answer with another verdict becomes an answer of its own, and an equal text with another
answer or score a text of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from vervet.ledger.batch import Batch, Judged
from vervet.ledger.formats.rows import Entry, Imported, Row, Skipped
from vervet.ledger.store import Ledger, encode, hash16, storage
from vervet.ledger.write import OUTCOME_CODES, Extracted, verifier_id
from vervet.records import Outcome, Problem, Prompt, Reason, Strength, Usage, canonical_json, fingerprint

NAME = "imported"
# the verifier and the scorer that stand for whoever judged the file
VERSION = "1"
EXTRACTOR = "imported/1"
# answers as the file has them, else the whole text
NO_SEED = -1
# of a sample whose seed nobody knows
_CHUNK_ROWS, _CHUNK_CHARS = 8192, 8 * 1024 * 1024
# rows in memory, stored problem by problem in one transaction, so that rows that are neighbours in the ledger come together
# also where the file mixes problems
_KEPT = 1000
# skipped rows that are kept in memory; all are in the log
_FINISH_REASONS = 64
# distinct ones; the rest are "other"

Known = Callable[[Row], tuple[Problem, Prompt] | None]
"""The problem that a row is about; None where there is none."""
Find = Callable[[str, str | None], Extracted | None]
"""(text, the file's answer) -> the answer with its canonical form; None where the file gives none and none is found."""


@dataclass(slots=True)
class _Seen:
    """What is known of a problem while rows come in."""

    key: int
    check: int
    top: int
    # highest index so far
    numbered: bool
    reference: str | None


class Intake:
    """Fills one new ledger. Nothing is executed."""

    def __init__(self, ledger: Ledger, *, extractor: str, known: Known, find: Find | None, log: Path) -> None:
        """Args: find: see Find; None: the file's answer counts as it is, else the whole text is the answer.
        log: gets a line for every row that is skipped.
        """
        self._ledger, self._extractor = ledger, extractor
        self._known, self._find_answer, self._log_path = known, find, log
        self._seen: dict[str, _Seen] = {}
        self._given = False
        self._skipped: list[str] = []
        self._skipped_total = self._samples = self._judged = self._contradictions = 0
        with ledger.transaction():
            name = ledger.name_id
            self._extractor_id = name(extractor)
            self._finish_reasons = {"stop": name("stop")}
            self._told_by = name(Usage().counted_by), name(NAME)
            strength = name(Strength.IMPORTED)
            self._verdicts: dict[bool | None, Judged | None] = {
                None: None,
                True: (OUTCOME_CODES[Outcome.PASS], name(Reason.ACCEPTED), strength),
                False: (OUTCOME_CODES[Outcome.FAIL], name(Reason.REJECTED), strength),
            }
            self._batch = Batch(ledger, extractor=self._extractor_id, verifier=verifier_id(ledger, NAME, VERSION, {}))

    def take(self, entries: Iterable[Entry]) -> None:
        """Store all rows, in transactions of some thousand."""
        with storage(self._log_path), self._log_path.open("a", encoding="utf-8", errors="backslashreplace") as log:
            for chunk in _chunks(entries):
                self._meet(entry for entry in chunk if isinstance(entry, Row))
                with self._ledger.transaction():
                    skipped = self._store(chunk)
                for line in skipped:
                    self._note(line, log.write)

    def _store(self, chunk: list[Entry]) -> list[Skipped]:
        """Store what can be, problem by problem. Returns what cannot, in the file's order."""
        skipped: list[tuple[int, Skipped]] = []
        rows: list[tuple[int, int, Row, _Seen]] = []
        for number, entry in enumerate(chunk):
            if isinstance(entry, Skipped):
                skipped.append((number, entry))
            elif (seen := self._seen.get(entry.problem_id)) is None:
                skipped.append((number, Skipped(entry.where, f"the task has no problem {entry.problem_id[:80]!r}")))
            else:
                rows.append((seen.key, number, entry, seen))
        rows.sort(key=itemgetter(0, 1))
        for _, number, row, seen in rows:
            wrong = self._place(row, seen)
            if wrong is not None:
                skipped.append((number, Skipped(row.where, wrong)))
        self._batch.flush()
        return [line for _, line in sorted(skipped, key=itemgetter(0))]

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
            key, check = self._ledger.db.execute(query, (problem_id,)).fetchone()
            self._seen[problem_id] = _Seen(key, check, -1, row.sample_index is not None, row.reference)

    # ------------------------------------------------------------------------------------------- samples

    def _place(self, row: Row, seen: _Seen) -> str | None:
        """Store one sample. Returns why not, where it cannot be."""
        wrong = self._contradicts(row, seen)
        if wrong is not None:
            return wrong
        index = seen.top + 1 if row.sample_index is None else row.sample_index
        seen.top = max(seen.top, index)
        text_id = self._text_with_answer(row, seen, self._answer(row))
        self._batch.add_sample(
            seen.key,
            index,
            text_id,
            reasoning=self._batch.told(seen.key, row.reasoning) if row.reasoning else None,
            finish=self._finish(row.finish_reason),
            tokens=row.completion_tokens,
            seed=NO_SEED if row.seed is None else row.seed,
            told_by=self._told_by,
        )
        self._samples += 1
        self._judged += row.correct is not None
        return None

    def _contradicts(self, row: Row, seen: _Seen) -> str | None:
        if seen.numbered != (row.sample_index is not None):
            have, has = ("have", "has none") if seen.numbered else ("have no", "has one")
            return f"earlier rows of problem {row.problem_id[:80]!r} {have} sample_index, this one {has}"
        # with a task, its own references count
        if self._find_answer is None and row.reference is not None and row.reference != seen.reference:
            return f"another reference than the first row of problem {row.problem_id[:80]!r}"
        if (
            row.sample_index is not None
            and row.sample_index <= seen.top
            and self._batch.has_sample(seen.key, row.sample_index)
        ):
            return f"sample {row.sample_index} of problem {row.problem_id[:80]!r} appears twice"
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
        batch, score = self._batch, row.score
        if score is not None and not batch.scorer:
            batch.scorer = self._scorer()
        raw = encode(row.text)
        key = seen.key, hash16(raw)
        answer, answer_key, answer_id = raw, key, None
        if found is not None:
            if found.answer != row.text:
                answer = encode(found.answer)
                answer_key = seen.key, hash16(answer)
            answer_id = self._known_answer(answer_key, seen, row.correct)
        if found is None or answer_id is not None:
            known = batch.text(key, answer_id, score)
            if known is not None:
                return known
        text_id = batch.add_text(key, raw)
        if found is not None and answer_id is None:
            answer_id = batch.add_answer(
                answer_key,
                found,
                answer,
                text=(text_id, row.text),
                check=seen.check,
                verdict=self._verdicts[row.correct],
            )
        batch.add_extraction(key, text_id, answer_id, score)
        return text_id

    def _known_answer(self, key: tuple[int, bytes], seen: _Seen, correct: bool | None) -> int | None:
        """An answer that is there, with this verdict."""
        verdict = self._verdicts[correct]
        want = None if verdict is None else verdict[0]
        others = set()
        for answer_id, outcome in self._batch.answers(key, seen.check):
            if outcome == want:
                return answer_id
            others.add(outcome)
        self._contradictions += want is not None and bool(others - {None})
        return None

    def _finish(self, reason: str) -> int:
        """Id of a finish reason, of "other" where there are too many."""
        found = self._finish_reasons.get(reason)
        if found is None:
            few = len(self._finish_reasons) < _FINISH_REASONS
            found = self._ledger.name_id(reason if few else "other")
            if few:
                self._finish_reasons[reason] = found
        return found

    def _scorer(self) -> int:
        """Key of the scorer that stands for the file's."""
        body = canonical_json({"name": NAME, "version": VERSION, "settings": {}}).decode()
        mark = bytes.fromhex(fingerprint(NAME, VERSION, {}))
        statement = "INSERT INTO scorers (fingerprint, name, body) VALUES (?, ?, ?)"
        return int(self._ledger.db.execute(statement, (mark, NAME, body)).lastrowid or 0)


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

"""Appending to a ledger: replies with their answers, and verdicts. All of it inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vervet.ledger.spending import Charge, close
from vervet.ledger.store import Ledger, encode, hash16
from vervet.ledger.texts import Trainer
from vervet.records import Completion, Outcome, Reply, Request, Verdict, canonical_json, fingerprint

OUTCOME_CODES = {Outcome.FAIL: 0, Outcome.PASS: 1, Outcome.UNKNOWN: 2}
_LITERAL_BYTES = 64
# an answer up to this long is stored itself; a longer one as a span of its text where it is one

INSERT_REQUEST = (
    "INSERT INTO requests (id, config, problem, first, n, seed, state, prompt_tokens, cached_tokens, completion_tokens, "
    "counted_by, cost_usd, server) VALUES (?, 0, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)"
)
INSERT_SAMPLE = "INSERT INTO samples VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_TEXT = "INSERT INTO texts (id, problem, hash, dictionary, body) VALUES (?, ?, ?, ?, ?)"
INSERT_ANSWER = (
    "INSERT INTO answers (id, problem, hash, class, text, start, length, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_EXTRACTION = "INSERT INTO extractions VALUES (?, ?, ?)"
INSERT_VERDICT = "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# ids that are None: the next one


@dataclass(frozen=True, slots=True)
class Extracted:
    """An answer and the canonical form under which equal answers meet."""

    answer: str
    canonical: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A request and what came back, with what was extracted from each completion (None: no answer)."""

    request: Request
    reply: Reply
    answers: tuple[Extracted | None, ...]


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """A distinct answer that the ledger had not seen before."""

    problem_id: str
    answer_id: int
    answer: str


class Press:
    """Compresses new texts of one ledger with its newest dictionary, and trains better ones while texts go by."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        row = ledger.db.execute("SELECT count(*), ifnull(max(id), 0) FROM dictionaries").fetchone()
        self._trainer = Trainer(stage=row[0])
        self._dictionary = int(row[1])

    def pack(self, raw: bytes) -> tuple[int, bytes]:
        """(dictionary, body) as they are stored. Inside a transaction of the caller's, like all here."""
        self._learn(raw)
        return self._dictionary, self._ledger.codec(self._dictionary).pack(raw)

    def pack_all(self, texts: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        """The same of many texts, in half the time."""
        start = 0
        for number, raw in enumerate(texts):
            before = self._dictionary
            self._learn(raw)
            if self._dictionary != before:
                yield from self._packed(before, texts[start:number])
                start = number
        yield from self._packed(self._dictionary, texts[start:])

    def _packed(self, dictionary: int, texts: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        for body in self._ledger.codec(dictionary).pack_all(texts):
            yield dictionary, body

    def _learn(self, raw: bytes) -> None:
        self._trainer.add(raw)
        trained = self._trainer.due()
        if trained:
            body = self._ledger.codec(0).pack(trained)
            row = self._ledger.db.execute("INSERT INTO dictionaries (body) VALUES (?)", (body,))
            self._dictionary = int(row.lastrowid or 0)


class Recorder:
    """Appends to one open ledger on behalf of one extractor."""

    def __init__(self, ledger: Ledger, extractor: str) -> None:
        self._ledger = ledger
        self._db = ledger.db
        self._extractor = extractor
        self._keys = ledger.problem_keys()
        self._remember()

    def _remember(self) -> None:
        """(Re)build what is kept of rows' ids from the rows themselves."""
        self._press = Press(self._ledger)
        self._logs: dict[str, int] = {}
        self._rollbacks = self._ledger.rollbacks

    def _catch_up(self) -> None:
        """A transaction failed since: its dictionary and its logs are gone, and their ids may be given out again."""
        if self._rollbacks != self._ledger.rollbacks:
            self._remember()

    # ------------------------------------------------------------------------------------------- samples

    def add(self, drawn: Drawn, *, seed: int | None = None, charge: Charge | None = None) -> list[NewAnswer]:
        """Store a reply's samples. Returns the answers that are new to the ledger, for verification.

        `seed` is stored only where it does not follow from the run's seed (imported samples); `charge` names the rows that
        were reserved for the request: they become one.
        """
        self._catch_up()
        request, reply = drawn.request, drawn.reply
        problem = self._key(request.problem_id)
        request_id = (
            self._add_request(request, reply, problem, seed) if charge is None else self._settle(request, reply, charge)
        )
        new: list[NewAnswer] = []
        for choice, (completion, found) in enumerate(zip(reply.completions, drawn.answers, strict=True)):
            text_id = self._add_text(problem, completion.text)
            self._add_sample(problem, request.first + choice, request_id, choice, text_id, completion)
            new += self.add_extraction(request.problem_id, text_id, completion.text, found)
        return new

    def _add_sample(
        self, problem: int, index: int, request_id: int, choice: int, text_id: int, completion: Completion
    ) -> None:
        self._db.execute(
            INSERT_SAMPLE,
            (
                problem,
                index,
                request_id,
                choice,
                text_id,
                self._add_text(problem, completion.reasoning) if completion.reasoning else None,
                self._add_text(problem, completion.trace) if completion.trace else None,
                self._ledger.name_id(completion.finish_reason),
                completion.completion_tokens,
                completion.logprob,
            ),
        )

    def _add_request(self, request: Request, reply: Reply, problem: int, seed: int | None) -> int:
        usage = reply.usage
        row = self._db.execute(
            INSERT_REQUEST,
            (
                None,
                problem,
                request.first,
                request.n,
                seed,
                usage.prompt_tokens,
                usage.cached_tokens,
                usage.completion_tokens,
                self._ledger.name_id(usage.counted_by),
                usage.cost_usd,
                self._ledger.name_id(reply.server),
            ),
        )
        return int(row.lastrowid or 0)

    def _settle(self, request: Request, reply: Reply, charge: Charge) -> int:
        """The reserved row becomes the request's, over all of its samples."""
        close(self._ledger, charge, reply.usage)
        self._db.execute(
            "UPDATE requests SET first = ?, n = ?, counted_by = ?, server = ? WHERE id = ?",
            (
                request.first,
                request.n,
                self._ledger.name_id(reply.usage.counted_by),
                self._ledger.name_id(reply.server),
                charge.rows[0],
            ),
        )
        return charge.rows[0]

    def add_extraction(self, problem_id: str, text_id: int, text: str, found: Extracted | None) -> list[NewAnswer]:
        """Record what the extractor finds in a stored text, once. Returns the answer if it is new to the ledger."""
        extractor = self._ledger.name_id(self._extractor)
        done = self._db.execute(
            "SELECT 1 FROM extractions WHERE extractor = ? AND text = ?", (extractor, text_id)
        ).fetchone()
        if done:
            return []
        answer_id, is_new = None, False
        if found is not None:
            answer_id, is_new = self._add_answer(self._key(problem_id), found, text_id, text)
        self._db.execute(INSERT_EXTRACTION, (extractor, text_id, answer_id))
        if found is None or answer_id is None or not is_new:
            return []
        return [NewAnswer(problem_id, answer_id, found.answer)]

    def _add_answer(self, problem: int, extracted: Extracted, text_id: int, text: str) -> tuple[int, bool]:
        raw = encode(extracted.answer)
        mark = hash16(raw)
        found = self._find("answers", problem, mark)
        if found is not None:
            return found, False
        return self._new_answer(problem, extracted, raw, mark, text_id, text), True

    def _new_answer(self, problem: int, extracted: Extracted, raw: bytes, mark: bytes, text_id: int, text: str) -> int:
        place = place_of(self._ledger, extracted.answer, raw, text_id, text)
        row = self._db.execute(INSERT_ANSWER, (None, problem, mark, class_of(extracted), *place))
        return int(row.lastrowid or 0)

    def _add_text(self, problem: int, text: str) -> int:
        raw = encode(text)
        mark = hash16(raw)
        found = self._find("texts", problem, mark)
        return self._new_text(problem, raw, mark) if found is None else found

    def _new_text(self, problem: int, raw: bytes, mark: bytes) -> int:
        row = self._db.execute(INSERT_TEXT, (None, problem, mark, *self._press.pack(raw)))
        return int(row.lastrowid or 0)

    def _find(self, table: str, problem: int, mark: bytes) -> int | None:
        query = f"SELECT id, hash FROM {table} WHERE problem = ? AND substr(hash, 1, 6) = ?"  # noqa: S608  two fixed tables
        for row_id, full in self._db.execute(query, (problem, mark[:6])):
            if full == mark:
                return int(row_id)
        return None

    def forget(self, problem_id: str) -> None:
        """Nothing more will come for this problem soon: what is kept of it in memory goes."""
        self._keys.pop(problem_id, None)

    def _key(self, problem_id: str) -> int:
        if problem_id not in self._keys:
            row = self._db.execute("SELECT id FROM problems WHERE name = ?", (problem_id,)).fetchone()
            self._keys[problem_id] = int(row[0])
        return self._keys[problem_id]

    # ------------------------------------------------------------------------------------------- verdicts

    def add_verdicts(self, verifier: int, problem_id: str, verdicts: Sequence[tuple[int, Verdict]]) -> None:
        """Append one trial for each (answer id, verdict)."""
        self._catch_up()
        check = self._db.execute("SELECT check_id FROM problems WHERE id = ?", (self._key(problem_id),)).fetchone()[0]
        for answer, verdict in verdicts:
            trial = self._db.execute(
                "SELECT ifnull(max(trial) + 1, 0) FROM verdicts WHERE verifier = ? AND check_id = ? AND answer = ?",
                (verifier, check, answer),
            ).fetchone()[0]
            name = self._ledger.name_id
            self._db.execute(
                INSERT_VERDICT,
                (
                    verifier,
                    check,
                    answer,
                    trial,
                    OUTCOME_CODES[verdict.outcome],
                    name(verdict.reason),
                    name(verdict.strength),
                    name(verdict.isolation) if verdict.isolation else None,
                    None if verdict.cpu_s is None else round(verdict.cpu_s * 1000),
                    self._log(verdict.log) if verdict.log else None,
                ),
            )

    def _log(self, log: str) -> int:
        """Logs repeat a lot within a run: the recent ones are shared."""
        if log not in self._logs:
            if len(self._logs) >= 4096:
                self._logs.clear()
            row = self._db.execute("INSERT INTO logs (body) VALUES (?)", (self._ledger.codec(0).pack(encode(log)),))
            self._logs[log] = int(row.lastrowid or 0)
        return self._logs[log]


def class_of(found: Extracted) -> bytes | None:
    """What equal answers share; None where the answer is its own canonical form."""
    return None if found.canonical == found.answer else hash16(encode(found.canonical))


def place_of(
    ledger: Ledger, answer: str, raw: bytes, text_id: int, text: str
) -> tuple[int | None, int | None, int | None, bytes | None]:
    """(text, start, length, body) of an answer, `raw` its encoding: a piece of its text where it is a long one."""
    if len(raw) > _LITERAL_BYTES:
        # a text that is its own answer is common, and finding it in itself slow
        start = 0 if answer == text else text.find(answer)
        if start >= 0:
            return text_id, start, len(answer), None
    return None, None, None, ledger.codec(0).pack(raw)


def verifier_id(ledger: Ledger, name: str, version: str, settings: Mapping[str, object]) -> int:
    """Key of a verifier's fingerprint, made if need be. Writers only, inside a transaction."""
    mark = bytes.fromhex(fingerprint(name, version, settings))
    body = canonical_json({"name": name, "version": version, "settings": settings}).decode()
    ledger.db.execute("INSERT OR IGNORE INTO verifiers (fingerprint, name, body) VALUES (?, ?, ?)", (mark, name, body))
    return int(ledger.db.execute("SELECT id FROM verifiers WHERE fingerprint = ?", (mark,)).fetchone()[0])

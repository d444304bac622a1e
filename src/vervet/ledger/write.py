"""Appending to a ledger: replies with their answers, and verdicts. All of it inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vervet.ledger.spending import Charge, close
from vervet.ledger.store import Ledger, encode, hash16
from vervet.ledger.texts import Trainer
from vervet.records import Completion, Outcome, Reply, Request, Verdict, canonical_json, fingerprint

OUTCOME_CODES = {Outcome.FAIL: 0, Outcome.PASS: 1, Outcome.UNKNOWN: 2}
_LITERAL_BYTES = 64
# an answer up to this long is stored itself; a longer one as a span of its text where it is one


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
        row = self._db.execute("SELECT count(*), ifnull(max(id), 0) FROM dictionaries").fetchone()
        self._trainer = Trainer(stage=row[0])
        self._dictionary = int(row[1])
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
            "INSERT INTO samples VALUES (0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            "INSERT INTO requests (config, problem, first, n, seed, state, prompt_tokens, cached_tokens, completion_tokens, "
            "counted_by, cost_usd, server) VALUES (0, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)",
            (
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
        self._db.execute("INSERT INTO extractions VALUES (?, ?, ?)", (extractor, text_id, answer_id))
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
        answer = extracted.answer
        start = text.find(answer) if len(raw) > _LITERAL_BYTES else -1
        span = (
            (text_id, start, len(answer), None) if start >= 0 else (None, None, None, self._ledger.codec(0).pack(raw))
        )
        row = self._db.execute(
            "INSERT INTO answers (problem, hash, class, text, start, length, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (problem, mark, hash16(encode(extracted.canonical)) if extracted.canonical != answer else None, *span),
        )
        return int(row.lastrowid or 0)

    def _add_text(self, problem: int, text: str) -> int:
        raw = encode(text)
        mark = hash16(raw)
        found = self._find("texts", problem, mark)
        return self._new_text(problem, raw, mark) if found is None else found

    def _new_text(self, problem: int, raw: bytes, mark: bytes) -> int:
        self._train(raw)
        body = self._ledger.codec(self._dictionary).pack(raw)
        row = self._db.execute(
            "INSERT INTO texts (problem, dictionary, hash, body) VALUES (?, ?, ?, ?)",
            (problem, self._dictionary, mark, body),
        )
        return int(row.lastrowid or 0)

    def _find(self, table: str, problem: int, mark: bytes) -> int | None:
        query = f"SELECT id, hash FROM {table} WHERE problem = ? AND substr(hash, 1, 6) = ?"  # noqa: S608  two fixed tables
        for row_id, full in self._db.execute(query, (problem, mark[:6])):
            if full == mark:
                return int(row_id)
        return None

    def _train(self, raw: bytes) -> None:
        self._trainer.add(raw)
        trained = self._trainer.due()
        if trained:
            row = self._db.execute("INSERT INTO dictionaries (body) VALUES (?)", (self._ledger.codec(0).pack(trained),))
            self._dictionary = int(row.lastrowid or 0)

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
                "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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


def verifier_id(ledger: Ledger, name: str, version: str, settings: Mapping[str, object]) -> int:
    """Key of a verifier's fingerprint, made if need be. Writers only, inside a transaction."""
    mark = bytes.fromhex(fingerprint(name, version, settings))
    body = canonical_json({"name": name, "version": version, "settings": settings}).decode()
    ledger.db.execute("INSERT OR IGNORE INTO verifiers (fingerprint, name, body) VALUES (?, ?, ?)", (mark, name, body))
    return int(ledger.db.execute("SELECT id FROM verifiers WHERE fingerprint = ?", (mark,)).fetchone()[0])

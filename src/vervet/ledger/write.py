"""Appending to a ledger: replies with their answers, and verdicts. All of it inside a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from vervet.ledger.spending import Charge, close
from vervet.ledger.store import Ledger, encode, hash16
from vervet.ledger.texts import Trainer
from vervet.records import Outcome, Reply, Request, Verdict, canonical_json, fingerprint

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
_NEXT_TRIAL = (
    "INSERT INTO verdicts SELECT ?1, ?2, ?3, ifnull(max(trial) + 1, 0), ?4, ?5, ?6, ?7, ?8, ?9 FROM verdicts "
    "WHERE verifier = ?1 AND check_id = ?2 AND answer = ?3"
)
_LOOKUPS = (1, 4, 16, 64)
# rows that one query looks for: a few sizes, so that SQLite compiles a few queries


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
    charge: Charge | None = None
    # the rows that were reserved for the request: they become one
    seed: int | None = None
    # only where it does not follow from the run's seed


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """A distinct answer that the ledger had not seen before."""

    problem_id: str
    answer_id: int
    answer: str


@dataclass(frozen=True, slots=True)
class Trials:
    """What a verifier says about answers to one problem, by their ids."""

    verifier: int
    problem_id: str
    verdicts: Sequence[tuple[int, Verdict]]


class _Find(NamedTuple):
    """What the extractor finds in a stored text."""

    problem_id: str
    text_id: int
    text: str
    found: Extracted | None


class Press:
    """Compresses new texts of one ledger with its newest dictionary, and trains better ones while texts go by."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        row = ledger.db.execute("SELECT count(*), ifnull(max(id), 0) FROM dictionaries").fetchone()
        self._trainer = Trainer(stage=row[0])
        self._dictionary = int(row[1])

    def pack_all(self, texts: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        """(dictionary, body) of each text, as they are stored. Inside a transaction of the caller's, like all here."""
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
    """Appends to one open ledger on behalf of one extractor; by the batch, because a statement costs more than its row."""

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

    def add(self, drawn: Drawn) -> list[NewAnswer]:
        """Store a reply's samples. Returns the answers that are new to the ledger, for verification."""
        return self.add_all([drawn])[0]

    def add_all(self, replies: Sequence[Drawn]) -> list[list[NewAnswer]]:
        """As :meth:`add`, for each of several replies."""
        self._catch_up()
        requests = self._add_requests(replies)
        stored, fresh = self._add_texts([pair for drawn in replies for pair in self._texts_of(drawn)])
        texts, name = iter(stored), self._ledger.name_id
        samples: list[tuple[object, ...]] = []
        finds: list[_Find] = []
        for drawn, request in zip(replies, requests, strict=True):
            problem_id, first = drawn.request.problem_id, drawn.request.first
            problem = self._key(problem_id)
            for choice, (completion, found) in enumerate(zip(drawn.reply.completions, drawn.answers, strict=True)):
                text = next(texts)
                reasoning = next(texts) if completion.reasoning else None
                trace = next(texts) if completion.trace else None
                finish, tokens = name(completion.finish_reason), completion.completion_tokens
                what = text, reasoning, trace, finish, tokens, completion.logprob
                samples.append((problem, first + choice, request, choice, *what))
                finds.append(_Find(problem_id, text, completion.text, found))
        self._db.executemany(INSERT_SAMPLE, samples)
        new = iter(self._extract(finds, fresh))
        return [[answer for answer in islice(new, len(drawn.answers)) if answer is not None] for drawn in replies]

    def _texts_of(self, drawn: Drawn) -> Iterator[tuple[int, str]]:
        """(problem, text) for all that a reply says, in the order in which `add_all` asks for the ids."""
        problem = self._key(drawn.request.problem_id)
        for completion in drawn.reply.completions:
            yield problem, completion.text
            if completion.reasoning:
                yield problem, completion.reasoning
            if completion.trace:
                yield problem, completion.trace

    def _add_requests(self, replies: Sequence[Drawn]) -> list[int]:
        """The replies' requests, by their ids: new rows, or those that were reserved."""
        following = self._next_id("requests")
        rows: list[tuple[object, ...]] = []
        ids: list[int] = []
        for drawn in replies:
            if drawn.charge is not None:
                ids.append(self._settle(drawn.request, drawn.reply, drawn.charge))
            else:
                ids.append(following + len(rows))
                rows.append((ids[-1], *self._request_row(drawn.request, drawn.reply, drawn.seed)))
        self._db.executemany(INSERT_REQUEST, rows)
        return ids

    def _request_row(self, request: Request, reply: Reply, seed: int | None) -> tuple[object, ...]:
        usage, name = reply.usage, self._ledger.name_id
        asked = self._key(request.problem_id), request.first, request.n, seed
        tokens = usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, name(usage.counted_by)
        return *asked, *tokens, usage.cost_usd, name(reply.server)

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

    # ------------------------------------------------------------------------------------------- texts and answers

    def _add_texts(self, wanted: Sequence[tuple[int, str]]) -> tuple[list[int], range]:
        """(the ids of these (problem, text) pairs, those among them that are new)."""
        raws = [encode(text) for _, text in wanted]
        keys = [(problem, hash16(raw)) for (problem, _), raw in zip(wanted, raws, strict=True)]
        known, following = self._stored("texts", keys), self._next_id("texts")
        new: dict[tuple[int, bytes], bytes] = {}
        for key, raw in zip(keys, raws, strict=True):
            if key not in known:
                known[key] = following + len(new)
                new[key] = raw
        packed = self._press.pack_all(list(new.values()))
        self._db.executemany(INSERT_TEXT, [(known[key], *key, *body) for key, body in zip(new, packed, strict=True)])
        return [known[key] for key in keys], range(following, following + len(new))

    def add_extraction(self, problem_id: str, text_id: int, text: str, found: Extracted | None) -> list[NewAnswer]:
        """Record what the extractor finds in a stored text, once. Returns the answer if it is new to the ledger."""
        new = self._extract([_Find(problem_id, text_id, text, found)], range(0))
        return [answer for answer in new if answer is not None]

    def _extract(self, finds: Sequence[_Find], fresh: range) -> list[NewAnswer | None]:
        """Record finds, the first for each text; for each the answer, where it is new to the ledger.

        `fresh`: texts that were stored just now, in which nobody can have looked before.
        """
        extractor = self._ledger.name_id(self._extractor)
        keys = [None if f.found is None else (self._key(f.problem_id), hash16(encode(f.found.answer))) for f in finds]
        known = self._stored("answers", [key for key in keys if key is not None])
        following = self._next_id("answers")
        extractions: dict[int, int | None] = {}
        answers: list[tuple[object, ...]] = []
        new: list[NewAnswer | None] = [None] * len(finds)
        for at, (find, key) in enumerate(zip(finds, keys, strict=True)):
            if find.text_id in extractions or not (find.text_id in fresh or self._unseen(extractor, find.text_id)):
                continue
            if find.found is not None and key is not None and key not in known:
                known[key] = following + len(answers)
                found = find.found
                place = place_of(self._ledger, found.answer, encode(found.answer), find.text_id, find.text)
                answers.append((known[key], *key, class_of(found), *place))
                new[at] = NewAnswer(find.problem_id, known[key], found.answer)
            extractions[find.text_id] = None if key is None else known[key]
        self._db.executemany(INSERT_ANSWER, answers)
        rows = [(extractor, text, answer) for text, answer in extractions.items()]
        self._db.executemany(INSERT_EXTRACTION, rows)
        return new

    def _unseen(self, extractor: int, text_id: int) -> bool:
        query = "SELECT 1 FROM extractions WHERE extractor = ? AND text = ?"
        return self._db.execute(query, (extractor, text_id)).fetchone() is None

    def _next_id(self, table: str) -> int:
        """The id that SQLite would give the next row: only one process writes, and only one thread of it."""
        return int(self._db.execute(f"SELECT ifnull(max(id), 0) + 1 FROM {table}").fetchone()[0])  # noqa: S608  fixed tables

    def _stored(self, table: str, keys: Sequence[tuple[int, bytes]]) -> dict[tuple[int, bytes], int]:
        """Ids of rows that are there already, by (problem, hash); the oldest where several are equal."""
        found: dict[tuple[int, bytes], int] = {}
        for at in range(0, len(keys), _LOOKUPS[-1]):
            some = keys[at : at + _LOOKUPS[-1]]
            size = next(size for size in _LOOKUPS if size >= len(some))
            query = (
                f"SELECT t.problem, t.hash, t.id FROM (VALUES {', '.join(['(?, ?)'] * size)}) AS k "  # noqa: S608  fixed tables
                f"CROSS JOIN {table} AS t ON t.problem = k.column1 AND substr(t.hash, 1, 6) = k.column2"
            )
            asked: list[int | bytes | None] = [value for problem, mark in some for value in (problem, mark[:6])]
            for problem, mark, row_id in self._db.execute(query, asked + [None] * (2 * size - len(asked))):
                found.setdefault((problem, mark), row_id)
        return found

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
        self.add_trials([Trials(verifier, problem_id, verdicts)])

    def add_trials(self, trials: Sequence[Trials]) -> list[None]:
        """As :meth:`add_verdicts`, for several problems' answers."""
        self._catch_up()
        name = self._ledger.name_id
        rows: list[tuple[object, ...]] = []
        for some in trials:
            query = "SELECT check_id FROM problems WHERE id = ?"
            check = self._db.execute(query, (self._key(some.problem_id),)).fetchone()[0]
            for answer, verdict in some.verdicts:
                said = OUTCOME_CODES[verdict.outcome], name(verdict.reason), name(verdict.strength)
                isolation = name(verdict.isolation) if verdict.isolation else None
                cpu_ms = None if verdict.cpu_s is None else round(verdict.cpu_s * 1000)
                log = self._log(verdict.log) if verdict.log else None
                rows.append((some.verifier, check, answer, *said, isolation, cpu_ms, log))
        self._db.executemany(_NEXT_TRIAL, rows)
        return [None] * len(trials)

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

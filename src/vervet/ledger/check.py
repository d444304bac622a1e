"""Integrity: every hash, every reference and every count of a ledger derived again from what is stored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import orjson
import zstandard

from vervet.errors import BadData, StorageError
from vervet.ledger import read
from vervet.ledger.store import Ledger, encode, hash16, storage
from vervet.records import Config, canonical_json, fingerprint

_REFERENCES = (
    ("samples", "problem", "problems"),
    ("samples", "text", "texts"),
    ("samples", "reasoning", "texts"),
    ("samples", "trace", "texts"),
    ("samples", "request", "requests"),
    ("samples", "finish", "names"),
    ("texts", "problem", "problems"),
    ("extractions", "text", "texts"),
    ("extractions", "answer", "answers"),
    ("answers", "problem", "problems"),
    ("answers", "text", "texts"),
    ("verdicts", "answer", "answers"),
    ("verdicts", "verifier", "verifiers"),
    ("verdicts", "check_id", "checks"),
    ("verdicts", "log", "logs"),
    ("problems", "check_id", "checks"),
)
_MOST = 100
# faults named; a broken disk has millions


def check(ledger: Ledger) -> tuple[int, list[str]]:
    """Rows checked, and what is wrong, each fault one line that names the row. An intact ledger has no faults."""
    faults: list[str] = []
    checked = 0
    with storage(ledger.path):
        rows = ledger.db.execute("PRAGMA integrity_check(20)").fetchall()
        faults += [f"file: {row[0]}" for row in rows if row[0] != "ok"]
        for part in (_configs, _problems, _texts, _answers, _references, _samples, _verdicts):
            for fault in part(ledger):
                if fault is None:
                    checked += 1
                elif len(faults) < _MOST:
                    faults.append(fault)
    return checked, faults


Faults = Iterator[str | None]
"""None for a row that is right, a line for one that is not."""


def _configs(ledger: Ledger) -> Faults:
    for digest, body in ledger.db.execute("SELECT digest, body FROM configs"):
        right = Config.from_dict(orjson.loads(body)).digest == digest.hex()
        yield None if right else f"config {digest.hex()}: its content has another hash"


def _problems(ledger: Ledger) -> Faults:
    plain = ledger.codec(0)
    rows = ledger.db.execute(
        "SELECT p.name, p.hash, p.body, c.fingerprint, c.body FROM problems p LEFT JOIN checks c ON c.id = p.check_id"
    )
    for name, mark, body, check_mark, check_body in rows:
        try:
            right = hash16(plain.unpack(body)) == mark
            content = orjson.loads(plain.unpack(check_body))
            same = fingerprint(name, content["check"], content["reference"]) == check_mark.hex()
        except (zstandard.ZstdError, orjson.JSONDecodeError, AttributeError, TypeError, KeyError):
            right = same = False
        yield None if right and same else f"problem {name!r}: its {'check' if right else 'prompt'} is damaged"


def _texts(ledger: Ledger) -> Faults:
    rows = ledger.db.execute(
        "SELECT t.id, t.dictionary, t.hash, t.body, p.name FROM texts t LEFT JOIN problems p ON p.id = t.problem"
    )
    for text_id, dictionary, mark, body, name in rows:
        try:
            right = hash16(ledger.codec(dictionary).unpack(body)) == mark
        except (zstandard.ZstdError, BadData):
            right = False
        yield None if right else f"text {text_id} of problem {name!r} is damaged"


def _answers(ledger: Ledger) -> Faults:
    for answer_id, mark in ledger.db.execute("SELECT id, hash FROM answers"):
        try:
            right = hash16(encode(ledger.answer(answer_id))) == mark
        except (zstandard.ZstdError, BadData, UnicodeDecodeError):
            right = False
        yield None if right else f"answer {answer_id} is damaged"


def _references(ledger: Ledger) -> Faults:
    for table, column, target in _REFERENCES:
        query = (
            f"SELECT count(*) FROM {table} a WHERE a.{column} IS NOT NULL "  # noqa: S608  the table above
            f"AND NOT EXISTS (SELECT 1 FROM {target} b WHERE b.id = a.{column})"
        )
        lost = ledger.db.execute(query).fetchone()[0]
        yield f"{table}.{column}: {lost} rows point at {target} that do not exist" if lost else None


def _samples(ledger: Ledger) -> Faults:
    """Each sample lies inside its request, and no request's sample is stored twice."""
    outside = ledger.db.execute(
        "SELECT count(*) FROM samples s JOIN requests r ON r.id = s.request "
        "WHERE s.problem != r.problem OR s.idx != r.first + s.choice OR s.choice >= r.n"
    ).fetchone()[0]
    yield f"samples: {outside} do not belong to their request" if outside else None
    try:
        with storage(ledger.path):
            table, *others = read.derive(ledger, read.view(ledger))
            kept = read.left_behind(ledger, read.view(ledger))
    except StorageError:
        yield "counts cannot be derived: rows point at rows that do not exist"
        return
    total = ledger.db.execute("SELECT count(*) FROM samples").fetchone()[0]
    counted = int(table.n.sum() + table.unknown.sum())
    yield None if counted == total else f"counts: {counted} samples counted, {total} stored"
    same = kept is None or (
        all(np.array_equal(getattr(table, name), getattr(kept[0], name)) for name in ("n", "c", "unknown"))
        and others == list(kept[1:])
    )
    yield None if same else "counts: those that were kept are not those of the samples"


def _verdicts(ledger: Ledger) -> Faults:
    for name, mark, body in ledger.db.execute("SELECT name, fingerprint, body FROM verifiers"):
        content = orjson.loads(body)
        same = fingerprint(content["name"], content["version"], content["settings"]) == mark.hex()
        yield (
            None
            if same and canonical_json(content).decode() == body
            else f"verifier {name!r}: its content has another hash"
        )
    odd = ledger.db.execute("SELECT count(*) FROM verdicts WHERE outcome NOT IN (0, 1, 2)").fetchone()[0]
    yield f"verdicts: {odd} with an impossible outcome" if odd else None

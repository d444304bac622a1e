"""The tables of `ledger.sqlite`, and the migrations that lead to them.

Integers are keys, 16-byte BLAKE2b hashes are identities, short strings that repeat are interned in `names`.
Every text (a sample's, its reasoning, its trace) is one row of `texts`, once per problem; samples point at it, so that
counting never reads a text. A text is found by the first six bytes of its hash within its problem and then compared in full.

    samples -> texts <- extractions -> answers <- verdicts

An answer that is a piece of a text is stored as (text, start, length), not again. The class of an answer is the hash of its
canonical form; NULL where the answer is its own canonical form: equal answers share ifnull(class, hash).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

VERSION = 2

_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE configs (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE TABLE checks (id INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE problems (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, check_id INTEGER NOT NULL, hash BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE requests (
    id INTEGER PRIMARY KEY, config INTEGER NOT NULL, problem INTEGER NOT NULL, first INTEGER NOT NULL, n INTEGER NOT NULL,
    seed INTEGER,            -- NULL: derived from meta.run_seed, the problem and `first`
    state INTEGER NOT NULL,  -- 0 sent, 1 done, 2 lost
    prompt_tokens INTEGER, cached_tokens INTEGER, completion_tokens INTEGER, counted_by INTEGER,
    cost_usd REAL, server INTEGER);
CREATE TABLE dictionaries (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE texts (
    id INTEGER PRIMARY KEY, problem INTEGER NOT NULL, dictionary INTEGER NOT NULL, hash BLOB NOT NULL, body BLOB NOT NULL);
CREATE INDEX texts_key ON texts (problem, substr(hash, 1, 6));
CREATE TABLE samples (
    config INTEGER NOT NULL, problem INTEGER NOT NULL, idx INTEGER NOT NULL,
    request INTEGER NOT NULL, choice INTEGER NOT NULL, text INTEGER NOT NULL, reasoning INTEGER, trace INTEGER,
    finish INTEGER NOT NULL, tokens INTEGER, logprob REAL,
    PRIMARY KEY (config, problem, idx)) WITHOUT ROWID;
CREATE TABLE answers (
    id INTEGER PRIMARY KEY, problem INTEGER NOT NULL, hash BLOB NOT NULL, class BLOB,
    text INTEGER, start INTEGER, length INTEGER, body BLOB);
CREATE INDEX answers_key ON answers (problem, substr(hash, 1, 6));
CREATE TABLE extractions (
    extractor INTEGER NOT NULL, text INTEGER NOT NULL, answer INTEGER,
    PRIMARY KEY (extractor, text)) WITHOUT ROWID;
CREATE TABLE merges (
    method INTEGER NOT NULL, answer INTEGER NOT NULL, into_answer INTEGER NOT NULL,
    PRIMARY KEY (method, answer)) WITHOUT ROWID;
CREATE TABLE verifiers (id INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL UNIQUE, name TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE logs (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE verdicts (
    verifier INTEGER NOT NULL, check_id INTEGER NOT NULL, answer INTEGER NOT NULL, trial INTEGER NOT NULL,
    outcome INTEGER NOT NULL,  -- 0 FAIL, 1 PASS, 2 UNKNOWN
    reason INTEGER NOT NULL, strength INTEGER NOT NULL, isolation INTEGER, cpu_ms INTEGER, log INTEGER,
    PRIMARY KEY (verifier, check_id, answer, trial)) WITHOUT ROWID;
CREATE TABLE scorers (id INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL UNIQUE, name TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE scores (
    scorer INTEGER NOT NULL, kind INTEGER NOT NULL,  -- 0: target is a text, 1: target is an answer
    target INTEGER NOT NULL, value REAL,
    PRIMARY KEY (scorer, kind, target)) WITHOUT ROWID;
CREATE TABLE events (id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL);
"""


def _create(connection: sqlite3.Connection) -> None:
    for statement in _FIRST.split(";\n"):
        if statement.strip():
            connection.execute(statement)


def _charged_tokens(connection: sqlite3.Connection) -> None:
    """What a budget of tokens was charged for a request where that is not what the request is known to have used."""
    connection.execute("ALTER TABLE requests ADD COLUMN charged_tokens INTEGER")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_create, _charged_tokens)
"""MIGRATIONS[i] leads from version i to i + 1. Only ever append."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to VERSION in one transaction."""
    version = schema_version(connection)
    connection.execute("BEGIN IMMEDIATE")
    for step in MIGRATIONS[version:]:
        step(connection)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")


def schema_version(connection: sqlite3.Connection) -> int:
    """0 for an empty database."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])

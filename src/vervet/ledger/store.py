"""The run's only store, in one SQLite file.

A run is a folder with `ledger.sqlite`, `lock` and `log.txt`. One process writes (the lock says who), any number read while it
does. What is committed to the write-ahead log survives SIGKILL of any process; with durability "full" also a power loss.
Rows are appended, never changed, but for a request's state.

This module opens, creates and describes a ledger; `write` appends to it, `read` counts and fetches, `check` re-derives it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import orjson

from vervet.errors import BadData, RunMismatch, StorageError, UserError, VervetError
from vervet.ledger import schema
from vervet.ledger.lock import RunLock
from vervet.ledger.texts import Codec
from vervet.records import Config, Problem, Prompt, canonical_json, prompt_from_json, prompt_to_json

Durability = Literal["fast", "full"]
FILE = "ledger.sqlite"
TALLY = "tally"
# the key under which a writer leaves the run's counts for readers


def hash16(data: bytes) -> bytes:
    """The ledger's identity of a piece of data."""
    return hashlib.blake2b(data, digest_size=16).digest()


@contextlib.contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line about the disk or the file."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            raise StorageError(
                f"cannot write {path}: {text}; what was committed is kept: free space and repeat the command"
            ) from error
        if "not a database" in text or "malformed" in text:
            raise StorageError(
                f"{path} is damaged ({text}): `vervet ledger check` names what can still be read"
            ) from error
        if "readonly" in text or "unable to open" in text:
            raise StorageError(f"cannot open {path} for writing: check the folder's permissions") from error
        if "locked" in text:
            raise StorageError(f"{path} is locked by another program: close it and repeat the command") from error
        raise
    except IndexError as error:
        # a row points beyond the rows there are
        raise StorageError(f"{path} is damaged: `vervet ledger check` names what can still be read") from error
    except OSError as error:
        raise StorageError(f"cannot use {path}: {error.strerror}") from error


class Ledger:
    """An open run folder. Not thread-safe: one thread at a time, each reader its own Ledger."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: RunLock | None) -> None:
        self.folder = folder
        self.path = folder / FILE
        self.db = connection
        self._lock = lock
        self._names: dict[str, int] = {}
        self._codecs: dict[int, Codec] = {0: Codec()}
        self._wrote = False
        # something that counts may depend on, since it was opened
        self.rollbacks = 0
        # transactions that failed; whoever keeps ids of rows must drop them when it moves

    # ------------------------------------------------------------------------------------------- open and close

    @classmethod
    def create(cls, folder: Path, config: Config, meta: dict[str, Any], durability: Durability = "fast") -> Ledger:
        """A new, empty run for `config`. Raises: StorageError, RunInUse, UserError where a run is there already."""
        with storage(folder):
            folder.mkdir(parents=True, exist_ok=True)
        ledger = cls._open(folder, writer=True, durability=durability, make=True)
        if ledger.started:
            ledger.close()
            raise UserError(f"{folder} already holds a run")
        with ledger.transaction():
            ledger.db.execute(
                "INSERT INTO configs (id, digest, body) VALUES (0, ?, ?)",
                (bytes.fromhex(config.digest), canonical_json(config.to_dict()).decode()),
            )
            for key, value in ({"created": time.time()} | meta).items():
                ledger.set_meta(key, value)
        return ledger

    @classmethod
    def open(cls, folder: Path, *, writer: bool = False, durability: Durability = "fast") -> Ledger:
        """An existing run. Raises: UserError where there is none, RunInUse, StorageError."""
        if not (folder / FILE).is_file():
            what = "does not exist" if not folder.exists() else f"holds no run (no {FILE})"
            raise UserError(f"{folder} {what}: name the folder of a run")
        return cls._open(folder, writer=writer, durability=durability, make=False)

    @classmethod
    def _open(cls, folder: Path, *, writer: bool, durability: Durability, make: bool) -> Ledger:
        lock = RunLock(folder) if writer else None
        path = folder / FILE
        try:
            with storage(path):
                connection = _connect(path, writer=writer, durability=durability)
                ledger = cls(folder, connection, lock)
                ledger._check_version(writer=writer, make=make)
        except BaseException:
            if lock:
                lock.release()
            raise
        return ledger

    def _check_version(self, *, writer: bool, make: bool) -> None:
        version = schema.schema_version(self.db)
        if version > schema.VERSION:
            raise UserError(
                f"{self.folder} was written by a newer Vervet (schema {version}): upgrade vervet to read it"
            )
        if version == 0 and not make:
            raise UserError(f"{self.folder} holds a run that was never started: repeat the command that made it")
        if version < schema.VERSION:
            if not writer:
                raise UserError(
                    f"{self.folder} has an older schema ({version}): "
                    f"`vervet ledger check {self.folder} --migrate` brings it up to date"
                )
            schema.migrate(self.db)

    @property
    def started(self) -> bool:
        """False for a run that was killed while it was being made; nothing was bought for it yet."""
        return bool(self.db.execute("SELECT count(*) FROM configs").fetchone()[0])

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Whether `folder` holds a run that was started."""
        if not (folder / FILE).is_file() or (folder / f"{FILE}-journal").exists():
            # a rollback journal is there only until the write-ahead log is: killed then, a run was never started, and a
            # reader could not even look, because rolling back is a write
            return False
        with storage(folder / FILE):
            connection = _connect(folder / FILE, writer=False, durability="fast")
            try:
                return schema.schema_version(connection) > 0 and bool(
                    connection.execute("SELECT count(*) FROM configs").fetchone()[0]
                )
            finally:
                connection.close()

    def close(self) -> None:
        """Idempotent. A writer leaves the run's counts behind, which readers would have to find anew each time."""
        if self._lock and self._wrote:
            from vervet.ledger.read import remember  # noqa: PLC0415  it reads what is kept here

            self._wrote = False
            with contextlib.suppress(VervetError, sqlite3.Error):
                # damaged, or no room: readers find it all the same, or say so
                remember(self)
        self.db.close()
        if self._lock:
            self._lock.release()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self, *, counts_stay: bool = False) -> Iterator[None]:
        """All or nothing; durable when it ends. `counts_stay`: nothing is written that a count could depend on."""
        with storage(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                if not counts_stay:
                    self._wrote = True
                    self.db.execute("DELETE FROM meta WHERE key = ?", (TALLY,))
                yield
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                self._forget()
                raise

    def _forget(self) -> None:
        """After a rollback: ids that were handed out since BEGIN may name nothing now, or something else later."""
        self.rollbacks += 1
        self._names.clear()
        self._codecs = {0: self._codecs[0]}

    # ------------------------------------------------------------------------------------------- what the run is

    def set_meta(self, key: str, value: Any) -> None:
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, canonical_json(value).decode()))

    def meta(self, key: str, default: Any = None) -> Any:
        with storage(self.path):
            row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else orjson.loads(row[0])

    @property
    def config(self) -> Config:
        with storage(self.path):
            row = self.db.execute("SELECT body FROM configs WHERE id = 0").fetchone()
        if row is None:
            raise BadData(f"{self.folder} has no config: `vervet ledger check` names what is damaged")
        return Config.from_dict(orjson.loads(row[0]))

    @property
    def run_seed(self) -> int:
        return int(self.meta("run_seed", 0))

    def require_config(self, config: Config) -> None:
        """Raises: RunMismatch that shows every difference to the run's own config."""
        have, want = _flat(self.config.to_dict()), _flat(config.to_dict())
        different = [k for k in sorted(have | want) if have.get(k) != want.get(k)]
        if different:
            shown = "; ".join(f"{k}: {_short(have.get(k))} in the run, {_short(want.get(k))} now" for k in different)
            raise RunMismatch(f"{self.folder} holds a run of another config ({shown}): use another --out, or --new")

    # ------------------------------------------------------------------------------------------- interned strings

    def name_id(self, name: str) -> int:
        """Id of a short string, made if need be. Writers only."""
        found = self._names.get(name)
        if found is None:
            row = self.db.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
            found = row[0] if row else self.db.execute("INSERT INTO names (name) VALUES (?)", (name,)).lastrowid
            self._names[name] = int(found or 0)
        return self._names[name]

    def known_name(self, name: str) -> int:
        """Id of a short string, 0 where the ledger has never seen it."""
        row = self.db.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def names(self) -> dict[int, str]:
        return dict(self.db.execute("SELECT id, name FROM names"))

    # ------------------------------------------------------------------------------------------- texts

    def codec(self, dictionary: int) -> Codec:
        """Codec of a dictionary row. Raises: BadData where the row is missing."""
        if dictionary not in self._codecs:
            row = self.db.execute("SELECT body FROM dictionaries WHERE id = ?", (dictionary,)).fetchone()
            if row is None:
                raise BadData(f"{self.path}: dictionary {dictionary} is missing, its texts cannot be read")
            self._codecs[dictionary] = Codec(self._codecs[0].unpack(row[0]))
        return self._codecs[dictionary]

    def text(self, text_id: int) -> str:
        """A stored text. Raises: BadData where it is damaged."""
        row = self.db.execute("SELECT dictionary, body FROM texts WHERE id = ?", (text_id,)).fetchone()
        if row is None:
            raise BadData(f"{self.path}: text {text_id} is missing")
        return self.unpack(*row)

    def unpack(self, dictionary: int, body: bytes) -> str:
        """A text as `texts` holds it."""
        return decode(self.codec(dictionary).unpack(body))

    def answer(self, answer_id: int) -> str:
        """A distinct answer's text."""
        row = self.db.execute("SELECT text, start, length, body FROM answers WHERE id = ?", (answer_id,)).fetchone()
        if row is None:
            raise BadData(f"{self.path}: answer {answer_id} is missing")
        text, start, length, body = row
        if text is None:
            return decode(self.codec(0).unpack(body))
        return self.text(text)[start : start + length]

    # ------------------------------------------------------------------------------------------- problems

    def add_problems(self, problems: Sequence[tuple[Problem, Prompt]]) -> None:
        """Store problems that are not there yet, in order, in one transaction."""
        with self.transaction():
            for problem, prompt in problems:
                self.add_problem(problem, prompt)

    def add_problem(self, problem: Problem, prompt: Prompt) -> None:
        """Store a problem that is not there yet, inside a transaction of the caller's."""
        plain = self.codec(0)
        if self.db.execute("SELECT 1 FROM problems WHERE name = ?", (problem.id,)).fetchone():
            return
        check = canonical_json({"check": problem.check, "reference": problem.reference})
        mark = bytes.fromhex(problem.check_fingerprint)
        self.db.execute("INSERT OR IGNORE INTO checks (fingerprint, body) VALUES (?, ?)", (mark, plain.pack(check)))
        check_id = self.db.execute("SELECT id FROM checks WHERE fingerprint = ?", (mark,)).fetchone()[0]
        body = canonical_json({"data": problem.data, "prompt": prompt_to_json(prompt)})
        self.db.execute(
            "INSERT INTO problems (name, check_id, hash, body) VALUES (?, ?, ?, ?)",
            (problem.id, check_id, hash16(body), plain.pack(body)),
        )

    def problem_keys(self) -> dict[str, int]:
        """Problem id -> key, in the order in which they were stored."""
        with storage(self.path):
            return dict(self.db.execute("SELECT name, id FROM problems ORDER BY id"))

    def problem(self, problem_id: str) -> tuple[Problem, Prompt]:
        """Raises: UserError where the run has no such problem."""
        with storage(self.path):
            row = self.db.execute(
                "SELECT p.body, c.body FROM problems p JOIN checks c ON c.id = p.check_id WHERE p.name = ?",
                (problem_id,),
            ).fetchone()
        if row is None:
            raise UserError(f"{self.folder} has no problem {problem_id!r}: `vervet show {self.folder}` lists them")
        body, check = (orjson.loads(self.codec(0).unpack(part)) for part in row)
        problem = Problem(id=problem_id, check=check["check"], reference=check["reference"], data=body["data"])
        return problem, prompt_from_json(body["prompt"])

    def log_event(self, kind: str, body: dict[str, Any]) -> None:
        """Append to the run's diary."""
        with self.transaction(counts_stay=True):
            self.db.execute(
                "INSERT INTO events (at, kind, body) VALUES (?, ?, ?)",
                (time.time(), kind, canonical_json(body).decode()),
            )


def encode(text: str) -> bytes:
    """UTF-8 that also holds lone surrogates: what a model says is stored as it came."""
    return text.encode("utf-8", "surrogatepass")


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _connect(path: Path, *, writer: bool, durability: Durability) -> sqlite3.Connection:
    # autocommit: transactions are ours. The writer's connection moves to the thread that commits.
    # A folder that cannot be written cannot hold the log's index either: then the file itself is all there is.
    frozen = not writer and not os.access(path.parent, os.W_OK)
    target = f"{path.resolve().as_uri()}?mode={'rwc' if writer else 'ro'}{'&immutable=1' if frozen else ''}"
    connection = sqlite3.connect(target, isolation_level=None, check_same_thread=False, uri=True, timeout=30)
    # the operating system caches the file too: 64 MB here were no faster than 16
    connection.execute(f"PRAGMA cache_size = {-16384 if writer else -8192}")
    if writer:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
    return connection


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for key, part in value.items() for k, v in _flat(part, f"{prefix}{key}.").items()}
    return {prefix.rstrip("."): value}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."

"""Shards of one run into one ledger: everything by its key, nothing twice, and checked before it counts.

Shards are runs of one config and one seed, over other problems or other indexes: what a run is split into when one writer is
not enough. A problem is known by its name, a text or an answer by its problem and its hash, a sample by (problem, index), a
verifier by its fingerprint, a verdict by what it says about which answer. So a repeated merge adds nothing, and one that was
killed is repeated. Each shard is one transaction of SQL over the two files, linear in the shard; texts stay compressed.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vervet.errors import BadData, BadOption, CheckFailed, RunMismatch
from vervet.ledger.spending import LOST, SENT
from vervet.ledger.store import FILE, TALLY, Durability, Ledger, storage

IMPORTED = "imported/"
_OWN = frozenset({"created", "worked_s", "missing", "chosen", "shards", "budget_shared", TALLY})
# of a shard's meta, what does not hold for the whole
_MAPS = ("name", "chk", "problem", "dictionary", "text", "answer", "request", "verifier", "log", "scorer")


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did."""

    run: str
    shards: int
    samples: int
    # in the shards
    added: int
    # of them, that were not there yet
    verdicts: int
    # added

    def to_dict(self) -> dict[str, Any]:
        """vervet.ledger-merge/1."""
        return {"schema": "vervet.ledger-merge/1"} | {name: getattr(self, name) for name in self.__slots__}


def merge(
    shards: Sequence[Path],
    out: Path,
    *,
    durability: Durability = "fast",
    progress: Callable[[str], None] | None = None,
) -> Merged:
    """Bring the shards into `out`, which is made, or is the ledger of an earlier merge.

    Raises: RunMismatch where they are not of one run, BadData where two say different things under one key, CheckFailed
        where the result does not hold what a shard holds; whatever raised, the shard in question has added nothing.
    """
    _refuse_twice(shards, out)
    first = _alike(shards)
    made = not Ledger.exists(out)
    with _target(first, out, durability) as ledger:
        samples = added = verdicts = 0
        for folder in shards:
            with _attached(ledger, folder):
                part = _Part(ledger, folder)
                with ledger.transaction():
                    part.add()
                    part.check()
                    if made:
                        ledger.set_meta("created", part.created)
                        made = False
            samples, added, verdicts = samples + part.samples, added + part.added, verdicts + part.verdicts
            if progress:
                progress(f"{folder}: {part.samples:,} samples, {part.added:,} of them new")
        return Merged(str(out), len(shards), samples, added, verdicts)


def _refuse_twice(shards: Sequence[Path], out: Path) -> None:
    places = [folder.resolve() for folder in shards]
    if not places:
        raise BadOption("name the folders of the shards, and --out for the whole")
    twice = next((folder for i, folder in enumerate(shards) if places[i] in places[:i]), None)
    if twice is not None:
        raise BadOption(f"{twice} is named twice")
    if out.resolve() in places:
        raise BadOption(f"--out {out} is one of the shards: name another folder for the whole")


def _alike(shards: Sequence[Path]) -> tuple[Path, dict[str, Any]]:
    """The first shard and what identifies the run. Raises: RunMismatch where another one differs."""
    wanted: dict[str, Any] | None = None
    for folder in shards:
        with Ledger.open(folder) as ledger:
            if wanted is None:
                wanted = _identity(ledger)
            else:
                ledger.require_config(wanted["config"])
                _same(folder, _identity(ledger), wanted)
    assert wanted is not None
    return shards[0], wanted


def _identity(ledger: Ledger) -> dict[str, Any]:
    extractor = ledger.meta("extractor", "")
    if extractor.startswith(IMPORTED):
        raise BadOption(f"{ledger.folder} was imported: `vervet import` takes all files of a run at once")
    found = {name: ledger.meta(name) for name in ("run_seed", "design")}
    return {"config": ledger.config, "extractor": extractor, **found}


def _same(folder: Path, have: dict[str, Any], want: dict[str, Any]) -> None:
    if have["run_seed"] != want["run_seed"]:
        raise RunMismatch(f"{folder} was drawn with another seed: shards of one run get the same --seed")
    for name in ("extractor", "design"):
        if have[name] != want[name]:
            raise RunMismatch(f"{folder} has the {name} {have[name]!r}, others {want[name]!r}: they are not of one run")


@contextlib.contextmanager
def _target(first: tuple[Path, dict[str, Any]], out: Path, durability: Durability) -> Iterator[Ledger]:
    folder, identity = first
    if Ledger.exists(out):
        ledger = Ledger.open(out, writer=True, durability=durability)
    else:
        with Ledger.open(folder) as shard:
            rows = shard.db.execute("SELECT key FROM meta").fetchall()
            meta = {key: shard.meta(key) for (key,) in rows if key not in _OWN}
        ledger = Ledger.create(out, identity["config"], meta | {"chosen": [], "shards": {}}, durability)
    with ledger:
        ledger.require_config(identity["config"])
        _same(out, _identity(ledger), identity)
        ledger.db.execute("PRAGMA cache_size = -262144")
        ledger.db.execute("PRAGMA temp_store = MEMORY")
        yield ledger


@contextlib.contextmanager
def _attached(ledger: Ledger, folder: Path) -> Iterator[None]:
    """The shard's file beside the ledger's, as `s`, for reading only; with empty tables old id -> new id."""
    path = folder / FILE
    with storage(path):
        ledger.db.execute("ATTACH ? AS s", (f"{path.resolve().as_uri()}?mode=ro",))
        try:
            for name in _MAPS:
                ledger.db.execute(f"CREATE TEMP TABLE m_{name} (old INTEGER PRIMARY KEY, new INTEGER NOT NULL)")
            yield
        finally:
            for name in _MAPS:
                ledger.db.execute(f"DROP TABLE IF EXISTS temp.m_{name}")
            ledger.db.execute("DETACH s")


class _Part:
    """One shard on its way into the ledger, inside a transaction."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._ledger, self._db, self._folder = ledger, ledger.db, folder
        self.samples = self.added = self.verdicts = 0
        with Ledger.open(folder) as shard:
            self._meta = {name: shard.meta(name) for name in ("created", "worked_s", "missing", "chosen")}
            self._settings = shard.meta("settings", {})
        self.created = float(self._meta["created"] or 0.0)

    def add(self) -> None:
        """Everything that is not there yet. Raises: BadData."""
        self._names()
        self._problems()
        self._texts()
        self._answers()
        self._samples()
        self._judges()
        self._verdicts()
        self._scores()
        self._books()

    def _do(self, query: str, *values: object) -> int:
        return self._db.execute(query, values).rowcount

    def _one(self, query: str, *values: object) -> Any:
        row = self._db.execute(query, values).fetchone()
        return None if row is None else row[0]

    # ------------------------------------------------------------------------------------------- small tables

    def _by_key(self, table: str, map_name: str, key: str, columns: str) -> None:
        """Rows of a table that has a unique key of its own."""
        self._do(f"INSERT OR IGNORE INTO main.{table} ({columns}) SELECT {columns} FROM s.{table} ORDER BY id")  # noqa: S608
        self._do(
            f"INSERT INTO m_{map_name} SELECT a.id, b.id FROM s.{table} a JOIN main.{table} b ON b.{key} = a.{key}"  # noqa: S608
        )

    def _names(self) -> None:
        self._by_key("names", "name", "name", "name")
        self._by_key("checks", "chk", "fingerprint", "fingerprint, body")
        self._do("INSERT INTO m_dictionary VALUES (0, 0)")
        for old, body in self._db.execute("SELECT id, body FROM s.dictionaries ORDER BY id").fetchall():
            new = self._one("SELECT id FROM main.dictionaries WHERE body = ?", body)
            if new is None:
                new = self._db.execute("INSERT INTO main.dictionaries (body) VALUES (?)", (body,)).lastrowid
            self._do("INSERT INTO m_dictionary VALUES (?, ?)", old, new)

    def _problems(self) -> None:
        other = self._one(
            "SELECT a.name FROM s.problems a JOIN main.problems b ON b.name = a.name "
            "JOIN m_chk c ON c.old = a.check_id WHERE a.hash != b.hash OR c.new != b.check_id LIMIT 1"
        )
        if other is not None:
            raise BadData(f"{self._folder} has another prompt or another check for problem {other!r}")
        self._do(
            "INSERT OR IGNORE INTO main.problems (name, check_id, hash, body) "
            "SELECT a.name, c.new, a.hash, a.body FROM s.problems a JOIN m_chk c ON c.old = a.check_id ORDER BY a.id"
        )
        self._do("INSERT INTO m_problem SELECT a.id, b.id FROM s.problems a JOIN main.problems b ON b.name = a.name")

    # ------------------------------------------------------------------------------------------- large tables

    def _by_hash(self, table: str, map_name: str) -> int:
        """Fill the map of a table whose rows are known by problem and hash. Returns the id above which rows are new."""
        base = int(self._one(f"SELECT ifnull(max(id), 0) FROM main.{table}"))  # noqa: S608  two fixed tables
        self._do(
            f"INSERT INTO m_{map_name} SELECT a.id, min(b.id) FROM s.{table} a JOIN m_problem p ON p.old = a.problem "  # noqa: S608
            f"CROSS JOIN main.{table} b ON b.problem = p.new AND substr(b.hash, 1, 6) = substr(a.hash, 1, 6) "
            "AND b.hash = a.hash GROUP BY a.id"
        )
        self._do(
            f"INSERT INTO m_{map_name} SELECT a.id, a.id + ? FROM s.{table} a "  # noqa: S608  two fixed tables
            f"WHERE NOT EXISTS (SELECT 1 FROM m_{map_name} m WHERE m.old = a.id)",
            base,
        )
        return base

    def _texts(self) -> None:
        base = self._by_hash("texts", "text")
        self._do(
            "INSERT INTO main.texts (id, problem, dictionary, hash, body) SELECT m.new, p.new, d.new, a.hash, a.body "
            "FROM s.texts a JOIN m_text m ON m.old = a.id JOIN m_problem p ON p.old = a.problem "
            "JOIN m_dictionary d ON d.old = a.dictionary WHERE m.new > ? ORDER BY a.id",
            base,
        )

    def _answers(self) -> None:
        base = self._by_hash("answers", "answer")
        self._do(
            "INSERT INTO main.answers (id, problem, hash, class, text, start, length, body) "
            "SELECT m.new, p.new, a.hash, a.class, t.new, a.start, a.length, a.body "
            "FROM s.answers a JOIN m_answer m ON m.old = a.id JOIN m_problem p ON p.old = a.problem "
            "LEFT JOIN m_text t ON t.old = a.text WHERE m.new > ? ORDER BY a.id",
            base,
        )
        self._do(
            "INSERT OR IGNORE INTO main.extractions SELECT n.new, t.new, m.new FROM s.extractions e "
            "JOIN m_name n ON n.old = e.extractor JOIN m_text t ON t.old = e.text LEFT JOIN m_answer m ON m.old = e.answer "
            "ORDER BY e.extractor, e.text"
        )

    def _samples(self) -> None:
        self.samples = int(self._one("SELECT count(*) FROM s.samples"))
        other = self._db.execute(
            "SELECT c.name, a.idx FROM s.samples a JOIN m_problem p ON p.old = a.problem JOIN m_text t ON t.old = a.text "
            "JOIN s.problems c ON c.id = a.problem "
            "JOIN main.samples b ON b.config = 0 AND b.problem = p.new AND b.idx = a.idx WHERE b.text != t.new LIMIT 1"
        ).fetchone()
        if other is not None:
            raise BadData(
                f"{self._folder} has another text than the rest for sample {other[1]} of problem {other[0]!r}: one of the two "
                "was drawn in vain; draw shards over other problems"
            )
        fresh = (
            "s.samples a JOIN m_problem p ON p.old = a.problem WHERE NOT EXISTS "
            "(SELECT 1 FROM main.samples b WHERE b.config = 0 AND b.problem = p.new AND b.idx = a.idx)"
        )
        base = int(self._one("SELECT ifnull(max(id), 0) FROM main.requests"))
        # those of new samples, and those that brought none and are charged all the same
        self._do(
            f"INSERT OR IGNORE INTO m_request SELECT a.request, a.request + ? FROM {fresh} GROUP BY a.request",  # noqa: S608
            base,
        )
        self._do("CREATE TEMP TABLE busy (request INTEGER PRIMARY KEY)")
        self._do("INSERT OR IGNORE INTO temp.busy SELECT request FROM s.samples")
        self._do(
            "INSERT OR IGNORE INTO m_request SELECT r.id, r.id + ? FROM s.requests r WHERE r.id > ? "
            "AND NOT EXISTS (SELECT 1 FROM temp.busy x WHERE x.request = r.id)",
            base,
            self._seen().get("requests", 0),
        )
        self._do("DROP TABLE temp.busy")
        self._do(
            "INSERT INTO main.requests (id, config, problem, first, n, seed, prompt_tokens, cached_tokens, completion_tokens, "
            "cost_usd, charged_tokens, state, counted_by, server) SELECT m.new, 0, p.new, r.first, r.n, r.seed, "
            "r.prompt_tokens, r.cached_tokens, r.completion_tokens, r.cost_usd, r.charged_tokens, "
            "CASE r.state WHEN ? THEN ? ELSE r.state END, c.new, v.new "
            "FROM s.requests r JOIN m_request m ON m.old = r.id JOIN m_problem p ON p.old = r.problem "
            "LEFT JOIN m_name c ON c.old = r.counted_by LEFT JOIN m_name v ON v.old = r.server ORDER BY r.id",
            SENT,
            LOST,
        )
        self.added = self._do(
            "INSERT INTO main.samples SELECT 0, p.new, a.idx, r.new, a.choice, t.new, g.new, c.new, f.new, a.tokens, a.logprob "
            "FROM s.samples a JOIN m_problem p ON p.old = a.problem JOIN m_request r ON r.old = a.request "
            "JOIN m_text t ON t.old = a.text LEFT JOIN m_text g ON g.old = a.reasoning "
            "LEFT JOIN m_text c ON c.old = a.trace JOIN m_name f ON f.old = a.finish WHERE NOT EXISTS "
            "(SELECT 1 FROM main.samples b WHERE b.config = 0 AND b.problem = p.new AND b.idx = a.idx) "
            "ORDER BY a.problem, a.idx"
        )

    # ------------------------------------------------------------------------------------------- verdicts and scores

    def _judges(self) -> None:
        self._by_key("verifiers", "verifier", "fingerprint", "fingerprint, name, body")
        self._by_key("scorers", "scorer", "fingerprint", "fingerprint, name, body")

    def _verdicts(self) -> None:
        """Trials that the ledger does not have. Answers that both sides judged keep the larger number of equal trials."""
        self._do(
            "CREATE TEMP TABLE trials AS SELECT v.new AS verifier, c.new AS check_id, a.new AS answer, d.trial, d.outcome, "
            "r.new AS reason, g.new AS strength, i.new AS isolation, d.cpu_ms, d.log FROM s.verdicts d "
            "JOIN m_verifier v ON v.old = d.verifier JOIN m_chk c ON c.old = d.check_id JOIN m_answer a ON a.old = d.answer "
            "JOIN m_name r ON r.old = d.reason JOIN m_name g ON g.old = d.strength LEFT JOIN m_name i ON i.old = d.isolation "
            "WHERE NOT EXISTS (SELECT 1 FROM main.verdicts b WHERE b.verifier = v.new AND b.check_id = c.new "
            "AND b.answer = a.new AND b.trial = d.trial AND b.outcome = d.outcome AND b.reason = r.new "
            "AND b.strength = g.new AND b.isolation IS i.new AND b.cpu_ms IS d.cpu_ms)"
        )
        self._renumber()
        base = int(self._one("SELECT ifnull(max(id), 0) FROM main.logs"))
        self._do("INSERT INTO m_log SELECT DISTINCT log, log + ? FROM temp.trials WHERE log IS NOT NULL", base)
        self._do("INSERT INTO main.logs (id, body) SELECT m.new, l.body FROM s.logs l JOIN m_log m ON m.old = l.id")
        self.verdicts = self._do(
            "INSERT INTO main.verdicts SELECT d.verifier, d.check_id, d.answer, d.trial, d.outcome, d.reason, d.strength, "
            "d.isolation, d.cpu_ms, l.new FROM temp.trials d LEFT JOIN m_log l ON l.old = d.log "
            "ORDER BY d.verifier, d.check_id, d.answer, d.trial"
        )
        self._do("DROP TABLE temp.trials")

    def _renumber(self) -> None:
        """Trials on answers that the ledger has judged already: whatever it has in equal number goes, the rest comes after."""
        shared = self._db.execute(
            "SELECT DISTINCT t.verifier, t.check_id, t.answer FROM temp.trials t WHERE EXISTS (SELECT 1 FROM main.verdicts b "
            "WHERE b.verifier = t.verifier AND b.check_id = t.check_id AND b.answer = t.answer)"
        ).fetchall()
        if shared:
            self._do("CREATE INDEX temp.m_answer_new ON m_answer (new)")
        said = "outcome, reason, strength, isolation, cpu_ms"
        where = "verifier = ? AND check_id = ? AND answer = ?"
        for key in shared:
            have = self._db.execute(f"SELECT {said} FROM main.verdicts WHERE {where}", key).fetchall()  # noqa: S608
            new = self._db.execute(
                f"SELECT rowid, {said} FROM temp.trials WHERE {where} ORDER BY trial",  # noqa: S608  fixed columns
                key,
            ).fetchall()
            # of those at the same place and equal only this side's are left: they are no news
            spare = Counter(have) - Counter(self._equal_places(key))
            top = int(self._one(f"SELECT max(trial) FROM main.verdicts WHERE {where}", *key))  # noqa: S608
            for rowid, *row in new:
                if spare[tuple(row)] > 0:
                    spare[tuple(row)] -= 1
                    self._do("DELETE FROM temp.trials WHERE rowid = ?", rowid)
                else:
                    top += 1
                    self._do("UPDATE temp.trials SET trial = ? WHERE rowid = ?", top, rowid)

    def _equal_places(self, key: tuple[int, int, int]) -> list[tuple[Any, ...]]:
        """Trials on an answer that both sides have under the same number."""
        return self._db.execute(
            "SELECT b.outcome, b.reason, b.strength, b.isolation, b.cpu_ms FROM main.verdicts b "
            "JOIN m_answer a ON a.new = b.answer JOIN m_verifier v ON v.new = b.verifier JOIN m_chk c ON c.new = b.check_id "
            "JOIN s.verdicts d ON d.verifier = v.old AND d.check_id = c.old AND d.answer = a.old AND d.trial = b.trial "
            "JOIN m_name r ON r.old = d.reason JOIN m_name g ON g.old = d.strength LEFT JOIN m_name i ON i.old = d.isolation "
            "WHERE b.verifier = ? AND b.check_id = ? AND b.answer = ? AND b.outcome = d.outcome AND b.reason = r.new "
            "AND b.strength = g.new AND b.isolation IS i.new AND b.cpu_ms IS d.cpu_ms",
            key,
        ).fetchall()

    def _scores(self) -> None:
        for kind, target in ((0, "text"), (1, "answer")):
            self._do(
                "INSERT OR IGNORE INTO main.scores SELECT c.new, a.kind, m.new, a.value FROM s.scores a "  # noqa: S608
                f"JOIN m_scorer c ON c.old = a.scorer JOIN m_{target} m ON m.old = a.target WHERE a.kind = ?",
                kind,
            )

    # ------------------------------------------------------------------------------------------- books

    def _seen(self) -> dict[str, Any]:
        """What earlier merges took of this shard beyond what has a key: {} where it is new."""
        found: dict[str, Any] = self._ledger.meta("shards", {}).get(repr(self.created), {})
        return found

    def _books(self) -> None:
        """Diary, working time and settings of the whole."""
        seen, ledger = self._seen(), self._ledger
        self._do(
            "INSERT INTO main.events (at, kind, body) SELECT at, kind, body FROM s.events WHERE id > ? ORDER BY id",
            seen.get("events", 0),
        )
        shards = ledger.meta("shards", {})
        shards[repr(self.created)] = {
            "folder": self._folder.name,
            "samples": self.samples,
            "requests": self._one("SELECT ifnull(max(id), 0) FROM s.requests"),
            "events": self._one("SELECT ifnull(max(id), 0) FROM s.events"),
            "worked_s": float(self._meta["worked_s"] or 0.0),
            "missing": int(self._meta["missing"] or 0),
        }
        ledger.set_meta("shards", shards)
        ledger.set_meta("worked_s", sum(shard["worked_s"] for shard in shards.values()))
        ledger.set_meta("missing", sum(shard["missing"] for shard in shards.values()))
        ledger.set_meta("chosen", list(dict.fromkeys((*ledger.meta("chosen", []), *(self._meta["chosen"] or ())))))
        ledger.set_meta("settings", _common(ledger.meta("settings", {}), self._settings))

    def check(self) -> None:
        """Raises: CheckFailed unless every sample of the shard is there with its text, and every verdict of it."""
        there = self._one(
            "SELECT count(*) FROM s.samples a JOIN m_problem p ON p.old = a.problem JOIN s.texts x ON x.id = a.text "
            "JOIN main.samples b ON b.config = 0 AND b.problem = p.new AND b.idx = a.idx JOIN main.texts y ON y.id = b.text "
            "WHERE x.hash = y.hash"
        )
        missing = self._one(
            "SELECT count(*) FROM s.verdicts d JOIN m_verifier v ON v.old = d.verifier JOIN m_chk c ON c.old = d.check_id "
            "JOIN m_answer a ON a.old = d.answer WHERE NOT EXISTS (SELECT 1 FROM main.verdicts b WHERE b.verifier = v.new "
            "AND b.check_id = c.new AND b.answer = a.new AND b.outcome = d.outcome)"
        )
        if there != self.samples or missing:
            raise CheckFailed(
                f"{self._folder}: {self.samples - there:,} samples and {missing:,} verdicts did not arrive; "
                f"`vervet ledger check {self._folder}` names what is damaged"
            )


def _common(whole: dict[str, Any], shard: dict[str, Any]) -> dict[str, Any]:
    """Settings that hold for both; the number of samples is the larger one, and the choice of problems is in `chosen`."""
    kept = {k: v for k, v in whole.items() if shard.get(k) == v and k not in ("limit", "problems")}
    sizes = [int(said["n"]) for said in (whole, shard) if said.get("n") is not None]
    return kept | ({"n": max(sizes)} if sizes else {})

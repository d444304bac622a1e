"""The ledger: what goes in comes out, counts are right, damage is named."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.helpers import vervet
from vervet.errors import RunInUse, RunMismatch, StorageError, UserError
from vervet.ledger import Drawn, Extracted, GroupCommit, Ledger, Recorder, View, read, verifier_id, view
from vervet.ledger.check import check
from vervet.ledger.texts import Codec, Trainer
from vervet.ledger.write import Press
from vervet.records import (
    Completion,
    Config,
    Outcome,
    Params,
    Problem,
    Reason,
    Reply,
    Request,
    Strength,
    Verdict,
    derive_seed,
)

PARAMS = Params(temperature=1.0, top_p=None, max_tokens=10)
CONFIG = Config("t", {}, "data", "m", {}, "", "chat", PARAMS, None)


def make(folder: Path, problems: int = 3) -> Ledger:
    ledger = Ledger.create(folder, CONFIG, {"run_seed": 1, "extractor": "x/1"})
    ledger.add_problems([(Problem(f"p{i}", {"expected": str(i)}), "prompt") for i in range(problems)])
    with ledger.transaction():
        verifier_id(ledger, "exact", "1", {})
        ledger.set_meta("verifier", "exact")
    return ledger


def draw(problem: str, first: int, texts: list[str], answers: list[str | None] | None = None) -> Drawn:
    request = Request(problem, "prompt", PARAMS, first, len(texts), 1)
    found = tuple(None if a is None else Extracted(a, a.lower()) for a in (texts if answers is None else answers))
    return Drawn(request, Reply(tuple(Completion(t) for t in texts)), found)


def verdict(outcome: Outcome) -> Verdict:
    reason = {Outcome.PASS: Reason.ACCEPTED, Outcome.FAIL: Reason.WRONG, Outcome.UNKNOWN: Reason.SANDBOX}[outcome]
    return Verdict(outcome, reason, Strength.EXACT)


def store(ledger: Ledger, drawn: Drawn, *outcomes: Outcome) -> None:
    """Store a reply; the new answers get these outcomes, in order."""
    recorder = Recorder(ledger, "x/1")
    with ledger.transaction():
        new = recorder.add(drawn)
        pairs = [(item.answer_id, verdict(o)) for item, o in zip(new, outcomes, strict=False)]
        recorder.add_verdicts(1, drawn.request.problem_id, pairs)


PASS, FAIL, UNKNOWN = Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN
TEXTS = st.text(st.characters(codec=None), max_size=200)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=12), data=st.data())
def test_every_text_and_answer_comes_back_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: st.DataObject
) -> None:
    """Also empty texts, lone surrogates, duplicates, and answers that are pieces of their text."""
    answers = [data.draw(st.one_of(st.none(), TEXTS, st.just(t), st.just(t[1:-1]), st.just(t * 9))) for t in texts]
    # one text has one answer
    answers = [answers[texts.index(t)] for t in texts]
    with make(tmp_path_factory.mktemp("run")) as ledger:
        store(ledger, draw("p1", 0, texts, answers))
        samples = list(read.samples(ledger, "p1", view(ledger)))
        assert [s.text for s in samples] == texts
        assert [s.answer for s in samples] == answers
        assert [s.seed for s in samples] == [derive_seed(1, "p1", i) for i in range(len(texts))]
        assert check(ledger)[1] == []


def test_duplicate_texts_are_draws_and_are_stored_once(tmp_path: Path) -> None:
    """A hundred equal samples are a hundred samples, one text, one answer, one verdict."""
    with make(tmp_path / "r") as ledger:
        for i in range(10):
            store(ledger, draw("p0", 10 * i, ["the same"] * 10), PASS)
        counts = read.counts(ledger)
        assert (counts.n.tolist(), counts.c.tolist()) == ([100, 0, 0], [100, 0, 0])
        for table, rows in (("samples", 100), ("texts", 1), ("answers", 1), ("verdicts", 1)):
            assert ledger.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == rows


def test_counting_agrees_with_counting_by_hand(tmp_path: Path) -> None:
    """Random samples over few texts, some unparsed, some pending, some UNKNOWN: n, c and unknown are what a loop finds."""
    dice = random.Random(5)
    kinds = {f"t{j}": dice.choice([PASS, FAIL, UNKNOWN, None, "no answer"]) for j in range(30)}
    by_hand = {f"p{i}": [0, 0, 0] for i in range(3)}
    with make(tmp_path / "r") as ledger:
        recorder = Recorder(ledger, "x/1")
        with ledger.transaction():
            for i in range(3):
                for first in range(0, 60, 4):
                    texts = [dice.choice(list(kinds)) for _ in range(4)]
                    answers = [None if kinds[t] == "no answer" else t for t in texts]
                    new = recorder.add(draw(f"p{i}", first, texts, answers))
                    pairs = [
                        (a.answer_id, verdict(kinds[a.answer])) for a in new if isinstance(kinds[a.answer], Outcome)
                    ]
                    recorder.add_verdicts(1, f"p{i}", pairs)
                    for text in texts:
                        kind = kinds[text]
                        by_hand[f"p{i}"][0] += kind in (PASS, FAIL, "no answer")
                        by_hand[f"p{i}"][1] += kind is PASS
                        by_hand[f"p{i}"][2] += kind in (UNKNOWN, None)
        counts = read.counts(ledger)
        assert [
            list(row) for row in zip(counts.n.tolist(), counts.c.tolist(), counts.unknown.tolist(), strict=True)
        ] == list(by_hand.values())
        facts, _ = read.facts(ledger, view(ledger))
        assert facts.samples == 180
        assert facts.passed + facts.failed + facts.unknown + facts.pending == 180
        assert facts.unparsed == sum(
            kinds[s.text] == "no answer" for i in range(3) for s in read.samples(ledger, f"p{i}", view(ledger))
        )
        for i in range(3):
            for s in read.samples(ledger, f"p{i}", view(ledger)):
                assert s.outcome == (FAIL if kinds[s.text] == "no answer" else kinds[s.text])


@pytest.mark.parametrize(
    ("trials", "effective"),
    [
        ([PASS], PASS),
        ([FAIL], FAIL),
        ([UNKNOWN], UNKNOWN),
        ([UNKNOWN, UNKNOWN, PASS], PASS),
        ([UNKNOWN, FAIL], FAIL),
        ([PASS, FAIL], UNKNOWN),
        ([PASS, FAIL, PASS], PASS),
        ([FAIL, FAIL, PASS, UNKNOWN, UNKNOWN, UNKNOWN], FAIL),
    ],
)
def test_the_effective_verdict_is_the_majority_of_decided_trials(
    tmp_path: Path, trials: list[Outcome], effective: Outcome
) -> None:
    with make(tmp_path / "r", 1) as ledger:
        recorder = Recorder(ledger, "x/1")
        with ledger.transaction():
            (new,) = recorder.add(draw("p0", 0, ["a"]))
            for outcome in trials:
                recorder.add_verdicts(1, "p0", [(new.answer_id, verdict(outcome))])
        counts = read.counts(ledger)
        assert counts.c.tolist() == [effective is PASS]
        assert counts.unknown.tolist() == [effective is UNKNOWN]
        assert [s.outcome for s in read.samples(ledger, "p0", view(ledger))] == [effective]
        assert len(read.trials(ledger, view(ledger), new.answer_id)) == len(trials)


def test_a_count_never_mixes_two_verifiers(tmp_path: Path) -> None:
    with make(tmp_path / "r", 1) as ledger:
        store(ledger, draw("p0", 0, ["a", "b"]), PASS, PASS)
        recorder = Recorder(ledger, "x/1")
        with ledger.transaction():
            strict = verifier_id(ledger, "strict", "1", {})
            recorder.add_verdicts(strict, "p0", [(1, verdict(FAIL))])
        assert read.counts(ledger, "exact").c.tolist() == [2]
        assert read.counts(ledger, "strict").c.tolist() == [0]
        assert read.counts(ledger, "strict").unknown.tolist() == [1], "what it has not judged is pending"
        with pytest.raises(UserError, match="it has: exact, strict"):
            read.counts(ledger, "other")


def test_holes_are_found(tmp_path: Path) -> None:
    with make(tmp_path / "r") as ledger:
        store(ledger, draw("p0", 0, ["a", "b"]))
        store(ledger, draw("p0", 5, ["c"]))
        stored = read.stored(ledger)
        assert (stored["p0"].count, stored["p0"].holes) == (3, (2, 3, 4))
        assert (stored["p2"].count, stored["p2"].holes) == (0, ())


def test_undecided_answers_are_lined_up_again_decided_ones_are_not(tmp_path: Path) -> None:
    with make(tmp_path / "r", 1) as ledger:
        store(ledger, draw("p0", 0, ["a", "b", "c", "d"]), PASS, FAIL, UNKNOWN)
        todo = read.undecided(ledger, View(ledger.known_name("x/1"), 1))
        assert [ledger.answer(a) for a in todo["p0"]] == ["c", "d"]


def test_a_new_extractor_reads_the_stored_texts_again(tmp_path: Path) -> None:
    """Answers carry their extractor: a better one re-extracts without sampling, and the old answers stay."""
    with make(tmp_path / "r", 1) as ledger:
        store(ledger, draw("p0", 0, ["A", "B"], [None, "b"]), PASS)
        better = Recorder(ledger, "x/2")
        with ledger.transaction():
            extractor = ledger.name_id("x/2")
            for problem, text in read.unextracted(ledger, extractor, 10):
                better.add_extraction(problem, text, ledger.text(text), Extracted("b", "b"))
        assert read.unextracted(ledger, extractor, 10) == []
        assert read.counts(ledger).c.tolist() == [1]
        ledger.db.execute("UPDATE meta SET value = '\"x/2\"' WHERE key = 'extractor'")
        assert read.counts(ledger).c.tolist() == [2]


def test_another_writer_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    with make(tmp_path / "r"):
        with pytest.raises(RunInUse, match="process"):
            Ledger.open(tmp_path / "r", writer=True)
        with Ledger.open(tmp_path / "r") as reader:
            assert reader.config == CONFIG
    Ledger.open(tmp_path / "r", writer=True).close()


def test_a_different_config_is_refused_with_every_difference(tmp_path: Path) -> None:
    other = Config("t", {"a": 1}, "data", "m2", {}, "", "chat", PARAMS, 4)
    with make(tmp_path / "r") as ledger, pytest.raises(RunMismatch) as caught:
        ledger.require_config(other)
    assert all(
        part in str(caught.value) for part in ("model: 'm' in the run, 'm2' now", "seed: None", "task_options.a")
    )


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("UPDATE texts SET body = x'00112233' WHERE id = 2", "text 2 of problem 'p1' is damaged"),
        ("DELETE FROM texts WHERE id = 2", "texts that do not exist"),
        ("UPDATE samples SET idx = 77 WHERE idx = 1", "do not belong to their request"),
        ("DELETE FROM requests", "requests that do not exist"),
        ("UPDATE configs SET body = replace(body, '1.0', '0.5')", "config"),
        ("UPDATE verdicts SET outcome = 7", "impossible outcome"),
        ("UPDATE problems SET body = x'' WHERE id = 1", "problem 'p0'"),
        ("UPDATE verifiers SET body = replace(body, '\"1\"', '\"2\"')", "verifier 'exact'"),
        ("UPDATE answers SET hash = x'00000000000000000000000000000000' WHERE id = 1", "answer 1 is damaged"),
    ],
)
def test_damage_is_named(tmp_path: Path, statement: str, names: str) -> None:
    """`ledger check` re-derives hashes and counts: each kind of damage is one line that says where."""
    with make(tmp_path / "r") as ledger:
        store(ledger, draw("p1", 0, ["one", "two"]), PASS, FAIL)
        assert check(ledger)[1] == []
        ledger.db.execute(statement)
        assert any(names in fault for fault in check(ledger)[1]), check(ledger)[1]


def test_a_writer_leaves_its_counts_and_the_next_write_takes_them_away(tmp_path: Path) -> None:
    def read_again() -> tuple[list[int], list[int], list[int], bool]:
        with Ledger.open(tmp_path / "r") as ledger:
            own = view(ledger)
            kept, found = read.tally(ledger, own), read.derive(ledger, own)
            assert kept[1:] == found[1:]
            assert kept[0].problem_ids == found[0].problem_ids
            rows = tuple(list(getattr(kept[0], name)) for name in ("n", "c", "unknown"))
            assert rows == tuple(list(getattr(found[0], name)) for name in ("n", "c", "unknown"))
            assert check(ledger)[1] == []
            return *rows, ledger.meta("tally") is not None

    with make(tmp_path / "r") as ledger:
        store(ledger, draw("p1", 0, ["one", "two"]), PASS, FAIL)
    assert read_again() == ([0, 2, 0], [0, 1, 0], [0, 0, 0], True)
    writer = Ledger.open(tmp_path / "r", writer=True)
    assert read_again()[3]  # opening is not writing
    store(writer, draw("p2", 0, ["one", "two", "three"]), PASS, UNKNOWN)
    assert read_again() == ([0, 2, 1], [0, 1, 1], [0, 0, 2], False)  # while it writes
    writer.log_event("note", {})
    writer.close()
    assert read_again() == ([0, 2, 1], [0, 1, 1], [0, 0, 2], True)
    with Ledger.open(tmp_path / "r", writer=True) as writer:
        writer.log_event("note", {})
    assert read_again()[3]


def test_counts_left_behind_are_of_one_verifier(tmp_path: Path) -> None:
    with make(tmp_path / "r") as ledger:
        store(ledger, draw("p1", 0, ["one", "two"]), PASS, FAIL)
        with ledger.transaction():
            verifier_id(ledger, "other", "1", {})
    with Ledger.open(tmp_path / "r") as ledger:
        assert ledger.meta("tally") is not None
        assert list(read.counts(ledger).c) == [0, 1, 0]
        assert list(read.counts(ledger, "other").c) == [0, 0, 0]
        assert list(read.counts(ledger, "other").unknown) == [0, 2, 0]


def test_counts_left_behind_that_are_wrong_are_named(tmp_path: Path) -> None:
    with make(tmp_path / "r") as ledger:
        store(ledger, draw("p1", 0, ["one", "two"]), PASS, FAIL)
    raw = sqlite3.connect(tmp_path / "r" / "ledger.sqlite")
    raw.execute("UPDATE verdicts SET outcome = 1")
    raw.commit()
    raw.close()
    with Ledger.open(tmp_path / "r") as ledger:
        assert check(ledger)[1] == ["counts: those that were kept are not those of the samples"]


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "r").close()
    raw = sqlite3.connect(tmp_path / "r" / "ledger.sqlite")
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(UserError, match="upgrade vervet"):
        Ledger.open(tmp_path / "r")


def test_a_run_of_the_first_schema_is_brought_up_to_date_as_the_error_says(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    with make(folder) as ledger:
        store(ledger, draw("p1", 0, ["one", "two"]), PASS, FAIL)
        before = list(map(tuple, (read.counts(ledger).n, read.counts(ledger).c)))
    raw = sqlite3.connect(folder / "ledger.sqlite")
    raw.execute("ALTER TABLE requests DROP COLUMN charged_tokens")
    raw.execute("PRAGMA user_version = 1")
    raw.close()
    with pytest.raises(UserError, match="older schema") as caught:
        Ledger.open(folder)
    words = re.search("`vervet (.*)`", str(caught.value))
    assert words is not None
    done = vervet(*words[1].split())
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "0 faults" in done.stdout
    with Ledger.open(folder) as ledger:
        assert list(map(tuple, (read.counts(ledger).n, read.counts(ledger).c))) == before
        assert ledger.db.execute("SELECT charged_tokens FROM requests").fetchall() == [(None,)]


def test_a_run_that_was_never_started_is_no_run(tmp_path: Path) -> None:
    """Killed while the folder was being made: nothing was bought, and the same command makes it."""
    (tmp_path / "r").mkdir()
    sqlite3.connect(tmp_path / "r" / "ledger.sqlite").close()
    (tmp_path / "r" / "ledger.sqlite").touch()
    assert not Ledger.exists(tmp_path / "r")
    with pytest.raises(UserError):
        Ledger.open(tmp_path / "r")
    make(tmp_path / "r").close()
    assert Ledger.exists(tmp_path / "r")


# ------------------------------------------------------------------------------------------------------ group commit


def test_one_failing_write_does_not_take_its_neighbours_with_it(tmp_path: Path) -> None:
    def insert(value: str) -> int:
        ledger.set_meta(value, 1)
        return len(value)

    def fail() -> int:
        ledger.set_meta("half", 1)
        raise ValueError("no")

    async def work() -> list[object]:
        group = GroupCommit(ledger)
        done = await asyncio.gather(
            *(group.do(w) for w in (lambda: insert("a"), fail, lambda: insert("bb"))), return_exceptions=True
        )
        await group.aclose()
        return list(done)

    with make(tmp_path / "r") as ledger:
        first, second, third = asyncio.run(work())
        assert (first, third) == (1, 2)
        assert isinstance(second, ValueError)
        assert (ledger.meta("a"), ledger.meta("bb"), ledger.meta("half")) == (1, 1, None)


def test_shared_work_is_done_together_in_order_and_fails_alone(tmp_path: Path) -> None:
    """Forty items and one bad one among them: few calls, each item its own result, nothing of the bad one stored."""
    calls: list[list[int]] = []

    def double(items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        for item in items:
            ledger.set_meta(f"item {item}", item)
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]

    async def work(items: Iterable[int]) -> list[object]:
        group = GroupCommit(ledger)
        done = await asyncio.gather(*(group.share(double, item) for item in items), return_exceptions=True)
        await group.aclose()
        return list(done)

    with make(tmp_path / "r") as ledger:
        assert asyncio.run(work(range(100, 140))) == [2 * item for item in range(100, 140)]
        assert len(calls) <= 4
        assert [item for call in calls for item in call] == list(range(100, 140))
        found = asyncio.run(work(range(10, 16)))
        assert [item for item in found if not isinstance(item, ValueError)] == [20, 22, 24, 28, 30]
        kept = [item for item in range(10, 16) if ledger.meta(f"item {item}") is not None]
        assert kept == [10, 11, 12, 14, 15]


def test_replies_stored_together_are_as_those_stored_one_by_one(tmp_path: Path) -> None:
    """Equal texts and answers within the batch, from before it, and across problems; no answer at all."""
    replies = [
        draw("p0", 0, ["a", "b", "a"]),
        draw("p1", 0, ["a", ""], [None, None]),
        draw("p0", 3, ["b", "c"]),
        draw("p1", 2, ["d", "a"]),
    ]
    stored = []
    for name in ("one", "all"):
        with make(tmp_path / name) as ledger, ledger.transaction():
            recorder = Recorder(ledger, "e/1")
            recorder.add(draw("p0", 9, ["c"]))
            new = [recorder.add(reply) for reply in replies] if name == "one" else recorder.add_all(replies)
            tables = ("requests", "samples", "texts", "answers", "extractions")
            stored.append((new, [ledger.db.execute(f"SELECT * FROM {table}").fetchall() for table in tables]))
    assert stored[0] == stored[1]
    assert [[answer.answer for answer in some] for some in stored[0][0]] == [["a", "b"], [], [], ["d"]]


def test_what_is_reported_as_written_is_visible_to_another_reader(tmp_path: Path) -> None:
    """`do` returns after the commit, never before."""

    async def work() -> None:
        group = GroupCommit(ledger)
        for i in range(50):
            await group.do(lambda i=i: ledger.set_meta(f"k{i}", i))  # type: ignore[misc]
            with Ledger.open(tmp_path / "r") as reader:
                assert reader.meta(f"k{i}") == i
        await group.aclose()

    with make(tmp_path / "r") as ledger:
        asyncio.run(work())


def test_a_write_error_reaches_the_caller_as_one_line(tmp_path: Path) -> None:
    """The disk says no in the middle of a transaction: StorageError, and the transaction leaves nothing behind."""
    with make(tmp_path / "r") as ledger:
        pages = ledger.db.execute("PRAGMA page_count").fetchone()[0]
        ledger.db.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(StorageError, match="free space"):
            store(ledger, draw("p0", 0, [random.Random(i).randbytes(4000).hex() for i in range(10)]))
        ledger.db.execute("PRAGMA max_page_count = 1000000")
        assert read.stored(ledger)["p0"].count == 0


# ------------------------------------------------------------------------------------------------------ texts


def test_a_dictionary_makes_siblings_small_and_is_kept_with_them(tmp_path: Path) -> None:
    words = [
        "the",
        "share",
        "of",
        "problems",
        "that",
        "k",
        "attempts",
        "solve",
        "grows",
        "with",
        "k",
        "along",
        "a",
        "power",
        "law",
    ]
    dice = random.Random(0)
    texts = [" ".join(dice.choices(words, k=160)) for _ in range(600)]
    alone = sum(len(Codec().pack(t.encode())) for t in texts)
    with make(tmp_path / "r", 1) as ledger:
        recorder = Recorder(ledger, "x/1")
        with ledger.transaction():
            for i in range(0, 600, 20):
                recorder.add(draw("p0", i, texts[i : i + 20], [None] * 20))
        assert ledger.db.execute("SELECT count(*) FROM dictionaries").fetchone()[0] == 1
        rows = dict(ledger.db.execute("SELECT dictionary > 0, avg(length(body)) FROM texts GROUP BY 1"))
        assert rows[1] < 0.95 * alone / 600
    with Ledger.open(tmp_path / "r") as ledger:
        assert [s.text for s in read.samples(ledger, "p0", view(ledger))] == texts


def test_a_failed_transaction_takes_its_dictionary_and_its_logs_with_it(tmp_path: Path) -> None:
    """A dictionary that was trained in a transaction that failed is never used: what is written afterwards can be read."""
    dice = random.Random(1)
    words = [dice.randbytes(3).hex() for _ in range(300)]
    texts = [" ".join(dice.choices(words, k=150)) for _ in range(800)]
    logged = Verdict(Outcome.FAIL, Reason.WRONG, Strength.EXACT, log="the assertion in line 3")
    with make(tmp_path / "r", 1) as ledger:
        recorder = Recorder(ledger, "x/1")

        def add(first: int, last: int) -> None:
            for i in range(first, last, 20):
                (new, *_) = recorder.add(draw("p0", i, texts[i : i + 20]))
                recorder.add_verdicts(1, "p0", [(new.answer_id, logged)])

        with ledger.transaction():
            add(0, 20)
        with contextlib.suppress(RuntimeError), ledger.transaction():
            add(20, 400)
            assert ledger.db.execute("SELECT count(*) FROM dictionaries").fetchone()[0] == 1, "one was trained"
            raise RuntimeError("the disk is full")
        assert ledger.db.execute("SELECT count(*) FROM dictionaries").fetchone()[0] == 0
        with ledger.transaction():
            add(20, 800)
        assert check(ledger)[1] == []
        assert read.trials(ledger, view(ledger), 21)[0]["log"] == "the assertion in line 3"
    with Ledger.open(tmp_path / "r") as reader:
        assert [s.text for s in read.samples(reader, "p0", view(reader))] == texts


def test_many_texts_are_packed_as_one_by_one(tmp_path: Path) -> None:
    """Also where a dictionary is trained in between, and where there is nothing to pack."""
    dice = random.Random(1)
    words = [f"word{dice.randrange(10**9)} " for _ in range(400)]
    texts = ["".join(dice.choices(words, k=90)).encode() for _ in range(400)]
    with make(tmp_path / "one", 1) as ledger, ledger.transaction():
        press = Press(ledger)
        one_by_one = [packed for text in texts for packed in press.pack_all([text])]
    with make(tmp_path / "many", 1) as ledger, ledger.transaction():
        press = Press(ledger)
        assert [*press.pack_all(texts[:3]), *press.pack_all(texts[3:])] == one_by_one
        assert {dictionary for dictionary, _ in one_by_one} == {0, 1}
        assert list(press.pack_all([])) == []
        assert [ledger.unpack(*packed) for packed in press.pack_all([b"", b""])] == ["", ""]


def test_training_keeps_a_bounded_sample() -> None:
    trainer = Trainer()
    for i in range(2000):
        trainer.add(np.random.default_rng(i).bytes(30000))
        trainer.due()
    assert trainer._kept <= 8 * 1024 * 1024 + 65536


def test_a_run_killed_while_its_file_was_being_made_is_no_run_and_is_made_again(tmp_path: Path) -> None:
    """The one moment at which a rollback journal exists: readers may not touch it, the next writer clears it away."""
    folder = tmp_path / "r"
    folder.mkdir()
    script = (
        "import os, signal, sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "db.execute('PRAGMA cache_size = 1'); db.execute('BEGIN'); db.execute('CREATE TABLE t (a)'); "
        "[db.execute('INSERT INTO t VALUES (?)', ('x' * 5000,)) for _ in range(50)]; os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(folder / "ledger.sqlite")], check=False)
    assert (folder / "ledger.sqlite-journal").exists()
    assert not Ledger.exists(folder)
    Ledger.create(folder, CONFIG, {"run_seed": 1}).close()
    assert Ledger.exists(folder)
    assert not (folder / "ledger.sqlite-journal").exists()

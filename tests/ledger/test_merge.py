"""Shards into one ledger: the whole is what one run would have been, however often and in whatever order they are merged."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import vervet
from tests.helpers import write_problems
from vervet.api import check_ledger, merge_ledgers
from vervet.cli.main import execute
from vervet.errors import BadData, BadOption, RunMismatch
from vervet.ledger import Ledger
from vervet.ledger.spending import reserve

N = 12
TABLES = (
    "samples",
    "requests",
    "texts",
    "answers",
    "extractions",
    "verdicts",
    "problems",
    "checks",
    "verifiers",
    "logs",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """One run over six problems, and the same in three shards of two problems each."""
    folder = tmp_path_factory.mktemp("runs")
    task = write_problems(folder / "q.jsonl", 6)
    whole, shards = folder / "whole", [folder / f"shard{i}" for i in range(3)]
    draw(task, whole)
    for i, shard in enumerate(shards):
        draw(task, shard, problems=[f"q{2 * i}", f"q{2 * i + 1}"])
    return whole, shards


def draw(task: Path, out: Path, **options: Any) -> None:
    options = {"n": N, "seed": 3, "model_options": {"batch": 5, "log": False}} | options
    vervet.run(task, model="fake/p=0.4", out=out, **options).close()


def contents(folder: Path) -> dict[str, Any]:
    """What a run says, whatever its ids."""
    with vervet.open_run(folder) as run:
        return {
            problem: [
                (s.index, s.text, s.answer, s.outcome, s.reason, s.seed, s.finish_reason) for s in run.samples(problem)
            ]
            for problem in sorted(run.problem_ids())
        } | {"trials": sum(len(run.trials(p, i)) for p in run.problem_ids() for i in range(N))}


def sizes(folder: Path) -> dict[str, int]:
    with Ledger.open(folder) as ledger:
        return {t: ledger.db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in (*TABLES, "events")}


def test_shards_make_the_run_that_was_never_split(runs: tuple[Path, list[Path]], tmp_path: Path) -> None:
    whole, shards = runs
    out = tmp_path / "merged"
    done = merge_ledgers(shards, out)
    assert (done.samples, done.added) == (6 * N, 6 * N)
    assert contents(out) == contents(whole)
    found, wanted = sizes(out), sizes(whole)
    assert {t: found[t] for t in TABLES} == {t: wanted[t] for t in TABLES}
    assert check_ledger(out)["faults"] == []
    with vervet.open_run(out) as merged, vervet.open_run(whole) as single:
        assert merged.to_dict() | {"run": "", "seconds": 0} == single.to_dict() | {"run": "", "seconds": 0}


def test_a_merge_is_idempotent_and_its_order_does_not_matter(runs: tuple[Path, list[Path]], tmp_path: Path) -> None:
    """Again, in parts, in another order, and over itself: always the same."""
    whole, shards = runs
    out = tmp_path / "merged"
    merge_ledgers(shards, out)
    before = sizes(out)
    again = merge_ledgers([shards[2], whole, *shards[:2]], out)
    assert (again.added, again.verdicts) == (0, 0)
    after = sizes(out)
    assert {t: after[t] for t in TABLES if t != "logs"} == {t: before[t] for t in TABLES if t != "logs"}
    other = tmp_path / "other"
    for shard in random.Random(1).sample(shards, 3):
        merge_ledgers([shard], other)
    assert contents(other) == contents(out) == contents(whole)


def test_a_shard_that_has_grown_adds_what_is_new(tmp_path: Path) -> None:
    """Shards over the same problems: the samples that both have count once, and so does what their answers were found to be."""
    task, small, large, out = write_problems(tmp_path / "q.jsonl", 2), tmp_path / "a", tmp_path / "b", tmp_path / "c"
    draw(task, small, n=8)
    draw(task, large)
    assert merge_ledgers([small], out).added == 16
    done = merge_ledgers([large], out)
    assert (done.samples, done.added) == (2 * N, 2 * (N - 8))
    assert contents(out) == contents(large)
    draw(task, out)
    assert contents(out) == contents(large)


def test_the_whole_goes_on_as_a_run(runs: tuple[Path, list[Path]], tmp_path: Path) -> None:
    whole, shards = runs
    out = tmp_path / "merged"
    merge_ledgers(shards[:2], out)
    task = whole.parent / "q.jsonl"
    draw(task, out)
    assert contents(out) == contents(whole)


def test_what_is_charged_without_a_sample_comes_along_once(tmp_path: Path) -> None:
    task, shard, out = write_problems(tmp_path / "q.jsonl", 2), tmp_path / "a", tmp_path / "c"
    draw(task, shard)
    with Ledger.open(shard, writer=True) as ledger, ledger.transaction():
        reserve(ledger, 1, 50, 1, usd=0.5, tokens=7)
    for _ in range(2):
        merge_ledgers([shard], out)
        with vervet.open_run(out) as run:
            facts = run.facts()
            assert (facts.lost_requests, facts.lost_usd) == (1, 0.5)
    assert check_ledger(out)["faults"] == []


def test_what_is_not_of_one_run_is_refused_and_adds_nothing(tmp_path: Path) -> None:
    task, a, b, c = write_problems(tmp_path / "q.jsonl", 2), tmp_path / "a", tmp_path / "b", tmp_path / "c"
    draw(task, a)
    draw(task, b, seed=4)
    with pytest.raises(RunMismatch, match="seed"):
        merge_ledgers([a, b], c)
    draw(task, tmp_path / "t", temperature=0.3)
    with pytest.raises(RunMismatch, match="temperature"):
        merge_ledgers([a, tmp_path / "t"], c)
    with pytest.raises(BadOption, match="twice"):
        merge_ledgers([a, a], c)
    with pytest.raises(BadOption, match="one of the shards"):
        merge_ledgers([a], a)
    assert not Ledger.exists(c)


def test_another_text_under_the_same_key_is_refused(tmp_path: Path) -> None:
    """Two shards that drew the same index and got different texts: neither is thrown away in silence."""
    task, a, b, c = write_problems(tmp_path / "q.jsonl", 1), tmp_path / "a", tmp_path / "b", tmp_path / "c"
    draw(task, a)
    draw(task, b)
    with Ledger.open(b, writer=True) as ledger, ledger.transaction():
        ledger.db.execute("UPDATE samples SET text = (SELECT max(id) FROM texts) WHERE idx = 3")
        ledger.db.execute("UPDATE samples SET text = (SELECT min(id) FROM texts) WHERE idx = 4")
    merge_ledgers([a], c)
    before = sizes(c)
    with pytest.raises(BadData, match=r"sample \d of problem 'q0'"):
        merge_ledgers([b], c)
    assert sizes(c) == before


def test_the_command_says_what_it_did(
    runs: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, shards = runs
    assert execute(["ledger", "merge", *map(str, shards), "--out", str(tmp_path / "c")]) == 0
    out = capsys.readouterr().out
    assert "72 samples in 3 shards, 72 of them new" in out

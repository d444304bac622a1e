"""Samples in and out: an import counts what the file counts, an export brings it back, and neither is ever half there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.helpers import SRC, command, vervet, write_problems
from vervet import api
from vervet.analysis.counts import read_counts
from vervet.cli.main import execute
from vervet.errors import BadData, BadOption, RunInUse, UserError
from vervet.ledger import intake
from vervet.ledger.check import check

Rows = list[dict[str, Any]]


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def exported(run: Path, out: Path, **options: Any) -> Rows:
    api.export(run, format="jsonl", out=out, **options)
    return [json.loads(line) for line in out.read_bytes().split(b"\n") if line]


def table(counts: Any) -> dict[str, tuple[int, int, int]]:
    columns = (counts.n.tolist(), counts.c.tolist(), counts.unknown.tolist())
    return dict(zip(counts.problem_ids, zip(*columns, strict=True), strict=True))


def counted(rows: Rows) -> dict[str, tuple[int, int, int]]:
    """problem -> (n, c, unknown), straight from the rows of a file."""
    out: dict[str, Counter[Any]] = defaultdict(Counter)
    for row in rows:
        out[str(row["problem_id"])][row.get("correct")] += 1
    return {p: (c[True] + c[False], c[True], c[None]) for p, c in out.items()}


def faults(run: Path) -> list[str]:
    with api.open_run(run) as opened:
        return check(opened.ledger)[1]


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    rows = [{"problem_id": f"q{i % 2}", "text": f"thinking\nAnswer: {i}", "correct": i == 1} for i in range(8)]
    return write(tmp_path / "samples.jsonl", rows)


# ---------------------------------------------------------------------------------------------------- round trips

TEXTS = st.one_of(
    st.text(st.characters(), max_size=12),  # lone surrogates included
    st.sampled_from(["", "a", " ", "\x00", "x" * 300, "answer", "the answer is in here: answer"]),
)


@st.composite
def files(draw: st.DrawFn) -> Rows:
    """Rows with repeated texts, contradicting verdicts, answers and scores here and there, some numbered."""
    numbered = draw(st.booleans())
    rows: Rows = []
    for place in range(draw(st.integers(1, 12))):
        row: dict[str, Any] = {"problem_id": draw(st.sampled_from(["p", "q/1", "ü"])), "text": draw(TEXTS)}
        if numbered:
            row["sample_index"] = 100 - place
        if draw(st.booleans()):
            row["answer"] = draw(TEXTS)
        row["correct"] = draw(st.sampled_from([True, False, None]))
        if draw(st.booleans()):
            row["score"] = draw(st.sampled_from([0.0, -1.5, 1e300]))
        # adjacent halves of a character are a character, once they have been JSON
        rows.append(json.loads(json.dumps(row)))
    return rows


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files(), st.sampled_from([1, 3, intake._CHUNK_ROWS]))
def test_an_import_counts_what_the_file_counts_and_an_export_brings_it_back(rows: Rows, at_once: int) -> None:
    """However many rows are in memory: what repeats is found whether it waits or is stored."""
    with tempfile.TemporaryDirectory() as name, mock.patch.object(intake, "_CHUNK_ROWS", at_once):
        folder = Path(name)
        done = api.import_samples(write(folder / "in.jsonl", rows), folder / "run")
        assert (done.samples, done.skipped_total) == (len(rows), 0)
        assert done.judged == sum(row["correct"] is not None for row in rows)
        with api.open_run(folder / "run") as run:
            assert table(run.counts()) == counted(rows)
        assert faults(folder / "run") == []

        out = exported(folder / "run", folder / "out.jsonl")
        assert sorted(map(said, out)) == sorted(map(said, numbered(rows)))

        api.import_samples(folder / "out.jsonl", folder / "again")
        assert exported(folder / "again", folder / "again.jsonl") == out


def numbered(rows: Rows) -> Rows:
    """With the index that a row without one gets: its place among its problem's."""
    places: Counter[str] = Counter()
    out = []
    for row in rows:
        out.append({"sample_index": places[row["problem_id"]], **row})
        places[row["problem_id"]] += 1
    return out


def said(row: dict[str, Any]) -> str:
    """What must survive, comparable: the answer is the text where the file gave none."""
    fields = [row["problem_id"], row["sample_index"], row["text"], row.get("answer", row["text"]), row["correct"]]
    return json.dumps([*fields, row.get("score")])


def test_parquet_brings_back_texts_answers_and_counts(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    rows = [
        {
            "problem_id": f"p{i % 3}",
            "text": f"text {i % 7} \U0001f600 \x00",
            "answer": f"{i % 2}",
            "correct": i % 5 == 0,
        }
        for i in range(200)
    ]
    api.import_samples(write(tmp_path / "in.jsonl", rows), tmp_path / "run")
    done = api.export(tmp_path / "run", format="parquet", out=tmp_path / "out.parquet")
    assert (done.rows, done.notices) == (200, ())
    api.import_samples(tmp_path / "out.parquet", tmp_path / "again")
    assert exported(tmp_path / "again", tmp_path / "b.jsonl") == exported(tmp_path / "run", tmp_path / "a.jsonl")
    with api.open_run(tmp_path / "again") as run:
        assert table(run.counts()) == counted(rows)


def test_what_parquet_cannot_hold_is_replaced_and_said(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    rows = [{"problem_id": "p", "text": "a\ud800b"}, {"problem_id": "p", "text": "fine"}]
    api.import_samples(write(tmp_path / "in.jsonl", rows), tmp_path / "run")
    done = api.export(tmp_path / "run", format="parquet", out=tmp_path / "out.parquet")
    assert "1 rows hold half characters" in done.notices[0]
    api.import_samples(tmp_path / "out.parquet", tmp_path / "again")
    assert [row["text"] for row in exported(tmp_path / "again", tmp_path / "a.jsonl")] == ["a\ufffdb", "fine"]


def test_a_run_of_ones_own_goes_out_and_comes_back(tmp_path: Path) -> None:
    """Seeds, finish reasons and tokens are kept; where no answer was found, none is found later either."""
    task = write_problems(tmp_path / "q.jsonl", 4)
    api.run(str(task), model="fake/p=0.5", n=6, out=tmp_path / "run", seed=1)
    first = exported(tmp_path / "run", tmp_path / "a.jsonl")
    api.import_samples(tmp_path / "a.jsonl", tmp_path / "bare")
    api.import_samples(tmp_path / "a.jsonl", tmp_path / "whole", task=str(task))
    api.verify(tmp_path / "whole")
    for name in ("bare", "whole"):
        assert exported(tmp_path / name, tmp_path / "b.jsonl") == first
        assert faults(tmp_path / name) == []


def test_a_sample_without_an_answer_stays_without(tmp_path: Path) -> None:
    rows = [{"problem_id": "p", "text": "prose", "answer": None, "correct": False}]
    api.import_samples(write(tmp_path / "in.jsonl", rows), tmp_path / "run")
    (row,) = exported(tmp_path / "run", tmp_path / "a.jsonl")
    assert (row["answer"], row["outcome"]) == (None, "FAIL")
    with api.open_run(tmp_path / "run") as run:
        assert run.facts().unparsed == 1


# -------------------------------------------------------------------------------------------------------- import


def test_verdicts_that_contradict_each_other_are_counted_as_in_the_file(tmp_path: Path) -> None:
    rows = [{"problem_id": "p", "text": "same", "correct": c} for c in (True, False, None, True, True, False)]
    done = api.import_samples(write(tmp_path / "in.jsonl", rows), tmp_path / "run")
    assert done.contradictions == 1
    with api.open_run(tmp_path / "run") as run:
        assert table(run.counts()) == {"p": (5, 3, 1)}
        assert run.facts().distinct_answers == 3


def test_what_repeats_is_stored_once_however_far_apart(tmp_path: Path) -> None:
    """Texts of two problems in turn, over several transactions, with thoughts that repeat too."""
    texts = [str(i) * 70 for i in range(5)]
    many = 2 * intake._CHUNK_ROWS + 100
    rows = [
        {"problem_id": f"p{i % 2}", "text": texts[i % 5], "correct": i % 5 == 0, "reasoning": f"so {i % 3}"}
        for i in range(many)
    ]
    done = api.import_samples(write(tmp_path / "in.jsonl", rows), tmp_path / "run")
    assert (done.samples, done.contradictions) == (many, 0)
    with api.open_run(tmp_path / "run") as run:
        assert run.facts().distinct_answers == 10
        assert table(run.counts()) == counted(rows)
    with contextlib.closing(sqlite3.connect(tmp_path / "run/ledger.sqlite")) as db:
        assert db.execute("SELECT count(*), count(DISTINCT problem || hex(hash)) FROM texts").fetchone() == (16, 16)
    assert faults(tmp_path / "run") == []


def test_rows_that_cannot_be_stored_are_listed_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: Rows = [
        {"problem_id": "p", "sample_index": 0, "text": "a"},
        {"problem_id": "p", "sample_index": 0, "text": "b"},
        {"problem_id": "p", "text": "c"},
        {"problem_id": "q", "text": "d"},
        {"problem_id": "q", "sample_index": 3, "text": "e"},
        {"problem_id": "p", "sample_index": 2},
        {"problem_id": "r", "text": "f", "reference": "1"},
        {"problem_id": "r", "text": "g", "reference": "2"},
        {"problem_id": "p", "sample_index": 7, "text": "h"},
        {"problem_id": "p", "sample_index": 1, "text": "i"},
    ]
    done = api.import_samples(write(tmp_path / "in.jsonl", rows), tmp_path / "run")
    assert done.samples == 5
    assert list(done.skipped) == [
        "line 2: sample 0 of problem 'p' appears twice",
        "line 3: earlier rows of problem 'p' have sample_index, this one has none",
        "line 5: earlier rows of problem 'q' have no sample_index, this one has one",
        "line 6: no text",
        "line 8: another reference than the first row of problem 'r'",
    ]
    assert [line.removeprefix("skipped ") for line in (tmp_path / "run/log.txt").read_text().splitlines()] == list(
        done.skipped
    )
    assert execute(["import", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "b"), "--json"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["samples"], document["skipped"]) == ("vervet.import/1", 5, list(done.skipped))


def test_many_skipped_rows_take_no_memory_and_are_all_in_the_log(tmp_path: Path) -> None:
    rows: Rows = [{"problem_id": "p", "text": 1}] * 3000 + [{"problem_id": "p", "text": "x"}]
    done = api.import_samples(write(tmp_path / "in.jsonl", rows), tmp_path / "run", format="jsonl")
    assert (done.samples, len(done.skipped), done.skipped_total) == (1, 1000, 3000)
    assert len((tmp_path / "run/log.txt").read_text().splitlines()) == 3000


def test_with_a_task_its_verifier_judges_and_the_files_verdicts_stay_beside(tmp_path: Path, samples: Path) -> None:
    task = write_problems(tmp_path / "q.jsonl", 3)
    done = api.import_samples(samples, tmp_path / "run", task=str(task))
    assert (done.samples, done.problems, done.absent) == (8, 2, 1)
    with api.open_run(tmp_path / "run") as run:
        assert table(run.counts()) == {"q0": (0, 0, 4), "q1": (0, 0, 4)}
        assert table(run.counts("imported")) == {"q0": (4, 0, 0), "q1": (4, 1, 0)}
    task.unlink()
    verified = api.verify(tmp_path / "run")
    assert (verified.verifier, verified.verified, verified.passed, verified.failed) == ("exact", 8, 0, 8)
    with api.open_run(tmp_path / "run") as run:
        assert table(run.counts()) == {"q0": (4, 0, 0), "q1": (4, 0, 0)}
        assert table(run.counts("imported")) == {"q0": (4, 0, 0), "q1": (4, 1, 0)}
        assert [s.answer for s in run.samples("q1")] == ["1", "3", "5", "7"]
        assert run.to_dict()["missing"] == 0
    assert faults(tmp_path / "run") == []


def test_answers_of_the_file_are_what_a_later_verification_judges(tmp_path: Path) -> None:
    """q0 expects 1: the text says something else, the file's own extraction is right. Where it is silent, the task looks."""
    rows: Rows = [
        {"problem_id": "q0", "text": "Answer: 5", "answer": "1"},
        {"problem_id": "q0", "text": "Answer: 1"},
        {"problem_id": "q0", "text": "Answer: 1", "answer": "5"},
    ]
    task = write_problems(tmp_path / "q.jsonl", 1)
    api.import_samples(write(tmp_path / "in.jsonl", rows), tmp_path / "run", task=str(task))
    for _ in range(2):
        api.verify(tmp_path / "run")
        with api.open_run(tmp_path / "run") as run:
            assert [(s.answer, str(s.outcome)) for s in run.samples("q0")] == [
                ("1", "PASS"),
                ("1", "PASS"),
                ("5", "FAIL"),
            ]


def test_problems_that_the_task_does_not_have_are_skipped(tmp_path: Path, samples: Path) -> None:
    done = api.import_samples(samples, tmp_path / "run", task=str(write_problems(tmp_path / "q.jsonl", 1)))
    assert (done.samples, done.skipped_total) == (4, 4)
    assert done.skipped[0] == "line 2: the task has no problem 'q1'"


def test_task_options_apply(tmp_path: Path) -> None:
    task = write_problems(tmp_path / "q.jsonl", 1)
    path = write(tmp_path / "in.jsonl", [{"problem_id": "q0", "text": "1 is it\nno doubt"}])
    for option, answer in (("number", "1"), ("text", "1 is it\nno doubt")):
        out = tmp_path / option
        code = execute(["import", str(path), "--out", str(out), "--task", str(task), "-T", f"extract={option}"])
        assert code == 0
        assert exported(out, tmp_path / "a.jsonl")[0]["answer"] == answer
    with pytest.raises(BadOption, match="-T needs --task"):
        api.import_samples(path, tmp_path / "c", task_options={"extract": "text"})


def test_a_bare_import_with_references_can_be_judged_anew(tmp_path: Path) -> None:
    rows = [{"problem_id": "p", "text": t, "reference": "7", "correct": False} for t in ("7", "8")]
    api.import_samples(write(tmp_path / "in.jsonl", rows), tmp_path / "run")
    with pytest.raises(UserError, match="was imported with its verdicts: to judge it anew, name a --verifier"):
        api.verify(tmp_path / "run")
    verified = api.verify(tmp_path / "run", verifier="exact")
    assert (verified.passed, verified.failed, verified.changed) == (1, 1, 1)
    with api.open_run(tmp_path / "run") as run:
        assert table(run.counts()) == {"p": (2, 0, 0)}


def test_an_imported_run_cannot_be_sampled_further(tmp_path: Path, samples: Path) -> None:
    api.import_samples(samples, tmp_path / "bare", model="gpt-4o")
    api.import_samples(samples, tmp_path / "whole", task=str(write_problems(tmp_path / "q.jsonl", 2)))
    with api.open_run(tmp_path / "bare") as run:
        assert run.config.model == "imported/gpt-4o"
    for name in ("bare", "whole"):
        with pytest.raises(UserError, match="was imported and cannot be sampled further"):
            api.resume(tmp_path / name, n=100)


def test_scores_are_kept_by_sample(tmp_path: Path) -> None:
    rows = [{"problem_id": "p", "text": "same", "score": s} for s in (0.5, 0.25, None, 0.5)]
    api.import_samples(write(tmp_path / "in.jsonl", rows), tmp_path / "run")
    assert [row["score"] for row in exported(tmp_path / "run", tmp_path / "a.jsonl")] == [0.5, 0.25, None, 0.5]


# ------------------------------------------------------------------------------------- refusals, kills, other hands


def test_what_is_there_already_is_not_touched(tmp_path: Path, samples: Path) -> None:
    out = tmp_path / "run"
    api.import_samples(samples, out)
    before = (out / "ledger.sqlite").read_bytes()
    with pytest.raises(UserError, match="already holds a run, and an import makes a new one"):
        api.import_samples(samples, out)
    assert (out / "ledger.sqlite").read_bytes() == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    for name, says in (("full", "is not empty"), ("samples.jsonl", "is a file")):
        with pytest.raises(UserError, match=says):
            api.import_samples(samples, tmp_path / name)
    (tmp_path / "empty").mkdir()
    api.import_samples(samples, tmp_path / "empty")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "full", "run", "samples.jsonl"]


@pytest.mark.parametrize("text", ["{}\n", '{"problem_id": 1}\n{"text": "x"}\n', "nothing\nat all\n", ""])
def test_nothing_readable_is_an_error_and_leaves_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(text)
    with pytest.raises(BadData) as caught:
        api.import_samples(path, tmp_path / "deep" / "run", format="jsonl")
    assert "in.jsonl: no sample could be read" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_killed_import_passes_for_no_run_and_the_next_one_clears_it_away(tmp_path: Path) -> None:
    """The importer reads a pipe's worth of rows slowly enough to be killed in the middle, after many commits."""
    rows: Rows = [{"problem_id": f"p{i % 9}", "text": f"{i}" * 40} for i in range(60_000)]
    path = write(tmp_path / "in.jsonl", rows)
    out = tmp_path / "runs" / "it"
    process = subprocess.Popen(
        command("import", path, "--out", out), env={**os.environ, "PYTHONPATH": str(SRC)}, stdout=subprocess.DEVNULL
    )
    half = tmp_path / "runs" / ".it.importing" / "run" / "ledger.sqlite-wal"
    deadline = time.monotonic() + 60
    while not (half.exists() and half.stat().st_size > 1_000_000):
        assert process.poll() is None, "it was through before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    with pytest.raises(RunInUse, match=f"process {process.pid}"):
        api.import_samples(path, out)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    with pytest.raises(UserError, match="holds no run"):
        api.coverage(tmp_path / "runs")
    done = api.import_samples(write(path, rows[:100]), out)
    assert done.samples == 100
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["it"]
    assert faults(out) == []


def test_mistakes_on_the_command_line_are_one_line(
    tmp_path: Path, samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.import_samples(samples, tmp_path / "run")
    capsys.readouterr()
    for arguments, says in (
        (["import", samples, "--out", tmp_path / "run"], "already holds a run"),
        (["import", tmp_path / "run", "--out", tmp_path / "b"], "is a folder"),
        (["import", samples, "--out", tmp_path / "b", "--format", "jsonk"], "did you mean 'jsonl'"),
        (["import", samples, "--out", tmp_path / "b", "--task", "humanevil"], "did you mean 'humaneval'"),
        (["import", samples, "--out", tmp_path / "b", "-m", "imported/"], "name the model"),
        (["export", tmp_path / "none", "--format", "jsonl"], "does not exist"),
        (["export", tmp_path / "run", "--format", "jsonl", "-o", tmp_path], "it is a folder"),
        (["export", tmp_path / "run", "--format", "jsonl", "-o", "/dev/full"], "no regular file"),
        (["export", tmp_path / "run", "--format", "jsonl", "-o", tmp_path / "run/ledger.sqlite"], "the run itself"),
        (["export", tmp_path / "run", "--format", "jsonl", "-o", tmp_path / "no/x"], "cannot write"),
        (["export", tmp_path / "run", "--format", "parquet", "-o", "-"], "is no text"),
        (["export", tmp_path / "run", "--format", "jsonl", "-o", "-", "--json"], "name a file"),
        (["export", tmp_path / "run", "--format", "jsonl", "--verifier", "lean"], "has no verdicts by 'lean'"),
    ):
        assert execute([str(a) for a in arguments]) == 1
        err = capsys.readouterr().err
        assert says in err
        assert err.startswith("vervet: ")
        assert err.count("\n") == 1
    assert not (tmp_path / "b").exists()


# -------------------------------------------------------------------------------------------------------- export


def test_counts_go_out_as_the_table_that_coverage_reads(tmp_path: Path) -> None:
    rows: Rows = [
        {"problem_id": 'a "b", c', "text": "x", "correct": True},
        {"problem_id": 'a "b", c', "text": "y", "correct": False},
        {"problem_id": "z", "text": "x", "correct": None},
    ]
    api.import_samples(write(tmp_path / "in.jsonl", rows), tmp_path / "run")
    done = api.export(tmp_path / "run", format="counts")
    assert done.path == str(tmp_path / "run.counts.csv")
    assert table(read_counts(done.path)) == {'a "b", c': (2, 1, 0), "z": (0, 0, 1)}


def test_checks_and_references_go_out_only_when_asked(tmp_path: Path, samples: Path) -> None:
    task = write_problems(tmp_path / "q.jsonl", 2)
    api.import_samples(samples, tmp_path / "run", task=str(task))
    assert "check" not in exported(tmp_path / "run", tmp_path / "a.jsonl")[0]
    row = exported(tmp_path / "run", tmp_path / "a.jsonl", checks=True)[0]
    assert (row["check"], row["reference"]) == ({"expected": "1"}, "1")
    for form in ("jsonl", "parquet"):
        if form == "parquet":
            pytest.importorskip("pyarrow", reason="needs pyarrow")
        api.export(tmp_path / "run", format=form, out=tmp_path / "b", checks=True)
        api.import_samples(tmp_path / "b", tmp_path / form)
        with api.open_run(tmp_path / form) as again, api.open_run(tmp_path / "run") as run:
            assert again.problem("q0")[0].check_fingerprint == run.problem("q0")[0].check_fingerprint


def test_outcomes_are_those_of_the_verifier_that_is_named(tmp_path: Path, samples: Path) -> None:
    api.import_samples(samples, tmp_path / "run", task=str(write_problems(tmp_path / "q.jsonl", 2)))
    own = exported(tmp_path / "run", tmp_path / "a.jsonl")
    theirs = exported(tmp_path / "run", tmp_path / "a.jsonl", verifier="imported")
    assert {row["correct"] for row in own} == {None}
    assert sum(row["correct"] is True for row in theirs) == 1


def test_standard_output_holds_the_rows_and_nothing_else(tmp_path: Path, samples: Path) -> None:
    api.import_samples(samples, tmp_path / "run")
    done = vervet("export", tmp_path / "run", "--format", "jsonl", "-o", "-")
    assert done.returncode == 0
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()][:2] == [
        "thinking\nAnswer: 0",
        "thinking\nAnswer: 2",
    ]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, samples: Path) -> None:
    """A ledger that breaks in the middle leaves the old file and nothing beside it."""
    api.import_samples(samples, tmp_path / "run")
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    link = tmp_path / "link.jsonl"
    link.symlink_to(out)
    with api.open_run(tmp_path / "run") as run:
        texts = run.ledger.db.execute("SELECT count(*) FROM texts").fetchone()[0]
    _break_text(tmp_path / "run", texts)
    with pytest.raises(BadData, match="missing"):
        api.export(tmp_path / "run", format="jsonl", out=out)
    assert out.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.jsonl", "out.jsonl", "run", "samples.jsonl"]
    api.import_samples(samples, tmp_path / "good")
    api.export(tmp_path / "good", format="jsonl", out=link)
    assert link.is_symlink()
    assert len(out.read_text().splitlines()) == 8


def _break_text(run: Path, text: int) -> None:
    import sqlite3

    with sqlite3.connect(run / "ledger.sqlite") as connection:
        connection.execute("DELETE FROM texts WHERE id = ?", (text,))
    connection.close()


def test_humaneval_goes_out_and_comes_back(tmp_path: Path) -> None:
    problem = {
        "task_id": "HumanEval/0",
        "prompt": 'def one():\n    """One."""\n',
        "entry_point": "one",
        "test": "def check(candidate):\n    assert candidate() == 1\n",
        "canonical_solution": "    return 1\n",
    }
    data = write(tmp_path / "data.jsonl", [problem])
    path = write(
        tmp_path / "samples.jsonl", [{"task_id": "HumanEval/0", "completion": c} for c in ("    return 1\n", "pass")]
    )
    done = api.import_samples(path, tmp_path / "run", task="humaneval", task_options={"path": str(data)})
    assert (done.format, done.samples) == ("humaneval", 2)
    assert [row["answer"] for row in exported(tmp_path / "run", tmp_path / "a.jsonl")] == ["    return 1\n", None]
    api.export(tmp_path / "run", format="humaneval", out=tmp_path / "out.jsonl")
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        {"task_id": "HumanEval/0", "completion": "    return 1\n"},
        {"task_id": "HumanEval/0", "completion": ""},
    ]


# -------------------------------------------------------------------------------------------------------- replay


def test_replay_serves_another_runs_samples_to_another_task_option(tmp_path: Path) -> None:
    """The same texts under `extract=text` are wrong, under `extract=answer` as right as they were."""
    task = write_problems(tmp_path / "q.jsonl", 3)
    api.run(str(task), model="fake/p=0.5", n=8, out=tmp_path / "first", seed=2)
    first = exported(tmp_path / "first", tmp_path / "a.jsonl")
    model = f"replay/{tmp_path / 'first'}"
    for option, same in (("answer", True), ("text", False)):
        run = api.run(str(task), model=model, n=8, out=tmp_path / option, task_options={"extract": option})
        again = exported(tmp_path / option, tmp_path / "b.jsonl")
        assert [row["text"] for row in again] == [row["text"] for row in first]
        assert [row["completion_tokens"] for row in again] == [row["completion_tokens"] for row in first]
        assert ([row["correct"] for row in again] == [row["correct"] for row in first]) is same
        assert run.to_dict()["missing"] == 0


def test_replay_has_no_more_than_there_is(tmp_path: Path) -> None:
    task = write_problems(tmp_path / "q.jsonl", 2)
    rows: Rows = [{"problem_id": "q0", "sample_index": i, "text": f"Answer: {i}"} for i in (1, 4, 9)]
    api.import_samples(write(tmp_path / "in.jsonl", rows), tmp_path / "source")
    run = api.run(str(task), model=f"replay/{tmp_path / 'source'}", n=5, out=tmp_path / "run")
    assert run.counts().n.tolist() == [3, 0]
    assert [s.text for s in run.samples("q0")] == ["Answer: 1", "Answer: 4", "Answer: 9"]
    assert any("no more than 3 samples" in notice for notice in run.notices)
    assert run.to_dict()["missing"] == 7
    assert api.resume(tmp_path / "run").counts().n.tolist() == [3, 0]
    with pytest.raises(UserError, match="does not exist"):
        api.run(str(task), model=f"replay/{tmp_path / 'none'}", n=1, out=tmp_path / "b")


def test_a_replay_of_another_run_is_another_config(tmp_path: Path) -> None:
    task = write_problems(tmp_path / "q.jsonl", 1)
    source = tmp_path / "source"
    for seed in (1, 2):
        api.run(str(task), model="fake/p=0.5", n=2, out=source, seed=seed)
        if seed == 1:
            api.run(str(task), model=f"replay/{source}", n=1, out=tmp_path / "run")
            source.rename(tmp_path / "old")
    with pytest.raises(UserError, match="model_fingerprint"):
        api.run(str(task), model=f"replay/{source}", n=2, out=tmp_path / "run")


# --------------------------------------------------------------------------------------------------------- scale


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Ten times the rows in nearly the same memory, both ways, and well under 500 MB; 200,000 in under 36 s of processor
    time is a million in under three minutes."""
    peak: dict[int, int] = {}
    for n in (20_000, 200_000):
        with (tmp_path / "in.jsonl").open("w") as file:
            for i in range(n):
                row = {"problem_id": f"p{i % 164}", "text": f"{i * i} " * 60, "correct": i % 3 == 0, "score": i / n}
                file.write(json.dumps(row) + "\n")
        script = (
            "import resource, sys; from vervet import api; from pathlib import Path; folder = Path(sys.argv[1])\n"
            "api.import_samples(folder / 'in.jsonl', folder / f'run{sys.argv[2]}')\n"
            "used = resource.getrusage(resource.RUSAGE_SELF); print(used.ru_utime + used.ru_stime)\n"
            "api.export(folder / f'run{sys.argv[2]}', format='jsonl', out=folder / 'out.jsonl')\n"
            # not ru_maxrss, which a child inherits from a large parent
            "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), str(n)],
            env={**os.environ, "PYTHONPATH": str(SRC)}, capture_output=True, text=True, check=True, timeout=115,
        )  # fmt: skip
        seconds, peak[n] = (float(done.stdout.split()[0]), int(done.stdout.split()[1]))
        if n == 200_000:
            assert seconds < 36
    assert peak[200_000] < 500_000
    assert peak[200_000] - peak[20_000] < 100_000

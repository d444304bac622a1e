"""The JSON documents people rely on: each has the fields that the contract names, and nothing else is on stdout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import vervet
from tests.helpers import write_problems
from vervet.cli.main import execute

POINT = {
    "k", "coverage", "low", "high", "draws_low", "draws_high", "se", "problems", "censored", "floor", "ceiling",
}  # fmt: skip
CURVE = {
    "source", "problems", "n_min", "n_max", "samples", "unknown", "never_solved", "design", "level", "warnings", "points",
}  # fmt: skip
RUN = {
    "schema", "run", "problems", "samples", "missing", "pending", "pass", "fail", "unknown", "distinct_answers",
    "truncated", "unparsed", "prompt_tokens", "completion_tokens", "usd", "seconds", "stopped",
    "requests", "lost_requests", "lost_usd", "policy", "overshoot",
}  # fmt: skip
FIT = {"model", "space", "a", "b", "a_low", "a_high", "b_low", "b_high", "grid", "error_mean", "error_sd"}
VERIFY = {"schema", "run", "verifier", "verified", "reused", "pass", "fail", "unknown", "changed", "seconds"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on the same problems."""
    base = tmp_path_factory.mktemp("documents")
    write_problems(base / "q.jsonl", 40)
    for name, law in (("a", "beta=0.3,2"), ("b", "beta=0.6,2")):
        vervet.run(str(base / "q.jsonl"), model=f"fake/{law}", n=40, seed=1, out=base / "runs" / name).close()
    return base


def document(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert execute([*map(str, arguments), "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_run_and_resume(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in (
        ("run", folder / "q.jsonl", "-m", "fake/beta=0.3,2", "--out", folder / "runs/a"),
        ("resume", folder / "runs/a"),
    ):
        found = document(capsys, *line)
        assert set(found) == RUN
        assert (found["schema"], found["problems"], found["samples"], found["stopped"]) == (
            "vervet.run/1",
            40,
            1600,
            "complete",
        )
        assert found["pass"] + found["fail"] == 1600


def test_verify(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "verify", folder / "runs/a")
    assert set(found) >= VERIFY
    assert found["verified"] == 0
    assert found["pass"] + found["fail"] + found["unknown"] == 1600
    other = document(capsys, "verify", folder / "runs/a", "--verifier", "number")
    assert other["verifier"] == "number"
    assert other["verified"] == found["reused"], "every distinct answer, once"


def test_coverage_of_a_run_of_its_parent_and_of_counts_agree(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = document(capsys, "coverage", folder / "runs/a", "--k", "1,10,40,41")
    assert one["schema"] == "vervet.coverage/1"
    (curve,) = one["sources"]
    assert set(curve) >= CURVE
    assert all(set(point) >= POINT for point in curve["points"])
    last = curve["points"][-1]
    assert (last["coverage"], last["low"], last["problems"], last["censored"]) == (None, None, 0, 40)
    assert last["floor"] == curve["points"][-2]["coverage"]
    both = document(capsys, "coverage", folder / "runs", "--k", "1,10,40,41")
    assert both["sources"][0] == curve
    with vervet.open_run(folder / "runs/a") as run:
        counts = run.counts()
    table = folder / "counts.csv"
    rows = zip(counts.problem_ids, counts.n, counts.c, strict=True)
    table.write_text("problem_id,n,c\n" + "".join(f"{p},{n},{c}\n" for p, n, c in rows))
    (from_table,) = document(capsys, "coverage", table, "--k", "1,10,40,41")["sources"]
    assert from_table["points"] == curve["points"]
    assert vervet.coverage(counts, k=[1, 10, 40, 41]).to_dict()["sources"][0]["points"] == curve["points"]


def test_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "fit", folder / "runs/a", folder / "runs/b", "--space", "coverage")
    assert found["schema"] == "vervet.fit/1"
    assert [len(source["fits"]) for source in found["sources"]] == [1, 1]
    (fit,) = found["sources"][0]["fits"]
    assert set(fit) >= FIT
    assert (fit["model"], fit["space"]) == ("exponentiated-power-law", "coverage")
    assert fit["a_low"] <= fit["a"] <= fit["a_high"] < 0


def test_forecast(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "forecast", folder / "runs/a", "--k", "400,4000")
    assert set(found) >= {"schema", "source", "method", "level", "points", "backtest", "warnings"}
    seen = document(capsys, "coverage", folder / "runs/a", "--k", "40")["sources"][0]["points"][0]["coverage"]
    first, second = (point["coverage"] for point in found["points"])
    assert seen <= first <= second <= 1
    assert all(set(row) >= {"method", "fit_n", "k", "error"} for row in found["backtest"])
    named = document(capsys, "forecast", folder / "runs/a", "--k", "400", "--method", "beta-binomial", "--no-backtest")
    assert named["method"] == "beta-binomial"
    assert named["backtest"] == []
    assert named["points"][0]["coverage"] != first


def test_compare_and_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "compare", folder / "runs/a", folder / "runs/b", "--k", "1,10")
    assert found["problems"] == 40
    assert all(point["difference"] < 0 for point in found["points"])
    priced = document(capsys, "compare", folder / "runs/a", folder / "runs/b", "--k", "10", "--cost", "1,10")
    assert [(p["basis"], p["k_a"], p["k_b"]) for p in priced["points"]] == [("k", 10, 10), ("cost", 10, 1)]
    plan = document(capsys, "plan", folder / "runs/b", "--target", "0.9", "--usd-per-sample", "0.01")
    assert plan["usd"] == pytest.approx(0.01 * plan["samples"])
    dearer = document(capsys, "plan", folder / "runs/b", "--target", "0.95")
    assert dearer["k"] > plan["k"]


def test_show_tasks_models_doctor_and_ledger_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = folder / "runs/a"
    assert len(document(capsys, "show", run)["counts"]) == 40
    problem = document(capsys, "show", run, "q3")
    assert [row["index"] for row in problem["samples"]] == list(range(40))
    sample = document(capsys, "show", run, "q3", 0)
    assert sample["verdicts"][0]["outcome"] == sample["outcome"]
    assert {row["name"] for row in document(capsys, "tasks")["tasks"]} >= {"humaneval", "jsonl"}
    assert any(row["name"].startswith("fake/") for row in document(capsys, "models")["models"])
    assert document(capsys, "ledger", "check", run)["faults"] == []
    assert isinstance(document(capsys, "doctor")["sandbox"], bool)


def test_a_text_cannot_reach_the_terminal_as_a_control(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a model or a data set says is shown with its control characters escaped."""
    task = tmp_path / "q.jsonl"
    evil = "\x1b[2J\x1b]0;owned\x07\u202e\u009b31m"
    task.write_text(json.dumps({"id": f"q{evil}", "prompt": evil, "answer": evil}) + "\n")
    vervet.run(str(task), model="fake/p=0.5", n=4, out=tmp_path / "r").close()
    for line in (
        ["show", str(tmp_path / "r")],
        ["show", str(tmp_path / "r"), f"q{evil}"],
        ["show", str(tmp_path / "r"), f"q{evil}", "0"],
    ):
        capsys.readouterr()
        assert execute(line) == 0
        out, err = capsys.readouterr()
        assert not set(out + err) & {"\x1b", "\x07", "\u202e", "\u009b"}
        assert "\\x1b" in out

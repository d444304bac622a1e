"""`vervet select`: published figures, runs with undecided samples, and the command."""

from __future__ import annotations

import json

import pytest

import vervet
from tests.data import shared
from vervet.cli.main import execute
from vervet.errors import UserError


def _rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def run(tmp_path):
    """Two problems, four samples each, with scores; one sample without an answer."""
    rows = []
    for problem, cells in {
        "p": [("4", True, 0.9), ("5", False, 0.1), ("4", True, 0.5), (None, False, 0.2)],
        "q": [("7", False, 0.3), ("7", False, 0.2), ("8", True, 0.9), ("9", False, 0.1)],
    }.items():
        for index, (answer, correct, score) in enumerate(cells):
            rows.append(
                {
                    "problem_id": problem,
                    "sample_index": index,
                    "text": f"{index}: {answer}",
                    "answer": answer,
                    "correct": correct,
                    "score": score,
                }
            )
    source = _rows(tmp_path / "samples.jsonl", rows)
    vervet.import_samples(source, tmp_path / "run")
    return tmp_path / "run"


def _success(found, method):
    return {p.k: p.success for p in found.points if p.method == method}


@pytest.mark.needs_data
def test_published_reward_model_selection(tmp_path):
    """Qwen2.5-Math's released answers and rewards: ties split, not broken by the order of the file (that gives .93)."""
    source = shared("selection/qwen25math_rm_math100_n8.jsonl")
    vervet.import_samples(source, tmp_path / "run")
    found = vervet.select(tmp_path / "run", k=[1, 8])
    assert _success(found, "oracle") == {1: pytest.approx(0.910, abs=1e-12), 8: pytest.approx(0.960, abs=1e-12)}
    assert _success(found, "majority") == {1: pytest.approx(0.910, abs=1e-12), 8: pytest.approx(0.925, abs=1e-12)}
    assert _success(found, "best-of-k")[8] == pytest.approx(0.940, abs=1e-12)
    assert all(p.mc_se == 0 for p in found.points), "n = 8: every point is exact"
    plateau = next(p for p in found.plateaus if p.method == "majority")
    assert plateau.limit == pytest.approx(0.925)


def test_a_run_by_hand(run):
    found = vervet.select(run, ["majority", "best-of-k", "weighted-majority", "first", "oracle"], [1, 4])
    assert _success(found, "majority")[4] == pytest.approx(0.5)
    assert _success(found, "best-of-k")[4] == pytest.approx(1.0)
    assert _success(found, "weighted-majority")[4] == pytest.approx(1.0), "0.9 beats 0.3 + 0.2"
    assert _success(found, "first")[4] == pytest.approx((2 / 3 + 1 / 4) / 2)
    assert _success(found, "oracle")[1] == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert found.points[0].precision == pytest.approx(_success(found, "majority")[1] / _success(found, "oracle")[1])
    assert any("no answer" in w for w in found.warnings)


def test_scores_are_asked_for_where_there_are_none(run, tmp_path):
    rows = [{"problem_id": "p", "sample_index": i, "text": str(i), "correct": i == 0} for i in range(3)]
    vervet.import_samples(_rows(tmp_path / "plain.jsonl", rows), tmp_path / "plain")
    assert {p.method for p in vervet.select(tmp_path / "plain").points} == {"majority", "first", "oracle"}
    with pytest.raises(UserError, match="vervet score"):
        vervet.select(tmp_path / "plain", "best-of-k")
    with pytest.raises(UserError, match="it has: imported"):
        vervet.select(run, scorer="armo")


def test_the_command(run, capsys):
    assert execute(["select", str(run), "--k", "1,2", "--method", "majority", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "vervet.select/1"
    assert [(p["method"], p["k"]) for p in document["points"]] == [("majority", 1), ("majority", 2)]
    assert set(document["points"][0]) >= {"success", "low", "high", "coverage", "precision"}
    assert set(document["plateaus"][0]) == {"method", "limit", "low", "high", "k_within_1pt"}
    assert execute(["select", str(run)]) == 0
    assert "majority levels off at" in capsys.readouterr().out
    assert execute(["select", str(run), "--method", "magic"]) == 1
    assert execute(["select", str(run / "ledger.sqlite")]) == 1
    assert "import it first" in capsys.readouterr().err

"""`vervet score` and `vervet select` together, on a run of the fake model."""

from __future__ import annotations

import json

import pytest

import vervet
from vervet.cli.main import execute
from vervet.errors import BadData, PluginError, UserError
from vervet.ledger.ballots import scorers
from vervet.testing.fakes import MemoryTask

calls: list[str] = []


def right_is_high(problem, sample):
    """An oracle in disguise, to know the outcome: the fake's wrong answers begin with "not"."""
    assert not problem.check
    assert problem.reference is None
    assert sample.outcome is None
    assert "What is" in str(problem.data["vervet.prompt"])
    calls.append(sample.text)
    return 0.0 if sample.answer.startswith("not") else 1.0


def breaks(problem, sample):
    raise RuntimeError("no idea")


@pytest.fixture
def run(tmp_path):
    calls.clear()
    with vervet.run(MemoryTask, model="fake/p=0.4", n=12, out=tmp_path / "run", seed=3):
        pass
    return tmp_path / "run"


def test_each_distinct_text_is_scored_once_and_a_repeat_goes_on(run):
    name = f"{__name__}:right_is_high"
    done = vervet.score(run, model=name)
    assert done.scored == len(calls) == len(set(calls)) > 0
    assert done.reused == done.without == 0
    again = vervet.score(run, model=name)
    assert (again.scored, again.reused) == (0, done.scored)
    found = vervet.select(run, ["best-of-k", "oracle", "weighted-majority"], [1, 3, 12])
    by = {(p.method, p.k): p.success for p in found.points}
    for k in (1, 3, 12):
        assert by["best-of-k", k] == pytest.approx(by["oracle", k]), "a perfect score makes an oracle"
    assert found.scorer == name
    with vervet.open_run(run) as opened:
        assert [s["fingerprint"] for s in scorers(opened.ledger)] == [done.fingerprint]


def test_the_command(run, capsys):
    name = f"{__name__}:right_is_high"
    assert execute(["score", str(run), "-m", name, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "vervet.score/1"
    assert document["scored"] == len(calls)
    assert execute(["score", str(run), "-m", "logprob"]) == 0
    captured = capsys.readouterr()
    assert "vervet select" in captured.out
    assert "have no score" in captured.err
    assert execute(["select", str(run), "--method", "best-of-k", "--scorer", name]) == 0
    assert execute(["score", str(run), "-m", "juge/x/y"]) == 1
    assert execute(["score", str(run), "-m", "served/x", "--base-url", "http://127.0.0.1:9", "-M", "patience=0"]) == 6


def test_a_scorer_that_breaks_is_named_and_a_run_of_nothing_selects_nothing(run, tmp_path):
    with pytest.raises(PluginError, match="breaks failed: RuntimeError: no idea"):
        vervet.score(run, model=f"{__name__}:breaks")
    with pytest.raises(UserError, match="name the folder of a run"):
        vervet.score(tmp_path / "nowhere", model="logprob")
    vervet.sample(MemoryTask, model="fake/p=0.4", n=2, out=tmp_path / "pending").close()
    with pytest.raises(BadData, match="no decided sample"):
        vervet.select(tmp_path / "pending")

"""`vervet probe` says what a server does, and a run samples accordingly: servers of every habit, and two real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import vervet
from tests.helpers import write_problems
from vervet import api
from vervet.cli.main import execute
from vervet.errors import UserError
from vervet.testing.server import Server

QUICK = {"pause": 0.02}


def chaos(prompt: str, dice: Any) -> str:
    """A long text that no other draw has."""
    return " ".join(str(dice.randrange(10**6)) for _ in range(40))


def found(server: Server, **options: Any) -> dict[str, Any]:
    return api.probe("openai/m", base_url=[server.url], model_options=QUICK | options)["servers"][0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("habits", "expected"),
    [
        ({}, {"n_honoured": "yes", "max_n": 128, "usage": "right", "draws_differ": "yes", "replays": "no", "seed": "distinct"}),
        ({"honours_n": False}, {"n_honoured": "no", "max_n": 1, "usage": "right"}),
        ({"most_n": 20}, {"n_honoured": "yes", "max_n": 8}),
        ({"usage": "one-choice"}, {"usage": "one-choice", "n_honoured": "yes"}),
        ({"usage": "none"}, {"usage": "missing"}),
        ({"honours_seed": False}, {"seed": "ignored", "replays": "no", "draws_differ": "yes"}),
        ({"choices_differ": False}, {"seed": "same-choices"}),
        ({"refuses": ["seed"]}, {"seed": "refused", "left_out": ["seed"]}),
        ({"refuses": ["temperature"]}, {"left_out": ["temperature"], "draws_differ": "yes"}),
        ({"cache": True}, {"replays": "yes", "draws_differ": "yes"}),
        ({"answer": lambda prompt, dice: "the same words every single time " * 9}, {"replays": "no", "draws_differ": "no"}),
        ({"answer": lambda prompt, dice: ""}, {"replays": "unknown", "draws_differ": "unknown", "seed": "unknown"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["chat", "completion"])
def test_what_it_finds(habits: dict[str, Any], expected: dict[str, Any], form: str) -> None:
    with Server(**({"answer": chaos} | habits)) as server:
        options: dict[str, Any] = {"base_url": [server.url], "model_options": QUICK, "prompt_form": form}
        seen = api.probe("openai/m", **options)["servers"][0]
        assert {key: seen[key] for key in expected} == expected
        assert seen["requests"] <= 16
        assert seen["server"] == server.url


@pytest.mark.slow
def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with Server(answer=chaos) as a, Server(answer=chaos, cache=True) as b:
        assert execute(["probe", "openai/m", "--base-url", a.url]) == 0
        assert "several samples in one request" in capsys.readouterr().out
        assert execute(["probe", "openai/m", "--base-url", a.url, "--base-url", b.url, "--json"]) == 5
        document = json.loads(capsys.readouterr().out)
        assert document["schema"] == "vervet.probe/1"
        assert [s["replays"] for s in document["servers"]] == ["no", "yes"]
    assert execute(["probe", "fake/p=0.5"]) == 1
    assert "no server to probe" in capsys.readouterr().err
    assert execute(["probe", "openai/m", "--base-url", b.url]) == 6


def run(server: Server, tmp_path: Path, n: int = 8, **options: Any) -> vervet.Run:
    task = tmp_path / "q.jsonl"
    if not task.exists():
        write_problems(task, 4)
    model_options = QUICK | options.pop("model_options", {})
    where = {"out": tmp_path / "r", "base_url": (server.url,)}
    return vervet.run(str(task), model="openai/m", n=n, model_options=model_options, **where, **options)


def probes(server: Server) -> int:
    return sum("chaotic" in row.prompt for row in server.served)


def test_a_run_probes_once_and_keeps_what_it_found(tmp_path: Path) -> None:
    with Server(answer=chaos) as server:
        first = run(server, tmp_path)
        assert probes(server) == 2
        assert first.ledger.meta("probe")["n_honoured"] == "yes"
        assert first.counts().unknown.sum() + first.counts().n.sum() == 32
        run(server, tmp_path)
        run(server, tmp_path, n=12)
        assert probes(server) == 2, "a repeat and a larger n ask nothing again"
    with Server(answer=chaos) as server:
        (tmp_path / "x").mkdir()
        run(server, tmp_path / "x", model_options={"probe": "false"})
        assert probes(server) == 0


def test_a_cache_is_refused_before_anything_is_sampled(tmp_path: Path) -> None:
    with Server(answer=chaos, cache=True) as server:
        with pytest.raises(UserError, match="repeats its answers instead of drawing again"):
            run(server, tmp_path)
        assert len(server.served) == probes(server) == 4
        with pytest.raises(UserError, match="repeats its answers"):
            run(server, tmp_path)
        assert len(server.served) == 4


def test_a_model_that_always_begins_alike_is_not_taken_for_a_cache(tmp_path: Path) -> None:
    def polite(prompt: str, dice: Any) -> str:
        return "Certainly! " * 9 + chaos(prompt, dice)

    with Server(answer=polite) as server:
        assert run(server, tmp_path).to_dict()["samples"] == 32
        assert probes(server) == 4


def test_a_server_that_does_not_draw_is_refused(tmp_path: Path) -> None:
    with (
        Server(answer=lambda prompt, dice: "always the very same words " * 5) as server,
        pytest.raises(UserError, match="it does not draw"),
    ):
        run(server, tmp_path)


def test_one_seed_for_equal_choices_is_replaced_by_a_seed_each(tmp_path: Path) -> None:
    with Server(answer=chaos, choices_differ=False) as server:
        done = run(server, tmp_path, seed=4)
        texts = [s.text for p in done.problem_ids() for s in done.samples(p)]
        assert len(set(texts)) == len(texts) == 32
        assert {row.n for row in server.served if "chaotic" not in row.prompt} == {1}
    assert "n equal samples for one seed" in done.notices[0]


def test_tokens_of_a_server_that_counts_one_choice_are_counted_by_us(tmp_path: Path) -> None:
    """Texts shorter than any limit, so that nothing but the probe could show it. Estimates are near the truth."""
    with Server(answer=chaos, usage="one-choice") as server:
        done = run(server, tmp_path, model_options={"max_n": 8}, max_tokens=500)
        truth = sum(len(s.text) // 4 for p in done.problem_ids() for s in done.samples(p))
    assert done.to_dict()["completion_tokens"] == pytest.approx(truth, rel=0.25)
    counted = done.ledger.db.execute(
        "SELECT DISTINCT name FROM requests JOIN names ON names.id = counted_by"
    ).fetchall()
    assert counted == [("vervet",)]


def test_n_that_is_ignored_costs_no_request_in_vain(tmp_path: Path) -> None:
    with Server(answer=chaos, honours_n=False) as server:
        done = run(server, tmp_path)
        assert len(server.served) == 2 + 32
    assert "whatever n says" in done.notices[0]

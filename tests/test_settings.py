"""Settings: their precedence, and that every knob turns something."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

import vervet
from tests.helpers import served, write_problems
from vervet.cli.main import execute
from vervet.config import Settings, from_environment, from_file, settings
from vervet.errors import BadOption
from vervet.ledger import Ledger
from vervet.protocols import SamplerSetup, SamplerTraits
from vervet.records import Completion, Message, Reply, Request

MODEL = "tests.test_settings:Mirror/any"


class Mirror:
    """A model that answers with what it was asked, and remembers how many asked at once."""

    neutral_options: ClassVar[frozenset[str]] = frozenset({"pause"})
    requests: ClassVar[list[Request]] = []
    at_once: ClassVar[int] = 0
    most: ClassVar[int] = 0

    def __init__(self, name: str, setup: SamplerSetup, *, pause: float = 0.0, shout: bool = False) -> None:
        self._pause, self._shout = pause, shout

    def traits(self) -> SamplerTraits:
        return SamplerTraits(form="chat", max_n=2, max_in_flight=50)

    async def sample(self, request: Request) -> Reply:
        Mirror.requests.append(request)
        Mirror.at_once += 1
        Mirror.most = max(Mirror.most, Mirror.at_once)
        await asyncio.sleep(self._pause)
        Mirror.at_once -= 1
        return Reply(tuple(Completion(f"Answer: {request.first + j}{'!' * self._shout}") for j in range(request.n)))

    async def aclose(self) -> None:
        return


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_problems(Path("q.jsonl"), 5)
    Mirror.requests.clear()
    Mirror.at_once = Mirror.most = 0


def asked(*arguments: str) -> list[Request]:
    """The requests that a command line led to."""
    Mirror.requests.clear()
    assert execute(["run", "q.jsonl", "-m", MODEL, "--out", "r", *arguments]) == 0
    return list(Mirror.requests)


# ------------------------------------------------------------------------------------------------------ precedence


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("c.toml").write_text("temperature = 0.2\ntop_p = 0.5\nmax-tokens = 11\n")
    monkeypatch.setenv("VERVET_TEMPERATURE", "0.3")
    monkeypatch.setenv("VERVET_TOP_P", "0.6")
    params = asked("-c", "c.toml", "--temperature", "0.4")[0].params
    assert (params.temperature, params.top_p, params.max_tokens) == (0.4, 0.6, 11)
    assert asked("-c", "c.toml", "--new", "--limit", "1")[0].params.temperature == 0.3


def test_a_repeat_takes_what_is_not_given_from_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked("--temperature", "0.4", "--max-tokens", "9", "-n", "2", "--limit", "2")
    monkeypatch.setenv("VERVET_TEMPERATURE", "0.3")
    monkeypatch.setenv("VERVET_LIMIT", "5")
    Path("c.toml").write_text("max_tokens = 77\n")
    more = asked("-c", "c.toml", "-n", "4")
    assert {(r.params.temperature, r.params.max_tokens) for r in more} == {(0.4, 9)}
    assert {r.problem_id for r in more} == {"q0", "q1"}


def test_tables_in_a_file_are_options_of_task_and_model() -> None:
    Path("c.toml").write_text('n = 2\n[task]\nextract = "number"\n[model]\nshout = true\n')
    asked("-c", "c.toml")
    with vervet.open_run("r") as run:
        assert run.config.task_options == {"extract": "number"}
        assert next(run.samples("q0")).text == "Answer: 0!"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("temprature = 1\n", "no setting 'temprature'"),
        ("temperature = -1\n", "c.toml: temperature -1"),
        ("temperature = \n", "not TOML"),
        ('n = "many"\n', "c.toml: n 'many'"),
    ],
)
def test_a_bad_file_is_one_line(text: str, says: str) -> None:
    Path("c.toml").write_text(text)
    with pytest.raises(BadOption) as caught:
        from_file(Path("c.toml"))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_environment_names_the_variable() -> None:
    with pytest.raises(BadOption, match="VERVET_N 'x'"):
        from_environment({"VERVET_N": "x"})
    assert from_environment({"VERVET_CACHE": "/somewhere", "VERVET_PROBLEMS": "a,b"}).problems == ("a", "b")


def test_options_are_merged_key_by_key() -> None:
    above, below = Settings(model_options={"a": 1}), Settings(model_options={"a": 2, "b": 3}, n=4)
    assert above.over(below).model_options == {"a": 1, "b": 3}
    assert above.over(below).n == 4
    assert settings({"n": None}, "command line").given() == {}


# ------------------------------------------------------------------------------------------------------ every knob turns


def test_n_limit_and_problems_choose_what_is_drawn() -> None:
    assert len(asked("-n", "4")) == 10
    assert [r.problem_id for r in asked("-n", "2", "--limit", "2", "--new")] == ["q0", "q1"]
    assert [r.problem_id for r in asked("-n", "2", "--problems", "q3,q1", "--new")] == ["q3", "q1"]


def test_sampling_parameters_reach_the_model() -> None:
    arguments = ["--temperature", "0.7", "--top-p", "0.9", "--max-tokens", "33", "--stop", "END", "--stop", "##"]
    params = asked(*arguments)[0].params
    assert (params.temperature, params.top_p, params.max_tokens, params.stop) == (0.7, 0.9, 33, ("END", "##"))


def test_the_prompt_form_decides_what_the_model_reads() -> None:
    assert asked()[0].prompt == (Message("user", "What is 0 + 1?"),)
    assert asked("--prompt-form", "completion", "--new")[0].prompt == "What is 0 + 1?"


def test_greedy_means_temperature_zero() -> None:
    assert asked("--greedy", "-n", "3")[0].params.temperature == 0


def test_the_seed_decides_the_seeds() -> None:
    first = {r.seed for r in asked("--seed", "1")}
    assert {r.seed for r in asked("--seed", "1", "--new")} == first
    assert {r.seed for r in asked("--seed", "2", "--new")} != first


@pytest.mark.parametrize("bound", [1, 3])
def test_max_in_flight_bounds_the_requests_at_once(bound: int) -> None:
    asked("-n", "10", "--max-in-flight", str(bound), "-M", "pause=0.01")
    assert Mirror.most == bound


def test_the_verifier_is_the_one_that_was_named() -> None:
    asked("-n", "2", "--verifier", "number")
    with vervet.open_run("r") as run:
        assert {row["name"] for row in run.verifiers()} == {"number"}


def test_durability_full_syncs_every_commit() -> None:
    """PRAGMA synchronous: 1 is NORMAL (fast), 2 is FULL."""
    asked("-n", "1")
    for durability, code in (("fast", 1), ("full", 2)):
        with Ledger.open(Path("r"), writer=True, durability=durability) as ledger:  # type: ignore[arg-type]
            assert ledger.db.execute("PRAGMA synchronous").fetchone()[0] == code
    assert len(asked("-n", "2", "--durability", "full")) == 5


def test_a_neutral_option_does_not_make_another_run() -> None:
    asked("-n", "1", "-M", "pause=0.001")
    assert len(asked("-n", "2", "-M", "pause=0")) == 5
    assert execute(["run", "q.jsonl", "-m", MODEL, "--out", "r", "-M", "shout=true"]) == 1


def test_several_models_have_one_folder_each(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", "q.jsonl", "-m", "fake/p=0.1", "-m", "fake/p=0.9", "-n", "4", "--out", "both", "--json"]
    assert execute(line) == 0
    document = json.loads(capsys.readouterr().out)
    assert [Path(row["run"]).name for row in document["runs"]] == ["fake--p=0.1", "fake--p=0.9"]
    assert len(served(Path("both/fake--p=0.1"))) == 20
    assert execute(["coverage", "both", "--json"]) == 0
    sources: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["sources"]
    assert len(sources) == 2
    assert sources[0]["points"][0]["coverage"] < sources[1]["points"][0]["coverage"]


def test_without_out_the_folder_is_named_for_task_model_and_config() -> None:
    assert execute(["run", "q.jsonl", "-m", "fake/p=0.1", "-n", "1"]) == 0
    assert execute(["run", "q.jsonl", "-m", "fake/p=0.1", "-n", "2"]) == 0
    assert execute(["run", "q.jsonl", "-m", "fake/p=0.1", "-n", "2", "--temperature", "0.5"]) == 0
    names = sorted(p.name for p in Path("runs").iterdir())
    assert len(names) == 2, "the same config is the same folder, another temperature another one"
    assert all(name.startswith("jsonl--fake-p=0.1--") for name in names)


# ------------------------------------------------------------------------------------- --set, precedence, what is kept


def test_set_takes_any_setting_by_its_name_in_a_file() -> None:
    request = asked(
        "--set", "temperature=0.3", "--set", "max-tokens=9", "--set", "stop=END", "--set", "model.shout=true"
    )[0]
    assert (request.params.temperature, request.params.max_tokens, request.params.stop) == (0.3, 9, ("END",))
    with vervet.open_run("r") as run:
        assert run.config.model_options == {"shout": True}
        assert next(run.samples("q0")).text == "Answer: 0!"
    found = asked("--set", "task.extract=number", "--set", 'problems=["q1","q3"]', "--new")
    assert [r.problem_id for r in found] == ["q1", "q3"]


def test_set_is_below_the_options_and_above_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERVET_TEMPERATURE", "0.1")
    monkeypatch.setenv("VERVET_TOP_P", "0.2")
    arguments = ["--set", "temperature=0.3", "--set", "top_p=0.4", "--temperature", "0.5"]
    params = asked(*arguments)[0].params
    assert (params.temperature, params.top_p) == (0.5, 0.4)


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("temperature", "write --set name=value"),
        ("temprature=1", "did you mean 'temperature'"),
        ("temperature=hot", "--set: temperature 'hot'"),
        ("sampler.x=1", "'sampler' is no table"),
        ("model=1", "write --set model.name=value"),
        ("model.a.b=1", "no option 'a'"),
    ],
)
def test_a_bad_set_is_one_line(pair: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["run", "q.jsonl", "-m", MODEL, "--out", "r", "--set", pair]) == 1
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1


SAID = {
    "n": ("3", 3), "limit": ("2", 2), "problems": ("q0,q1", ["q0", "q1"]), "seed": ("5", 5), "temperature": ("0.25", 0.25),
    "top_p": ("0.5", 0.5), "max_tokens": ("17", 17), "stop": ("a,b", ["a", "b"]), "prompt_form": ("completion", "completion"),
    "max_in_flight": ("3", 3), "policy": ("first-pass", "first-pass"), "verifier": ("number", "number"),
    "durability": ("full", "full"), "executor": ("local", "local"), "budget_usd": ("7.5", 7.5),
    "budget_tokens": ("1000000", 1000000), "budget_samples": ("5000", 5000), "budget_minutes": ("60", 60.0),
    "price_in": ("1", 1.0), "price_out": ("2", 2.0), "price_cached": ("0.5", 0.5),
}  # fmt: skip


def test_every_setting_can_come_from_the_environment_and_is_kept_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but greedy (it contradicts temperature), sandbox (this verifier runs no code), base_url (this is no server) and
    ray_address (there is no cluster)."""
    assert set(SAID) == set(Settings.model_fields) - {
        "greedy",
        "sandbox",
        "base_url",
        "ray_address",
        "task_options",
        "model_options",
        "verifier_options",
    }
    for name, (text, _) in SAID.items():
        monkeypatch.setenv(f"VERVET_{name.upper()}", text)
    asked()
    with vervet.open_run("r") as run:
        assert {k: v for k, v in run.settings().items() if k in SAID} == {k: v for k, (_, v) in SAID.items()}


def test_a_repeat_takes_budget_policy_and_price_from_the_run_not_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked("-n", "4", "--budget-samples", "100", "--policy", "first-pass", "--price-in", "1", "--price-out", "2")
    monkeypatch.setenv("VERVET_BUDGET_SAMPLES", "1")
    monkeypatch.setenv("VERVET_POLICY", "adaptive")
    asked("-n", "6")
    with vervet.open_run("r") as run:
        kept = run.settings()
        assert (kept["budget_samples"], kept["policy"], kept["price_in"], kept["n"]) == (100, "first-pass", 1.0, 6)


def test_an_unknown_executor_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["run", "q.jsonl", "-m", MODEL, "--out", "r", "--executor", "locl"]) == 1
    assert "did you mean 'local'" in capsys.readouterr().err


# ----------------------------------------------------------------------------------------- what stands before a prompt


def test_a_system_prompt_and_examples_stand_before_every_prompt() -> None:
    Path("shots.jsonl").write_text('{"prompt": "What is 1 + 1?", "answer": "Answer: 2"}\n\n')
    line = ["-T", "system=Be brief.", "-T", "examples=shots.jsonl"]
    prompt = asked(*line)[0].prompt
    assert prompt == (
        Message("system", "Be brief."),
        Message("user", "What is 1 + 1?"),
        Message("assistant", "Answer: 2"),
        Message("user", "What is 0 + 1?"),
    )
    raw = asked("-T", "examples=shots.jsonl", "--prompt-form", "completion", "--new")[0].prompt
    assert raw == "What is 1 + 1?Answer: 2\n\nWhat is 0 + 1?"
    with vervet.open_run("r") as run:
        assert run.config.task_options["system"] == "Be brief."
    Path("shots.jsonl").write_text('{"prompt": "What is 2 + 1?", "answer": "Answer: 3"}\n')
    assert execute(["run", "q.jsonl", "-m", MODEL, "--out", "r", "-n", "2"]) == 1, "other examples are another config"
    Path("shots.jsonl").unlink()
    assert execute(["resume", "r", "-n", "2"]) == 1, "a dotted model is not run from a ledger"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-T", "examples=none.jsonl"], "examples=none.jsonl cannot be read"),
        (["-T", "examples=q.jsonl"], "cannot be read"),
        (["-T", "system=x", "--prompt-form", "completion"], "needs chat prompts"),
        (["-T", "systm=x"], "no option 'systm'"),
    ],
)
def test_a_bad_system_prompt_or_example_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "examples=q.jsonl" in arguments:
        Path("q2.jsonl").write_text('{"prompt": 3}\n')
        arguments, says = ["-T", "examples=q2.jsonl"], "line 1: an example is"
    assert execute(["run", "q.jsonl", "-m", MODEL, "--out", "r", *arguments]) == 1
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1


# --------------------------------------------------------------------------------------------------------------- dry run


def test_a_dry_run_shows_the_plan_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", "q.jsonl", "-m", MODEL, "-n", "6", "--temperature", "0.4", "--max-tokens", "100", "--dry-run"]
    line += ["--price-in", "1", "--price-out", "10"]
    before = sorted(Path().rglob("*"))
    assert execute([*line, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["samples"], found["requests"], found["n"]) == ("vervet.dry-run/1", 30, 15, 6)
    assert found["prompt"] == [{"role": "user", "content": "What is 0 + 1?"}]
    assert found["params"]["temperature"] == 0.4
    assert found["completion_tokens"] == {"low": 30, "high": 3000, "expected": None}
    assert found["usd"]["high"] == pytest.approx((found["prompt_tokens"]["high"] + 30000) / 1e6)
    assert not found["exists"]
    assert execute(line) == 0
    text = capsys.readouterr().out
    assert "30 samples in 15 requests" in text
    assert "[user] What is 0 + 1?" in text
    assert sorted(Path().rglob("*")) == before
    assert Mirror.requests == []


def test_a_dry_run_counts_what_is_missing_and_expects_what_was_seen(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", "q.jsonl", "-m", "fake/p=0.5", "--out", "r", "-M", "tokens=7"]
    assert execute([*line, "-n", "4"]) == 0
    capsys.readouterr()
    assert execute([*line, "-n", "10", "--dry-run", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["exists"], found["samples"], found["completion_tokens"]["expected"]) == (True, 30, 210)
    assert len(served(Path("r"))) == 20, "nothing was drawn"
    assert execute([*line, "-m", "fake/p=0.1", "-n", "3", "--dry-run", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 2


def test_a_dry_run_refuses_what_the_run_would_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["run", "q.jsonl", "-m", MODEL, "--dry-run", "--budget-usd", "1"]) == 1
    assert "no price is known" in capsys.readouterr().err

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

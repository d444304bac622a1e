"""reasoning-gym: generated problems are the same everywhere, and its families are named behind a slash."""

from __future__ import annotations

import importlib.util
import json

import pytest

from vervet import api, plugins
from vervet.cli.main import execute
from vervet.errors import BadOption, UnknownName
from vervet.tasks import reasoning_gym
from vervet.tasks._gym_maker import plain
from vervet.tasks.reasoning_gym import ReasoningGym
from vervet.testing.tasks import conform_to_task
from vervet.verifiers._gym_worker import restored


@pytest.fixture
def library():
    """Skips where it is not installed."""
    if importlib.util.find_spec("reasoning_gym") is None:
        pytest.skip("reasoning-gym is not installed (extra: reasoning-gym)")


def test_it_is_a_task(library):
    conform_to_task(lambda: ReasoningGym(dataset="word_ladder", size=2), without_data=ReasoningGym, size=1 << 14)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_options_give_the_same_problems_in_every_process(library):
    """The generator of word_ladder walks through sets of texts, whose order differs from process to process."""
    first = ReasoningGym(dataset="word_ladder", size=2).source()
    reasoning_gym._made.cache_clear()
    assert ReasoningGym(dataset="word_ladder", size=2).source() == first
    assert ReasoningGym(dataset="word_ladder", size=2, seed=1).source() != first


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_options_change_problems_and_mistakes_are_one_clear_line(library):
    short, long = (
        ReasoningGym(dataset="chain_sum", size=1, config=f'{{"min_terms": {n}, "max_terms": {n}}}').problems()[0]
        for n in (2, 6)
    )
    assert len(short.data["question"]) < len(long.data["question"])
    with pytest.raises(BadOption, match="its settings are allow_negation"):
        ReasoningGym(dataset="chain_sum", config={"max_term": 3}).problems()
    with pytest.raises(UnknownName, match="one of ab, acre"):
        ReasoningGym(dataset="chain_sums").problems()


def test_options_are_read_without_the_library():
    for bad in ("{", "[1]", '{"seed": 3}'):
        with pytest.raises(BadOption, match="config"):
            ReasoningGym(dataset="chain_sum", config=bad)
    with pytest.raises(BadOption, match="size"):
        ReasoningGym(dataset="chain_sum", size=0)


def test_a_member_of_a_family_is_named_behind_a_slash(capsys):
    assert plugins.member("tasks", "reasoning-gym/chain_sum") == ("reasoning-gym", {"dataset": "chain_sum"})
    for other in ("math", "math/test.jsonl", "data/x.jsonl", "module:Class"):
        assert plugins.member("tasks", other) == (other, {})
    assert {"name": "reasoning-gym/NAME"}.items() <= next(
        row for row in api.list_tasks() if row["name"].startswith("reasoning-gym")
    ).items()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer>1</answer> or <answer> 2 </answer> done", "2"),
        ("12</answer> and on", "12"),
        ("thinking <answer>cut o", "cut o"),
        ("a\nb", "a\nb"),
        ("<answer> </answer>", None),
        ("", None),
    ],
)
def test_the_answer_in_a_text(text, answer):
    assert ReasoningGym().extract(text) == answer


def test_what_json_has_no_word_for_comes_back_as_it_was():
    value = {"a": (1, [2.5, None, True]), "b": {3: {"x"}, (4, 5): "y"}, "!": "tuple", "c": {"!": [()]}}
    assert restored(json.loads(json.dumps(plain(value)))) == value
    with pytest.raises(TypeError, match="cannot be kept"):
        plain({"a": object()})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_continues_and_is_judged_from_its_folder_alone(library, tmp_path, capsys):
    out = str(tmp_path / "run")
    line = [
        "run",
        "reasoning-gym/chain_sum",
        "-T",
        "size=2",
        "-m",
        "fake/p=0.5",
        "--seed",
        "1",
        "-n",
        "2",
        "--out",
        out,
    ]
    assert execute(line) == 0
    capsys.readouterr()
    assert execute(["resume", out, "-n", "4", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["samples"], shown["unknown"]) == (8, 0)
    assert 0 < shown["pass"] < 8

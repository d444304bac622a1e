"""The printed command makes the run again."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

pytest.importorskip("jinja2")

from tests.reports.pages import Page, small_run
from vervet import api
from vervet.cli.main import execute
from vervet.reports.format import shell_word

OPTIONS = {
    "plain": {},
    "chosen": {"problems": ("sum/2", "sum/5"), "temperature": 0.3},
    "limited": {"limit": 4, "top_p": 0.9, "max_tokens": 77, "stop": ("a b", 'c"d')},
    "options": {"model_options": {"tokens": "7"}, "task_options": {"extract": "number"}, "prompt_form": "completion"},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_the_command_repeats_the_run(case: str, tmp_path: Path) -> None:
    with small_run(tmp_path, **OPTIONS[case]) as run:
        before = run.counts()
        config = run.config
    page = Page.of(api.report([tmp_path / "run"], tmp_path / "r.html").read_text())
    command = next(t for t in page.texts if t.startswith("vervet run"))
    assert execute([*shlex.split(command)[1:], "--out", str(tmp_path / "again"), "--json"]) == 0
    with api.open_run(tmp_path / "again") as again:
        assert again.config == config
        assert again.counts().problem_ids == before.problem_ids
        assert list(again.counts().c) == list(before.c)


def test_a_drawn_seed_is_given(tmp_path: Path) -> None:
    task = small_run(tmp_path).folder.parent / "sums.jsonl"
    with api.run(str(task), model="fake/p=0.5", n=9, out=tmp_path / "free") as run:
        before = list(run.counts().c)
    page = Page.of(api.report([tmp_path / "free"], tmp_path / "r.html").read_text())
    command = next(t for t in page.texts if t.startswith("vervet run"))
    assert "No seed was given" in page.words
    assert execute([*shlex.split(command)[1:], "--out", str(tmp_path / "again"), "--json"]) == 0
    with api.open_run(tmp_path / "again") as again:
        assert list(again.counts().c) == before


@pytest.mark.parametrize(
    ("word", "quoted"), [("a", "a"), ("a b", "'a b'"), ("\n```", r"$'\n```'"), ("\t'\\", r"$'\t\'\\'")]
)
def test_words_are_quoted_for_a_shell(word: str, quoted: str) -> None:
    assert shell_word(word) == quoted

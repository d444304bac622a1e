"""SWE-bench Lite: rows as on the hub, finding a diff in a text, and predictions that become a run."""

from __future__ import annotations

import json

import pytest

from tests import swebench_instance as instance
from vervet import api
from vervet.cli.main import execute
from vervet.errors import BadData
from vervet.tasks.swebench_lite import FLAKY, SWEBenchLite
from vervet.testing.tasks import conform_to_task
from vervet.text import diffs

TASK = SWEBenchLite()
GOLD, WRONG = instance.GOLD, instance.WRONG
MARKDOWN = "--- a/README.md\n+++ b/README.md\n@@ -1,3 +1,3 @@\n ```\n-old\n+new\n ```\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lite.jsonl"
    rows = [instance.row(), instance.row(instance_id="psf__requests-863", FAIL_TO_PASS=["t"], PASS_TO_PASS=[])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_task_keeps_its_promises(file):
    conform_to_task(lambda: SWEBenchLite(path=file), without_data=SWEBenchLite, size=1 << 16)
    conform_to_task(lambda: SWEBenchLite(path=file, protocol="paper"), without_data=SWEBenchLite, size=1 << 12)


def test_a_row_becomes_a_problem(file):
    ours, flaky = SWEBenchLite(path=file).problems()
    assert (ours.id, ours.reference) == (instance.INSTANCE, GOLD)
    assert ours.check["FAIL_TO_PASS"] == ["test_sums.py::test_add"]
    assert (ours.check["image"], ours.check["flaky"]) == (instance.IMAGE, False)
    assert flaky.check["flaky"]
    assert [p.id for p in SWEBenchLite(path=file, flaky=False).problems()] == [instance.INSTANCE]


def test_the_flaky_instances_are_the_papers_thirty_four():
    assert len(FLAKY) == 34
    assert {"django__django-13315", "sympy__sympy-16988", "matplotlib__matplotlib-23987"} <= FLAKY
    assert sum(name.startswith("django__django-") for name in FLAKY) == 25


def test_the_patch_decides_nothing_about_the_prompt(file):
    task = SWEBenchLite(path=file)
    problem = task.problems()[0]
    shown = task.prompt(problem, "chat")[0].content
    assert "vervet/sums" in shown
    assert "It should be 5." in shown
    assert "a + b" not in shown
    assert task.prompt(problem, "completion").endswith("</issue>\n\n```diff\n")
    paper = SWEBenchLite(path=file, protocol="paper")
    assert (paper.params("chat").temperature, paper.recipe.n) == (1.6, 250)


def test_source_code_can_be_shown_before_the_issue(file, tmp_path):
    (tmp_path / "code.jsonl").write_text(json.dumps({"instance_id": instance.INSTANCE, "text": instance.SOURCE}) + "\n")
    task = SWEBenchLite(path=file, contexts=tmp_path / "code.jsonl")
    first, second = (task.prompt(p, "chat")[0].content for p in task.problems())
    assert "return a - b" in first
    assert "return a - b" not in second
    assert task.source().fingerprint != SWEBenchLite(path=file).source().fingerprint


def test_rows_from_before_version_five_are_refused_or_completed(tmp_path):
    old = {k: v for k, v in instance.row().items() if k not in ("image", "eval_script", "log_parser", "eval_type")}
    (tmp_path / "old.jsonl").write_text(json.dumps(old) + "\n")
    with pytest.raises(BadData, match=r"old\.jsonl line 1.* has no 'image'.*-T harness=FILE"):
        SWEBenchLite(path=tmp_path / "old.jsonl").problems()
    (tmp_path / "new.jsonl").write_text(json.dumps(instance.row()) + "\n")
    completed = SWEBenchLite(path=tmp_path / "old.jsonl", harness=tmp_path / "new.jsonl").problems()
    assert completed == SWEBenchLite(path=tmp_path / "new.jsonl").problems()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"FAIL_TO_PASS": "[1]"}, "must be a list of tests"),
        ({"PASS_TO_PASS": "test_a"}, "not JSON"),
        ({"problem_statement": " "}, "'problem_statement' must be a text"),
    ],
)
def test_rows_that_are_wrong_are_named(change, message, tmp_path):
    (tmp_path / "x.jsonl").write_text(json.dumps(instance.row(**change)) + "\n")
    with pytest.raises(BadData, match=message):
        SWEBenchLite(path=tmp_path / "x.jsonl").problems()


# ------------------------------------------------------------------------------------------------------ extraction


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (GOLD, GOLD),
        (GOLD.replace("\n", "\r\n"), GOLD.replace("\n", "\r\n")),
        (GOLD.rstrip("\n"), GOLD.rstrip("\n")),
        ("\n\n" + GOLD, GOLD),
        (f"Here:\n\n```diff\n{GOLD}```\nDone.", GOLD),
        (f"```\n{GOLD}```", GOLD),
        (f"```patch\n\n# a note\n{GOLD}```", GOLD),
        (f"First:\n```diff\n{WRONG}```\nNo, rather:\n```diff\n{GOLD}```\n", GOLD),
        (f"```diff\n{GOLD}```\ncut off:\n```diff\n{WRONG}", GOLD),
        (f"cut off:\n```diff\n{GOLD}", GOLD),
        (f"```python\nprint(1)\n```\n```diff\n{GOLD}```\n```sh\ngit apply\n```", GOLD),
        (f"1. A list\n   ```diff\n{''.join('   ' + line for line in GOLD.splitlines(True))}   ```\n", GOLD),
        (f"<patch>\n{GOLD}</patch>", GOLD),
        (f"I change one line.\n\n{GOLD}", GOLD),
        (f"{GOLD}```\n\nThat is all.", GOLD),
        (f"```diff\n{MARKDOWN}```\n", MARKDOWN),
        (MARKDOWN, MARKDOWN),
        (f"--- \n\n{GOLD}", GOLD),
        ("I would add the numbers.", None),
        ("```python\nprint(1)\n```", None),
        ("", None),
        (" \n", None),
    ],
)
def test_a_diff_is_found(text, found):
    assert TASK.extract(text) == found


def test_equal_diffs_meet():
    noisy = GOLD.replace("--- a/sums.py", "index 123..456 100644\n--- a/sums.py\t2024-01-01").replace(
        "@@ -2,7 +2,7 @@", "@@ -2,7 +2,7 @@ def add(a, b):"
    )
    assert diffs.canonical(noisy) == diffs.canonical(GOLD)
    assert diffs.canonical(GOLD) != diffs.canonical(WRONG)


# ---------------------------------------------------------------------------------------------------- predictions


def test_predictions_become_a_run(file, tmp_path, capsys):
    patches = [GOLD, WRONG, "", GOLD, None, "I do not know."]
    rows = [{"instance_id": instance.INSTANCE, "model_name_or_path": "agent", "model_patch": p} for p in patches]
    (tmp_path / "preds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        "import",
        tmp_path / "preds.jsonl",
        "--task",
        "swebench-lite",
        "-T",
        f"path={file}",
        "--out",
        tmp_path / "r",
    ]
    assert execute([*map(str, words), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["samples"], done["problems"]) == (6, 1)
    with api.open_run(tmp_path / "r") as run:
        assert [s.answer for s in run.samples(instance.INSTANCE)] == [GOLD, WRONG, None, GOLD, None, None]


def test_the_sandbox_is_no_choice(file, tmp_path, capsys):
    words = [
        "run",
        "swebench-lite",
        "-T",
        f"path={file}",
        "-m",
        "fake/p=0.5",
        "--sandbox",
        "none",
        "--out",
        tmp_path / "r",
    ]
    assert execute([*map(str, words)]) == 1
    assert "has containers of its own" in capsys.readouterr().err

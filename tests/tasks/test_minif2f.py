"""miniF2F: rows of both kinds, prompts of both kinds, answers of both kinds; its data in ../shared where that is there."""

from __future__ import annotations

import json

import pytest

from tests.data import shared
from tests.verifiers.provers import coqtop
from vervet import api
from vervet.errors import BadData, BadOption, MissingPart
from vervet.protocols import SamplerSetup
from vervet.samplers.tactics import PORTFOLIOS, Tactics
from vervet.tasks.minif2f import LIBRARIES, PAPER_STOP, MiniF2F
from vervet.testing.tasks import conform_to_task

LEAN = "theorem mathd_one (x : Nat) (h : x = 1) : x + 1 = 2 := by sorry"
ROCQ = "Theorem mathd_one (x : nat) : x = 1 -> x + 1 = 2.\nProof.\nAdmitted."


@pytest.fixture
def lean_file(tmp_path):
    rows = [
        {"id": "mathd_one", "split": "test", "header": "import Mathlib\n", "formal_statement": LEAN},
        {"id": "amc_one", "split": "test", "header": "", "formal_statement": LEAN.replace("mathd", "amc")},
        {
            "id": "mathd_two",
            "split": "valid",
            "header": "",
            "formal_statement": LEAN.replace("one", "two"),
            "proof": "simp [h]",
        },
    ]
    path = tmp_path / "lean.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def rocq_file(tmp_path):
    path = tmp_path / "rocq.jsonl"
    path.write_text(json.dumps({"name": "mathd_one", "statement": ROCQ, "proof": "intros. lia."}))
    return path


def test_minif2f_conforms_in_both_languages(lean_file, rocq_file):
    conform_to_task(lambda: MiniF2F(path=lean_file), references=False, size=20_000)
    conform_to_task(lambda: MiniF2F(language="rocq", path=rocq_file), size=20_000)


@pytest.mark.slow
def test_the_audit_of_rocq_holds(rocq_file):
    """A proof that is known, and stubs: nothing, admit, an axiom, another statement."""
    coqtop()
    found = api.audit("minif2f", task_options={"language": "rocq", "path": str(rocq_file)}, repeats=1)
    assert found.holds, found.to_dict()
    assert (found.references_passed, found.stubs["an axiom"]) == (1, 1)


def test_only_and_split_choose_problems(lean_file):
    assert [p.id for p in MiniF2F(path=lean_file).problems()] == ["mathd_one"]
    assert [p.id for p in MiniF2F(path=lean_file, only="").problems()] == ["mathd_one", "amc_one"]
    assert [p.id for p in MiniF2F(path=lean_file, split="valid").problems()] == ["mathd_two"]
    with pytest.raises(BadData, match="nothing"):
        MiniF2F(path=lean_file, only="nothing").problems()


def test_rocq_statements_get_the_automatic_tactics(rocq_file):
    [problem] = MiniF2F(language="rocq", path=rocq_file).problems()
    assert problem.check["statement"] == f"{LIBRARIES}\n{ROCQ}"


def test_prompts_stop_where_the_proof_begins(lean_file, rocq_file):
    lean, rocq = MiniF2F(path=lean_file), MiniF2F(language="rocq", path=rocq_file)
    assert str(lean.prompt(lean.problems()[0], "completion")).endswith("x + 1 = 2 := by\n")
    assert str(rocq.prompt(rocq.problems()[0], "completion")).endswith("x + 1 = 2.\nProof.\n")
    [message] = lean.prompt(lean.problems()[0], "chat")
    assert message.content.endswith("sorry\n```")


def test_the_papers_prompt_hides_the_name_and_opens_the_proof(lean_file, tmp_path):
    shots = tmp_path / "shots.jsonl"
    shots.write_text(
        json.dumps({"name": "shown", "statement": "theorem shown : 1 = 1 := by sorry", "proof": "  rfl\n)"})
    )
    task = MiniF2F(path=lean_file, protocol="paper", shots=shots)
    prompt = str(task.prompt(task.problems()[0], "completion"))
    assert "theorem theorem_1 : 1 = 1 :=\nby (\n  rfl\n)```" in prompt
    assert prompt.endswith("theorem theorem_2 (x : Nat) (h : x = 1) : x + 1 = 2 :=\nby (\n")
    assert "mathd_one" not in prompt
    assert (task.params("completion").temperature, task.params("completion").max_tokens) == (0.5, 200)
    assert task.params("completion").stop == (PAPER_STOP,)
    assert task.extract("  simp [h]\n)```\n\nWrite a lean4") == "by (\n  simp [h]\n)"


def test_an_example_that_is_the_problem_is_refused(lean_file, tmp_path):
    shots = tmp_path / "shots.jsonl"
    shots.write_text(json.dumps({"name": "x", "statement": LEAN.replace("mathd_one", "other"), "proof": "simp"}))
    task = MiniF2F(path=lean_file, shots=shots)
    with pytest.raises(BadData, match="mathd_one"):
        task.prompt(task.problems()[0], "chat")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Here:\n```lean4\nby simp\n```\nDone.", "by simp\n"),
        ("```lean\nby ring\n```\nor better\n```lean\nby simp\n```", "by simp\n"),
        ("```python\nprint(1)\n```", None),
        ("  norm_num\n  ring\n```", "  norm_num\n  ring\n"),
        ("I think that it is true.", None),
        ("", None),
    ],
)
def test_lean_answers_are_found(text, expected):
    assert MiniF2F().extract(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```coq\nProof. lia. Qed.\n```", "Proof. lia. Qed.\n"),
        ("intros. lia.\nQed.\n```", "intros. lia.\nQed.\n"),
        ("This cannot be proved", None),
    ],
)
def test_rocq_answers_are_found(text, expected):
    assert MiniF2F(language="rocq").extract(text) == expected


def test_options_that_do_not_go_together_are_refused(tmp_path):
    with pytest.raises(BadOption, match="Lean"):
        MiniF2F(language="rocq", protocol="paper")
    with pytest.raises(BadOption, match="project"):
        MiniF2F(language="rocq", project=tmp_path)
    with pytest.raises(MissingPart, match="-T path"):
        MiniF2F(language="rocq").problems()


@pytest.mark.needs_data
def test_the_published_statements_can_all_be_taken_apart():
    from vervet.verifiers.lean import Lean
    from vervet.verifiers.rocq import Rocq

    for language, verifier in (("lean", Lean()), ("rocq", Rocq())):
        problems = MiniF2F(
            language=language, path=shared(f"minif2f/mathd_{language if language == 'rocq' else 'lean4'}.jsonl")
        ).problems()
        assert len(problems) == 130
        for problem in problems:
            verifier.load(problem)


def test_the_portfolio_draws_evenly_and_independently_of_grouping():
    from tests.samplers.requests import request

    for name, scripts in PORTFOLIOS.items():
        assert len(set(scripts)) == len(scripts)
        sampler = Tactics(name, SamplerSetup())
        whole = request(sampler, first=0, n=512)
        parts = request(sampler, first=0, n=200) + request(sampler, first=200, n=312)
        assert whole == parts
        # each of 24 scripts in 512 even draws: all seen but with odds below 24 * (23/24)^512 < 1e-8
        assert len(set(whole)) == len(scripts)

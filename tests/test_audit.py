"""`vervet audit`: a sound verifier holds; one that accepts too much, refuses too much or wavers does not."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.helpers import write_problems
from tests.tasks.test_mbpp_and_plus import ROW as MBPP
from vervet import api
from vervet.cli.main import execute
from vervet.records import DataSource, Message, Outcome, Params, Problem, Reason, Strength, Verdict, VerifierSpec


class Sums:
    """Sums whose reference is right, judged by whatever is asked for."""

    name, extractor = "sums", "sums/1"
    verifier = VerifierSpec("exact")

    def source(self):
        return DataSource("sums", "", "0")

    def problems(self):
        return [Problem(f"{i}", {"expected": f"{i + i}"}, {"q": f"{i}+{i}"}, f"{i + i}") for i in range(4)]

    def params(self, form):
        return Params(0.5, None, 8)

    def prompt(self, problem, form):
        return problem.data["q"] if form == "completion" else (Message("user", problem.data["q"]),)

    def extract(self, text):
        return text.strip() or None

    def canonical(self, answer):
        return answer.strip()

    def example(self, problem, right):
        return problem.reference if right else f"{problem.reference}1"

    def solutions(self, problem, most):
        """A right one that `exact` refuses, one that it takes, and a wrong one that it accepts."""
        wrong = (problem.reference, False) if problem.id == "3" else ("x", False)
        return [(f"{problem.reference}.0", True), (problem.reference, True), wrong][:most]


class Base:
    name, version, needs = "odd", "1", frozenset()

    def settings(self):
        return {}

    def load(self, problem):
        pass

    async def aclose(self):
        pass

    async def verify(self, problem, answers):
        return [Verdict(self.judge(problem, a), Reason.ACCEPTED, Strength.EXACT) for a in answers]


class AcceptsAll(Base):
    def judge(self, problem, answer):
        return Outcome.PASS


class RefusesAll(Base):
    def judge(self, problem, answer):
        return Outcome.FAIL


class Wavers(Base):
    flips = itertools.count()

    def judge(self, problem, answer):
        right = answer == problem.reference and (problem.id != "2" or next(Wavers.flips) % 2)
        return Outcome.PASS if right else Outcome.FAIL


def named(cls):
    return f"{cls.__module__}:{cls.__qualname__}"


def test_a_sound_verifier_holds_and_its_rates_are_shown():
    found = api.audit(Sums).to_dict()
    assert found["holds"]
    assert (found["references"], found["references_passed"]) == (4, 4)
    assert all(s["failed"] == s["judged"] == 4 for s in found["stubs"])
    assert {"nothing", "pass", "a constant", "the question back"} <= {s["stub"] for s in found["stubs"]}
    assert found["repeated"] > 20
    assert found["flake_rate"] == 0
    assert 0 < found["flake_high"] < 0.2
    solutions = found["solutions"]
    assert (solutions["refused"], solutions["right"], solutions["accepted"], solutions["wrong"]) == (4, 8, 1, 4)
    assert solutions["problems_refusing"] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(("verifier", "answers"), [(AcceptsAll, "nothing"), (RefusesAll, "reference")])
def test_a_verifier_that_cannot_tell_does_not_hold(verifier, answers):
    found = api.audit(Sums, verifier=named(verifier), repeats=1)
    assert not found.holds
    assert answers in {f.answer for f in found.findings}


def test_a_verifier_that_wavers_is_found_out():
    found = api.audit(Sums, verifier=named(Wavers), repeats=4)
    assert found.flaky == ["2: reference"]
    assert not found.holds


def test_the_command_prints_and_its_exit_code_says_it(tmp_path, capsys):
    path = write_problems(tmp_path / "p.jsonl", 3)
    assert execute(["audit", str(path), "--repeats", "2"]) == 0
    assert "it holds" in capsys.readouterr().out
    assert execute(["audit", named(Sums), "--verifier", named(AcceptsAll), "--json"]) == 5
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "vervet.audit/1"
    assert document["holds"] is False
    assert execute(["audit", str(path), "--repeats", "0"]) == 1


def test_every_stub_fails_on_python_tests_and_no_tests_are_unknown(tmp_path):
    problem = {
        "task_id": "T/0",
        "prompt": "def first(xs):\n",
        "entry_point": "first",
        "canonical_solution": "    return xs[0]\n",
        "test": "def check(candidate):\n    assert candidate([3, 4]) == 3\n    assert candidate([5]) == 5\n",
    }
    (tmp_path / "he.jsonl").write_text(json.dumps(problem))
    found = api.audit("humaneval", task_options={"path": str(tmp_path / "he.jsonl")}, repeats=2)
    assert found.holds, found.to_dict()
    assert found.no_tests == "UNKNOWN"
    assert found.margin > 2


def test_a_run_is_audited_by_a_task_with_better_tests_and_by_a_second_verifier(tmp_path, capsys):
    """Of two problems with the same ids one has another answer: whatever the run accepted there is wrong."""
    rows = [{"id": f"p{i}", "prompt": f"{i}?", "answer": f"{i}"} for i in range(4)]
    better = [{**row, "answer": "99"} if row["id"] == "p2" else row for row in rows]
    for name, content in (("weak", rows), ("strong", better), ("other", [{**rows[0], "id": "x"}])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    run = tmp_path / "run"
    api.run(tmp_path / "weak.jsonl", model="fake/p=0.5", n=20, out=run, seed=1).close()
    found = api.audit_run(run, stronger_task=str(tmp_path / "strong.jsonl"))
    with api.open_run(run) as opened:
        counts = opened.counts()
    slipped = counts.c[list(counts.problem_ids).index("p2")]
    assert (found.false_positive.hits, found.false_negative.hits) == (slipped, 0)
    assert (found.samples, found.problems_accepting) == (80, ("p2",))
    assert found.points[-1].coverage == 1
    assert found.points[-1].stronger == found.ceiling == 0.75

    api.verify(run, verifier="number")
    assert execute(["audit", str(run), "--stronger", "number", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "vervet.agreement/1"
    assert document["false_positive"]["rate"] == 0
    assert execute(["audit", str(run), "--stronger-task", str(tmp_path / "strong.jsonl")]) == 0
    assert "on 1 problem: p2" in capsys.readouterr().out
    for wrong in (
        ["--stronger", "exact"],
        ["--stronger", "math"],
        ["--stronger-task", str(tmp_path / "other.jsonl")],
        ["--stronger", "number", "--stronger-task", "x"],
    ):
        assert execute(["audit", str(run), *wrong]) == 1


def test_every_small_file_task_holds(tmp_path):
    """From rows as on the hub to verdicts: what a change of prompt, extraction or verifier would break."""
    question = {"question": "2 + 3?", "answer": "It is 5.\n#### 5"}
    mathematics = {"problem": "P?", "level": "Level 1", "type": "Algebra", "solution": r"So $\boxed{\frac{1}{2}}$."}
    for task, row in {"gsm8k": question, "math": mathematics, "mbpp": MBPP}.items():
        path = tmp_path / f"{task}.jsonl"
        path.write_text(json.dumps(row) + "\n")
        found = api.audit(task, task_options={"path": str(path)}, repeats=1)
        assert found.holds, found.to_dict()
        assert found.references_passed == 1

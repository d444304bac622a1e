"""MATH: rows, choices, prompts, and finding the answer in a text. That answers are judged right is the verifier's test."""

from __future__ import annotations

import json

import pytest

from vervet.errors import BadData, BadOption
from vervet.records import Message
from vervet.tasks.math import PAPER_NEEDLES, CompetitionMath
from vervet.testing.tasks import conform_to_task

TASK, PAPER = CompetitionMath(), CompetitionMath(protocol="paper")
ANSWERS = ("\\frac{1}{2}", "(1,2)", "[0,\\infty)", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\text{Evelyn}", "50\\%")


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def file(tmp_path):
    rows = [
        {
            "problem": f"Problem {i}?",
            "level": f"Level {1 + i % 5}",
            "type": "Algebra",
            "solution": f"So $\\boxed{{{a}}}$.",
        }
        for i, a in enumerate(ANSWERS)
    ]
    return write(tmp_path / "test.jsonl", rows)


@pytest.fixture
def train(tmp_path):
    return write(tmp_path / "train.jsonl", [{"problem": f"x {n} y", "solution": "\\boxed{1}"} for n in PAPER_NEEDLES])


def test_the_task_keeps_its_promises(file, train):
    conform_to_task(lambda: CompetitionMath(path=file), without_data=CompetitionMath, size=1 << 16)
    conform_to_task(
        lambda: CompetitionMath(path=file, train=train, protocol="paper"), without_data=lambda: PAPER, size=1 << 14
    )


def test_references_and_prompts(file):
    problems = CompetitionMath(path=file).problems()
    assert [p.reference for p in problems] == list(ANSWERS)
    task = CompetitionMath(path=file, shots=2)
    raw = task.prompt(problems[0], "completion")
    assert raw.count("Problem:\n") == 3
    assert raw.count("I hope it is correct.") == 2
    assert raw.endswith("Problem:\nProblem 0?\n\nSolution:\n")
    chat = CompetitionMath(path=file).prompt(problems[0], "chat")
    assert isinstance(chat[0], Message)
    assert "\\boxed{}" in chat[0].content
    assert len(chat) == 1
    assert len(task.prompt(problems[0], "chat")) == 5


def test_choices(file):
    assert [p.id for p in CompetitionMath(path=file, level="1").problems()] == ["MATH/0", "MATH/5"]
    assert len(CompetitionMath(path=file, subset=3).problems()) == 3
    with pytest.raises(BadOption, match="no problem has level 9"):
        CompetitionMath(path=file, level="9").problems()
    with pytest.raises(BadOption, match="there are 4"):
        CompetitionMath(path=file, shots=7).problems()


def test_the_papers_protocol(file, train):
    task = CompetitionMath(path=file, train=train, protocol="paper")
    assert len(task.problems()) == len(ANSWERS)
    assert task.prompt(task.problems()[0], "completion").count("Problem:\n") == 5
    assert task.recipe.n == 10_000
    with pytest.raises(BadOption, match="train="):
        CompetitionMath(path=file, protocol="paper").problems()
    with pytest.raises(BadData, match="no problem with"):
        CompetitionMath(path=file, train=file, protocol="paper").problems()


def test_an_example_that_is_the_problem_is_refused(file):
    with pytest.raises(BadData, match="one of the examples"):
        CompetitionMath(path=file, examples=file).problems()


def test_a_row_without_an_answer_is_named(tmp_path):
    path = write(tmp_path / "bad.jsonl", [{"problem": "p", "solution": "none"}])
    with pytest.raises(BadData, match=r"line 1: no .boxed"):
        CompetitionMath(path=path).problems()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("We get $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("\\boxed{1} and then \\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed 5", "5"),
        ("\\fbox{7}", "7"),
        ("The final answer is $[2,5)$. I hope it is correct.", "[2,5)"),
        ("The answer is: 42.", "42"),
        ("**Answer:** $x = 3$", "x = 3"),
        ("\\boxed{never closed", None),
        ("no answer", None),
        ("", None),
    ],
)
def test_where_the_answer_is_found(text, answer):
    assert TASK.extract(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Final Answer: The final answer is $[2,5)$. I hope it is correct.", "[2,5)"),
        ("Final Answer: The final answer is $24$", "24"),
        ("Final Answer: The final answer is $1$. I hope\nFinal Answer: The final answer is $2$. I hope", "1"),
        ("\\boxed{3}", None),
    ],
)
def test_the_papers_protocol_takes_minervas_sentence(text, answer):
    assert PAPER.extract(text) == answer

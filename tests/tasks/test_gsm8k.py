"""GSM8K: the file, choices of problems and examples, prompts, and finding the number in a text."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from vervet.cli.main import execute
from vervet.errors import BadData, BadOption, MissingPart
from vervet.records import Outcome
from vervet.tasks.gsm8k import SHOTS, Gsm8k
from vervet.testing.tasks import conform_to_task
from vervet.verifiers.number import Number

TASK, PAPER = Gsm8k(), Gsm8k(protocol="paper")


def write(path, count, start=0, **more):
    rows = [
        {"question": f"What is {i} and {i}?", "answer": f"It is <<{i}+{i}={2 * i}>>{2 * i}.\n#### {2 * i:,}"} | more
        for i in range(start, start + count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def files(tmp_path):
    """A test file of 300 problems and a training file of 40 others."""
    return write(tmp_path / "test.jsonl", 300, 400), write(tmp_path / "train.jsonl", 40)


def test_the_task_keeps_its_promises(files):
    path, train = files
    conform_to_task(
        lambda: Gsm8k(path=path), verifier=lambda spec: Number(**spec.settings), without_data=Gsm8k, size=1 << 16
    )
    conform_to_task(
        lambda: Gsm8k(path=path, train=train, protocol="paper"),
        verifier=lambda spec: Number(**spec.settings),
        without_data=lambda: Gsm8k(protocol="paper"),
        size=1 << 16,
    )


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("She has 3 + 4 = 7.\n#### 7", "7"),
        ("#### 1,234,567", "1234567"),
        ("#### $-12.50.", "-12.50"),
        ("#### **18** dollars", "18"),
        ("#### 7\n\nQuestion 12 comes next", "7"),
        ("#### Step 1\nAdd 3 and 4.\n#### 2. Then\nThe answer is 7.", "7"),
        (r"So \(x = 12\), thus \boxed{x = 12 \text{ eggs}}", "12"),
        (r"\boxed{5} no: \boxed{\$1{,}000}", "1"),
        ("The final answer is: 3 * 6 = 18 eggs. I hope it is correct.", "18"),
        ("Answer: 3/4", "3/4"),
        ("It takes 2 days of 12 hours, 24 in all.", "24"),
        ("-5 degrees", "-5"),
        ("no number at all", None),
        ("", None),
    ],
)
def test_where_the_answer_is_found(text, answer):
    assert TASK.extract(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 7\n#### 8", "7"),
        ("#### $1,234.", "1234"),
        ("The answer is 7", None),
        ("####7", None),
        (r"\boxed{7}", None),
    ],
)
def test_the_papers_protocol_takes_the_first_mark_and_nothing_else(text, answer):
    assert PAPER.extract(text) == answer


def test_equal_numbers_meet():
    assert TASK.canonical("18") == TASK.canonical("18.00") == TASK.canonical("$18")
    assert TASK.canonical("18") != TASK.canonical("1800")


def test_prompts_of_both_forms(files):
    task = Gsm8k(path=files[0])
    problem = task.problems()[0]
    raw = task.prompt(problem, "completion")
    assert raw.startswith(f"Question: {SHOTS[0][0]}\nAnswer: {SHOTS[0][1]}\n\nQuestion: ")
    assert raw.endswith("Question: What is 400 and 400?\nAnswer:")
    (message,) = task.prompt(problem, "chat")
    assert "####" in message.content
    assert "800" not in raw + message.content
    other = Gsm8k(path=files[0], shots=2)
    shown = other.prompt(other.problems()[0], "chat")
    assert [m.role for m in shown] == ["user", "assistant", "user", "assistant", "user"]
    bare = Gsm8k(path=files[0], shots=0)
    assert bare.prompt(bare.problems()[0], "completion").count("Question:") == 1


def test_examples_are_drawn_from_a_training_file(files):
    path, train = files
    task = Gsm8k(path=path, train=train, shots=3)
    first, second = (task.prompt(p, "completion") for p in task.problems()[:2])
    assert first.count("Question:") == 4
    assert first.rpartition("Question:")[0] != second.rpartition("Question:")[0]
    with pytest.raises(BadOption, match="only 40 examples"):
        Gsm8k(path=path, train=train, shots=41).problems()
    with pytest.raises(BadOption, match="train=FILE"):
        Gsm8k(path=path, shots=9).problems()


def test_an_example_that_is_the_problem_is_refused(files, tmp_path):
    leaky = write(tmp_path / "leaky.jsonl", 40, 400, question="  what is 400   AND 400?")
    with pytest.raises(BadData, match=r"'GSM8K/0' is also one of the examples"):
        Gsm8k(path=files[0], train=leaky).problems()


def test_a_seeded_subset_keeps_the_order_and_depends_on_the_seed(files):
    everything = [p.id for p in Gsm8k(path=files[0]).problems()]
    one = [p.id for p in Gsm8k(path=files[0], subset=128).problems()]
    assert one == [p.id for p in Gsm8k(path=files[0], subset=128, subset_seed=0).problems()]
    assert one == sorted(one, key=everything.index)
    assert len(set(one)) == 128
    assert one != [p.id for p in Gsm8k(path=files[0], subset=128, subset_seed=1).problems()]
    assert Gsm8k(path=files[0], subset=9).source().fingerprint == Gsm8k(path=files[0]).source().fingerprint
    with pytest.raises(BadOption, match="there are 300 problems"):
        Gsm8k(path=files[0], subset=301).problems()


def test_the_papers_draw(files):
    """Problems and examples as one generator with seed 0 gives them: first examples for every problem, then the order."""
    path, train = files
    task = Gsm8k(path=path, train=train, protocol="paper")
    generator = random.Random(0)
    drawn = [generator.sample(range(40), 5) for _ in range(300)]
    order = list(range(300))
    generator.shuffle(order)
    assert [p.id for p in task.problems()] == [f"GSM8K/{i}" for i in order[:128]]
    shots = [f"Question: What is {j} and {j}?" for j in drawn[order[0]]]
    prompt = task.prompt(task.problems()[0], "completion")
    assert [line for line in prompt.split("\n") if line.startswith("Question")][:5] == shots
    assert task.recipe.n == 10_000
    assert task.recipe.form == "completion"
    assert task.recipe.guesses
    assert task.params("completion").top_p is None
    with pytest.raises(BadOption, match="train=FILE"):
        Gsm8k(path=path, protocol="paper").problems()


def test_the_command_line_shows_the_papers_set_up_and_what_was_guessed(files, capsys):
    path, train = files
    line = ["tasks", "gsm8k", "-T", f"path={path}", "-T", f"train={train}", "-T", "protocol=paper"]
    assert execute([*line, "--prompt-form", "completion"]) == 0
    shown = capsys.readouterr().out
    for text in ("10,000 samples a problem", "guessed:", "top-p", "temperature 0.6", "max_tokens 512", "Question: "):
        assert text in shown
    line = ["run", *line[1:], "-m", "openai/any", "--price-in", "1", "--price-out", "2", "--dry-run"]
    assert execute(line) == 0
    shown = capsys.readouterr().out
    for text in ("128 problems, n = 10000", "completion prompts", "guessed:", "money: $", "Question: "):
        assert text in shown


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 1 is not JSON"),
        ("[1]", "row 0: expected a JSON object"),
        ('{"question": "x"}', "line 1: 'answer' must be a text"),
        ('{"question": "x", "answer": "nothing marked"}', "line 1: no number after ####"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, line, says):
    (tmp_path / "bad.jsonl").write_text(line)
    with pytest.raises(BadData, match=says):
        Gsm8k(path=tmp_path / "bad.jsonl").problems()


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(MissingPart, match="there is no file"):
        Gsm8k(path=tmp_path / "none.jsonl").problems()


@pytest.mark.needs_data
def test_all_references_of_the_real_file_pass(shared_data):
    task = Gsm8k(path=shared_data / "gsm8k" / "test.jsonl", train=shared_data / "gsm8k" / "train_first200.jsonl")
    problems = task.problems()
    assert len(problems) == 1319

    async def judge():
        verifier = Number()
        return [
            v
            for p in problems
            for v in await verifier.verify(p, [task.extract(task.example(p, right)) for right in (True, False)])
        ]

    verdicts = asyncio.run(judge())
    assert [v.outcome for v in verdicts] == [Outcome.PASS, Outcome.FAIL] * 1319

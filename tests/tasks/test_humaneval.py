"""HumanEval: reading the file, prompts, finding answers. That answers are judged right is the verifier's test."""

from __future__ import annotations

import gzip
import json
import time

import pytest
from hypothesis import given, strategies as st

from vervet.errors import BadData, MissingPart, ServiceError
from vervet.records import Message
from vervet.tasks.humaneval import HumanEval

ROW = {
    "task_id": "T/0",
    "prompt": 'from typing import List\n\n\ndef first(xs: List[int]) -> int:\n    """ The first. """\n',
    "entry_point": "first",
    "canonical_solution": "    return xs[0]\n",
    "test": "def check(candidate):\n    assert candidate([3, 4]) == 3\n",
}
PROGRAM = "def first(xs):\n    return xs[0]\n"
# runs of what answers are made of, more likely to meet a special case than letters are
PIECES = st.sampled_from(
    ["```", "```python\n", "\n", "def f", "(x):\n", "    return 1", "class A", "import os\n", "@", "prose ", "\t"]
)
TASK = HumanEval()


def jsonl(*rows: object) -> bytes:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()


@pytest.fixture
def file(tmp_path):
    """Writes a file and returns the task that reads it."""

    def write(data: bytes, name: str = "he.jsonl") -> HumanEval:
        (tmp_path / name).write_bytes(data)
        return HumanEval(path=tmp_path / name)

    return write


# ------------------------------------------------------------------------------------------------------ the file


def test_a_row_becomes_a_problem(file):
    (problem,) = file(jsonl(ROW)).problems()
    assert problem.id == "T/0"
    assert problem.check == {field: ROW[field] for field in ("prompt", "entry_point", "test")}
    assert problem.reference == ROW["canonical_solution"]


def test_compressed_and_plain_are_the_same_data(file):
    plain, packed = file(jsonl(ROW)), file(gzip.compress(jsonl(ROW)), "he.jsonl.gz")
    assert plain.problems() == packed.problems()
    assert plain.source().fingerprint == packed.source().fingerprint
    assert plain.source().fingerprint != file(jsonl(ROW | {"test": "def check(c): pass"})).source().fingerprint


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (jsonl(ROW, "{"), "line 2: not JSON"),
        (jsonl(ROW, [1]), "line 2: expected an object, found list"),
        (jsonl(ROW, "", ROW), "line 3: task_id 'T/0' appears twice"),
        (jsonl({k: v for k, v in ROW.items() if k != "test"}), "line 1: 'test' must"),
        (jsonl(ROW | {"prompt": 3}), "line 1: 'prompt' must"),
        (jsonl(ROW | {"canonical_solution": 3}), "line 1: 'canonical_solution' must"),
        (jsonl(ROW) + b"\xff\xfe", "line 2: not UTF-8"),
        (b"\n", "holds no problems"),
        (gzip.compress(jsonl(ROW))[:-20], "not a whole gzip file"),
        (b"\x1f\x8b garbage", "not a whole gzip file"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(file, data, says):
    with pytest.raises(BadData, match=says) as error:
        file(data).problems()
    assert "he.jsonl" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_says_which_option(tmp_path):
    with pytest.raises(MissingPart, match="-T path=FILE"):
        HumanEval(path=tmp_path / "none.jsonl").problems()
    with pytest.raises(BadData, match="cannot read"):
        HumanEval(path=tmp_path).problems()


@pytest.mark.network
def test_the_real_file_has_164_problems():
    try:
        task = HumanEval()
        problems = task.problems()
    except ServiceError as error:
        pytest.skip(str(error))
    assert [problem.id for problem in problems] == [f"HumanEval/{i}" for i in range(164)]
    assert task.source().fingerprint == "0b43a1cf5c6c82992cf47b1bc1043c50"
    assert all(TASK.extract(TASK.example(p, True)) == p.check["prompt"] + p.reference for p in problems)
    assert all(TASK.extract(p.reference) == p.reference for p in problems)


# ------------------------------------------------------------------------------------------------------ prompts


def test_each_prompt_form_has_its_shape(file):
    (problem,) = file(jsonl(ROW)).problems()
    assert TASK.prompt(problem, "completion") == ROW["prompt"]
    (message,) = TASK.prompt(problem, "chat")
    assert isinstance(message, Message)
    assert ROW["prompt"].strip() in message.content
    assert message.role == "user"


def test_the_prompt_holds_no_test_and_no_reference(file):
    (problem,) = file(jsonl(ROW)).problems()
    shown = TASK.prompt(problem, "chat")[0].content + TASK.prompt(problem, "completion")
    assert "check(" not in shown
    assert "xs[0]" not in shown


def test_stops_end_an_answer_and_never_cut_before_it():
    assert HumanEval().params("chat").stop == ()
    (stop,) = HumanEval(stop_at_fence=True).params("chat").stop
    assert stop in f"Here it is:\n\n```\n{PROGRAM}```\n\nIt works by"
    assert stop not in f"Here it is:\n\n```\n{PROGRAM}"  # an opening fence without a language
    assert any(s in "    return 1\n\ndef other(): ..." for s in TASK.params("completion").stop)
    assert not any(s in ROW["canonical_solution"] for s in TASK.params("completion").stop)


# ------------------------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{PROGRAM}```",
        f"Sure, here it is:\n\n```python\n{PROGRAM}```\n\nIt takes the first.",
        f"```python\n{PROGRAM}",  # cut off, or stopped at the closing fence
        f"```\n{PROGRAM}```",
        "1. So:\n   ```python\n   def first(xs):\n       return xs[0]\n   ```",
        f"```python\n{PROGRAM}```\nUse it:\n```python\nprint(first([1]))\n```",
        f"```python\n{PROGRAM}```\nTest it:\n```python\ndef test_first():\n    assert first([1]) == 1\n```",
        f"Draft:\n```python\ndef first(xs):\n    return 1\n```\nBetter:\n```python\n{PROGRAM}```",
        f"```python\n{PROGRAM}```\nRun:\n```bash\npython -c 'def x'\n```",
        f"```python\n{PROGRAM}```\nor\n```javascript\nfunction first(xs) {{ return xs[0] }}\n```",
        PROGRAM,
        f"The function is\n{PROGRAM}",
    ],
)
def test_the_program_is_found_in_a_chat_answer(text):
    assert TASK.extract(text).rstrip() == PROGRAM.rstrip()


@pytest.mark.parametrize("text", ["    return xs[0]\n", "\n    return xs[0]", "\n\n\treturn xs[0]\n\n    # def\n"])
def test_a_continuation_keeps_its_indentation(text):
    assert TASK.extract(text) == text


def test_a_continuation_ends_at_a_fence_at_the_left_margin():
    assert TASK.extract("    return xs[0]\n```\n\nThis returns") == "    return xs[0]\n"


@pytest.mark.parametrize(
    "text", ["", " \n\n", "I cannot do that.", "Use a def of your own, class.", "```python\n```", "```"]
)
def test_where_there_is_only_prose_there_is_no_answer(text):
    assert TASK.extract(text) is None


def test_imports_before_a_program_without_a_fence_are_kept():
    assert TASK.extract(f"Of course.\nimport math\n{PROGRAM}") == f"import math\n{PROGRAM}"


def test_the_examples_are_a_right_and_a_wrong_answer(file):
    (problem,) = file(jsonl(ROW)).problems()
    for right, expected in ((True, 3), (False, None)):
        names: dict = {}
        exec(TASK.extract(TASK.example(problem, right)), names)
        assert names["first"]([3, 4]) == expected


def test_without_a_reference_there_is_no_example(file):
    (problem,) = file(jsonl({k: v for k, v in ROW.items() if k != "canonical_solution"})).problems()
    assert TASK.example(problem, True) is None
    assert TASK.example(problem, False) is None


def test_answers_that_differ_in_blanks_share_a_key():
    assert TASK.canonical("def f():  \n\n    return 1\n\n") == TASK.canonical("def f():\n    return 1")
    assert TASK.canonical("def f():\n    return 1") != TASK.canonical("def f():\n  return 1")


@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=200))
def test_extraction_is_total_and_takes_from_the_text(text):
    answer = TASK.extract(text)
    if answer is not None:
        assert answer.strip()
        key = TASK.canonical(answer)
        assert TASK.canonical(key) == key


@pytest.mark.parametrize(
    "bad",
    ["```python\n" * 50_000, "def " * 100_000, "\n" * 400_000, " " * 400_000, "@a\n" * 100_000, "from a " * 60_000],
)
def test_hostile_text_costs_linear_time(bad):
    begin = time.process_time()
    TASK.canonical(TASK.extract(bad) or bad)
    assert time.process_time() - begin < 1.0  # measured: below 0.2 s

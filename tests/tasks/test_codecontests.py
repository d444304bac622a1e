"""CodeContests: rows as on the hub, choices, prompts, finding programs; and whole runs in three languages."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.tasks.contest import CPP_SUM, JAVA_SUM, PYTHON_SUM, ROWS
from vervet import api
from vervet.cli.main import execute
from vervet.errors import BadData, BadOption
from vervet.tasks.codecontests import CodeContests
from vervet.testing.tasks import conform_to_task
from vervet.text.programs import fenced, read

TASK, PAPER = CodeContests(), CodeContests(protocol="paper")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "cc.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def train(tmp_path):
    rows = [{**ROWS[0], "name": f"t{i}", "description": f"Training problem {i}"} for i in range(5)]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, ROWS[3]]))
    return path


def test_the_task_keeps_its_promises(file, train):
    conform_to_task(lambda: CodeContests(path=file), without_data=CodeContests, size=1 << 16)
    conform_to_task(
        lambda: CodeContests(path=file, train=train, protocol="paper"), without_data=lambda: PAPER, size=1 << 14
    )


def test_a_row_becomes_a_problem(file):
    problems = CodeContests(path=file).problems()
    assert [p.id for p in problems] == ["1_A. Sum", "2_B. Root", "3_C. Shout"]
    check = problems[0].check
    assert len(check["tests"]) == 18
    assert check["tests"][0] == {"input": "1 2\n", "output": "3\n"}
    assert (check["time_limit_s"], check["memory_limit_mb"], check["language"]) == (2.5, 256, "python")
    assert read(problems[0].reference, "cpp") == ("python", PYTHON_SUM)
    assert read(CodeContests(path=file, language="java").problems()[0].reference, "cpp") == ("java", JAVA_SUM)
    # problems without a program in the language keep one in another
    assert read(CodeContests(path=file, language="java").problems()[1].reference, "cpp")[0] == "python"


def test_parquet_as_on_the_hub_is_the_same_data(file, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow (vervet[parquet])")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "test-00000-of-00001.parquet")
    one, other = CodeContests(path=file), CodeContests(path=tmp_path / "test-00000-of-00001.parquet")
    assert one.problems() == other.problems()
    assert one.source().fingerprint == other.source().fingerprint


def test_choices(file):
    assert len(CodeContests(path=file, tests="public").problems()[0].check["tests"]) == 1
    assert len(CodeContests(path=file, max_tests=3).problems()[0].check["tests"]) == 3
    assert len(CodeContests(path=file, images=True).problems()) == 4
    assert len(CodeContests(path=file, subset=2).problems()) == 2
    for options in ({"tests": "secret"}, {"max_tests": 0}, {"shots": 1}, {"protocol": "paper", "language": "cpp"}):
        with pytest.raises(BadOption):
            CodeContests(path=file, **options)


def test_prompts(file, train):
    task = CodeContests(path=file, language="cpp")
    problem = task.problems()[0]
    assert "C++17" in task.prompt(problem, "chat")[0].content
    assert task.prompt(problem, "completion").endswith("print their sum.\n\n```cpp\n")
    paper = CodeContests(path=file, train=train, protocol="paper", instruction="Q: Solve:")
    raw = paper.prompt(paper.problems()[0], "completion")
    assert raw.count("Q: Solve:") == 3
    assert raw.count("A: ```a, b = map") == 2
    assert raw.endswith("\nA:")
    assert "image" not in raw
    with pytest.raises(BadOption, match="train=FILE"):
        CodeContests(path=file, protocol="paper").problems()


def test_bad_rows_are_named(tmp_path):
    for change, says in (
        ({"input_file": "in.txt"}, "reads or writes files"),
        ({"public_tests": {"input": ["1"], "output": []}}, "of the same length"),
        ({"description": ""}, "'description' must be"),
    ):
        path = tmp_path / "bad.jsonl"
        path.write_text(json.dumps({**ROWS[0], **change}))
        with pytest.raises(BadData, match=says):
            CodeContests(path=path).problems()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (f"Here:\n```python\n{PYTHON_SUM}```\nDone.", ("python", PYTHON_SUM)),
        (f"```\n{CPP_SUM}```", ("cpp", CPP_SUM)),
        (f"First\n```python\nx = 1\n```\nbetter\n```cpp\n{CPP_SUM}```\n```text\n3\n```", ("cpp", CPP_SUM)),
        (f"```java\n{JAVA_SUM}", ("java", JAVA_SUM)),
        (PYTHON_SUM + "for i in range(3): pass\n", ("python", PYTHON_SUM + "for i in range(3): pass\n")),
        ("I cannot do this.", None),
        ("", None),
    ],
)
def test_where_the_program_is_found(text, answer):
    found = TASK.extract(text)
    assert (found and read(found, "none")) == answer


def test_the_papers_protocol_takes_the_first_block_or_everything():
    assert read(PAPER.extract("```python\na\n```\n```\nb\n```"), "x") == ("python", "a\n")
    assert read(PAPER.extract("print(1)"), "x") == ("python", "print(1)\n")


def test_code_with_fences_inside_travels_whole():
    code = "s = '''\n```\nx\n```\n'''\n"
    assert read(fenced("python", code), "cpp") == ("python", code)


def test_a_whole_run_through_the_command_line(file, tmp_path, capsys):
    out = tmp_path / "run"
    line = [
        "run",
        "codecontests",
        "-T",
        f"path={file}",
        "-m",
        "fake/p=0.5",
        "-n",
        "6",
        "--seed",
        "1",
        "--out",
        str(out),
    ]
    assert execute([*line, "--problems", "1_A. Sum,2_B. Root"]) == 0
    assert "12 samples of 2 problems" in capsys.readouterr().out
    assert execute(["coverage", str(out), "--json"]) == 0
    point = json.loads(capsys.readouterr().out)["sources"][0]["points"][0]
    assert 0 < point["coverage"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "cpp", "java"])
def test_the_audit_finds_the_false_negative(file, language):
    if language != "python" and not shutil.which({"cpp": "g++", "java": "javac"}[language]):
        pytest.skip(f"needs a compiler for {language}")
    found = api.audit(
        "codecontests",
        task_options={"path": str(file), "language": language},
        problems=["1_A. Sum", "3_C. Shout"],
        repeats=1,
    ).to_dict()
    # the problem whose test is wrong is found: by its reference, and by the data set's right solutions
    assert {f["problem"] for f in found["findings"]} == {"3_C. Shout"}
    assert found["solutions"]["problems_refusing"] == ["3_C. Shout"]
    assert (found["solutions"]["refused"], found["solutions"]["right"]) == (1, 4)
    # no test has a negative sum, so the wrong program that prints its absolute value is accepted: a false positive
    assert (found["solutions"]["accepted"], found["solutions"]["wrong"]) == (1, 2)
    assert found["no_tests"] == "UNKNOWN"

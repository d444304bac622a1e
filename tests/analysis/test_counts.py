"""Reading counts: what people have is read, what cannot be right is one line with file and place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vervet.analysis.counts import read_counts
from vervet.errors import BadData, MissingPart


def write(tmp_path: Path, text: str | bytes, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_reads_csv_with_extra_columns_any_order_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = "\ufeffmodel, c ,n,unknown,problem_id\nm,3,10,,a\nm,0,10.0,2,b\n\n"
    counts = read_counts(write(tmp_path, text))
    assert counts.problem_ids == ("a", "b")
    assert (counts.n.tolist(), counts.c.tolist(), counts.unknown.tolist()) == ([10, 10], [3, 0], [0, 2])
    assert counts.design == "fixed"


def test_reads_jsonl_and_parquet_alike(tmp_path: Path) -> None:
    rows = [{"problem_id": 7, "n": 10, "c": 3, "note": "x"}, {"problem_id": "b", "n": 5, "c": 0, "unknown": 1}]
    lines = read_counts(write(tmp_path, "\n".join(map(json.dumps, rows)) + "\n\n", "t.jsonl"))
    assert (lines.problem_ids, lines.n.tolist(), lines.unknown.tolist()) == (("7", "b"), [10, 5], [0, 1])
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"problem_id": ["7", "b"], "n": [10, 5], "c": [3, 0], "x": [1.5, 2.5]}), tmp_path / "t.parquet"
    )
    table = read_counts(tmp_path / "t.parquet")
    assert (table.problem_ids, table.n.tolist(), table.c.tolist()) == (("7", "b"), [10, 5], [3, 0])


HEAD = "problem_id,n,c\n"
BAD = {
    "more right than drawn": (HEAD + "a,10,3\nb,3,4\n", r"line 3: problem 'b' has c = 4 > n = 3"),
    "negative": (HEAD + "a,10,-1\n", r"line 2: c of problem 'a' is negative: -1"),
    "text": (HEAD + "a,10,few\n", r"line 2: c of problem 'a' is 'few', not a whole number"),
    "a share": (HEAD + "a,10,0.5\n", r"line 2: c of problem 'a' is '0.5', not a whole number"),
    "not a number": (HEAD + "a,nan,0\n", r"line 2: n of problem 'a' is 'nan'"),
    "infinite": (HEAD + "a,inf,0\n", r"line 2: n of problem 'a' is 'inf'"),
    "a gap": (HEAD + "a,10\n", r"line 2: c of problem 'a' is None"),
    "too many cells": (HEAD + "a,10,1,1\n", r"line 2: 4 cells under 3 names"),
    "no id": (HEAD + ",10,1\n", r"line 2: no problem_id"),
    "twice": (HEAD + "a,10,1\nb,10,1\na,10,2\n", r"line 4: problem 'a' appears twice, first at line 2"),
    "no column": ("problem,n,c\na,10,1\n", r"no column problem_id; it has problem, n, c"),
    "no header": ("a,10,1\nb,10,1\n", r"no column problem_id"),
    "two columns of a name": ("problem_id,n,c,c\na,10,1,1\n", r"two columns are named c"),
    "no rows": (HEAD, r"no rows"),
    "empty": ("", r"empty"),
    "not UTF-8": (HEAD.encode() + b"\xff\xfe,1,1\n", r"not UTF-8"),
    "an endless cell": (HEAD + '"' + "x" * 200_000 + "\n", r"not CSV"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_one_line_with_file_and_place(tmp_path: Path, case: str) -> None:
    text, message = BAD[case]
    path = write(tmp_path, text)
    with pytest.raises(BadData, match=message) as caught:
        read_counts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"problem_id": "a", "n": 10, "c": 3}\n{oops\n', "line 2: not JSON"),
        ("[1]\n", "line 1: not a JSON object"),
        ('{"problem_id": "a", "n": 10}\n', "line 1: no c"),
        ('{"problem_id": "a", "n": true, "c": 0}\n', "line 1: n of problem 'a' is True"),
        ('{"problem_id": null, "n": 1, "c": 0}\n', "line 1: no problem_id"),
        ("\n", "empty"),
    ],
)
def test_bad_json_lines(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadData, match=message):
        read_counts(write(tmp_path, text, "t.jsonl"))


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="cannot be read: No such file"):
        read_counts(tmp_path / "none.csv")
    with pytest.raises(BadData, match="cannot be read: Is a directory"):
        read_counts(tmp_path)
    pytest.importorskip("pyarrow")
    with pytest.raises(BadData, match="not a Parquet table"):
        read_counts(write(tmp_path, "problem_id,n,c\n", "t.parquet"))


def test_parquet_without_pyarrow_says_how_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)  # what an absent package looks like to `import`
    with pytest.raises(MissingPart, match=r"pip install 'vervet\[parquet\]'"):
        read_counts(write(tmp_path, "", "t.parquet"))

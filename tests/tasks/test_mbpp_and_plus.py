"""MBPP and HumanEval+: rows as on the hub become problems whose references pass and whose wrong examples fail."""

from __future__ import annotations

import json

import pytest

from vervet import api
from vervet.errors import BadData
from vervet.tasks.humaneval import HumanEval
from vervet.tasks.mbpp import Mbpp
from vervet.testing.tasks import conform_to_task

ROW = {
    "task_id": 11,
    "text": "Write a python function to remove the first and last occurrence of a given character.",
    "code": "def helper(s):\r\n    return s\r\ndef strip_ends(s, c):\r\n\treturn helper(s)[1:-1]",
    "test_list": ["assert strip_ends('hello', 'l') == 'ell'", "assert strip_ends('ab', 'a') == ''"],
    "test_setup_code": "",
    "challenge_test_list": [],
}
PLUS = {
    "task_id": "HumanEval/0",
    "prompt": 'def half(x):\n    """ Half of it. """\n',
    "entry_point": "half",
    "canonical_solution": "    return x / 2\n",
    "test": """
import numpy as np

def is_floats(x) -> bool:
    return isinstance(x, float) or isinstance(x, np.ndarray)

def assertion(out, exp, atol):
    if not out == exp and is_floats(exp):
        assert np.allclose(out, exp, rtol=1e-07, atol=atol or 1e-6)
    else:
        assert out == exp

def check(candidate):
    for inp, exp in zip([[1], [3], [0.2]], [0.5, 1.5000000001, 0.1]):
        assertion(candidate(*inp), exp, 0)
""",
}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_mbpp(tmp_path):
    path = write(
        tmp_path / "mbpp.jsonl",
        ROW,
        {**ROW, "task_id": 12, "text": None, "prompt": "p", "test_imports": ["import math"]},
    )
    conform_to_task(lambda: Mbpp(path=path), without_data=Mbpp, size=1 << 14)
    one, two = Mbpp(path=path).problems()
    assert (one.id, one.check["entry_point"], two.check["setup"]) == ("MBPP/11", "strip_ends", "import math")
    found = api.audit("mbpp", task_options={"path": str(path)}, repeats=1)
    assert found.holds, found.to_dict()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"test_list": []}, "list of assertions"),
        ({"code": "def other(): pass"}, "named in its tests"),
        ({"text": ""}, "'text' or 'prompt'"),
    ],
)
def test_bad_rows_are_named(tmp_path, change, says):
    path = write(tmp_path / "bad.jsonl", {**ROW, **change})
    with pytest.raises(BadData, match=f"line 1: .*{says}"):
        Mbpp(path=path).problems()


def test_humaneval_plus(tmp_path):
    path = write(tmp_path / "plus.jsonl", PLUS)
    assert "import numpy" not in HumanEval(path=path, plus=True).problems()[0].check["test"]
    found = api.audit("humaneval", task_options={"path": str(path), "plus": True}, repeats=1)
    assert found.holds, found.to_dict()

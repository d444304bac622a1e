"""The answer in a text, as the generic task finds it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from vervet.tasks.jsonl import _MARKED, Jsonl, _marked

PIECES = [
    "answer",
    "Answer:",
    "ANSWER is",
    ":",
    " ",
    "\n",
    "####",
    "final answer",
    "an\u017fwer",
    "x",
    "\t",
    "4",
    "\r",
    "\u2028",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_reading_from_the_end_finds_what_reading_from_the_start_finds_last(text: str) -> None:
    found = _MARKED.findall(text)
    assert _marked(text) == (found[-1] if found else None)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It is 4.\nAnswer: 5", "5"),
        ("Answer: 5\nThe answer is 6\nso there", "6"),
        ("7 #### 8", "8"),
        ("thoughts\n9 ", "9"),
        (" \n", None),
    ],
)
def test_answers(text: str, answer: str | None) -> None:
    assert Jsonl(path=Path("q.jsonl")).extract(text) == answer

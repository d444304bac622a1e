"""Fenced blocks of models' texts: what is a fence, what is content, and that hostile text costs linear time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, strategies as st

from vervet.text.fences import Block, blocks, lines_of

PIECES = st.sampled_from(
    ["```", "````", "~~~", "`", "\n", "\r\n", " ", "\t", "python", "def f():", "    return 1", "\f", "é"]
)


def codes(text: str) -> list[str]:
    return [block.code for block in blocks(text)]


def test_blocks_come_in_order_with_their_language():
    text = "Sure!\n```python\na = 1\n```\nand\n~~~ text\nb\n~~~\n"
    assert blocks(text) == [Block("a = 1\n", "python", True), Block("b\n", "text", True)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\nx\n", "x\n\n"),  # cut off by the token limit; the text's last line is empty
        ("```python\nx", "x\n"),  # a stop string took the closing fence
        ("```python\nx```", "x\n"),  # closed at the end of the last line of code
        ("```", "\n"),  # nothing but an opening fence
    ],
)
def test_a_block_that_is_not_closed_runs_to_the_end(text, code):
    (block,) = blocks(text)
    assert not block.closed
    assert block.code.rstrip() == code.rstrip()


def test_a_fence_in_a_list_is_taken_out_with_its_indentation():
    assert codes("1. Do:\n   ```python\n   def f():\n       return 1\n   ```\n2. Done") == ["def f():\n    return 1\n"]


def test_code_that_is_less_indented_than_its_fence_loses_nothing():
    assert codes("  ```\na\n    b\n  ```") == ["a\n  b\n"]


def test_only_the_same_kind_of_fence_that_is_as_long_closes():
    assert codes("````md\n```\nx\n```\n````") == ["```\nx\n```\n"]
    assert codes("~~~\n```\n~~~") == ["```\n"]
    assert codes("```\n``` python\n```") == ["``` python\n"]  # a closing fence has no language


def test_inline_code_at_the_start_of_a_line_is_no_fence():
    assert blocks("```x``` is code\nno block") == []


def test_lines_break_only_at_line_ends():
    assert lines_of("a\fb\u2028c\r\nd\re\nf") == ["a\fb\u2028c", "d", "e", "f"]


@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_read_and_content_comes_from_the_text(text):
    lines = [line.strip() for line in lines_of(text)]
    for block in blocks(text):
        assert all(line.strip() in lines or not block.closed for line in lines_of(block.code)[:-1])


@pytest.mark.parametrize(
    "bad", ["`" * 400_000, "```\n" * 100_000, " " * 400_000, ("`" * 200 + " ") * 2000, "\t```a`" * 70_000]
)
def test_hostile_text_costs_linear_time(bad):
    begin = time.thread_time()
    blocks(bad)
    assert time.thread_time() - begin < 1.0  # measured: below 0.1 s

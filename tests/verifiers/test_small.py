"""exact, number and regex: what they accept, what they refuse, and that hostile answers cost nothing."""

from __future__ import annotations

import asyncio
import time

import pytest

from vervet.errors import BadData
from vervet.records import Outcome, Problem, Reason
from vervet.verifiers.exact import Exact
from vervet.verifiers.number import Number
from vervet.verifiers.regex import Regex


def judge(verifier, check, *answers):
    async def run():
        try:
            return await verifier.verify(Problem("p", check), answers)
        finally:
            await verifier.aclose()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("expected", "answer", "outcome"),
    [
        ("42", " 42\n", "PASS"),
        (["yes", "Yes"], "Yes", "PASS"),
        ("42", "42.0", "FAIL"),
        ("42", "", "FAIL"),
    ],
)
def test_exact_compares_characters(expected, answer, outcome):
    assert judge(Exact(), {"expected": expected}, answer)[0].outcome == outcome


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ("1234", "1,234"),
        ("1234.50", "$1,234.5"),
        ("50", "50%"),
        ("50%", "50 %"),
        ("0.75", "3/4"),
        ("-3/4", "-0.75"),
        ("1000", "1e3"),
        ("7", "7."),
        ("7", "+7"),
        ("-5", "-$5"),
        ("-5", "\u22125"),
        ("0.1", "1/10"),
        ("9007199254740993", "9007199254740993"),
    ],
)
def test_number_accepts_equal_numbers(expected, answer):
    assert judge(Number(), {"expected": expected}, answer)[0].outcome == Outcome.PASS


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ("50%", "0.5"),
        ("9007199254740993", "9007199254740992"),
        ("0.3333333333333333", "1/3"),
        ("1234", "1,23,4"),
        ("1", "1 and 2"),
        ("1", "--1"),
        ("1", "1/0"),
        ("1", "nan"),
        ("1", "1e999999999"),
        ("1", "\u0661"),
        ("1", "9" * 100_000),
        ("1", "1" + " " * 100_000 + "x"),
    ],
)
def test_number_refuses_others_and_quickly(expected, answer):
    start = time.process_time()
    assert judge(Number(), {"expected": expected}, answer)[0].outcome == Outcome.FAIL
    assert time.process_time() - start < 0.5


def test_number_tolerance_is_absolute_and_inclusive():
    verdicts = judge(Number(), {"expected": "1/3", "tolerance": "0.01"}, "0.33", "0.32", "0.34")
    assert [v.outcome for v in verdicts] == ["PASS", "FAIL", "PASS"]


def test_regex_matches_whole_answers_and_survives_catastrophic_ones():
    verdicts = judge(Regex(cpu_s=0.5), {"pattern": "(a+)+b"}, "aab", "xaab", "a" * 60, "", "aab")
    assert [v.outcome for v in verdicts] == ["PASS", "FAIL", "UNKNOWN", "FAIL", "PASS"]
    assert verdicts[2].reason == Reason.VERIFIER


@pytest.mark.parametrize(
    ("verifier", "check"),
    [
        (Exact(), {}),
        (Exact(), {"expected": 4}),
        (Exact(), {"expected": []}),
        (Exact(), {"expected": "4", "tolerence": 1}),
        (Number(), {"expected": "four"}),
        (Number(), {"expected": "4", "tolerance": -1}),
        (Number(), {"expected": True}),
        (Regex(), {"pattern": "("}),
        (Regex(), {"pattern": 3}),
    ],
)
def test_a_bad_check_is_named_at_load(verifier, check):
    with pytest.raises(BadData, match="'p7'"):
        verifier.load(Problem("p7", check))

"""python_tests: every verdict reason, how answers are read, and what travels between the tests and an answer."""

from __future__ import annotations

import asyncio

import pytest

from vervet.errors import BadData, BadOption
from vervet.protocols import Verifier
from vervet.records import Outcome, Problem, Reason, Strength
from vervet.sandbox import capabilities
from vervet.verifiers.python_tests import PythonTests, PythonTestsCheck, head

PROMPT = 'import math\n\n\ndef helper(x):\n    return x * 2\n\n\ndef f(x):\n    """Twice the root."""\n'
CHECK = {
    "prompt": PROMPT,
    "entry_point": "f",
    "test": "def check(candidate):\n    assert candidate(4) == helper(math.sqrt(4))\n    assert candidate(9) == 6\n",
}


@pytest.fixture(params=["namespaces", pytest.param("none", marks=pytest.mark.slow)])
def judge(request):
    """Verdicts of answers to one problem, (outcome, reason) each."""
    if request.param == "namespaces" and not capabilities().namespaces:
        pytest.skip("not here: no namespaces")
    with asyncio.Runner() as runner:
        verifier = PythonTests(sandbox=request.param, cpu_s=2, wall_s=10, memory_mb=256)

        def verdicts(check, *answers, reference=None):
            verdicts.full = runner.run(verifier.verify(Problem("p", check, reference=reference), answers))
            assert {v.isolation for v in verdicts.full} == {request.param}
            return [(v.outcome.value, v.reason.value) for v in verdicts.full]

        yield verdicts
        runner.run(verifier.aclose())


def asserts(*lines, setup=""):
    return {"entry_point": "f", "asserts": list(lines), "setup": setup}


PASS = ("PASS", "accepted")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("    return helper(math.sqrt(x))\n", PASS),
        ("    return 2 * math.sqrt(x)", PASS),
        (PROMPT + "    return helper(math.sqrt(x))\n", PASS),
        ("def f(x):\n    return helper(math.sqrt(x))\n", PASS),
        ("from __future__ import annotations\ndef f(x: Nope) -> int:\n    return helper(math.sqrt(x))\n", PASS),
        ("async_ = 1\nf = lambda x: helper(math.sqrt(x))\n", PASS),
        ("class g:\n    pass\nf: object = lambda x: 2 * math.sqrt(x)\n", PASS),
        ("    return helper(math.sqrt(x))\n\n\ndef f(x):\n    return 6 if x == 9 else 4\n", PASS),
        ("    return helper(math.sqrt(x)\n", ("FAIL", "syntax_error")),
        ("\0", ("FAIL", "syntax_error")),
        ("(" * 10000, ("FAIL", "syntax_error")),
        ("", ("FAIL", "wrong_answer")),  # the prompt alone is a function that returns None
        ("    return x\n", ("FAIL", "wrong_answer")),
        ("    return 1 / 0\n", ("FAIL", "exception")),
        ("    return None\n", ("FAIL", "wrong_answer")),
        ("f = 3\n", ("FAIL", "missing_entry_point")),
        ("    raise SystemExit\n", ("FAIL", "exited")),
        ("    raise AssertionError('mine')\n", ("FAIL", "exception")),
    ],
)
def test_answers_are_programs_or_continue_the_prompt(judge, answer, verdict):
    assert judge(CHECK, answer) == [verdict]


def test_a_program_without_the_function_misses_it(judge):
    assert judge(asserts("assert f(1) == 1"), "def g(x): return 1", "") == [("FAIL", "missing_entry_point")] * 2


def test_statements_in_the_style_of_mbpp(judge):
    check = asserts("assert f(1) == 2", "assert set(f(2) for _ in range(2)) == {3}", setup="import math")
    good, bad = "def f(x): return x + 1", "def f(x): return 2"
    assert judge(check, good, bad) == [PASS, ("FAIL", "wrong_answer")]
    assert "returned 2" in judge.full[1].log
    assert judge.full[0].strength == Strength.SEPARATE_PROCESS


@pytest.mark.parametrize(
    "value",
    [
        "0",
        "-(2**5000)",
        "1.5",
        "float('inf')",
        "-0.0",
        "1j",
        "'\\ud800 \\x00 \U0001f600'",
        "b'\\xff\\x00'",
        "bytearray(b'a')",
        "None",
        "True",
        "[1, [2, (3, {4: {5}})]]",
        "frozenset({1, 'a'})",
        "{(1, 2): [None], 'k': {}}",
        "range(3, 9, 2)",
        "collections.deque([1], 3)",
        "fractions.Fraction(1, 3)",
        "decimal.Decimal('0.10')",
    ],
)
def test_values_travel_both_ways_with_their_type(judge, value):
    modules = "import collections, decimal, fractions"
    test = (
        f"v = {value}\n"
        "def same(a, b): return type(a) is type(b) and repr(a) == repr(b)\n"
        "assert same(f(v), v) and same(f(x=v), v) and same(f([v, {'k': v}])[1]['k'], v)"
    )
    check = {"entry_point": "f", "asserts": [test], "setup": modules}
    assert judge(check, "def f(x): return x") == [PASS], judge.full[0].log


@pytest.mark.parametrize(
    ("body", "test"),
    [
        ("import collections; return collections.Counter(x)", "f('aab') == {'a': 2, 'b': 1}"),
        ("import enum; return enum.IntEnum('E', 'a b').b", "f(1) == 2"),
        ("return (c for c in x)", "list(f('ab')) == ['a', 'b']"),
        ("return map(str, [1])", "sorted(f(1)) == ['1']"),
        ("import itertools; return itertools.islice(itertools.count(), 2)", "list(f(1)) == [0, 1]"),
        ("return {x: 1}.keys()", "f(1) == {1}"),
        ("return {x: 1}.values()", "list(f(1)) == [1]"),
        ("return {x: 1}.items()", "list(f(1)) == [(1, 1)]"),
        ("return float('nan')", "f(1) != f(1)"),
        ("print('hello' * 1000000); return x", "f(1) == 1"),
    ],
)
def test_what_plain_graders_accept_passes_here_too(judge, body, test):
    assert judge(asserts(f"assert {test}"), f"def f(x):\n    {body}\n") == [PASS], judge.full[0].log


@pytest.mark.parametrize(
    ("body", "test"),
    [
        ("x.append(1)", "v = [0]; f(v); assert v == [0, 1]"),
        ("x.sort()", "v = [2, 1]; w = v; f(v); assert w == [1, 2]"),
        ("x[0].append(1)", "v = [[]]; inner = v[0]; f(v); assert inner == [1]"),
        ("x['a'] = 1; del x['b']", "v = {'b': 2}; f(x=v); assert v == {'a': 1}"),
        ("x.clear()", "v = {1}; f(v); assert v == set()"),
        ("x[0].add(2)", "v = ({1},); f(v); assert v == ({1, 2},)"),
        (
            "x.reverse(); raise ValueError",
            "v = [1, 2]\ntry: f(v)\nexcept ValueError: assert v == [2, 1]\nelse: assert 0",
        ),
    ],
)
def test_changed_arguments_come_back(judge, body, test):
    answers = f"def f(x): {body}", "def f(x): raise ValueError"
    assert judge(asserts(test), *answers) == [PASS, ("FAIL", judge.full[1].reason.value)], judge.full[0].log


def test_the_same_list_twice_is_one_list_over_there(judge):
    check = asserts("a = []\nassert f(a, a) == [1, 1]")
    assert judge(check, "def f(x, y):\n    x.append(1); y.append(1); return x") == [PASS]


def test_expected_exceptions_of_built_in_kinds(judge):
    check = asserts(
        "try: f(1)\nexcept ValueError as e: assert e.args == ('bad', 1)\nelse: raise AssertionError('no error')",
        "import unittest\nwith unittest.TestCase().assertRaises(LookupError): f(0)",
    )
    good = "class Mine(KeyError): pass\ndef f(x):\n    if x: raise ValueError('bad', x)\n    raise Mine('k')\n"
    wrong = "def f(x):\n    raise TypeError\n"
    none = "def f(x): pass\n"
    assert judge(check, good, wrong, none) == [PASS, ("FAIL", "exception"), ("FAIL", "wrong_answer")]


def test_tests_that_pass_a_function_run_beside_the_answer_and_say_so(judge):
    check = asserts("assert f(lambda x: x + 1) == 4")
    verdicts = judge(check, "def f(g): return g(3)", "def f(g): return 5", "def f(g): return 1 / 0")
    assert verdicts == [PASS, ("FAIL", "wrong_answer"), ("FAIL", "wrong_answer")]
    assert {v.strength for v in judge.full} == {Strength.SAME_PROCESS}


OBJECTS = {"entry_point": "f", "asserts": ["assert f(2).value == 2"]}
EVIL = "class E:\n    def __getattr__(self, name): return self\n    def __eq__(self, other): return True\ndef f(x): return E()"


def test_a_reference_that_returns_objects_makes_the_tests_run_beside_the_answer(judge):
    good = "class Box:\n    def __init__(self, v): self.value = v\ndef f(x): return Box(x)"
    assert judge(OBJECTS, good, "def f(x): return x", reference=good) == [PASS, ("FAIL", "wrong_answer")]
    assert {v.strength for v in judge.full} == {Strength.SAME_PROCESS}


def test_an_answer_cannot_bring_its_tests_to_run_beside_it(judge):
    assert judge(OBJECTS, EVIL) == [("FAIL", "wrong_answer")]
    check = asserts("assert f(f(1)) == 3")
    assert judge(check, EVIL, reference="def f(x): return x + 1") == [("FAIL", "wrong_answer")]
    assert {v.strength for v in judge.full} == {Strength.SEPARATE_PROCESS}


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("def check(candidate): pass\n", Reason.NO_TESTS),
        ("raise RuntimeError('broken')\n", Reason.VERIFIER),
        ("def check(candidate):\n    undefined\n", Reason.VERIFIER),
    ],
)
def test_tests_that_say_nothing_are_unknown(judge, test, reason):
    assert judge({"entry_point": "f", "test": test}, "def f(x): return x") == [("UNKNOWN", reason.value)]


def test_random_questions_are_the_same_in_every_repeat(judge):
    check = {"entry_point": "f", "test": "import random\ndef check(c):\n    assert c(random.random()) > 0.5\n"}
    assert len(set(judge(check, *["def f(x): return x"] * 8))) == 1


def test_large_tests_and_answers_arrive_whole(judge):
    padding = "# " + "x" * 300_000 + "\n"
    check = {"entry_point": "f", "test": padding + "def check(c):\n    assert c('y' * 300000) == 'z' * 300000\n"}
    good = padding + "def f(x): return x.replace('y', 'z')\n"
    assert judge(check, good, "def f(x): return x", good) == [PASS, ("FAIL", "wrong_answer"), PASS]


def test_logs_say_where_and_why(judge):
    judge(CHECK, "    y = 1\n    return y / 0\n", "    return 7\n")
    assert "return y / 0\nZeroDivisionError: division by zero" in judge.full[0].log
    assert "assert candidate(4) == helper(math.sqrt(4))" in judge.full[1].log
    assert "the call (4) returned 7" in judge.full[1].log
    assert all(v.cpu_s > 0 for v in judge.full)


def test_many_answers_at_once_keep_their_order(judge):
    answers = [f"def f(x): return {i}" for i in range(50)]
    verdicts = judge(asserts("assert f(0) == 31"), *answers)
    assert [i for i, v in enumerate(verdicts) if v == PASS] == [31]


@pytest.mark.parametrize(
    "check",
    [
        {},
        {"entry_point": "f"},
        {"entry_point": "f", "test": "x", "asserts": ["y"]},
        {"entry_point": "not a name", "asserts": ["y"]},
        {"entry_point": "f", "asserts": []},
        {"entry_point": "f", "asserts": ["assert ("]},
        {"entry_point": "f", "test": 3},
        {"entry_point": "f", "asserts": ["f()"], "setup": 3},
        {"entry_point": "f", "asserts": ["f()"], "tset": ""},
    ],
)
def test_a_bad_check_is_named_at_load(check):
    with pytest.raises(BadData, match="'p7'"):
        PythonTests().load(Problem("p7", check))


def test_impossible_options_are_refused():
    for options in ({"cpu_s": 0}, {"wall_s": float("nan")}, {"memory_mb": 8}):
        with pytest.raises(BadOption):
            PythonTests(**options)

    async def verify():
        await PythonTests(sandbox="nope").verify(Problem("p", CHECK), ["x"])

    with pytest.raises(BadOption, match="namespaces"):
        asyncio.run(verify())


def test_calibrated_limits_follow_the_reference():
    """A loop ends after a multiple of the reference's time; what is slower than the reference, but not by that much, passes."""
    work = "import time\ndef f(x):\n    while time.process_time() < {}: pass\n    return x\n"
    check = asserts("assert f(1) == 1")

    async def verdicts(**options):
        verifier = PythonTests(cpu_s=3, sandbox="none", **options)
        try:
            problem = Problem("p", check, reference=work.format(0.05))
            return await verifier.verify(problem, [work.format(0.1), work.format(60)])
        finally:
            await verifier.aclose()

    slower, loop = asyncio.run(verdicts(calibrate=10))
    assert (slower.outcome, loop.reason) == (Outcome.PASS, Reason.CPU_TIME)
    assert 0.4 <= loop.cpu_s < 2
    assert asyncio.run(verdicts())[1].cpu_s >= 3
    assert PythonTests(calibrate=10).settings() != PythonTests().settings()
    with pytest.raises(BadOption, match="factor"):
        PythonTests(calibrate=0.5)


def test_the_limits_and_not_the_sandbox_are_the_fingerprint():
    assert PythonTests(sandbox="none").settings() == PythonTests().settings()
    assert PythonTests(cpu_s=3).settings() != PythonTests().settings()
    assert isinstance(PythonTests(), Verifier)


def test_the_head_of_a_prompt_is_what_precedes_the_function():
    assert head(PROMPT, "f") == PROMPT.partition("def f(")[0]
    assert head("@cache\ndef f(x): pass\n", "f") == ""
    check = PythonTestsCheck.parse(Problem("p", CHECK))
    assert check.tests.prelude == head(PROMPT, "f")
    assert check.forms("    return 1\n") == ((PROMPT + "    return 1\n",),)
    assert Outcome.PASS == "PASS"

"""stdio_tests: three languages with real compilers, limits, comparison rules, checkers, and what is UNKNOWN."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from tests.tasks.contest import CPP_SUM, JAVA_SUM, PYTHON_SUM
from vervet.errors import BadData, BadOption
from vervet.records import Outcome, Problem, Reason
from vervet.testing.verifiers import conform_to_verifier
from vervet.text.programs import fenced
from vervet.text.tokens import same_output
from vervet.verifiers import _languages, stdio_tests
from vervet.verifiers.stdio_tests import StdioTests

SUMS = {"tests": [{"input": f"{i} {i * i}\n", "output": f"{i + i * i}\n"} for i in range(5)], "time_limit_s": 2}


def judge(check, *answers, **options):
    async def work():
        verifier = StdioTests(**options)
        try:
            return await verifier.verify(Problem("p", check), answers)
        finally:
            await verifier.aclose()

    return asyncio.run(work())


def need(program):
    if not shutil.which(program):
        pytest.skip(f"needs {program}")


def test_python():
    good, wrong, broken, prose, failed, memory = judge(
        SUMS,
        fenced("python", PYTHON_SUM),
        PYTHON_SUM.replace("+", "-"),
        "print(\n",
        "",
        PYTHON_SUM + "raise SystemExit(3)\n",
        "x = 'a' * 10**11\n",
    )
    assert (good.outcome, good.log) == (Outcome.PASS, "5 tests")
    assert good.cpu_s > 0
    assert good.isolation.startswith("namespaces")
    # 0 0 is right by chance, so the second test is the first that fails
    assert (wrong.reason, wrong.log[:11]) == (Reason.WRONG, "test 2 of 5")
    assert broken.reason is Reason.SYNTAX
    assert prose.reason is Reason.NO_ANSWER
    assert (failed.outcome, failed.reason) == (Outcome.FAIL, Reason.EXCEPTION)
    assert memory.reason is Reason.MEMORY
    [ignored] = judge(SUMS, PYTHON_SUM + "raise SystemExit(3)\n", ignore_exit_code=True)
    assert ignored.outcome is Outcome.PASS


def test_cpp():
    need("g++")
    good, broken, crashed = judge(
        SUMS,
        fenced("cpp", CPP_SUM),
        "#include <vector>\nint main( {",
        "#include <cstdlib>\nint main() { std::abort(); }",
    )
    assert good.outcome is Outcome.PASS
    assert broken.reason is Reason.SYNTAX
    assert crashed.reason is Reason.CRASHED


@pytest.mark.slow
def test_java():
    need("javac")
    good, broken = judge(SUMS, fenced("java", JAVA_SUM), fenced("java", "class {"))
    assert (good.outcome, good.log) == (Outcome.PASS, "5 tests")
    assert broken.reason is Reason.SYNTAX


def test_a_loop_is_fail_by_its_own_processor_time():
    [spins] = judge({**SUMS, "time_limit_s": 0.1}, "while True: pass\n", time_factor=1, time_extra_s=0.2)
    assert (spins.outcome, spins.reason) == (Outcome.FAIL, Reason.CPU_TIME)


def test_a_compiler_that_is_not_there_is_unknown(monkeypatch):
    missing = _languages.LANGUAGES["cpp"]
    gone = type(missing)("cpp", missing.source, lambda file: ("no-such-compiler", file), missing.run, missing.room_mb)
    monkeypatch.setitem(stdio_tests.LANGUAGES, "cpp", gone)
    [verdict] = judge(SUMS, fenced("cpp", CPP_SUM))
    assert (verdict.outcome, verdict.reason) == (Outcome.UNKNOWN, Reason.UNAVAILABLE)
    assert "no-such-compiler" in verdict.log


def test_no_tests_are_unknown_never_pass():
    [verdict] = judge({"tests": []}, PYTHON_SUM)
    assert (verdict.outcome, verdict.reason) == (Outcome.UNKNOWN, Reason.NO_TESTS)


CHECKER = """
import sys
given, expected, output = (open(path).read() for path in sys.argv[1:])
if given.strip() == "crash":
    raise ValueError("broken checker")
print("the sum is wrong")
sys.exit(0 if sum(map(int, output.split())) == int(given) else 1)
"""


def test_a_checker_decides_where_there_are_many_right_outputs():
    check = {"tests": [{"input": "7\n", "output": "3 4\n"}], "checker": CHECKER}
    good, wrong = judge(check, "print(2, int(input()) - 2)", "print(1)")
    assert good.outcome is Outcome.PASS
    assert (wrong.reason, wrong.log) == (Reason.REJECTED, "test 1 of 1: the sum is wrong\n")
    [broken] = judge({"tests": [{"input": "crash", "output": ""}], "checker": CHECKER}, "print(1)")
    assert (broken.outcome, broken.reason) == (Outcome.UNKNOWN, Reason.VERIFIER)


def test_expected_outputs_are_not_in_the_programs_reach():
    """It sees its own source and its standard input; one test leaves nothing for the next."""
    look = "import os\nt = os.environ['TMPDIR']\nprint(sorted(os.listdir('.')), os.listdir(t))\nopen(t + '/x', 'w')\n"
    check = {"tests": [{"input": "", "output": "['main.py'] []"}] * 3}
    assert judge(check, look)[0].outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        ("1 2\n3\n", "1\n2 3", True),
        ("YES\n", "yes", True),
        ("1.00001", "1.000013", True),
        ("1.0", "1", True),
        ("0.1", "0.10002", False),
        ("100000000000000000001", "100000000000000000002", False),
        ("007", "7", True),
        ("1", "1 1", False),
        ("1 2", "2 1", False),
        ("", " \n", True),
        ("nan", "nan", True),
        ("inf", "1e999", False),
        ("a", "b", False),
        ("9" * 5000, "9" * 4999 + "8", False),
        ("1\x0c2", "1 2", False),
    ],
)
def test_outputs_are_compared_by_the_data_sets_rules(expected, found, same):
    assert (same_output(expected, found) == "") == same


@pytest.mark.parametrize(
    ("check", "says"),
    [
        ({}, "needs a list 'tests'"),
        ({"tests": [{"input": "1"}]}, "test 0 needs"),
        ({"tests": [], "time_limit_s": -1}, "time_limit_s is a number above 0"),
        ({"tests": [], "language": "cobol"}, "'cobol' is none of python, cpp, java"),
        ({"tests": [], "checker": 3}, "must be Python source"),
        ({"tests": [], "timeout": 3}, "has a field 'timeout'"),
    ],
)
def test_a_bad_check_is_named(check, says):
    with pytest.raises(BadData, match=says):
        StdioTests().load(Problem("p", check))


def test_bad_settings_are_refused():
    for options in ({"time_s": 0}, {"time_factor": 0}, {"time_extra_s": -1}, {"memory_mb": 1}):
        with pytest.raises(BadOption):
            StdioTests(**options)


@pytest.mark.slow
def test_it_keeps_a_verifiers_promises():
    conform_to_verifier(
        StdioTests,
        Problem("p", SUMS),
        right=PYTHON_SUM,
        wrong="print('no')",
        malformed=[{}, {"tests": 3}],
        variants=[lambda: StdioTests(time_factor=3), lambda: StdioTests(ignore_exit_code=True)],
        size=1 << 16,
    )

"""A whole run judged by `stdio_tests`, in which the compiler goes missing and a program fills its disk."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil

import pytest

import vervet
from tests.tasks.contest import CPP_SUM, JAVA_SUM, PYTHON_SUM
from vervet.records import Outcome, Problem, Reason
from vervet.text.programs import fenced
from vervet.verifiers import _languages, stdio_tests
from vervet.verifiers.stdio_tests import StdioTests

SUMS = {"tests": [{"input": f"{i} 5\n", "output": f"{i + 5}\n"} for i in range(3)], "time_limit_s": 10}
PROGRAMS = {"python": (PYTHON_SUM, ""), "cpp": (CPP_SUM, "g++"), "java": (JAVA_SUM, "javac")}
PROBLEMS = 4
WRITE = """import os
open(os.environ["TMPDIR"] + "/y", "wb").write(bytes(1 << 20))
"""
FILL = """import os
try:
    file = open(os.environ["TMPDIR"] + "/x", "wb")
    while True:
        file.write(bytes(1 << 20))
except OSError as problem:
    error = problem.errno
    assert error == 28, "no space left"
"""


@pytest.mark.parametrize(
    "language", ["python", pytest.param("cpp", marks=pytest.mark.slow), pytest.param("java", marks=pytest.mark.slow)]
)
def test_a_compiler_that_goes_missing_makes_unknowns_that_a_repeat_decides(language, tmp_path, monkeypatch):
    """The first two answers are compiled; then the program is not there, as after an upgrade or on another node."""
    code, program = PROGRAMS[language]
    if program and not shutil.which(program):
        pytest.skip(f"needs {program}")
    rows = [{"id": f"p{i}", "prompt": "?", "check": SUMS, "reference": fenced(language, code)} for i in range(PROBLEMS)]
    task = tmp_path / "q.jsonl"
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def judged():
        options = {"verifier": "stdio_tests", "extract": "text"}
        with vervet.run(str(task), model="fake/p=1", n=2, seed=1, task_options=options, out=tmp_path / "run") as run:
            return run.counts()

    whole = _languages.LANGUAGES[language]
    compiled = []

    def compiler(file):
        compiled.append(file)
        return whole.compile(file) if len(compiled) <= 2 else ("gone-compiler", file)

    with monkeypatch.context() as patch:
        patch.setitem(stdio_tests.LANGUAGES, language, dataclasses.replace(whole, compile=compiler))
        first = judged()
    assert sorted(first.c) == [0, 0, 2, 2]
    assert (first.n == first.c).all(), "no UNKNOWN was folded into FAIL"
    assert first.unknown.sum() == 4
    again = judged()
    assert (again.c.tolist(), again.unknown.sum()) == ([2] * PROBLEMS, 0)


def test_a_program_that_fills_its_disk_fails_alone():
    """Its folder is a tmpfs of its own: the others compile, write and pass meanwhile."""
    filled = FILL + "raise SystemExit(error)\n"
    answers = [fenced("python", text + PYTHON_SUM) for text in (filled, WRITE, WRITE + "\n")]

    async def work():
        verifier = StdioTests()
        try:
            return [await verifier.verify(Problem("p", SUMS), answers) for _ in range(2)]
        finally:
            await verifier.aclose()

    for full, *others in asyncio.run(work()):
        assert full.outcome is Outcome.FAIL
        assert full.reason is Reason.EXCEPTION
        assert "code 28" in full.log  # no space left
        assert [v.outcome for v in others] == [Outcome.PASS, Outcome.PASS], others

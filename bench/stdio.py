"""What `stdio_tests` costs a test, beside a bare loop that spawns the same program on the same inputs, in turns in one run.

The bare loop is `subprocess.run` without any isolation, limit or comparison. Compilation is left out on both sides: of
Vervet's time that of a problem with one test is taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from _common import finish, spread

from vervet.records import Outcome, Problem
from vervet.text.programs import fenced
from vervet.verifiers._languages import LANGUAGES
from vervet.verifiers.stdio_tests import StdioTests

TESTS, ROUNDS, LIMIT, MEMORY_MB = 200, 5, 1.3, 1024
SHARE = {"python": 1.0, "cpp": 5.0, "java": 0.25}
# tests in relation to `--tests`: 200 of C++ take less than compiling it does, whose time varies by as much; Java is slow
PROGRAMS = {
    "python": "a, b = map(int, input().split())\nprint(a + b)\n",
    "cpp": "#include <iostream>\nint main() { long long a, b; std::cin >> a >> b; std::cout << a + b << '\\n'; }\n",
    "java": """import java.util.Scanner;
public class Main {
    public static void main(String[] x) {
        Scanner in = new Scanner(System.in);
        System.out.println(in.nextLong() + in.nextLong());
    }
}
""",
}
NEEDS = {"python": None, "cpp": "g++", "java": "javac"}


def problem(count: int) -> Problem:
    tests = [{"input": f"{i} {i * i}\n", "output": f"{i + i * i}\n"} for i in range(count)]
    return Problem(f"sum{count}", {"tests": tests})


def bare_s(name: str, code: str, count: int) -> float:
    """Seconds of a spawn loop over the compiled program."""
    language = LANGUAGES[name]
    with tempfile.TemporaryDirectory() as folder:
        file = language.source(code)
        (Path(folder) / file).write_text(code)
        subprocess.run(language.compile(file), cwd=folder, check=True, capture_output=True)
        argv = language.run(file, MEMORY_MB)
        start = time.perf_counter()
        for test in problem(count).check["tests"]:
            done = subprocess.run(argv, cwd=folder, input=test["input"].encode(), capture_output=True, check=True)
            assert done.stdout.decode().strip() == test["output"].strip()
        return time.perf_counter() - start


async def vervet_s(verifier: StdioTests, name: str, code: str, count: int) -> float:
    start = time.perf_counter()
    [verdict] = await verifier.verify(problem(count), [fenced(name, code)])
    assert verdict.outcome is Outcome.PASS, verdict
    return time.perf_counter() - start


async def measure(name: str, code: str, count: int, rounds: int) -> dict[str, float]:
    verifier = StdioTests(memory_mb=MEMORY_MB)
    ratios, ours, bare = [], [], []
    try:
        await vervet_s(verifier, name, code, 1)
        for _ in range(rounds):
            plain = bare_s(name, code, count)
            full = await vervet_s(verifier, name, code, count + 1)
            mine = full - await vervet_s(verifier, name, code, 1)
            bare.append(1000 * plain / count)
            ours.append(1000 * mine / count)
            ratios.append(mine / plain)
    finally:
        await verifier.aclose()
    return {
        **spread(bare, f"{name}_bare_ms"),
        **spread(ours, f"{name}_vervet_ms"),
        **spread(ratios, f"{name}_ratio"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=TESTS, help="tests a problem; see SHARE")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--languages", default=",".join(PROGRAMS))
    chosen = parser.parse_args()
    results: dict[str, float] = {}
    missed = []
    for name in chosen.languages.split(","):
        code = PROGRAMS[name]
        if NEEDS[name] and not shutil.which(str(NEEDS[name])):
            missed.append(f"{name}: {NEEDS[name]} is not installed")
            continue
        found = asyncio.run(measure(name, code, round(chosen.tests * SHARE[name]), chosen.rounds))
        results |= found
        median = found[f"{name}_ratio"]
        if median > LIMIT:
            missed.append(f"{name}: a test costs {median:.2f} times a bare spawn, limit {LIMIT}")
    finish("stdio", {"tests": chosen.tests, "rounds": chosen.rounds, "limit": LIMIT, **results}, missed)


if __name__ == "__main__":
    main()

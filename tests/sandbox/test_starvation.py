"""The wall clock decides only where nobody else had the processor."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.sandbox import strengths
from vervet.protocols import Limits
from vervet.sandbox.inside.checks import FunctionTests

CHECK = FunctionTests("f", "", "def check(candidate):\n    assert candidate(3) == 4\n")
SLEEPER = "import time\ndef f(x):\n    time.sleep(3600)\n    return x + 1\n"
WAITER = "import time\ndef f(x):\n    time.sleep(0.2)\n    return x + 1\n"


def worker(cpu_s: float) -> str:
    return f"import time\ndef f(x):\n    while time.process_time() < {cpu_s}: pass\n    return x + 1\n"


@pytest.fixture
def crowded():
    """This process and all that it starts on one processor, eight others spinning there until the value is called."""
    before = os.sched_getaffinity(0)
    one = min(before)
    os.sched_setaffinity(0, {one})
    spin = "import os\nos.nice(0)\nwhile True: pass"
    # a session each: the scheduler shares processors among sessions first
    crowd = [subprocess.Popen([sys.executable, "-S", "-c", spin], start_new_session=True) for _ in range(8)]
    time.sleep(0.5)

    def disperse():
        for process in crowd:
            process.kill()
            process.wait()

    yield disperse
    disperse()
    os.sched_setaffinity(0, before)


@pytest.mark.slow
@pytest.mark.parametrize("strength", strengths.ALL)
def test_the_starved_are_not_failed_and_sleepers_are(crowded, strength):
    bench = strengths.bench(strength, slots=1)
    try:
        # 0.4 s of work takes about 4 s among eight others; the wall limit is 1.5 s
        limits = Limits(cpu_s=2, wall_s=1.5)
        found = bench.verdicts(CHECK, worker(0.4), WAITER, SLEEPER, worker(60), limits=limits)
    finally:
        strengths.close(bench)
    outcomes = [v[1].value for v in found]
    assert outcomes[0] in {"accepted", "starved"}
    assert outcomes[1] == "accepted"
    assert outcomes[2] == "wall_time"
    assert outcomes[3] in {"cpu_time", "wall_time", "starved"}  # it does need 60 s of its own


@pytest.mark.slow
def test_what_the_tester_lacked_for_others_is_no_excuse_for_a_sleeper(crowded):
    """A container that has seen bad times says `wall_time` of a sleeper as a new one does, and as soon."""
    bench = strengths.bench("namespaces", slots=1)
    try:
        bench.verdicts(CHECK, *(f"{RIGHT}# {i}\n" for i in range(150)), limits=Limits(cpu_s=1, wall_s=20))
        crowded()
        began = time.monotonic()
        [verdict] = bench.verdicts(CHECK, SLEEPER, limits=Limits(cpu_s=1, wall_s=0.5))
        took = time.monotonic() - began
    finally:
        strengths.close(bench)
    assert verdict[1] == "wall_time", verdict
    assert took < 1.5, "no longer than its limit and a moment: four times as long is for those who had no processor"


RIGHT, WRONG = "def f(x): return x + 1\n", "def f(x): return x\n"
PROGRAMS = 2000


def programs():
    """(expected outcome, answer), all distinct; one in twenty works for 20 ms."""
    for i in range(PROGRAMS):
        slow = i % 20 == 0
        yield ("PASS" if slow or i % 2 else "FAIL", (worker(0.02) if slow else RIGHT if i % 2 else WRONG) + f"# {i}\n")


def never_swap(limits):
    """Judge all programs: none wrong, at most 1 % unknown, and a repeat decides those."""
    expected, answers = zip(*programs(), strict=True)
    bench = strengths.bench("namespaces", slots=2)
    try:
        found = bench.verdicts(CHECK, *answers, limits=limits)
        unknown = [i for i, v in enumerate(found) if v[0] == "UNKNOWN"]
        repeated = bench.verdicts(CHECK, *(answers[i] for i in unknown), limits=limits)
    finally:
        strengths.close(bench)
    assert [(i, v) for i, v in enumerate(found) if v[0] not in {expected[i], "UNKNOWN"}] == []
    assert len(unknown) <= PROGRAMS // 100
    assert [v[0] for v in repeated] == [expected[i] for i in unknown]


@pytest.mark.slow
def test_pass_and_fail_never_swap_on_an_idle_machine():
    never_swap(Limits(cpu_s=1, wall_s=5))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pass_and_fail_never_swap_when_the_machine_is_oversubscribed(crowded):
    never_swap(Limits(cpu_s=1, wall_s=5))


def test_a_sleeper_fails_and_says_so():
    bench = strengths.bench("none", slots=1)
    try:
        [verdict] = bench.verdicts(CHECK, SLEEPER, limits=Limits(cpu_s=5, wall_s=0.5))
    finally:
        strengths.close(bench)
    assert verdict[1] == "wall_time"
    assert "not starved" in verdict[2]

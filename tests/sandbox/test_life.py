"""Containers die and are killed: what is affected is UNKNOWN, what follows works, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sandbox import strengths
from vervet.protocols import Limits
from vervet.sandbox.inside.checks import FunctionTests
from vervet.verifiers.python_tests import decide

CHECK = FunctionTests("f", "", "def check(candidate):\n    assert candidate(3) == 4\n")
GOOD = "def f(x):\n    return x + 1\n"
SLOW = "import time\ndef f(x):\n    time.sleep(1.5)\n    return x + 1\n"


def children(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(p) for p in path.read_text().split()]
    return found


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def launchers() -> list[int]:
    return [p for p in children(os.getpid()) if "launch.py" in command(p)]


def family(launcher: int) -> dict[str, int]:
    """Pids of one container: launcher, PID 1, tester and, if there is one, candidate."""
    [zygote] = children(launcher)
    inner = sorted(children(zygote))
    return dict(
        zip(("launcher", "zygote", "compiler", "tester", "candidate"), (launcher, zygote, *inner), strict=False)
    )


async def running() -> dict[str, int]:
    """The container's family once the candidate that sleeps is at it."""
    deadline = time.monotonic() + 30
    found: dict[str, int] = {}
    while "candidate" not in found:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
        with contextlib.suppress(IndexError, ValueError):  # it is being made
            found = family(launchers()[0])
    await asyncio.sleep(0.3)
    return found


@pytest.mark.parametrize("victim", ["launcher", "zygote", "compiler", "tester"])
def test_killing_a_part_makes_that_answer_unknown_and_the_rest_goes_on(bench, victim):
    strengths.only_ours(bench.name)
    assert [decide(e)[0] for e in bench.endings(CHECK, GOOD)] == ["PASS"]

    async def run():
        judged = asyncio.create_task(_judge(bench, SLOW, GOOD))
        os.kill((await running())[victim], signal.SIGKILL)
        return await judged

    affected, after = bench.do(run())
    if victim == "compiler":  # it works ahead: the answers that are there are not affected, but the next one is
        assert [affected[0], after[0]] == ["PASS", "PASS"]
        [affected, after] = bench.verdicts(CHECK, GOOD, GOOD)
    assert affected[0] == "UNKNOWN"
    assert affected[1] in {"sandbox_failed", "verifier_failed"}
    assert after[0] == "PASS"
    assert [decide(e)[0] for e in bench.endings(CHECK, SLOW)] == ["PASS"], "a repeat decides it"


async def _judge(bench, *answers):
    forms = [strengths.Candidate(((a,),)) for a in answers]
    return [decide(e) for e in await bench.runtime.run(CHECK, forms, Limits(cpu_s=2, wall_s=20))]


def test_killing_the_candidate_is_not_taken_for_a_pass(bench):
    strengths.only_ours(bench.name)

    async def run():
        judged = asyncio.create_task(_judge(bench, SLOW, GOOD))
        os.kill((await running())["candidate"], signal.SIGKILL)
        return await judged

    killed, after = bench.do(run())
    assert killed[0] != "PASS"
    assert after[0] == "PASS"


def test_cancelling_a_run_leaves_a_usable_runtime(bench):
    strengths.only_ours(bench.name)

    async def run():
        judged = asyncio.create_task(_judge(bench, SLOW, SLOW))
        await running()
        judged.cancel()
        await asyncio.gather(judged, return_exceptions=True)
        return await _judge(bench, GOOD)

    assert bench.do(run())[0][0] == "PASS"


def mounts() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if line.split(" - ")[1].split()[1] in {"vervet", "box"}]


def groups() -> list[str]:
    return [str(p) for p in Path("/sys/fs/cgroup").glob("**/vervet-*")]


def test_closing_leaves_no_process_mount_file_or_control_group():
    assert mounts() == []
    files = set(os.listdir("/tmp"))
    made = strengths.bench("namespaces", slots=2)
    assert [decide(e)[0] for e in made.endings(CHECK, *[GOOD] * 4)] == ["PASS"] * 4
    pids = [pid for launcher in launchers() for pid in family(launcher).values()]
    assert len(pids) == 8
    strengths.close(made)
    assert [p for p in pids if os.path.exists(f"/proc/{p}") and "launch.py" in command(p)] == []
    assert mounts() == []
    assert {f for f in set(os.listdir("/tmp")) - files if "vervet-box" in f} == set()
    assert [g for g in groups() if any(str(p) in g for p in pids)] == []


DRIVER = """
import asyncio, json, os, sys
from tests.sandbox import strengths, test_life
bench = strengths.bench(sys.argv[1], slots=2)
async def run():
    await test_life._judge(bench, *[test_life.GOOD] * 4)
    print(json.dumps([p for l in test_life.launchers() for p in test_life.family(l).values()]), flush=True)
    await test_life._judge(bench, *[test_life.SLOW] * 4)
bench.do(run())
"""


@pytest.mark.parametrize("strength", strengths.ALL)
def test_a_killed_driver_takes_its_containers_with_it(strength, project_root):
    strengths.only_ours(strength)
    strengths.launcher(strength)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, strength], stdout=subprocess.PIPE, cwd=project_root, env={**os.environ}
    )
    pids = json.loads(driver.stdout.readline())
    assert len(pids) >= 8
    time.sleep(0.3)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 5
    while alive := [p for p in pids if _runs(p)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)
    assert [g for g in groups() if any(str(p) in g for p in pids)] == []


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_container_that_cannot_be_replaced_makes_unknowns_not_errors():
    """The compiler or the kernel's resources are taken away in the middle of a run."""
    made = strengths.bench("none", slots=1)
    try:
        assert made.verdicts(CHECK, GOOD)[0][0] == "PASS"
        made.runtime._launcher = ("/nonexistent/python",)
        os.kill(launchers()[0], signal.SIGKILL)
        found = made.verdicts(CHECK, GOOD, GOOD, GOOD)
        assert [v[1].value for v in found] == ["sandbox_failed"] * 3
        made.runtime._launcher = None
        assert made.verdicts(CHECK, GOOD)[0][0] == "PASS"
    finally:
        strengths.close(made)


def test_each_container_stays_on_one_processor_and_so_does_its_successor():
    mine = os.sched_getaffinity(0)
    bench = strengths.bench("namespaces", slots=1)
    report = "import os, time\ndef f(x):\n    time.sleep(0.3)\n    return sorted(os.sched_getaffinity(0))\n"

    def seen() -> list[str]:
        endings = bench.endings(CHECK, report, report)
        return [e.error or e.log.rpartition("returned ")[2] for e in endings]

    try:
        first, second = seen()
        assert first == second
        assert first in {f"[{n}]" for n in mine}
        [zygote] = children(launchers()[0])
        os.kill(zygote, signal.SIGKILL)
        assert "the container died" in seen()
        third, fourth = seen()
        assert third == fourth
        assert third in {f"[{n}]" for n in mine}
    finally:
        strengths.close(bench)

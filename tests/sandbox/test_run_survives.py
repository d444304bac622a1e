"""Parts die in the middle of a whole run: the run goes on, what could not be decided is UNKNOWN, and a repeat decides it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time

import pytest

import vervet
from tests.sandbox.test_life import children, launchers
from vervet.sandbox import capabilities

N, PROBLEMS = 8, 20
TEST = "import time\ndef check(c):\n    time.sleep(0.1)\n    assert c(2) == {}\n"
OPTIONS = {"verifier": "python_tests", "extract": "answer"}


def write(path):
    """Problems whose tests take long enough to be interrupted."""
    rows = [
        {
            "id": f"p{i}",
            "prompt": "def f(x):\n",
            "check": {"prompt": "def f(x):\n", "entry_point": "f", "test": TEST.format(2 * i)},
            "reference": f"def f(x): return {i} * x",
        }
        for i in range(PROBLEMS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def family(victim):
    """Pids of the victim in every container that is at work: it has a candidate besides its two helpers."""
    found = []
    for launcher in launchers():
        with contextlib.suppress(OSError):  # it is going
            for zygote in children(launcher):
                inner = sorted(children(zygote))
                if len(inner) > 2:
                    found.append({"launcher": launcher, "zygote": zygote, "helper": inner[0]}[victim])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["launcher", "zygote", "helper"])
def test_killing_parts_again_and_again_changes_no_count(victim, tmp_path):
    if not capabilities().namespaces:
        pytest.skip("not here: no namespaces")
    task = write(tmp_path / "q.jsonl")
    over = threading.Event()
    killed = []

    def kill():
        while not over.is_set() and len(killed) < 5:
            for pid in family(victim):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            time.sleep(0.05 if not killed else 0.3)

    def counts(folder):
        more = {"n": N, "seed": 1, "task_options": OPTIONS}
        with vervet.run(str(task), model="fake/p=0.5", out=tmp_path / folder, **more) as run:
            return run.counts()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        first = counts("a")
    finally:
        over.set()
        killer.join()
    assert killed
    calm, repeated = counts("b"), counts("a")
    assert (repeated.n.tolist(), repeated.unknown.sum()) == ([N] * PROBLEMS, 0)
    assert repeated.c.tolist() == calm.c.tolist()
    assert 0 < calm.c.sum() < N * PROBLEMS
    assert (first.c <= calm.c).all()
    assert (first.n - first.c <= N - calm.c).all(), "no UNKNOWN was folded into FAIL"

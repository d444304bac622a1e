"""Nothing bought is lost or bought twice: SIGKILL at random moments, the same command again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

import vervet
from tests.helpers import SRC, command, served, vervet as run_vervet, write_problems
from vervet.api import check_ledger

KILLS, PROBLEMS, N, IN_FLIGHT, BATCH = 22, 24, 60, 4, 3


def _kill_after(arguments: list[str], seconds: float) -> bool:
    """Start, SIGKILL after so many seconds. True when it was killed, False when it had finished."""
    process = subprocess.Popen(
        arguments,
        env={**os.environ, "PYTHONPATH": str(SRC)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    assert process.returncode == 0
    return False


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_killed_at_random_moments_every_problem_ends_with_exactly_n(tmp_path: Path) -> None:
    """A run killed 22 times ends as if nothing had happened, and pays again at most what was in flight."""
    task, run = write_problems(tmp_path / "q.jsonl", PROBLEMS), tmp_path / "run"
    line = command(
        "run", task, "-m", "fake/p=0.2", "-n", N, "--seed", 7, "--out", run, "--max-in-flight", IN_FLIGHT,
        "-M", "latency=0.03", "-M", f"batch={BATCH}",
    )  # fmt: skip
    dice = random.Random(time.time_ns())
    kills = 0
    while kills < KILLS:
        if not _kill_after(line, dice.uniform(0.3, 1.2)):
            # done early: ask for more, so that there is something left to kill
            line[line.index("-n") + 1] = str(int(line[line.index("-n") + 1]) + 30)
        kills += 1
    n = int(line[line.index("-n") + 1])
    final = run_vervet(*line[3:])
    assert final.returncode == 0, final.stderr

    with vervet.open_run(run) as opened:
        counts = opened.counts()
        assert set(counts.n.tolist()) == {n}
        assert counts.unknown.sum() == 0
        for problem in opened.problem_ids():
            samples = list(opened.samples(problem))
            assert [s.index for s in samples] == list(range(n))
            assert all(s.outcome is not None for s in samples)
    assert check_ledger(run)["faults"] == []

    log = served(run)
    assert set(log) == {(f"q{i}", j) for i in range(PROBLEMS) for j in range(n)}
    again = sum(len(seeds) - 1 for seeds in log.values())
    assert again <= kills * IN_FLIGHT * BATCH


def test_a_second_writer_is_refused_with_the_holders_pid(tmp_path: Path) -> None:
    """While a run is being written, another one on its folder gets one line that names the process."""
    task, run = write_problems(tmp_path / "q.jsonl", 3), tmp_path / "run"
    line = [
        "run",
        task,
        "-m",
        "fake/p=0.2",
        "-n",
        500,
        "--out",
        run,
        "-M",
        "latency=0.2",
        "-M",
        "batch=1",
        "--max-in-flight",
        1,
    ]
    first = subprocess.Popen(command(*line), env={**os.environ, "PYTHONPATH": str(SRC)}, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not (run / "fake-requests.log").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        second = run_vervet(*line)
        assert second.returncode == 1
        assert f"process {first.pid} on" in second.stderr
        assert "Traceback" not in second.stderr
        # readers are welcome while it is written
        assert run_vervet("coverage", run).returncode == 0
    finally:
        first.kill()
        first.wait()


def test_interrupt_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Ctrl-C once: what is in flight is stored, exit code 130, and a resume completes the run."""
    task, run = write_problems(tmp_path / "q.jsonl", 5), tmp_path / "run"
    line = [
        "run",
        task,
        "-m",
        "fake/p=0.2",
        "-n",
        100,
        "--out",
        run,
        "-M",
        "latency=0.05",
        "-M",
        "batch=1",
        "--max-in-flight",
        4,
    ]
    process = subprocess.Popen(
        command(*line),
        env={**os.environ, "PYTHONPATH": str(SRC)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while not (run / "fake-requests.log").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130, stderr
    assert f"vervet resume {run}" in stderr
    paid = served(run)
    with vervet.open_run(run) as opened:
        stored = {(p, s.index) for p in opened.problem_ids() for s in opened.samples(p)}
    assert stored == set(paid), "everything that was paid for is stored"
    assert 0 < len(stored) < 500
    done = run_vervet("resume", run)
    assert done.returncode == 0, done.stderr
    assert all(len(seeds) == 1 for seeds in served(run).values())
    assert len(served(run)) == 500

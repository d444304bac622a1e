"""Runs over a real HTTP server that fails on purpose: nothing is lost, and nothing is bought twice."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from scipy import stats

import vervet
from tests.helpers import SRC, command, write_problems
from tests.samplers.http import ask, go, sampler, texts
from tests.zygote import Zygote
from vervet.api import check_ledger
from vervet.cli.main import execute
from vervet.records import Message, Params, Reply, Request
from vervet.testing.server import FAULTS, REPEATED, UNPAID, Server

# ------------------------------------------------------------------------------------------------ nothing lost, or bought twice


def test_a_fifth_of_all_requests_fails_and_every_problem_ends_with_exactly_n(tmp_path: Path) -> None:
    """10,000 samples through every fault there is; the server's own account is the witness."""
    task = write_problems(tmp_path / "q.jsonl", 50)
    faults = dict.fromkeys(FAULTS, 0.2 / len(FAULTS))
    with Server(faults=faults, seed=1, latency_s=0.005, slow_s=0.2) as server:
        run = go(server, task, tmp_path / "r", 200, model_options={"max_n": 4, "timeout": 1.5})
        assert run.counts().n.tolist() == [200] * 50
        assert set(server.faults) == {row.fault for row in server.served} - {""}, "every fault was met"
        said = next(notice for notice in run.notices if "1.5 s: slow answers are rarer" in notice)
        # on a busy machine a sound answer may come too late as well: such a request is paid twice, and it is said
        late = int(said.split()[0]) - server.faulty("hang")
        assert server.paid() <= 10_000 / 4 + server.faulty() + late
        # duplicates and empty texts are draws: as many as the server gave
        empty = sum(row.choices for row in server.served if row.fault == "empty")
        assert empty - 4 * late <= texts(run).count("") <= empty
        assert empty > 4 * late or late > 10
    assert check_ledger(tmp_path / "r")["faults"] == []


def test_faults_do_not_change_the_distribution_of_answers(tmp_path: Path) -> None:
    """Right with probability 0.3, else one of four wrong answers, with a fifth of the requests failing on the way.

    False alarm: a chi-square test at 1e-6.
    """
    task = write_problems(tmp_path / "q.jsonl", 20)
    kinds = [kind for kind in FAULTS if kind not in ("same", "empty", "hang", "slow")]
    with Server(p=0.3, faults=dict.fromkeys(kinds, 0.2 / len(kinds)), seed=2) as server:
        run = go(server, task, tmp_path / "r", 300, model_options={"max_n": 8})
    assert_distributed(run, 0.3)


def assert_distributed(run: vervet.Run, p: float) -> None:
    """Right with probability p, else one of four wrong answers with equal chances: chi-square at 1e-6."""
    seen = Counter(
        int((s.answer or "").strip() or -99) - int(q[1:]) - 1 for q in run.problem_ids() for s in run.samples(q)
    )
    expected = {0: p * seen.total(), **dict.fromkeys(range(1, 5), (1 - p) / 4 * seen.total())}
    assert set(seen) == set(expected)
    assert stats.chisquare([seen[k] for k in expected], list(expected.values())).pvalue > 1e-6


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_ten_times_among_faults_the_run_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """SIGKILL at ten moments of the work: exactly n a problem, the answers of a run without faults (a chi-square
    test at 1e-6), and paid again at most what was in flight at each kill."""
    task, in_flight, n = write_problems(tmp_path / "q.jsonl", 50), 16, 200
    kinds = [kind for kind in FAULTS if kind not in ("hang", "same", "empty")]
    dice, kills = random.Random(time.time_ns()), 0
    with Zygote() as zygote, Server(faults=dict.fromkeys(kinds, 0.2 / len(kinds)), seed=4, slow_s=0.2, p=0.3) as server:
        line = [
            "run", task, "-m", "openai/m", "-n", n, "--base-url", server.url, "--out", tmp_path / "r",
            "--max-in-flight", in_flight, "-M", "max_n=4", "-M", "pause=0.02", "-M", "timeout=5", "-M", "probe=false",
        ]  # fmt: skip
        server.latency_s = 0.05
        for _ in range(10):
            goal = server.paid() + dice.randint(1, 200)
            process = zygote.start(*line)
            while server.paid() < goal:
                time.sleep(0.005)
            os.kill(process, signal.SIGKILL)
            kills += zygote.wait()[0] == -signal.SIGKILL
        assert kills == 10, "each of them in the middle"
        code, said = zygote.run(*line)
        assert code == 0, said
        assert server.paid() <= 10_000 / 4 + server.faulty() + kills * in_flight
    with vervet.open_run(tmp_path / "r") as run:
        assert run.counts().n.tolist() == [n] * 50
        assert all([s.index for s in run.samples(p)] == list(range(n)) for p in run.problem_ids())
        assert_distributed(run, 0.3)
    assert check_ledger(tmp_path / "r")["faults"] == []


def test_an_interrupt_ends_the_waiting_and_keeps_what_was_paid_for(tmp_path: Path, task: Path) -> None:
    """Ctrl-C while most requests wait for a second try: no new request, everything paid for is stored, exit 130."""
    with Server(faults={"500": 0.6}, seed=4, latency_s=0.2) as server:
        line = command(
            "run", task, "-m", "openai/m", "-n", 60, "--base-url", server.url, "--out", tmp_path / "r",
            "-M", "max_n=1", "-M", "pause=300", "-M", "probe=false",
        )  # fmt: skip
        process = subprocess.Popen(
            line, env={**os.environ, "PYTHONPATH": str(SRC)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 60
        while server.paid() < 30 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, stderr = process.communicate(timeout=100)
        assert time.monotonic() - began < 60, "it does not sit out the pauses of minutes"
        assert process.returncode == 130, stderr
        with vervet.open_run(tmp_path / "r") as run:
            assert run.to_dict()["samples"] == server.paid()


def test_a_server_that_dies_and_comes_back_costs_nothing_but_time(tmp_path: Path, task: Path) -> None:
    """The run ends with exit 6 and one line; the same command goes on when the server is there again."""
    with Server(latency_s=0.05) as server:
        port, url = server.port, server.url
        line = ["run", str(task), "-m", "openai/m", "-n", "40", "--base-url", url, "--out", str(tmp_path / "r")]
        line += ["-M", "probe=false", "-M", "max_n=2", "-M", "patience=0.6", "-M", "pause=0.05", "--max-in-flight", "4"]
        process = subprocess.Popen(
            command(*line), env={**os.environ, "PYTHONPATH": str(SRC)}, stderr=subprocess.PIPE, text=True
        )
        while server.paid() < 8:
            time.sleep(0.02)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 6
    said = next(x for x in stderr.splitlines() if x.startswith("vervet: "))
    assert said.startswith(f"vervet: the model cannot be reached: {url}: cannot connect")
    with Server(port=port):
        assert execute(line) == 0
    with vervet.open_run(tmp_path / "r") as run:
        assert run.counts().n.tolist() == [40] * 6


# ------------------------------------------------------------------------------------------------------ one fault at a time


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_each_fault_alone(fault: str) -> None:
    """Half of all requests meet it; all the samples come, and the account shows what it cost."""
    with Server(faults={fault: 0.5}, seed=8, slow_s=0.1) as server:
        model = sampler(server.url, max_n=2, timeout=2 if fault == "hang" else 60, pause=0.01)

        async def work() -> list[Reply]:
            message = [(Message("user", f"What is {i} + 1?"),) for i in range(12)]
            wanted = [Request(f"q{i}", m, Params(1.0, None, 64), 0, 2, 5) for i, m in enumerate(message)]
            try:
                return list(await asyncio.gather(*(model.sample(w) for w in wanted)))
            finally:
                await model.aclose()

        replies = asyncio.run(work())
        assert [len(r.completions) for r in replies] == [2] * 12
        assert server.faulty(fault) > 0
        again = (
            server.faulty(*(REPEATED - UNPAID))
            if fault != "few"
            else sum(r.n > 1 and r.fault != "" for r in server.served)
        )
        # a busy machine may make a sound answer late: only where the time limit is short
        assert server.paid() == 12 + again or (fault == "hang" and server.paid() > 12 + again)
    assert {r.usage.counted_by for r in replies} == ({"server", "vervet"} if fault == "usage" else {"server"})
    assert all(0 < (r.usage.completion_tokens or 0) <= 128 for r in replies)


def test_retry_after_is_obeyed_by_everybody() -> None:
    """After a refusal with Retry-After nothing goes to that server before its time is up."""
    with Server(most_at_once=1, latency_s=0.05) as server:
        limiter_pause = 0.1
        server.faults = {"429-after": 0.3}
        model = sampler(server.url, pause=0.01)

        async def work() -> None:
            for i in range(30):
                await model.sample(Request(f"q{i}", f"What is {i} + 1?", Params(1.0, None, 64), 0, 1, 5))
            await model.aclose()

        asyncio.run(work())
        rows = server.served
    gaps = [b.at - a.at for a, b in itertools.pairwise(rows) if a.fault == "429-after"]
    assert gaps
    assert min(gaps) >= limiter_pause


def test_a_wait_longer_than_our_patience_ends_the_run_with_the_reason() -> None:
    with (
        Server(faults={"429-after": 1.0}) as server,
        pytest.raises(ConnectionError, match="asks us to wait"),
    ):
        ask(sampler(server.url, patience=0.05))


def test_a_prompt_on_which_the_server_always_fails_does_not_end_the_run(task: Path, tmp_path: Path) -> None:
    """The others go on; that problem's samples are missing, with the reason."""

    def answer(prompt: str, dice: random.Random) -> str:
        if "What is 3" in prompt:
            raise RuntimeError("the server has a bug")
        return "Answer: 1"

    with Server(answer=answer, latency_s=0.01) as server:
        run = go(server, task, tmp_path / "r", 40, max_in_flight=4, model_options={"max_n": 1, "pause": 0.001})
    assert run.counts().n.tolist() == [40, 40, 40, 0, 40, 40]
    assert "failed 10 times on this prompt, and not on others: HTTP 500" in run.notices[0]

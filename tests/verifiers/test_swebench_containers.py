"""The official harness in real containers, on a small repository of our own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

import vervet
from tests import swebench_instance as instance
from vervet.cli.main import execute
from vervet.tasks.swebench_lite import SWEBenchLite
from vervet.verifiers.swebench import SWEBench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
TIMEOUT_S = 120.0
KILLS_ITS_SHELL = instance.diff("import os; os.kill(os.getppid(), 9)")
SLEEPS = instance.diff("import time; time.sleep(1000)")
SAME = instance.diff("return b + a")


@pytest.fixture
def client():
    instance.start()
    import docker

    with contextlib.closing(docker.from_env()) as made:
        yield made


def rows(path: Path, **changes) -> Path:
    path.write_text(json.dumps(instance.row(**changes)) + "\n")
    return path


def problem(folder: Path, **changes):
    return SWEBenchLite(path=rows(folder / "lite.jsonl", **changes)).problems()[0]


def told(verdicts):
    return [(v.outcome.value, v.reason.value) for v in verdicts]


def judge(verifier, of, *answers):
    async def run():
        try:
            return await verifier.verify(of, answers)
        finally:
            await verifier.aclose()

    return asyncio.run(run())


def containers(client):
    found = client.containers.list(all=True, ignore_removed=True)
    return [c for c in found if c.name.startswith("sweb.eval.")]


def until(condition, deadline_s=60.0):
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_patches_are_judged(client, tmp_path):
    answers = [instance.GOLD, instance.WRONG, instance.UNAPPLIABLE, "", KILLS_ITS_SHELL]
    verdicts = judge(SWEBench(timeout_s=TIMEOUT_S), problem(tmp_path), *answers)
    assert told(verdicts) == [
        ("PASS", "accepted"),
        ("FAIL", "wrong_answer"),
        ("FAIL", "patch_not_applied"),
        ("FAIL", "no_answer"),
        ("FAIL", "exited"),
    ]
    assert "still failing (FAIL_TO_PASS): test_sums.py::test_add" in verdicts[1].log
    assert "Hunk #1 FAILED" in verdicts[2].log
    assert {v.isolation for v in verdicts if v.reason != "no_answer"} == {"docker"}
    assert not containers(client)


def test_a_gold_patch_that_resolves_nothing_leaves_everything_unknown(client, tmp_path):
    [verdict] = judge(SWEBench(timeout_s=TIMEOUT_S), problem(tmp_path, patch=instance.WRONG), instance.GOLD)
    assert told([verdict]) == [("UNKNOWN", "verifier_failed")]
    assert verdict.log.startswith("the gold patch does not resolve this instance here: still failing")


def test_an_image_that_is_not_there_is_unknown(client, tmp_path):
    [verdict] = judge(SWEBench(timeout_s=TIMEOUT_S), problem(tmp_path, image="localhost/nothing:1"), instance.GOLD)
    assert verdict.outcome == "UNKNOWN"
    assert "localhost/nothing" in verdict.log


def test_out_of_time_without_a_gold_patch_is_unknown(client, tmp_path):
    [verdict] = judge(SWEBench(timeout_s=2, gold=False), problem(tmp_path), SLEEPS)
    assert told([verdict]) == [("UNKNOWN", "starved")]
    assert not containers(client)


def test_a_worker_that_is_killed_makes_unknowns_and_leaves_no_container(client, tmp_path):
    of = problem(tmp_path)

    async def run():
        verifier = SWEBench(timeout_s=TIMEOUT_S, gold=False)
        try:
            work = asyncio.create_task(verifier.verify(of, [SLEEPS]))
            await asyncio.to_thread(until, lambda: containers(client))
            os.kill(verifier._harness._process.pid, signal.SIGKILL)
            affected = await work
            await asyncio.to_thread(until, lambda: not containers(client))
            return affected, await verifier.verify(of, [instance.GOLD])
        finally:
            await verifier.aclose()

    affected, after = asyncio.run(run())
    assert told(affected) == [("UNKNOWN", "sandbox_failed")]
    assert told(after) == [("PASS", "accepted")]


class Relay:
    """A socket that passes everything on to the engine's, until it is cut."""

    def __init__(self, path: Path, engine: str) -> None:
        self._engine, self._all, self._is_cut = engine, [], False
        self._lock = threading.Lock()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = self._listening.accept()
                theirs = socket.socket(socket.AF_UNIX)
                with self._lock:
                    self._all += [ours, theirs]
                    if self._is_cut:
                        self._close()
                theirs.connect(self._engine)
                for pair in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            self._close()

    def _close(self) -> None:
        for one in (self._listening, *self._all):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def test_an_engine_that_goes_away_makes_unknowns(client, tmp_path, monkeypatch):
    of = problem(tmp_path)
    relay = Relay(tmp_path / "socket", os.environ["DOCKER_HOST"].removeprefix("unix://"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'socket'}")

    async def run():
        verifier = SWEBench(timeout_s=TIMEOUT_S, gold=False)
        try:
            work = asyncio.create_task(verifier.verify(of, [SLEEPS]))
            await asyncio.to_thread(until, lambda: containers(client))
            relay.cut()
            return await work, await verifier.verify(of, [instance.GOLD])
        finally:
            await verifier.aclose()

    during, after = asyncio.run(run())
    assert during[0].outcome == "UNKNOWN"
    assert told(after) == [("UNKNOWN", "unavailable")]
    for left in containers(client):  # nobody could reach it any more
        left.remove(force=True)


def test_ten_predictions_give_a_coverage_curve(client, tmp_path, capsys):
    patches = [
        *(instance.WRONG, instance.GOLD, "", instance.WRONG, SAME),
        *(instance.UNAPPLIABLE, instance.WRONG, "I do not know.", instance.GOLD, instance.WRONG),
    ]
    lines = [{"instance_id": instance.INSTANCE, "model_name_or_path": "agent", "model_patch": p} for p in patches]
    (tmp_path / "preds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run, path = tmp_path / "run", rows(tmp_path / "lite.jsonl")
    words = ["import", tmp_path / "preds.jsonl", "--task", "swebench-lite", "-T", f"path={path}", "--out", run]
    assert execute([*map(str, words)]) == 0
    capsys.readouterr()
    assert execute(["verify", str(run), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["pass"], done["fail"], done["unknown"], done["verified"]) == (3, 7, 0, 4)
    assert execute(["coverage", str(run), "--k", "1,2,8", "--json"]) == 0
    points = json.loads(capsys.readouterr().out)["sources"][0]["points"]
    # 1 - C(7, k) / C(10, k)
    assert [p["coverage"] for p in points] == pytest.approx([0.3, 1 - 21 / 45, 1.0])
    with vervet.open_run(run) as opened:
        logs = {s.answer: s.reason for s in opened.samples(instance.INSTANCE)}
    assert logs[instance.UNAPPLIABLE] == "patch_not_applied"

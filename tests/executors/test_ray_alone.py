"""What the executor `ray` does without a cluster: one clear line for each thing that is wrong, and a worker's own work."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import write_problems
from vervet.api.parts import told
from vervet.cli.main import execute
from vervet.config import Settings
from vervet.errors import BadOption, MissingPart, ServiceError, VervetError
from vervet.executors import _ray_cluster as cluster
from vervet.executors._ray_worker import Worker
from vervet.records import Outcome, Problem, VerifierSpec
from vervet.testing.fakes import ScriptedVerifier, build_scripted


@contextlib.contextmanager
def web_server() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("address", ["here", "host:", ":6379", "host:port", "ray://host"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(BadOption, match="write HOST:PORT"):
        cluster._probe(address)


def test_a_port_where_nothing_listens_is_named_at_once() -> None:
    with pytest.raises(ServiceError, match="nothing answers there"):
        cluster._probe(f"127.0.0.1:{free_port()}")


def test_a_server_that_is_no_ray_head_is_named_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Ray itself would try for two minutes, and then end the process."""
    with web_server() as port, pytest.raises(ServiceError, match="no Ray head"):
        cluster._probe(f"127.0.0.1:{port}")
    capsys.readouterr()


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPart, match=r"pip install 'vervet\[ray\]'"):
        cluster.load()


VERSIONS = """Version mismatch: The cluster was started with:
    Ray: 2.9.0
    Python: 3.10.4
This process on node 10.0.0.5 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""


@pytest.mark.parametrize(
    ("address", "error", "line"),
    [
        ("h:1", RuntimeError(VERSIONS), "runs Ray 2.9.0 and Python 3.10.4, this process Ray 2.60.0 and Python 3.11.7"),
        ("auto", ConnectionError("Could not find any running Ray instance."), "start one with `ray start --head`"),
        ("h:1", SystemExit(15), "of a Ray Client port say ray://HOST:PORT"),
        ("h:1", RuntimeError("this\nand\nthat"), "cannot be joined: this and that"),
    ],
)
def test_rays_errors_become_one_line(address: str, error: BaseException, line: str) -> None:
    said = cluster._said(address, error)
    assert isinstance(said, VervetError)
    assert line in str(said)
    assert "\n" not in str(said)


def test_an_address_without_the_executor_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = write_problems(tmp_path / "q.jsonl", 2)
    line = ["run", str(task), "-m", "fake/p=1", "--out", str(tmp_path / "r"), "--ray-address", "h:1"]
    assert execute(line) == 1
    assert "say --executor ray" in capsys.readouterr().err


def test_a_run_folder_sends_work_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder from somebody else names a cluster: the settings that come out of it do not."""
    import vervet
    from vervet.ledger import Ledger

    task, folder = write_problems(tmp_path / "q.jsonl", 2), tmp_path / "r"
    vervet.run(task, model="fake/p=1", n=1, out=folder).close()
    with Ledger.open(folder, writer=True) as ledger, ledger.transaction():
        ledger.set_meta("settings", ledger.meta("settings") | {"executor": "ray", "ray_address": "evil:6379"})
    found = told(folder, Settings())
    assert (found.executor, found.ray_address) == (None, None)


# ------------------------------------------------------------------------------------------------------ placement


NODES = [
    cluster.Node("a" * 8, "10.0.0.1", {"CPU": 8.0}),
    cluster.Node("b" * 8, "10.0.0.2", {"CPU": 8.0, "lean": 1.0}),
    cluster.Node("c" * 8, "10.0.0.3", {"CPU": 8.0, "GPU": 2.0}),
]


@pytest.mark.parametrize(
    ("needs", "addresses"),
    [
        (set(), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        ({"sandbox"}, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        ({"sandbox", "lean"}, ["10.0.0.2"]),
        ({"gpu"}, ["10.0.0.3"]),
    ],
)
def test_what_a_verifier_needs_chooses_its_nodes(needs: set[str], addresses: list[str]) -> None:
    demand = cluster.demand_of(needs, 1)
    assert [node.address for node in NODES if node.offers(demand)] == addresses
    cluster.require(NODES, demand, "v")


def test_a_need_that_no_node_offers_is_named_with_its_remedy() -> None:
    with pytest.raises(MissingPart, match=r"none of the cluster's 3 nodes offers that.*--resources='\{\"rocq\": 1\}'"):
        cluster.require(NODES, cluster.demand_of({"rocq", "sandbox"}, 1), "rocq")
    with pytest.raises(MissingPart, match="what a worker asks for: 16 CPU"):
        cluster.require(NODES, cluster.demand_of((), 16), "exact")


# ------------------------------------------------------------------------------------------------------ a worker


class Unequipped(ScriptedVerifier):
    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Any]:
        raise MissingPart("no sandbox here")


SPEC, PROBLEM = VerifierSpec("scripted", {"note": ""}), Problem("p", {})


def test_a_worker_judges_and_keeps_a_large_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem that comes by reference is fetched once."""
    monkeypatch.setenv("VERVET_CPUS", "2")  # a worker sets it
    fetched = 0

    async def reference() -> Problem:
        nonlocal fetched
        fetched += 1
        return PROBLEM

    async def work() -> None:
        worker = Worker(build_scripted, 1)
        first, second = reference(), reference()
        broken = await worker.verify(SPEC, "key", [first], ("pass", "raise"))
        judged = await worker.verify(SPEC, "key", [second], ("pass", "fail"))
        second.close()
        await worker.aclose()
        assert [v.outcome for v in broken.verdicts] == [Outcome.UNKNOWN] * 2
        assert [v.outcome for v in judged.verdicts] == [Outcome.PASS, Outcome.FAIL]

    asyncio.run(work())
    assert fetched == 1


def no_verifier(spec: VerifierSpec) -> Any:
    raise ModuleNotFoundError("No module named 'theirs'")


@pytest.mark.parametrize(
    ("build", "why"),
    [(lambda spec: Unequipped(**spec.settings), "no sandbox here"), (no_verifier, "No module named 'theirs'")],
    ids=["sandbox", "package"],
)
def test_a_worker_that_lacks_something_says_so_instead_of_judging(
    build: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERVET_CPUS", "2")  # a worker sets it

    async def work() -> None:
        answer = await Worker(build, 1).verify(SPEC, "key", PROBLEM, ("pass",))
        assert answer.verdicts == ()
        assert why in answer.unfit

    asyncio.run(work())


def test_vervet_cpus_bounds_what_verification_keeps_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    from vervet.sandbox._container import slots_by_default

    monkeypatch.setenv("VERVET_CPUS", "1")
    assert slots_by_default() == 1
    monkeypatch.setenv("VERVET_CPUS", "none")
    with pytest.raises(BadOption, match="VERVET_CPUS"):
        slots_by_default()

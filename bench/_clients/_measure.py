"""What every client program shares: arguments, prompts, and processor time and memory of its own process tree.

Standard library only: it runs in environments that hold one client and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable

URL, SAMPLES, N, IN_FLIGHT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
PROBLEMS = 100
MAX_TOKENS = 2048


def messages(problem: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"What is {problem} + 1?"}]


def cpu_s() -> float:
    """Processor seconds of this process and of the children that have ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


class Meter:
    """Processor time and wall time from here to `done`, which prints them."""

    def __init__(self) -> None:
        self._cpu, self._wall = cpu_s(), time.perf_counter()

    def done(self, samples: int, **more: object) -> None:
        """`samples`: texts that were received."""
        wall, cpu = time.perf_counter() - self._wall, cpu_s() - self._cpu
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        facts = {
            "samples": samples,
            "seconds": round(wall, 3),
            "cpu_s": round(cpu, 3),
            "cpu_ms_per_sample": round(1000 * cpu / samples, 4),
            "samples_per_s": round(samples / wall, 1),
            "peak_mb": round(peak / 1024, 1),
        }
        print(json.dumps({**facts, **more}))


async def drive(ask: Callable[[int], Awaitable[int]], **more: object) -> None:
    """Ask for all samples, IN_FLIGHT requests at once; `ask(problem)` gives the number of texts that came.

    A first request before the clock starts loads what a client loads on first use.
    """
    await ask(0)
    meter = Meter()
    requests = iter(range(SAMPLES // N))
    got = 0

    async def work() -> None:
        nonlocal got
        for request in requests:
            count = await ask(request % PROBLEMS)
            got += count

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    meter.done(got, **more)

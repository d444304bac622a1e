"""What a sample costs its client: Vervet end to end beside a bare loop, the openai SDK, litellm and inspect_ai.

    python bench/client.py [--samples 20000] [--rounds 3] [--large 200000] [--only bare,vervet]

All drive the same local server: 0.1 s a reply, 256 requests in flight, texts of about 1 KB that differ and that zstd makes 3
to 5 times smaller. Vervet stores every sample durably and judges it by exact match; inspect_ai scores and logs; the others
throw the texts away. Each of the three others lives in an environment of its own, made on first use in the user's cache.
Processor time is that of the client's process tree, without its imports; rounds are interleaved, the median counts. Limits:
Vervet takes at most 1.5x the bare loop's processor time a sample at n = 1, at most 0.1 ms a sample at n = 16, and 200,000
samples need at most 1.15x the memory of 10,000.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard
from _common import finish

from vervet.fetch import cache_dir
from vervet.testing.server import prose

HERE = Path(__file__).resolve().parent / "_clients"
IN_FLIGHT, LATENCY_S, CHARS = 256, 0.1, 1000
LIMITS = {"times_bare": 1.5, "n16_ms_per_sample": 0.1, "memory_growth": 1.15}
OTHERS = {"openai_sdk": ["openai"], "litellm_sdk": ["litellm"], "inspect_run": ["inspect-ai", "openai"]}
"""Client -> what its environment holds."""
SHARE = {"bare": 1.0, "vervet_run": 1.0, "openai_sdk": 0.16, "litellm_sdk": 0.08, "inspect_run": 0.04}
"""Slow clients get a share of the samples."""


def environment(name: str) -> str:
    """Its interpreter; the environment is made the first time."""
    if name not in OTHERS:
        return sys.executable
    home = cache_dir() / "bench" / name
    python = home / "bin" / "python"
    done = home / "complete"
    if not done.is_file():
        print(f"making an environment for {name}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *OTHERS[name]], check=True, stdout=sys.stderr)
        done.touch()
    return str(python)


@contextlib.contextmanager
def server(port: int = 0) -> Iterator[str]:
    """A server in a process of its own; gives its base URL."""
    line = [sys.executable, "-m", "vervet.testing.server", "--latency", LATENCY_S, "--chars", CHARS]
    line += ["--port", port, "--log", "/dev/null"]
    with subprocess.Popen([*map(str, line)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def measure(name: str, url: str, samples: int, n: int) -> dict[str, Any]:
    """One client, once."""
    line = [environment(name), str(HERE / f"{name}.py"), url, str(samples), str(n), str(IN_FLIGHT)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=HERE)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    facts: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{name} n={n}: {facts}", file=sys.stderr)
    return facts


def text_ratio() -> float:
    """How much smaller zstd makes a thousand of the server's texts together."""
    words, dice = prose(0), random.Random(1)
    starts = [dice.randrange(len(words) - CHARS) for _ in range(1000)]
    texts = "".join(f"{words[at : at + CHARS]}\n\nAnswer: {at}" for at in starts).encode()
    return round(len(texts) / len(zstandard.compress(texts)), 2)


def rounds(names: list[str], samples: int, n: int, count: int) -> dict[str, Any]:
    """Every client `count` times in turn; the median round by processor time."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with server() as url:
        for _ in range(count):
            for name in names:
                found[name].append(measure(name, url, max(IN_FLIGHT * n, int(samples * SHARE[name]) // 800 * 800), n))
    out: dict[str, Any] = {}
    for name, rows in found.items():
        costs = [row["cpu_ms_per_sample"] for row in rows]
        out[name] = {
            **min(rows, key=lambda row: abs(row["cpu_ms_per_sample"] - statistics.median(costs))),
            "cpu_ms_per_sample_min": min(costs),
            "cpu_ms_per_sample_max": max(costs),
        }
    for facts in out.values():
        facts["times_bare"] = round(facts["cpu_ms_per_sample"] / out["bare"]["cpu_ms_per_sample"], 2)
    return out


def memory(large: int) -> dict[str, Any]:
    """Peak memory of Vervet's process for 10,000 samples and for many."""
    with server() as url:
        small, big = (measure("vervet_run", url, samples, 16)["peak_mb"] for samples in (10_000, large))
    return {"samples": [10_000, large], "peak_mb": [small, big], "growth": round(big / small, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=200_000, help="0 leaves memory out")
    parser.add_argument("--only", default="bare,vervet_run,openai_sdk,litellm_sdk,inspect_run")
    said = parser.parse_args()
    names = ["bare", *(name for name in said.only.split(",") if name != "bare")]
    for name in names:
        environment(name)
    results: dict[str, Any] = {
        "limits": LIMITS,
        "in_flight": IN_FLIGHT,
        "latency_s": LATENCY_S,
        "zstd_ratio": text_ratio(),
    }
    results["n1"] = rounds(names, said.samples, 1, said.rounds)
    missed = []
    if "vervet_run" in names:
        results["n16"] = rounds(["bare", "vervet_run"], 4 * said.samples, 16, said.rounds)
        times, cost = results["n1"]["vervet_run"]["times_bare"], results["n16"]["vervet_run"]["cpu_ms_per_sample"]
        if times > LIMITS["times_bare"]:
            missed.append(f"n=1: {times}x the bare loop's processor time, limit {LIMITS['times_bare']}x")
        if cost > LIMITS["n16_ms_per_sample"]:
            missed.append(f"n=16: {cost} ms of processor time a sample, limit {LIMITS['n16_ms_per_sample']} ms")
        if said.large:
            results["memory"] = memory(said.large)
            growth = results["memory"]["growth"]
            if growth > LIMITS["memory_growth"]:
                missed.append(
                    f"memory: {growth}x from 10,000 to {said.large} samples, limit {LIMITS['memory_growth']}x"
                )
    finish("client", results, missed)


if __name__ == "__main__":
    main()

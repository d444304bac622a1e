"""What the benchmarks share: facts about the machine beside every number, one JSON document a benchmark."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def machine_facts() -> dict[str, Any]:
    """What a reader needs to judge the numbers. No host name, no user, no path."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "load_1min": round(os.getloadavg()[0], 2),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "vervet": _version("vervet"),
        "commit": _commit(),
    }


def spread(values: Sequence[float], name: str) -> dict[str, float]:
    """Median, least and greatest of repeated measurements, as `NAME`, `NAME_min` and `NAME_max`, to four digits."""
    facts = {name: statistics.median(values), f"{name}_min": min(values), f"{name}_max": max(values)}
    return {key: float(f"{value:.4g}") for key, value in facts.items()}


def finish(bench: str, results: Mapping[str, Any], missed: Sequence[str] = ()) -> None:
    """Print the JSON document and end the process: 1 where a limit was missed, else 0.

    `missed`: one sentence a missed limit, also printed to stderr.
    """
    document = {
        "schema": "vervet.bench/1",
        "bench": bench,
        **results,
        "missed": list(missed),
        "machine": machine_facts(),
    }
    print(json.dumps(document))
    for sentence in missed:
        print(f"{bench}: {sentence}", file=sys.stderr)
    sys.exit(1 if missed else 0)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Abbreviated commit, with "+" where the tree has changes; None outside a git checkout."""
    try:
        command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None

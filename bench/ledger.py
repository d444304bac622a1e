"""A run of a million samples: bytes kept, memory, and how fast its curve is read.

    python bench/ledger.py [--samples 1000000] [--problems 100]

The fake model answers with windows of real text, 1,024 characters each, all different: Python's own documentation (prose)
or its standard library (code). Every sample is stored, extracted and verified, as in any run. Limits: 0.4 KB kept per KB of
text, everything included; memory flat (the last tenth of the run needs at most 1.15x what its first tenth needed);
`vervet coverage` in under 2 s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import finish

CHARS = 1024
LIMITS = {"kept_per_text": 0.4, "memory_growth": 1.15, "coverage_s": 2.0}
VERVET = [sys.executable, "-c", "from vervet.cli.main import main; main()"]


def corpus(kind: str, folder: Path) -> Path:
    """Real text of one kind, in one file."""
    library = Path(sysconfig.get_paths()["stdlib"])
    if kind == "prose":
        sys.path.insert(0, str(library / "pydoc_data"))
        import topics

        text = "\n\n".join(topics.topics.values())
    else:
        text = "\n\n".join(p.read_text(encoding="utf-8", errors="replace") for p in sorted(library.glob("*.py")))
    path = folder / f"{kind}.txt"
    path.write_text(text, encoding="utf-8")
    return path


def rss_mb(pid: int) -> float:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def run(kind: str, samples: int, problems: int, folder: Path) -> dict[str, Any]:
    """One run and its coverage, measured from outside."""
    task = folder / "problems.jsonl"
    task.write_text(
        "".join(json.dumps({"id": f"q{i}", "prompt": f"{i}?", "answer": str(i)}) + "\n" for i in range(problems))
    )
    out = folder / kind
    line = ["run", task, "-m", "fake/beta=0.3,3", "-n", samples // problems, "--seed", 1, "--out", out, "--json"]
    line += ["-M", f"corpus={corpus(kind, folder)}", "-M", f"chars={CHARS}", "-M", "log=false"]
    started = time.monotonic()
    memory: list[tuple[float, float]] = []
    with subprocess.Popen([*VERVET, *map(str, line)], stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            memory.append((time.monotonic() - started, rss_mb(process.pid)))
            time.sleep(0.25)
        assert process.stdout is not None
        facts = json.loads(process.stdout.read())
    seconds = time.monotonic() - started
    size = sum(p.stat().st_size for p in out.iterdir())
    span = memory[-1][0]
    early = max(m for t, m in memory if t <= 0.1 * span)
    late = max(m for t, m in memory if t >= 0.9 * span)
    reads = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([*VERVET, "coverage", str(out), "--json"], check=True, stdout=subprocess.DEVNULL)
        reads.append(time.monotonic() - started)
    return {
        "samples": facts["samples"],
        "seconds": round(seconds, 1),
        "samples_per_s": round(facts["samples"] / seconds),
        "bytes_per_sample": round(size / facts["samples"], 1),
        "kept_per_text": round(size / facts["samples"] / CHARS, 4),
        "memory_first_tenth_mb": round(early),
        "memory_last_tenth_mb": round(late),
        "memory_growth": round(late / early, 3),
        "coverage_s": round(sorted(reads)[1], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--kinds", default="prose,code")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = {k: run(k, arguments.samples, arguments.problems, Path(folder)) for k in arguments.kinds.split(",")}
    missed = [f"{kind}.{name}" for kind, row in results.items() for name, limit in LIMITS.items() if row[name] > limit]
    finish("ledger", {"limits": LIMITS, **results}, missed)


if __name__ == "__main__":
    main()

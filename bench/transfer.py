"""A million samples of somebody else's into a run and out again: time and memory.

    python bench/transfer.py [--samples 1000000] [--problems 1000]

The file is plain JSONL with windows of real text, all different, a kilobyte each, and a verdict for each. Limits: the import
takes less than 3 minutes and 500 MB.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import finish

CHARS = 1024
LIMITS = {"import_s": 180.0, "import_peak_mb": 500.0, "export_peak_mb": 500.0}
VERVET = [sys.executable, "-c", "from vervet.cli.main import main; main()"]


def write_samples(path: Path, samples: int, problems: int) -> None:
    import sysconfig

    sys.path.insert(0, str(Path(sysconfig.get_paths()["stdlib"]) / "pydoc_data"))
    import topics

    text = "\n\n".join(topics.topics.values())
    dice = random.Random(1)
    with path.open("w", encoding="utf-8") as out:
        for i in range(samples):
            start = dice.randrange(len(text) - CHARS)
            row = {
                "problem_id": f"q{i % problems}",
                "text": text[start : start + CHARS],
                "correct": dice.random() < 0.2,
            }
            out.write(json.dumps(row) + "\n")


def measured(*arguments: object) -> tuple[float, float, float]:
    """(seconds, processor seconds, peak MB) of one command."""
    started = time.monotonic()
    script = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss); sys.exit(done.returncode)"
    )
    line = [sys.executable, "-c", script, *VERVET, *map(str, arguments)]
    done = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True)
    cpu, peak = done.stdout.split()
    return time.monotonic() - started, float(cpu), int(peak) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--problems", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_samples(folder / "samples.jsonl", arguments.samples, arguments.problems)
        size = (folder / "samples.jsonl").stat().st_size
        found: dict[str, Any] = {"samples": arguments.samples, "file_mb": round(size / 1e6)}
        seconds, cpu, peak = measured("import", folder / "samples.jsonl", "--out", folder / "run", "--json")
        found |= {
            "import_s": round(seconds, 1),
            "import_cpu_s": round(cpu, 1),
            "import_peak_mb": round(peak),
            "import_samples_per_s": round(arguments.samples / seconds),
        }
        for kind in ("jsonl", "parquet"):
            seconds, cpu, peak = measured(
                "export", folder / "run", "--format", kind, "-o", folder / f"out.{kind}", "--json"
            )
            found |= {
                f"export_{kind}_s": round(seconds, 1),
                f"export_{kind}_cpu_s": round(cpu, 1),
                f"export_{kind}_peak_mb": round(peak),
            }
        found["export_peak_mb"] = max(found["export_jsonl_peak_mb"], found["export_parquet_peak_mb"])
        found["self_peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    finish("transfer", {"limits": LIMITS, **found}, [name for name, limit in LIMITS.items() if found[name] > limit])


if __name__ == "__main__":
    main()

"""Small things that several tests need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).resolve().parent.parent / "src"


def write_problems(path: Path, count: int) -> Path:
    """A JSONL task with `count` problems q0, q1, ..."""
    rows = [{"id": f"q{i}", "prompt": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(*arguments: object) -> list[str]:
    """argv of the `vervet` command in this interpreter."""
    return [sys.executable, "-c", "from vervet.cli.main import main; main()", *map(str, arguments)]


def vervet(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own and wait for it."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(SRC), **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def served(run: Path) -> dict[tuple[str, int], list[int]]:
    """(problem, index) -> seeds with which the fake model served it, from its own log."""
    out: dict[tuple[str, int], list[int]] = {}
    for line in (run / "fake-requests.log").read_text().splitlines():
        row = json.loads(line)
        for j in range(row["n"]):
            out.setdefault((row["problem"], row["first"] + j), []).append(row["seed"])
    return out

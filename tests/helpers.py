"""Small things that several tests need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vervet.cli.main import execute

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


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """Run a command that must be refused with `code`; returns its one line."""
    capsys.readouterr()
    assert execute([str(a) for a in arguments]) == code
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("vervet: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    assert out == ""
    return lines[0]

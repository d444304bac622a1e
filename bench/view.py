"""The viewer and the report over a run of a million samples, measured from outside.

    python bench/view.py [--samples 1000000] [--problems 100] [--run FOLDER]

Samples are windows of real text, as in bench/ledger.py, 1,024 characters each. The viewer is a process of its own; "first page"
is the run's page, asked for as soon as the address is printed, until its last byte; "counted" the time until it shows numbers;
then every problem's page, a sample's page, and memory at its peak. Limits: first page in under 1 s, counted in under 3 s, any
problem in under 0.5 s, memory under 500 MB; report in under 10 s and under 3 MB.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from _common import finish, spread

from ledger import CHARS, VERVET, corpus

LIMITS = {
    "first_page_s": 1.0,
    "counted_s": 3.0,
    "problem_s_max": 0.5,
    "memory_mb": 500,
    "report_s": 10.0,
    "report_mb": 3.0,
}


def make(samples: int, problems: int, folder: Path) -> Path:
    """A finished run of that size."""
    task = folder / "problems.jsonl"
    rows = [{"id": f"q{i}", "prompt": f"{i}?", "answer": str(i)} for i in range(problems)]
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = [
        "run",
        task,
        "-m",
        "fake/beta=0.3,3",
        "-n",
        samples // problems,
        "--seed",
        1,
        "--out",
        folder / "run",
        "--json",
    ]
    line += ["-M", f"corpus={corpus('prose', folder)}", "-M", f"chars={CHARS}", "-M", "log=false"]
    subprocess.run([*VERVET, *map(str, line)], check=True, stdout=subprocess.DEVNULL)
    return folder / "run"


class Client:
    """One connection to the viewer; every answer is timed."""

    def __init__(self, address: str) -> None:
        port = int(re.search(r":(\d+)/", address).group(1))  # type: ignore[union-attr]
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._cookie = ""
        reply, _, _ = self.get("/" + address.rpartition("/")[2])
        self._cookie = reply.headers["Set-Cookie"].partition(";")[0]

    def get(self, path: str) -> tuple[http.client.HTTPResponse, str, float]:
        started = time.perf_counter()
        self._connection.request("GET", path, headers={"Cookie": self._cookie})
        reply = self._connection.getresponse()
        text = reply.read().decode()
        return reply, text, time.perf_counter() - started


def peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024  # type: ignore[union-attr]


def view(run: Path) -> dict[str, Any]:
    """One life of a viewer."""
    with subprocess.Popen([*VERVET, "view", str(run)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        client = Client(process.stdout.readline().strip())
        begun = time.perf_counter()
        name = quote(run.name)
        _, page, first = client.get(f"/run/{name}")
        while "<progress" not in page and "distinct answers" not in page:
            time.sleep(0.05)
            _, page, _ = client.get(f"/run/{name}")
        counted = time.perf_counter() - begun
        while "curves" not in page:
            time.sleep(0.05)
            _, page, _ = client.get(f"/run/{name}")
        drawn = time.perf_counter() - begun
        _, listed, _ = client.get(f"/run/{name}/problems")
        links = [link.replace("&amp;", "&") for link in re.findall(r'href="(/run/[^"]+/problem\?id=[^"]+)"', listed)]
        problems = [client.get(link)[2] for link in links]
        sample = [client.get(link.replace("/problem?id=", "/sample?index=7&problem="))[2] for link in links[:20]]
        search = client.get(f"/run/{name}/search?q=no+such+words+anywhere")[2]
        facts = {
            "first_page_s": round(first, 3),
            "counted_s": round(counted, 3),
            "drawn_s": round(drawn, 3),
            **spread(problems, "problem_s"),
            **spread(sample, "sample_s"),
            "search_s": round(search, 3),
            "memory_mb": round(peak_mb(process.pid)),
        }
        process.terminate()
    return facts


def report(run: Path, folder: Path) -> dict[str, Any]:
    out = folder / "report.html"
    walls, cpus = [], []
    for _ in range(3):
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*VERVET, "report", str(run), "-o", str(out)], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        walls.append(time.perf_counter() - started)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    size = round(out.stat().st_size / 1e6, 3)
    return {"report_s": round(min(walls), 2), "report_cpu_s": round(min(cpus), 2), "report_mb": size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--run", type=Path, help="A run that is there already, instead of making one.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = arguments.run or make(arguments.samples, arguments.problems, folder)
        # the first life fills the file system's cache, as the run that was just written has done
        lives = [view(run) for _ in range(3)]
        results = min(lives[1:], key=lambda life: life["first_page_s"]) | report(run, folder)
    missed = [f"{key} is {results[key]}, limit {limit}" for key, limit in LIMITS.items() if results[key] > limit]
    finish("view", {"limits": LIMITS, **results}, missed)


if __name__ == "__main__":
    main()

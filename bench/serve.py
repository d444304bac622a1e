"""`vervet serve` under 200 clients at once for a minute: every request is answered, and with its own answer.

    python bench/serve.py [--clients 200] [--seconds 60]

The upstream is the test server, which echoes a mark of each prompt after 50 ms; two of three requests are plain, one is a
stream; each asks for a majority of two. Reported: requests answered, lost and mixed up, requests a second, and the latency at
the median and the 99th percentile. Limits: nothing lost and nothing mixed up. Needs the extra `serve`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from _common import finish

from vervet.testing.server import Server

COMMAND = [sys.executable, "-c", "from vervet.cli.main import main; main()", "serve"]


def echo(prompt: str, _: random.Random) -> str:
    return f"<{prompt}>"


async def crowd(url: str, clients: int, seconds: float) -> dict[str, Any]:
    until = time.monotonic() + seconds
    took: list[float] = []
    lost: list[str] = []
    mixed: list[str] = []

    async def one(number: int, session: aiohttp.ClientSession) -> None:
        turn = 0
        while time.monotonic() < until:
            mark = f"client-{number}-turn-{turn}"
            ask = {"model": "majority-2:openai/m", "messages": [{"role": "user", "content": mark}]}
            began = time.monotonic()
            try:
                async with session.post(f"{url}/chat/completions", json=ask | {"stream": turn % 3 == 2}) as reply:
                    raw, status = await reply.read(), reply.status
            except (aiohttp.ClientError, TimeoutError) as error:
                lost.append(f"{mark}: {error!r}")
                continue
            finally:
                turn += 1
            took.append(time.monotonic() - began)
            if status != 200:
                lost.append(f"{mark}: {status} {raw[:200]!r}")
            elif text(raw) != f"<{mark}>":
                mixed.append(f"{mark}: {text(raw)!r}")

    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        began = time.monotonic()
        await asyncio.gather(*(one(i, session) for i in range(clients)))
        wall = time.monotonic() - began
    return {
        "clients": clients,
        "seconds": round(wall, 1),
        "answered": len(took),
        "lost": lost[:5],
        "mixed": mixed[:5],
        "per_second": round(len(took) / wall, 1),
        "latency_median_s": round(statistics.median(took), 3),
        "latency_99_s": round(sorted(took)[int(0.99 * len(took))], 3),
    }


def text(raw: bytes) -> str:
    """The content of a whole reply, or of a stream's events."""
    if raw.startswith(b"{"):
        return str(orjson.loads(raw)["choices"][0]["message"]["content"])
    found = [orjson.loads(line) for line in re.findall(rb"^data: (\{.*\})$", raw, re.MULTILINE)]
    return "".join(event["choices"][0]["delta"].get("content", "") for event in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Server(answer=echo, latency_s=0.05) as upstream:
        line = [
            *COMMAND,
            "--port",
            "0",
            "-m",
            "openai/m",
            "--base-url",
            upstream.url,
            "--store",
            str(Path(folder, "x")),
        ]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            result = asyncio.run(crowd(process.stdout.readline().strip(), said.clients, said.seconds))
            process.terminate()
            result["exit_code"] = process.wait(120)
    missed = [f"{name}: {result[name][0]}" for name in ("lost", "mixed") if result[name]]
    missed += [] if result["exit_code"] == 0 else [f"SIGTERM ended it with {result['exit_code']}"]
    finish("serve", {"serve": result}, missed)


if __name__ == "__main__":
    main()

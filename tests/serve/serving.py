"""A `vervet serve` process for tests, in front of the misbehaving test server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.helpers import SRC, command

KEYS = {"ONE_KEY": "one-" + "1" * 20, "TWO_KEY": "two-" + "2" * 20}


@dataclass
class Serving:
    """A running server."""

    url: str
    process: subprocess.Popen[str]
    folder: Path

    def request(
        self, body: Any = None, path: str = "/v1/chat/completions", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body)"""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        asked = urllib.request.Request(self.url.removesuffix("/v1") + path, data, sent)
        try:
            with urllib.request.urlopen(asked, timeout=60) as reply:
                return reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()

    def chat(self, content: str, model: str = "openai/m", **more: Any) -> tuple[int, dict[str, str], dict[str, Any]]:
        status, headers, raw = self.request(
            {"model": model, "messages": [{"role": "user", "content": content}], **more}
        )
        return status, headers, json.loads(raw)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


SUMS = """
[verifiers.sums]
verifier = "exact"
answer = "last-line"
"""


def model(name: str, upstream: str) -> str:
    """A model's part of the file."""
    return f"""
[[models]]
name = "{name}"
base_url = ["{upstream}"]
price_in = 1.0
price_out = 2.0
[models.options]
timeout = 20
patience = 1
pause = 0.05
"""


def config(upstream: str, more: str = "") -> str:
    """The file of a server with one model that behaves."""
    return model("openai/m", upstream) + SUMS + more


@contextlib.contextmanager
def serving(folder: Path, settings: str, *arguments: str) -> Iterator[Serving]:
    """Starts on a free port; ends with the block whatever happens in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "serve.toml").write_text(settings)
    with (folder / "stderr.txt").open("w") as stderr:
        process = _start(folder, stderr, arguments)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url, (folder / "stderr.txt").read_text()
        yield Serving(url, process, folder)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()


def _start(folder: Path, stderr: IO[str], arguments: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("serve", "-c", "serve.toml", "--port", "0", *arguments),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SRC), "OPENAI_API_KEY": "upstream-key-12345678", **KEYS},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )

"""Data sets by public id: the real hub library against a local server that speaks the hub's protocol."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import importlib.util
import json
import threading
from pathlib import Path

import pytest

from tests.helpers import vervet

if importlib.util.find_spec("huggingface_hub") is None or importlib.util.find_spec("pyarrow") is None:
    pytest.skip("needs the hub library (vervet[hub])", allow_module_level=True)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def parquet(rows):
    import io

    import pyarrow
    from pyarrow import parquet as format_

    sink = io.BytesIO()
    format_.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


FILES = {
    "README.md": b"a card",
    "main/test-00000-of-00001.parquet": parquet([{"question": f"q{i}?", "answer": f"So\n#### {i}"} for i in range(5)]),
    "main/train-00000-of-00001.parquet": parquet([{"question": f"t{i}?", "answer": f"So\n#### {i}"} for i in range(9)]),
}


class Hub(http.server.BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012  one server a test

    def do_HEAD(self):
        self.reply(False)

    def do_GET(self):
        self.reply(True)

    def reply(self, body):
        path = self.path.partition("?")[0]
        type(self).asked.append(path)
        name = path.partition(f"/resolve/{COMMIT}/")[2]
        if path.startswith("/api/datasets/openai/gsm8k/tree/"):
            return self.send(
                json.dumps([self.entry(n) for n in FILES]).encode(), {"Content-Type": "application/json"}, body
            )
        if path in {"/api/datasets/openai/gsm8k", f"/api/datasets/openai/gsm8k/revision/{COMMIT}"} or path.endswith(
            "/main"
        ):
            info = {
                "id": "openai/gsm8k",
                "sha": COMMIT,
                "siblings": [{"rfilename": n} for n in FILES],
                "private": False,
            }
            return self.send(
                json.dumps(info | {"tags": [], "downloads": 0}).encode(), {"Content-Type": "application/json"}, body
            )
        if name in FILES:
            tag = hashlib.sha256(FILES[name]).hexdigest()
            return self.send(FILES[name], {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}, body)
        self.send_response(404)
        self.end_headers()
        return None

    def entry(self, name):
        return {"type": "file", "path": name, "size": len(FILES[name]), "oid": hashlib.sha1(FILES[name]).hexdigest()}

    def send(self, data, headers, body):
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    Hub.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with contextlib.ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        yield f"http://127.0.0.1:{server.server_address[1]}"


def environment(address: str, home: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
    }


def test_gsm8k_by_its_public_id_then_without_the_hub(hub, tmp_path):
    """The test split only is fetched, its commit is the data's revision, and the cache does without the network."""
    env = environment(hub, tmp_path / "home")
    first = vervet("tasks", "gsm8k", "--json", **env)
    assert first.returncode == 0, first.stderr
    shown = json.loads(first.stdout)
    assert (shown["problems"], shown["first_problem"]) == (5, "GSM8K/0")
    assert shown["data"] == f"openai/gsm8k {COMMIT}"
    fetched = {path.rpartition("/")[2] for path in Hub.asked if "/resolve/" in path}
    assert fetched == {"test-00000-of-00001.parquet"}
    offline = vervet("tasks", "gsm8k", "--json", **env, HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    assert json.loads(offline.stdout)["data"] == shown["data"]


def test_a_hub_out_of_reach_is_one_line_with_exit_code_6(tmp_path):
    env = environment("http://127.0.0.1:9", tmp_path / "home")
    done = vervet("tasks", "gsm8k", **env)
    assert done.returncode == 6, done.stderr
    assert "-T path=FILE" in done.stderr
    assert "Traceback" not in done.stderr

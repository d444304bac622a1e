"""Two real llama.cpp servers with the same real model, one that honours `n` and one that ignores it: runs end right on both.

xllamacpp brings llama.cpp's own HTTP server; cyllama's reads no `n`. Each runs in a process of its own, as a user's would.
cyllama (0.2.18) never clears its context, so that from the second request on it answers with nothing, as if that were an
answer. That is a test of its own; for the others its context is cleared before each request, which is all that is changed.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import vervet
from tests.helpers import write_problems
from vervet import fetch
from vervet.cli.main import execute
from vervet.errors import ServiceError, UserError
from vervet.samplers._models import catalogue

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(300)]

MODEL = "sglang/m"
# its seeds are 31 bits wide: on a wider one cyllama fails, and answers with nothing there too

HONOURS = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
params.n_ctx, params.n_parallel, params.kv_unified = 4096, 4, True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.verbosity, params.warmup = 0, False
server = xllamacpp.Server(params)
sys.stdin.read()
"""
IGNORES = """
import sys
from cyllama.llama.server.python import PythonServer, ServerConfig, ServerSlot
answer = ServerSlot.process_and_generate

def cleared(slot, *args, **kwargs):
    slot.context.kv_cache_clear()
    return answer(slot, *args, **kwargs)

if sys.argv[3] == "mended":
    ServerSlot.process_and_generate = cleared
with PythonServer(ServerConfig(model_path=sys.argv[1], host="127.0.0.1", port=int(sys.argv[2]), n_ctx=2048, n_parallel=1)):
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return fetch.cached(catalogue()["smollm2-135m"].part)
    except ServiceError as error:
        pytest.skip(str(error))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def ready(url: str) -> bool:
    """Whether a server has loaded its model and answers."""
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}).encode()
    asked = urllib.request.Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=20) as response:
            return bool(json.load(response).get("choices"))
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def serving(line: list[str], port: int) -> Iterator[str]:
    """A server in a process of its own; gives its base URL once it answers."""
    url = f"http://127.0.0.1:{port}/v1"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(line, stdin=subprocess.PIPE, **quiet) as process:
        try:
            deadline = time.monotonic() + 90
            while not ready(url):
                assert process.poll() is None, f"the server ended with {process.returncode}"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.2)
            yield url
        finally:
            process.kill()


@pytest.fixture
def honours_n(model: Path) -> Iterator[str]:
    pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
    port = free_port()
    with serving([sys.executable, "-c", HONOURS, str(model), str(port)], port) as url:
        yield url


@contextlib.contextmanager
def cyllama(model: Path, how: str) -> Iterator[str]:
    home = fetch.cache_dir() / "servers" / "cyllama"
    if not (home / "complete").exists():
        pytest.skip("no cyllama server: scripts/setup-all makes its environment")
    port = free_port()
    with serving([str(home / "bin" / "python"), "-c", IGNORES, str(model), str(port), how], port) as url:
        yield url


def probed(url: str, capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, object]:
    """What `vervet probe --json` says about one server."""
    capsys.readouterr()
    assert execute(["probe", MODEL, "--base-url", url, "--json"]) == code
    (found,) = json.loads(capsys.readouterr().out)["servers"]
    return found


def finished(url: str, folder: Path, n: int) -> vervet.Run:
    """A whole run: two problems, n samples each, with what was found out at its start."""
    task = write_problems(folder / "t.jsonl", 2)
    run = vervet.run(
        str(task),
        model=MODEL,
        n=n,
        out=folder / "r",
        base_url=(url,),
        max_tokens=12,
        temperature=1.2,
        max_in_flight=2,
        seed=4,
    )
    facts = run.to_dict()
    assert (facts["samples"], facts["missing"], facts["pending"], facts["unknown"]) == (2 * n, 0, 0, 0)
    texts = [s.text for p in run.problem_ids() for s in run.samples(p)]
    assert len(texts) == 2 * n
    # false alarm: n texts of up to 12 tokens at temperature 1.2 that all coincide
    assert len(set(texts)) > 2
    return run


def test_a_server_that_honours_n(honours_n: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = probed(honours_n, capsys)
    assert found["n_honoured"] == "yes"
    assert found["max_n"] == 2  # of 2, 8, 32, 128: llama.cpp refuses more than its 4 slots
    with finished(honours_n, tmp_path, 4) as run:
        assert run.ledger.meta("probe")["n_honoured"] == "yes"
        assert run.ledger.db.execute("SELECT count(*) FROM requests").fetchone() == (2,)


def test_a_server_that_ignores_n(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with cyllama(model, "mended") as url:
        # without a seed it takes the same one for every request, which is no drawing: exit code 5
        found = probed(url, capsys, code=5)
        assert (found["n_honoured"], found["max_n"], found["draws_differ"]) == ("no", 1, "no")
        with finished(url, tmp_path, 4) as run:
            assert run.ledger.meta("probe")["n_honoured"] == "no"
            assert any("whatever n says" in notice for notice in run.notices)


def test_a_server_that_answers_with_nothing_is_refused(model: Path, tmp_path: Path) -> None:
    task = write_problems(tmp_path / "t.jsonl", 2)
    with cyllama(model, "as it is") as url, pytest.raises(UserError, match="answers with nothing, not one token"):
        vervet.run(str(task), model=MODEL, n=4, out=tmp_path / "r", base_url=(url,), seed=4)

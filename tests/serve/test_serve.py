"""What clients see of `vervet serve`: replies, streams, errors, limits, and an end that loses nobody."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.serving import KEYS, SUMS, Serving, config, model, serving
from vervet import api
from vervet.cli.main import execute
from vervet.testing.server import Server

pytest.importorskip("starlette", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")


def echo(prompt: str, dice: random.Random) -> str:
    """Whatever the prompt marks, and nothing of any other prompt; an answer that is right one time in three."""
    return f"I read <{prompt}>.\n{'right' if dice.random() < 1 / 3 else 'wrong'}"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Server]:
    with Server(answer=echo, seed=4) as server:
        yield server


@pytest.fixture(scope="module")
def behind(upstream: Server) -> Iterator[dict[str, Server]]:
    """Models by name, most of which fail in a way of their own; one has gone already."""
    with Server(model="away") as away:
        pass
    with (
        Server(model="broken", faults={"500": 1.0}) as broken,
        Server(model="locked", key="right-key") as locked,
        Server(model="small", context=20) as small,
    ):
        yield {
            "openai/m": upstream,
            "vllm/broken": broken,
            "vllm/locked": locked,
            "vllm/small": small,
            "vllm/away": away,
        }


@pytest.fixture(scope="module")
def served(behind: dict[str, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    settings = "".join(model(name, server.url) for name, server in behind.items()) + SUMS
    with serving(tmp_path_factory.mktemp("serve"), settings, "--no-store") as found:
        yield found
        assert not (found.folder / "exchanges").exists()


def events(raw: bytes) -> list[dict[str, Any]]:
    """The events of a stream, which has to end as OpenAI's do."""
    lines = [line.removeprefix(b"data: ") for line in raw.split(b"\n\n") if line.startswith(b"data: ")]
    assert lines[-1] == b"[DONE]"
    return [json.loads(line) for line in lines[:-1]]


# ------------------------------------------------------------------------------------------- replies


def test_a_reply_says_how_it_was_found(served: Serving) -> None:
    """One right sample in three: 64 wrong ones in a row have a chance of 5e-12."""
    ask = {"model": "verified-64:openai/m", "vervet": {"verifier": "sums", "reference": "right"}}
    status, headers, body = served.chat("mark-1", **ask)
    assert status == 200
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"] == "I read <mark-1>.\nright"
    ours = body["usage"]["vervet"]
    assert (ours["outcome"], ours["verified"], headers["x-vervet-outcome"]) == ("PASS", True, "PASS")
    assert int(headers["x-vervet-k"]) == ours["k"] <= 64
    used = body["usage"]
    assert ours["usd"] == pytest.approx((used["prompt_tokens"] + 2 * used["completion_tokens"]) / 1e6)


def test_what_nothing_accepts_is_not_called_verified(served: Serving) -> None:
    ask = {"model": "verified-6:openai/m", "vervet": {"verifier": "sums", "reference": "neither"}}
    status, headers, body = served.chat("mark-2", **ask)
    assert status == 200
    assert (headers["x-vervet-outcome"], headers["x-vervet-verified"]) == ("FAIL", "false")
    assert body["usage"]["vervet"]["k"] == 6
    assert "neither" not in json.dumps(body), "a reference goes to no model and comes back to nobody"


def test_majority_says_how_many_agree(served: Serving) -> None:
    status, headers, body = served.chat("mark-3", "majority-16:openai/m")
    assert status == 200
    assert (headers["x-vervet-k"], headers["x-vervet-outcome"]) == ("16", "unverified")
    assert 0.5 <= body["usage"]["vervet"]["agreement"] <= 1


def test_a_stream_holds_the_same_as_a_whole_reply(served: Serving) -> None:
    ask = {"model": "majority-4:openai/m", "stream": True, "stream_options": {"include_usage": True}}
    ask["messages"] = [{"role": "user", "content": [{"type": "text", "text": "mark-4"}]}]
    status, headers, raw = served.request(ask)
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    assert headers["x-vervet-k"] == "4"
    found = events(raw)
    text = "".join(e["choices"][0]["delta"].get("content", "") for e in found if e["choices"])
    assert text.startswith("I read <mark-4>.\n")
    assert [e["choices"][0]["finish_reason"] for e in found if e["choices"]][-1] == "stop"
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["vervet"]["k"] == 4


def test_curl_talks_to_it(served: Serving) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    body = json.dumps({"model": "openai/m", "messages": [{"role": "user", "content": "mark-5"}], "stream": True})
    line = ["curl", "-sSN", f"{served.url}/chat/completions", "-H", "Content-Type: application/json", "-d", body]
    out = subprocess.run(line, capture_output=True, timeout=60, check=True).stdout
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events(out)).startswith("I read <mark-5>")


def test_the_unmodified_openai_client_talks_to_it(served: Serving) -> None:
    openai = pytest.importorskip("openai", reason="the openai client is not installed")
    with openai.OpenAI(base_url=served.url, api_key="any", max_retries=0) as client:
        ours = {"vervet": {"verifier": "sums", "reference": "right"}}
        messages = [{"role": "user", "content": "mark-6"}]
        made = client.chat.completions.create(model="verified-64:openai/m", messages=messages, extra_body=ours)
        assert made.choices[0].message.content == "I read <mark-6>.\nright"
        assert made.usage.vervet["outcome"] == "PASS"
        stream = client.chat.completions.create(model="openai/m", messages=messages, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in stream).startswith("I read <mark-6>")
        assert "verified-16:openai/m" in [m.id for m in client.models.list()]
        with pytest.raises(openai.NotFoundError, match="does not exist here"):
            client.chat.completions.create(model="openai/other", messages=messages)
        with pytest.raises(openai.BadRequestError, match="tools"):
            client.chat.completions.create(model="openai/m", messages=messages, tools=[{"type": "function"}])


def test_health_and_metrics(served: Serving) -> None:
    assert json.loads(served.request(None, "/health")[2])["status"] == "ok"
    served.chat("secret-marker")
    text = served.request(None, "/metrics")[2].decode()
    assert 'vervet_requests_total{status="200",strategy="first"}' in text
    assert "secret-marker" not in text
    for line in text.splitlines():
        assert line.startswith("# ") or len(line.rsplit(" ", 1)) == 2


# ------------------------------------------------------------------------------------------- many at once


async def _crowd(url: str, clients: int, seconds: float, each: int) -> tuple[int, list[str]]:
    """Requests answered, and what was wrong with any of them. Every client has marks of its own."""
    import aiohttp

    wrong: list[str] = []
    answered = 0
    until = time.monotonic() + seconds

    async def one(number: int, session: aiohttp.ClientSession) -> None:
        nonlocal answered
        turn = 0
        while turn < each or time.monotonic() < until:
            mark, stream = f"client-{number}-turn-{turn}", turn % 2 == 1
            body = {"model": "majority-2:openai/m", "messages": [{"role": "user", "content": mark}], "stream": stream}
            async with session.post(f"{url}/chat/completions", json=body) as reply:
                raw = await reply.read()
            if reply.status != 200:
                wrong.append(f"{mark}: {reply.status} {raw[:200]!r}")
            elif stream:
                text = "".join(e["choices"][0]["delta"].get("content", "") for e in events(raw))
            else:
                text = json.loads(raw)["choices"][0]["message"]["content"]
            if reply.status == 200 and not text.startswith(f"I read <{mark}>.\n"):
                wrong.append(f"{mark}: {text!r}")
            answered += 1
            turn += 1

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await asyncio.gather(*(one(i, session) for i in range(clients)))
    return answered, wrong


def test_many_clients_lose_nothing_and_mix_nothing(served: Serving, upstream: Server) -> None:
    answered, wrong = asyncio.run(_crowd(served.url, clients=60, seconds=0, each=2))
    assert not wrong
    assert answered == 120


@pytest.mark.slow
def test_two_hundred_clients_lose_nothing_and_mix_nothing(served: Serving) -> None:
    """bench/serve.py does this for a minute."""
    answered, wrong = asyncio.run(_crowd(served.url, clients=200, seconds=8, each=1))
    assert not wrong
    assert answered >= 200


# ------------------------------------------------------------------------------------------- refusals


HELLO = {"model": "openai/m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        ([], 400, "object"),
        ({}, 400, "model"),
        (HELLO | {"model": "openai/other"}, 404, "does not exist"),
        (HELLO | {"model": "majority-0:openai/m"}, 400, "1 to 64"),
        (HELLO | {"model": "majority-65:openai/m"}, 400, "1 to 64"),
        (HELLO | {"model": "command/x"}, 404, "does not exist"),
        (HELLO | {"model": "os:system/x"}, 404, "does not exist"),
        (HELLO | {"messages": []}, 400, "messages"),
        (HELLO | {"messages": [{"role": "tool", "content": "x"}]}, 400, "role"),
        (HELLO | {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "only text"),
        (HELLO | {"messages": [{"role": "user"}]}, 400, "content"),
        (HELLO | {"n": 2}, 400, "n must be 1"),
        (HELLO | {"tools": [{}]}, 400, "tools"),
        (HELLO | {"temperature": 3}, 400, "temperature"),
        (HELLO | {"temperature": "hot"}, 400, "temperature"),
        (HELLO | {"temperature": 0, "model": "majority-4:openai/m"}, 400, "temperature 0"),
        (HELLO | {"max_tokens": 0}, 400, "max_tokens"),
        (HELLO | {"max_tokens": 10**9}, 400, "max_tokens"),
        (HELLO | {"stop": ["x"] * 9}, 400, "stop"),
        (HELLO | {"stream": 1}, 400, "stream"),
        (HELLO | {"response_format": {"type": "json_object"}}, 400, "response_format"),
        (HELLO | {"model": "best-of-4:openai/m"}, 400, "scorer"),
        (HELLO | {"model": "verified-4:openai/m"}, 400, "which verifier"),
        (HELLO | {"vervet": {"verifier": "os:system"}}, 400, "not one of this server's"),
        (HELLO | {"vervet": {"verifier": "command"}}, 400, "not one of this server's"),
        (HELLO | {"vervet": {"command": "id"}}, 400, "unknown"),
        (HELLO | {"model": "verified-4:openai/m", "vervet": {"verifier": "sums"}}, 400, "does not suit"),
        (HELLO | {"vervet": {"answer": "all"}}, 400, "answer"),
    ],
)
def test_what_is_wrong_is_refused_in_openais_shape(served: Serving, body: Any, status: int, says: str) -> None:
    got, _, raw = served.request(body)
    error = json.loads(raw)["error"]
    assert got == status
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"
    assert set(error) == {"message", "type", "param", "code"}


def test_an_oversized_body_is_refused(served: Serving) -> None:
    status, _, raw = served.request(HELLO | {"user": "x" * (1 << 20)})
    assert status == 413
    assert "bytes" in json.loads(raw)["error"]["message"]


def test_other_content_paths_and_methods(served: Serving) -> None:
    assert served.request(b"{}", content_type="text/plain")[0] == 415
    assert served.request(None, "/v1/chat/completions")[0] == 405
    assert served.request(None, "/v1/nothing")[0] == 404


def test_web_pages_and_foreign_names_are_refused_without_keys(served: Serving) -> None:
    assert served.request(HELLO, origin="http://evil.example")[0] == 403
    assert served.request(HELLO, host="evil.example")[0] == 403


# ------------------------------------------------------------------------------------------- faults behind it


def test_faults_of_the_model_have_openais_shape(served: Serving, behind: dict[str, Server]) -> None:
    """An error is an error in a stream too; nothing of the operator's comes out: no address and no key."""
    for name, content, status, kind in (
        ("vllm/broken", "hello", 502, "server_error"),
        ("vllm/locked", "hello", 502, "server_error"),
        ("vllm/small", "hello " * 20, 400, "invalid_request_error"),
        ("vllm/small", "hello", 200, ""),
    ):
        got, _, body = served.chat(content, name)
        assert got == status
        if status != 200:
            streamed, _, other = served.chat(content, name, stream=True)
            assert (streamed, other) == (status, body)
            assert body["error"]["type"] == kind
            assert behind[name].url not in json.dumps(body)
            assert "upstream-key" not in json.dumps(body)


def test_a_model_that_comes_back_is_used_again(served: Serving, behind: dict[str, Server]) -> None:
    port = behind["vllm/away"].port
    assert served.chat("What is 1 + 1?", "vllm/away")[0] == 502
    with Server(port=port, model="away"):
        assert served.chat("What is 1 + 1?", "vllm/away")[0] == 200


# ------------------------------------------------------------------------------------------- clients


def test_keys_limits_and_what_is_kept_of_whom(upstream: Server, tmp_path: Path) -> None:
    more = """
[clients.one]
key_env = "ONE_KEY"
per_minute = 2
[clients.two]
key_env = "TWO_KEY"
"""
    with serving(tmp_path, config(upstream.url, more)) as found:
        one, two = (f"Bearer {KEYS[name]}" for name in ("ONE_KEY", "TWO_KEY"))
        for path in ("/v1/models", "/metrics"):
            assert found.request(None, path)[0] == 401
            assert found.request(None, path, authorization=two)[0] == 200
        for said in ("", "Bearer x", KEYS["ONE_KEY"], f"Basic {KEYS['ONE_KEY']}"):
            assert found.request(HELLO, authorization=said)[0] == 401
        assert [found.request(HELLO, authorization=one)[0] for _ in range(3)] == [200, 200, 429]
        status, headers, raw = found.request(HELLO, authorization=one)
        assert (status, json.loads(raw)["error"]["type"]) == (429, "rate_limit_error")
        assert 0 < int(headers["retry-after"]) <= 60
        assert found.request(HELLO, authorization=two)[0] == 200
        assert found.stop() == 0
    [run] = (tmp_path / "exchanges").iterdir()
    assert api.check_ledger(run)["faults"] == []
    with api.open_run(run) as kept:
        who = [kept.problem(p)[0].data["served"]["client"] for p in kept.problem_ids()]
        assert who == ["one", "one", "two"]
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert not any(key.encode() in file.read_bytes() for key in KEYS.values()), file


def test_sigterm_finishes_what_is_in_flight(tmp_path: Path) -> None:
    """One of the four is a stream that has begun with comments, so that nothing between here and there hangs up."""
    settings = "keepalive_s = 0.2\n"
    with Server(answer=echo, latency_s=1.5) as slow, serving(tmp_path, settings + config(slow.url)) as found:
        replies: list[int] = []
        streams: list[bytes] = []

        def stream() -> None:
            ask = {"model": "openai/m", "messages": [{"role": "user", "content": "mark-s"}], "stream": True}
            status, _, raw = found.request(ask)
            replies.append(status)
            streams.append(raw)

        threads = [threading.Thread(target=lambda i=i: replies.append(found.chat(f"mark-{i}")[0])) for i in range(3)]
        threads.append(threading.Thread(target=stream))
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 30
        while len(slow.served) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert found.stop() == 0
        for thread in threads:
            thread.join(30)
        assert replies == [200] * 4
        assert streams[0].startswith(b": working\n\n")
        assert "".join(e["choices"][0]["delta"].get("content", "") for e in events(streams[0])).startswith(
            "I read <mark-s>"
        )
    [run] = (tmp_path / "exchanges").iterdir()
    with api.open_run(run) as kept:
        assert len(kept.problem_ids()) == 4


def test_a_second_sigterm_refuses_what_is_in_flight(tmp_path: Path) -> None:
    """A whole reply becomes an error, a stream that has begun ends with one, and a half request is cut off."""
    settings = "keepalive_s = 0.2\n"
    with Server(answer=echo, latency_s=60) as slow, serving(tmp_path, settings + config(slow.url)) as found:
        replies: dict[bool, tuple[int, bytes]] = {}

        def ask(stream: bool) -> None:
            status, _, raw = found.request(HELLO | {"stream": stream})
            replies[stream] = status, raw

        threads = [threading.Thread(target=ask, args=(stream,)) for stream in (False, True)]
        for thread in threads:
            thread.start()
        port = int(found.url.removesuffix("/v1").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as half:
            half.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
            deadline = time.monotonic() + 60
            while json.loads(found.request(None, "/health")[2])["in_flight"] < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert json.loads(found.request(None, "/health")[2])["in_flight"] == 3
            found.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert found.process.poll() is None, "the first signal waits for everybody"
            assert found.stop() == 130
        for thread in threads:
            thread.join(30)
    status, raw = replies[False]
    assert (status, json.loads(raw)["error"]["code"]) == (503, "shutting_down")
    status, raw = replies[True]
    assert status == 200
    assert raw.startswith(b": working\n\n")
    assert b"shutting_down" in raw
    assert b"[DONE]" not in raw, "nobody takes it for a whole reply"
    said = (tmp_path / "stderr.txt").read_text()
    assert "Traceback" not in said
    assert "ended at the second signal: 3 requests were refused" in said


# ------------------------------------------------------------------------------------------- the operator


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        (["-m", "fake/p=1", "--host", "0.0.0.0"], "", "--open-to-anyone"),
        ([], "", "name a model"),
        (["-m", "nothing/x"], "", "unknown model provider"),
        (["-m", "fake/p=1", "--store", "x", "--no-store"], "", "--no-store"),
        (["-m", "fake/p=1"], "prot = 1", "no such setting"),
        (["-m", "fake/p=1"], "port = 99999", "port"),
        (["-m", "fake/p=1"], "nonsense", "not TOML"),
        (["-m", "fake/p=1"], '[verifiers.x]\nverifier = "nothing"', "unknown verifier"),
        (["-m", "fake/p=1"], "[clients.x]\nmax_in_flight = 3", "key_env"),
        (["-m", "fake/p=1", "--key-env", "NOT_SET"], "", "NOT_SET"),
    ],
)
def test_the_operators_mistakes_get_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    settings: str,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("serve.toml").write_text(settings)
    assert execute(["serve", "-c", "serve.toml", "--port", "0", *arguments]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1

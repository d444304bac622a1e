"""What a user may get wrong about a server is one clear line, and a key appears nowhere."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from tests.helpers import refused
from tests.samplers.http import ask, sampler
from vervet.cli.main import execute
from vervet.errors import BadOption, ServiceError, UserError
from vervet.protocols import SamplerSetup
from vervet.testing.server import Server, basic

# ---------------------------------------------------------------------------------------------------------------- misuse


@pytest.fixture
def line(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return ["run", str(task), "-n", "4", "--out", "r", "-M", "pause=0.02"]


def test_no_key(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    assert "openai needs a key: set OPENAI_API_KEY" in refused(capsys, 1, *line, "-m", "openai/gpt")


def test_a_wrong_key(capsys: pytest.CaptureFixture[str], line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(key="right") as server:
        line += ["-m", "openai/m", "--base-url", server.url]
        assert "asks for a key (HTTP 401): set OPENAI_API_KEY" in refused(capsys, 1, *line)
        monkeypatch.setenv("OPENAI_API_KEY", "wrong-sesame")
        said = refused(capsys, 1, *line)
        assert "refuses the key in OPENAI_API_KEY (HTTP 401)" in said
        assert "wrong-sesame" not in said
        monkeypatch.setenv("MY_KEY", "right")
        assert execute([*line, "-M", "key_env=MY_KEY"]) == 0


def test_an_unknown_model(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    with Server() as server:
        assert "has no model 'zzz'" in refused(capsys, 1, *line, "-m", "openai/zzz", "--base-url", server.url)


def test_a_wrong_url(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    with Server() as server:
        wrong = server.url.removesuffix("/v1")
        said = refused(capsys, 1, *line, "-m", "openai/m", "--base-url", wrong)
        assert "is no OpenAI-compatible API (HTTP 404" in said
        assert "/v1" in said


def test_no_server(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    began = time.monotonic()
    said = refused(capsys, 6, *line, "-m", "openai/m", "--base-url", f"http://127.0.0.1:{port}/v1", "-M", "patience=1")
    assert f"http://127.0.0.1:{port}/v1: cannot connect (Connection refused)" in said
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--base-url", "localhost:8000"], "write http://host:port/v1"),
        (["--base-url", "http://user:sesame@/v1"], "write http://host:port/v1"),
        (["-M", "max_n=0"], "max_n must be at least 1"),
        (["-M", "timeout=0"], "timeout"),
        (["-M", "extra=[1]"], "takes a JSON object"),
        (["-M", 'extra={"n": 3}'], "'n' is set by Vervet itself"),
        (["-M", 'headers={"Authorization": "Bearer sesame"}'], 'write "$NAME"'),
        (["-M", 'headers={"X": "$NOT_SET"}', "--base-url", "http://127.0.0.1:9/v1"], "NOT_SET, which is not set"),
    ],
)
def test_bad_options(capsys: pytest.CaptureFixture[str], line: list[str], arguments: list[str], says: str) -> None:
    said = refused(capsys, 1, *line, "-m", "openai/m", *arguments)
    assert says in said
    assert "sesame" not in said


def test_a_base_url_for_a_model_without_server(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    assert "--base-url" in refused(capsys, 1, *line, "-m", "fake/p=0.5", "--base-url", "http://127.0.0.1:1/v1")


def test_a_temperature_that_the_provider_would_lower_without_a_word() -> None:
    from vervet.samplers.openai import Anthropic

    with pytest.raises(UserError, match=r"anthropic takes --temperature 0 to 1, not 1\.5"):
        ask(Anthropic("claude", SamplerSetup()), temperature=1.5)


# --------------------------------------------------------------------------------------------------------------- no keys

CANARY = "canary-3f9d2c7be1a04c55"


def _everything_written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_key_appears_nowhere(
    tmp_path: Path,
    task: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the environment, in a URL's user-info and query, in a header, in an extra field: used, and never written or said."""
    caplog.set_level(1)
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "GATEWAY_KEY", "FIELD_KEY"):
        monkeypatch.setenv(name, f"{CANARY}-{name.lower()}")

    def run(*arguments: object) -> int:
        return execute([str(a) for a in arguments])

    options = [
        "-n",
        "3",
        "-v",
        "-M",
        'headers={"X-Gate":"$GATEWAY_KEY"}',
        "-M",
        'extra={"user":"$FIELD_KEY"}',
        "-M",
        "pause=0.02",
    ]
    with Server() as server:
        host = server.url.removeprefix("http://")
        url = f"http://me:{CANARY}-password@{host}?api-key={CANARY}-query"
        assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "a", *options, "--json") == 0
        served = server.served[0]
        assert served.headers["Authorization"] == basic("me", f"{CANARY}-password")
        assert served.headers["X-Gate"] == f"{CANARY}-gateway_key"
        assert served.body["user"] == f"{CANARY}-field_key"
        server.served.clear()
        assert run("run", task, "-m", "openai/m", "--base-url", server.url, "--out", "b", *options) == 0
        assert server.served[0].headers["Authorization"] == f"Bearer {CANARY}-openai_api_key"
        assert run("resume", "b", "-n", "5") == 0, "the keys are found again in the environment"
        assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "p", *options, "--dry-run") == 0
        priced = ["--price-in", "1", "--price-out", "1", "--budget-usd", "0.0001"]
        assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "q", *options, *priced) == 3
        # errors: the server sends the key back in its message
        server.key = "another"
        assert run("run", task, "-m", "openai/m", "--base-url", server.url, "--out", "c", *options) == 1
        assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "d", *options) == 1
        server.key, server.refuses = None, ["user"]
        assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "e", *options) == 1
    assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "f", *options, "-M", "patience=0.1") == 6
    assert (
        run("run", task, "-m", "openai/m", "--base-url", url.replace("127.0.0.1:", "[127:"), "--out", "g", *options)
        == 1
    )
    for literal in (f'headers={{"X-Gate":"{CANARY}"}}', f'extra={{"api_key":"{CANARY}"}}'):
        assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "h", "-M", literal) == 1
    for folder in ("a", "b"):
        assert run("coverage", folder, "--json") == 0
        assert run("show", folder) == 0
        assert run("report", folder, "-o", f"{folder}.html") == 0
        assert (tmp_path / f"{folder}.html").stat().st_size > 1000
    assert run("run", task, "-m", "openai/m", "--out", "a", "-n", "1") in (0, 1, 6)
    task.unlink()
    assert CANARY not in "".join(capfd.readouterr())
    assert CANARY not in caplog.text
    assert CANARY.encode() not in _everything_written(tmp_path)


def test_what_looks_like_a_key_is_refused_where_it_would_be_stored() -> None:
    for extra in ({"api_key": "x"}, {"metadata": {"token": "abc"}}, {"user": "sk-" + "a1" * 12}, {"x": "9f" * 16}):
        with pytest.raises(BadOption, match="looks like a key"):
            sampler("http://127.0.0.1:1/v1", extra=extra)
    harmless = {
        "max_tokens_per_image": 3,
        "stop_token_ids": [1],
        "repetition_penalty": 1.1,
        "guided_regex": "[a-z]+",
        "user": "me",
    }
    sampler("http://127.0.0.1:1/v1", extra=harmless)


def test_the_account_is_empty() -> None:
    from vervet.samplers._http_errors import Action, judge

    quota = b'{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}'
    assert judge(429, {}, quota).action is Action.MONEY
    assert judge(429, {}, b"{}").action is Action.SLOW_DOWN
    assert issubclass(ServiceError, Exception)


@pytest.mark.parametrize(
    ("status", "message", "action", "field"),
    [
        (400, "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.", "ADAPT",
         "max_tokens"),
        (400, "Unsupported value: 'temperature' does not support 0.7. Only the default (1) value is supported.", "ADAPT",
         "temperature"),
        (400, "`temperature` and `top_p` cannot both be specified for this model", "ADAPT", "temperature"),
        (400, "Invalid value for 'n': must be at most 8", "ADAPT", "n"),
        (400, "'max_tokens' is too large: 9000. This model's maximum context length is 4096 tokens", "REFUSE", ""),
        (400, "Please reduce the length of the messages", "REFUSE", ""),
        (400, "the request exceeds the available context size", "REFUSE", ""),
        (400, "The response was filtered due to the content management policy", "REFUSE", ""),
        (400, "something odd", "UNCLEAR", ""),
        (404, "The model `x` does not exist or you do not have access to it", "MODEL", ""),
        (404, "Not Found", "ADDRESS", ""),
        (405, "Method Not Allowed", "ADDRESS", ""),
        (401, "no", "KEY", ""),
        (403, "no", "KEY", ""),
        (402, "Insufficient Balance", "MONEY", ""),
        (500, "oops", "RETRY", ""),
        (529, "overloaded", "SLOW_DOWN", ""),
    ],
)  # fmt: skip
def test_what_servers_say(status: int, message: str, action: str, field: str) -> None:
    """Messages as OpenAI, vLLM, llama.cpp, Azure and DeepSeek word them."""
    from vervet.samplers._http_errors import judge

    found = judge(status, {}, json.dumps({"error": {"message": message}}).encode())
    assert (found.action.name, found.field) == (action, field)

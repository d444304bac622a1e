"""Whom each provider's name reaches and with which key; what a prompt becomes on the wire, and what an answer in the run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import vervet
from tests.helpers import write_problems
from vervet.errors import UserError
from vervet.plugins import resolve
from vervet.protocols import SamplerSetup
from vervet.samplers._providers import PROVIDERS
from vervet.testing.server import Server

QUICK = {"pause": 0.02, "timeout": 60, "probe": False}


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_problems(tmp_path / "q.jsonl", 6)


def go(server: Server, task: Path, out: Path, n: int, **options: Any) -> vervet.Run:
    """A run against one server."""
    model_options = QUICK | options.pop("model_options", {})
    return vervet.run(
        str(task), model="openai/m", n=n, out=out, base_url=(server.url,), model_options=model_options, **options
    )


@pytest.mark.parametrize(
    ("provider", "variable", "chat"),
    [
        ("openai", "OPENAI_API_KEY", "https://api.openai.com/v1/chat/completions"),
        ("anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com/v1/chat/completions"),
        ("google", "GEMINI_API_KEY", "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions"),
        ("together", "TOGETHER_API_KEY", "https://api.together.xyz/v1/chat/completions"),
        ("deepseek", "DEEPSEEK_API_KEY", "https://api.deepseek.com/v1/chat/completions"),
        ("openrouter", "OPENROUTER_API_KEY", "https://openrouter.ai/api/v1/chat/completions"),
        ("vllm", "VLLM_API_KEY", "http://127.0.0.1:8000/v1/chat/completions"),
        ("sglang", "SGLANG_API_KEY", "http://127.0.0.1:30000/v1/chat/completions"),
        ("ollama", "OLLAMA_API_KEY", "http://127.0.0.1:11434/v1/chat/completions"),
    ],
)
def test_each_provider_has_its_address_and_its_key_variable(
    provider: str, variable: str, chat: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-m provider/name` alone goes to that provider with the key from its usual variable; nothing is sent here."""
    for other in PROVIDERS.values():
        monkeypatch.delenv(other.key_variable, raising=False)
    for name in ("OPENAI_BASE_URL", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)

    async def reached() -> tuple[str, str | None]:
        model = resolve("samplers", provider)("m", SamplerSetup())
        try:
            client = model.client()
            return str(client.replicas[0].chat), client._session.headers.get("Authorization")
        finally:
            await model.aclose()

    if PROVIDERS[provider].key_needed:
        with pytest.raises(UserError, match=f"set {variable}"):
            asyncio.run(reached())
    else:
        assert asyncio.run(reached()) == (chat, None)
    monkeypatch.setenv(variable, "sesame")
    assert asyncio.run(reached()) == (chat, "Bearer sesame")


@pytest.mark.parametrize(("provider", "variable"), [("openai", "OPENAI_BASE_URL"), ("ollama", "OLLAMA_HOST")])
def test_the_address_that_other_tools_use_is_used_too(
    provider: str, variable: str, task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    with Server() as server:
        monkeypatch.setenv(variable, server.url if provider == "openai" else f"127.0.0.1:{server.port}")
        run = vervet.run(str(task), model=f"{provider}/m", n=1, out=tmp_path / "r", model_options=QUICK)
        assert run.counts().n.tolist() == [1] * 6
        assert server.paid() == 6


def test_a_system_message_reaches_the_server_as_one_and_a_raw_prompt_holds_its_text(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1 + 1?"}]
    task = tmp_path / "q.jsonl"
    task.write_text(json.dumps({"id": "q", "prompt": messages, "answer": "2"}))
    with Server() as server:
        go(server, task, tmp_path / "chat", 1)
        assert server.served[0].body["messages"] == messages
        go(server, task, tmp_path / "raw", 1, prompt_form="completion")
        assert server.served[1].body["prompt"] == "Be brief.\n\nWhat is 1 + 1?"
        assert "messages" not in server.served[1].body


def test_token_counts_cached_ones_too_and_finish_reasons_are_kept_in_the_run(tmp_path: Path, task: Path) -> None:
    """As the server gave them: the second request for a prompt finds it in the server's cache."""
    with Server() as server:
        run = go(server, task, tmp_path / "r", 2, model_options={"max_n": 1}, max_in_flight=1)
        rows = run.ledger.db.execute("SELECT prompt_tokens, cached_tokens, completion_tokens FROM requests").fetchall()
        assert rows == [(r.prompt_tokens, r.cached_tokens, r.completion_tokens) for r in server.served]
        assert any(cached for _, cached, _ in rows)
    assert {s.finish_reason for p in run.problem_ids() for s in run.samples(p)} == {"stop"}

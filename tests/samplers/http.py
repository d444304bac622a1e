"""Runs over, and single requests to, a real HTTP server that may misbehave."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import vervet
from vervet.protocols import SamplerSetup
from vervet.records import Message, Params, Reply, Request
from vervet.samplers.openai import OpenAI
from vervet.testing.server import Server

QUICK = {"pause": 0.02, "timeout": 20, "probe": False}


def go(server: Server, task: Path, out: Path, n: int, *, model: str = "openai/m", **options: Any) -> vervet.Run:
    """A run against one server."""
    model_options = QUICK | options.pop("model_options", {})
    return vervet.run(
        str(task), model=model, n=n, out=out, base_url=(server.url,), model_options=model_options, **options
    )


def texts(run: vervet.Run) -> list[str]:
    return [s.text for p in run.problem_ids() for s in run.samples(p)]


def sampler(
    *urls: str, name: str = "m", notices: list[str] | None = None, seeded: bool = False, **options: Any
) -> OpenAI:
    """A sampler without an engine."""
    notice = notices.append if notices is not None else None
    setup = SamplerSetup(base_urls=urls, notice=notice, send_seed=seeded)
    return OpenAI(name, setup, **(QUICK | options))


def ask(model: OpenAI, *, problem: str = "q", n: int = 1, first: int = 0, prompt: Any = None, **params: Any) -> Reply:
    """One request to a sampler, from start to end."""

    async def work() -> Reply:
        try:
            return await model.sample(wanted)
        finally:
            await model.aclose()

    prompt = (Message("user", "What is 2 + 1?"),) if prompt is None else prompt
    defaults: dict[str, Any] = {"temperature": 1.0, "top_p": None, "max_tokens": 64}
    wanted = Request(problem, prompt, Params(**(defaults | params)), first, n, run_seed=5)
    return asyncio.run(work())

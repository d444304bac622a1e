"""The openai package's asynchronous client, as its documentation shows it."""

from __future__ import annotations

import asyncio

import openai
from _measure import IN_FLIGHT, MAX_TOKENS, URL, N, drive, messages

try:
    # what the package is built on since its version 3
    import httpx2 as httpx
except ImportError:
    import httpx


async def main() -> None:
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    http = httpx.AsyncClient(limits=limits, timeout=600)
    async with openai.AsyncOpenAI(base_url=URL, api_key="none", http_client=http) as client:

        async def ask(problem: int) -> int:
            reply = await client.chat.completions.create(
                model="m", messages=messages(problem), temperature=1.0, max_tokens=MAX_TOKENS, n=N
            )
            return len([choice.message.content for choice in reply.choices])

        await drive(ask, version=openai.__version__)


asyncio.run(main())

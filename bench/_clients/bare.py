"""The least that a client can be: a loop over aiohttp that keeps nothing and checks nothing."""

from __future__ import annotations

import asyncio

import aiohttp
from _measure import MAX_TOKENS, URL, N, drive, messages


async def main() -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(problem: int) -> int:
            body = {"model": "m", "messages": messages(problem), "temperature": 1.0, "max_tokens": MAX_TOKENS, "n": N}
            async with session.post(f"{URL}/chat/completions", json=body) as response:
                reply = await response.json()
            return len([choice["message"]["content"] for choice in reply["choices"]])

        await drive(ask)


asyncio.run(main())

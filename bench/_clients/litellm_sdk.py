"""litellm's asynchronous completion."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
# it asks the internet for prices otherwise

import litellm
from _measure import MAX_TOKENS, URL, N, drive, messages

litellm.suppress_debug_info = True


async def ask(problem: int) -> int:
    reply = await litellm.acompletion(
        model="openai/m",
        messages=messages(problem),
        temperature=1.0,
        max_tokens=MAX_TOKENS,
        n=N,
        api_base=URL,
        api_key="none",
    )
    return len([choice.message.content for choice in reply.choices])


async def main() -> None:
    await drive(ask, version=importlib.metadata.version("litellm"))


asyncio.run(main())

"""`local/` against llama.cpp's own shared-prompt batch, side by side in one run.

    python bench/local.py [--tokens 32] [--rounds 5]

SmolLM2-135M draws 32 samples of one prompt: through Vervet's sampler, and by one call of the library that it is built on,
with the same weights, context, threads and sampling and nothing around it (no streaming, no counting). Texts are of equal
length (no end-of-text). Tokens per second of wall time and of processor time; rounds take turns. Limit: 0.95x the raw batch, by
processor time, because other work may share the machine. Needs the extra `local`; fetches the model (98 MB) once.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

from _common import finish, spread

from vervet import fetch
from vervet.protocols import SamplerSetup
from vervet.records import Message, Params, Request
from vervet.samplers._llama import PLAIN, Llama, usable_threads
from vervet.samplers._models import catalogue
from vervet.samplers.local import STEP, Local, first_seed

SAMPLES, LIMIT = 32, 0.95
PROMPT = "Explain to a child why the sea has tides, and why some places have two of them a day. " * 4


def rate(work: Callable[[], int]) -> tuple[float, float]:
    """(tokens a processor second, tokens a second)."""
    cpu, wall = time.process_time(), time.perf_counter()
    tokens = work()
    return tokens / (time.process_time() - cpu), tokens / (time.perf_counter() - wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    said = parser.parse_args()
    params = Params(0.8, None, said.tokens, (), {"ignore_eos": True})
    request = Request("p", (Message("user", PROMPT),), params, 0, SAMPLES, run_seed=1)
    loop = asyncio.new_event_loop()
    sampler = Local("smollm2-135m", SamplerSetup())

    def vervet() -> int:
        reply = loop.run_until_complete(sampler.sample(request))
        return int(reply.usage.completion_tokens or 0)

    vervet()
    assert sampler._llama is not None
    raw = Llama(
        fetch.cached(catalogue()["smollm2-135m"].part),
        threads=usable_threads(),
        slots=SAMPLES,
        context=-(-sampler._llama.context // STEP) * STEP,
        gpu_layers=0,
    )
    body: dict[str, Any] = {**PLAIN, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": said.tokens}
    body |= {"temperature": 0.8, "ignore_eos": True, "n": SAMPLES, "seed": first_seed(request)}

    def plain() -> int:
        reply = raw._server.handle_chat_completions(body)
        # its own count is that of one choice; with `ignore_eos` all are equally long
        assert len(reply["choices"]) == SAMPLES
        return SAMPLES * said.tokens

    plain()
    rates: dict[str, list[tuple[float, float]]] = {"vervet": [], "raw": []}
    for turn in range(said.rounds):
        # who goes first takes turns too
        for name, work in [("vervet", vervet), ("raw", plain)][:: 1 if turn % 2 else -1]:
            rates[name].append(rate(work))
    loop.run_until_complete(sampler.aclose())
    loop.close()
    raw.close()
    results: dict[str, Any] = {"limit": LIMIT, "samples": SAMPLES, "tokens": said.tokens, "threads": usable_threads()}
    for name, rows in rates.items():
        results |= spread([c for c, _ in rows], f"{name}_tokens_per_cpu_s") | spread(
            [w for _, w in rows], f"{name}_tokens_per_s"
        )
    for place, name in enumerate(("ratio_cpu", "ratio_wall")):
        pairs = zip(rates["vervet"], rates["raw"], strict=True)
        results[name] = round(statistics.median(ours[place] / theirs[place] for ours, theirs in pairs), 3)
    missed = [f"{results['ratio_cpu']}x the raw batch, limit {LIMIT}x"] if results["ratio_cpu"] < LIMIT else []
    finish("local", results, missed)


if __name__ == "__main__":
    main()

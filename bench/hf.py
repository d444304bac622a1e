"""`hf/` against what transformers' own `generate()` does with the same model, side by side in one run.

    python bench/hf.py [--prompt 768] [--tokens 16] [--rounds 3]

A random Llama (no download) draws n = 32 samples of one long prompt: by Vervet, as one batch of 32 repeated prompts, and as
32 separate generations, all on one thread. Processor time, because other work may share the machine; wall time beside it.
Limits: the repeated batch takes at least 1.5x Vervet's time, separate generations at least 3x, and a hook in the model sees
each prompt token once. Needs the extra `hf`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _common import ROOT, finish, spread

sys.path.insert(0, str(ROOT))

SAMPLES = 32
LIMITS = {"repeated_batch": 1.5, "separate": 3.0}


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """(processor seconds, wall seconds)."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", type=int, default=768)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    said = parser.parse_args()
    try:
        import torch
        import transformers
    except ImportError:
        finish("hf", {"skipped": "the extra `hf` is not installed"})
    from tests.samplers.transformer import make

    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), hidden=128, layers=4)
        results = measure(Path(folder), said.prompt, said.tokens, said.rounds)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    missed = [
        f"{n}: {results['ratio_' + n]} of Vervet's time, limit {v}"
        for n, v in LIMITS.items()
        if results["ratio_" + n] < v
    ]
    if results["prompt_tokens_processed"] != said.prompt:
        missed.append(f"{results['prompt_tokens_processed']} prompt tokens processed for a prompt of {said.prompt}")
    finish("hf", {"limits": LIMITS, "prompt": said.prompt, "tokens": said.tokens, **results, **versions}, missed)


def measure(folder: Path, prompt: int, tokens: int, rounds: int) -> dict[str, Any]:
    """Each way once to warm up, then `rounds` times in turn."""
    import torch

    from vervet.protocols import SamplerSetup
    from vervet.records import Params, Request
    from vervet.samplers.hf import HF

    text = ("A long story that begins like this. " * prompt)[:prompt]
    loop = asyncio.new_event_loop()
    # threads are a setting of the thread that asks: this one runs transformers, the sampler has one of its own
    torch.set_num_threads(1)
    # no prompt survives a request: each round processes its own
    sampler = HF(str(folder), SamplerSetup(), prompt_cache_mb=0, threads=1)
    request = Request("p", text, Params(1.0, None, tokens), 0, SAMPLES, run_seed=1)
    processed: list[int] = []

    def vervet() -> None:
        loop.run_until_complete(sampler.sample(request))

    vervet()
    loaded = sampler._model
    assert loaded is not None
    loaded._ends = frozenset()
    # every way draws the same number of tokens
    model, ids = loaded.model, torch.tensor([loaded.encode(text)])
    same = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": True, "pad_token_id": 0, "top_k": 0}
    mask = torch.ones_like(ids)

    def repeated() -> None:
        model.generate(ids.repeat(SAMPLES, 1), attention_mask=mask.repeat(SAMPLES, 1), **same)

    def separate() -> None:
        for _ in range(SAMPLES):
            model.generate(ids, attention_mask=mask, **same)

    def note(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        shape = (args[0] if args else kwargs["input_ids"]).shape
        processed.append(shape[0] * shape[1] if shape[1] > 1 else 0)

    handle = model.register_forward_pre_hook(note, with_kwargs=True)
    vervet()
    handle.remove()
    ways = {"vervet": vervet, "repeated_batch": repeated, "separate": separate}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for name, work in ways.items():
                spent = timed(work)
                if turn:
                    times[name].append(spent)
    loop.run_until_complete(sampler.aclose())
    loop.close()
    results: dict[str, Any] = {"prompt_tokens_processed": sum(processed)}
    for name, rows in times.items():
        results |= spread([cpu for cpu, _ in rows], f"{name}_cpu_s") | spread([w for _, w in rows], f"{name}_wall_s")
    for name in LIMITS:
        results[f"ratio_{name}"] = round(results[f"{name}_cpu_s"] / results["vervet_cpu_s"], 2)
        results[f"wall_ratio_{name}"] = round(results[f"{name}_wall_s"] / results["vervet_wall_s"], 2)
    return results


if __name__ == "__main__":
    main()

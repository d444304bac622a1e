"""The local sampler with the real model: independent draws, right counts, greedy, limits, cancelling, silence.

The model (98 MB) is fetched into the user's cache the first time. Most tests compute on one thread: two of them on two
busy cores wait for each other more than they work.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from vervet import fetch
from vervet.errors import ServiceError
from vervet.protocols import Sampler, SamplerSetup
from vervet.records import Message, Params, Reply, Request
from vervet.samplers._models import catalogue
from vervet.samplers.local import Local

pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")
pytestmark = pytest.mark.network

POEM = (Message("user", "Write a haiku about the sea."),)
SRC = Path(fetch.__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return fetch.cached(catalogue()["smollm2-135m"].part)
    except ServiceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def loop():
    """One event loop for the module, so that the model is loaded once."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture(scope="module")
def sampler(model, loop):
    made = Local("smollm2-135m", SamplerSetup(), threads=1)
    yield made
    loop.run_until_complete(made.aclose())


def request(n: int = 1, max_tokens: int = 16, temperature: float = 0.8, **changes) -> Request:
    params = Params(temperature, None, max_tokens, changes.pop("stop", ()), changes.pop("extra", {}))
    fields = {"problem_id": "p", "prompt": POEM, "params": params, "first": 0, "n": n, "run_seed": 7}
    return Request(**(fields | changes))


@pytest.fixture(scope="module")
def draw(sampler, loop):
    def work(*args, **changes) -> Reply:
        return loop.run_until_complete(sampler.sample(request(*args, **changes)))

    return work


def texts(reply: Reply) -> list[str]:
    return [completion.text for completion in reply.completions]


# ------------------------------------------------------------------------------------------------------ draws


def test_it_is_a_sampler(sampler):
    assert isinstance(sampler, Sampler)
    assert sampler.traits().max_n == 32


def test_samples_of_a_request_are_different_draws(draw):
    """Two of 32 draws of 12 tokens at temperature 1 coincide with a chance below 1e-4 (20 nats a text, measured)."""
    assert len(set(texts(draw(32, 12, temperature=1.0)))) == 32


def test_the_same_request_repeats_and_other_seeds_do_not(draw):
    once = draw(4, 12, temperature=1.0)
    assert draw(4, 12, temperature=1.0) == once
    for change in ({"run_seed": 8}, {"first": 8}, {"problem_id": "q"}):
        assert not set(texts(draw(4, 12, temperature=1.0, **change))) & set(texts(once))


def test_temperature_0_is_greedy(draw):
    found = texts(draw(3, 8, temperature=0)) + texts(draw(2, 8, temperature=0, run_seed=9))
    assert len(set(found)) == 1


def test_top_p_narrows_the_draws(draw):
    narrow = draw(4, params=Params(1.0, 0.01, 8))
    assert len(set(texts(narrow))) == 1
    assert texts(narrow)[0] == texts(draw(1, 8, temperature=0))[0]


def test_extra_parameters_reach_the_model(draw):
    assert len(set(texts(draw(4, 8, temperature=1.0, extra={"top_k": 1})))) == 1
    with pytest.raises(ValueError, match="seed"):
        draw(1, extra={"seed": 3})


@pytest.mark.parametrize("extra", [{"top_k": 1}, {"min_p": 1.0}])
def test_extra_parameters_narrow_what_is_drawn(model, loop, draw, extra):
    """With one token left to choose from, temperature 1 draws what temperature 0 takes."""
    asked = Local("smollm2-135m", SamplerSetup(), n_parallel=8, threads=1, extra=extra)
    try:
        found = texts(loop.run_until_complete(asked.sample(request(8, 12, 1.0))))
    finally:
        loop.run_until_complete(asked.aclose())
    assert set(found) == set(texts(draw(1, 12, temperature=0)))


@pytest.mark.parametrize("field", ["repeat_penalty", "presence_penalty", "frequency_penalty"])
def test_penalties_end_a_repetition(model, loop, draw, field):
    """Left alone, the model goes on with ones."""
    prompt = "la la la la la la la la la la la la"
    free = texts(draw(1, 12, temperature=0, prompt=prompt))[0]
    asked = Local("smollm2-135m", SamplerSetup(), n_parallel=1, threads=1, extra=json.dumps({field: 2.0}))
    try:
        varied = texts(loop.run_until_complete(asked.sample(request(1, 12, 0, prompt=prompt))))[0]
    finally:
        loop.run_until_complete(asked.aclose())
    assert Counter(free).most_common(1)[0][1] >= 6 > Counter(varied).most_common(1)[0][1]


# ------------------------------------------------------------------------------------------------------ counting


def test_every_choices_tokens_are_counted(draw):
    reply = draw(6, 12, extra={"ignore_eos": True})
    assert [c.completion_tokens for c in reply.completions] == [12] * 6
    assert {c.finish_reason for c in reply.completions} == {"length"}
    assert reply.usage.completion_tokens == 72
    assert reply.usage.prompt_tokens == 38  # the chat template's own system prompt among them


def test_counts_differ_where_lengths_do(draw):
    reply = draw(6, 64, temperature=0.5)
    ended = [c for c in reply.completions if c.finish_reason == "stop"]
    assert ended  # a haiku ends within 64 tokens nearly always
    assert all(0 < c.completion_tokens <= 64 for c in reply.completions)
    assert reply.usage.completion_tokens == sum(c.completion_tokens for c in reply.completions)
    for c in ended:  # English has two to six characters a token
        assert len(c.text) / 8 < c.completion_tokens < len(c.text)


def test_stop_strings_end_a_text_and_are_not_part_of_it(draw):
    free, stopped = draw(1, 32, temperature=0), draw(1, 32, temperature=0, stop=("\n",))
    assert "\n" in texts(free)[0]
    assert texts(stopped)[0] == texts(free)[0].split("\n")[0]
    assert stopped.completions[0].finish_reason == "stop"


def test_a_raw_prompt_is_continued_without_a_chat_template(draw):
    reply = draw(1, 4, temperature=0, prompt="1, 2, 3, 4, 5, 6, 7,")
    assert texts(reply)[0].startswith(" 8")
    assert reply.usage.prompt_tokens <= 21


def test_more_samples_than_fit_at_once_come_in_batches(draw):
    reply = draw(40, 4, temperature=1.0)
    assert len(reply.completions) == 40
    assert len(set(texts(reply))) > 30


# ------------------------------------------------------------------------------------------------------ limits


def test_a_prompt_longer_than_the_context_can_never_succeed(draw):
    with pytest.raises(ValueError, match=r"p: the prompt has \d+ tokens, the context holds 8192") as error:
        draw(1, 4, prompt="word " * 9000)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_context_grows_with_the_prompt(model, loop):
    """Digits take one token each, more than the first guess: it is corrected, not refused."""
    fresh = Local("smollm2-135m", SamplerSetup(), n_parallel=2, threads=1)
    try:
        for digits in (20, 1200):
            reply = loop.run_until_complete(fresh.sample(request(2, 2, prompt="1" * digits)))
            assert reply.usage.prompt_tokens >= digits
            assert len(reply.completions) == 2
    finally:
        loop.run_until_complete(fresh.aclose())


@pytest.mark.slow
def test_a_small_context_splits_a_request(model, loop):
    small = Local("smollm2-135m", SamplerSetup(), context=512, threads=1)
    try:
        reply = loop.run_until_complete(small.sample(request(9, 80, extra={"ignore_eos": True})))
        assert [c.completion_tokens for c in reply.completions] == [80] * 9
        assert reply.usage.prompt_tokens == 3 * 38  # evaluated once a batch
        with pytest.raises(ValueError, match="holds 512"):
            loop.run_until_complete(small.sample(request(1, 4, prompt="word " * 1000)))
    finally:
        loop.run_until_complete(small.aclose())


def test_logprobs_are_there_when_asked_for(model, loop, draw):
    """Of the model itself: temperature does not change the log-probability of a text."""
    assert draw(1).completions[0].logprob is None
    asked = Local("smollm2-135m", SamplerSetup(), logprobs=True, n_parallel=2, threads=1)
    try:
        raw = loop.run_until_complete(asked.sample(request(1, 4, 0, prompt="1, 2, 3, 4, 5, 6, 7,")))
        assert -4 < raw.completions[0].logprob < 0  # it counts on nearly surely
        chat = loop.run_until_complete(asked.sample(request(2, 16, 1.0)))
        assert all(-120 < c.logprob < -1 for c in chat.completions)
    finally:
        loop.run_until_complete(asked.aclose())


# ------------------------------------------------------------------------------------------------------ life


def test_the_event_loop_stays_free(sampler, loop):
    async def work() -> int:
        ticks, task = 0, asyncio.create_task(sampler.sample(request(4, 24, extra={"ignore_eos": True})))
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    begin = time.monotonic()
    ticks = loop.run_until_complete(work())
    assert ticks > (time.monotonic() - begin) / 0.1  # no pause near a tenth of a second on average


@pytest.mark.parametrize("words", [1, 250])
def test_cancelling_ends_the_work_soon(sampler, loop, words):
    """In seconds of processor time, which a busy machine does not stretch: 20,000 tokens, or the long prompt, take over ten."""

    async def work() -> float:
        prompt = (Message("user", "Write a long Python program. " * words),)
        asked = dataclasses.replace(request(4, 5000, extra={"ignore_eos": True}), prompt=prompt)
        long = asyncio.create_task(sampler.sample(asked))
        await asyncio.sleep(0.5)
        begin = time.process_time()
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        await sampler.sample(request(1, 2))  # queues behind it
        return time.process_time() - begin

    assert loop.run_until_complete(work()) < 5


def test_closing_ends_threads_and_what_runs(model):
    async def work() -> None:
        sampler = Local("smollm2-135m", SamplerSetup(), threads=1)
        running = asyncio.create_task(sampler.sample(request(2, 5000, extra={"ignore_eos": True})))
        await asyncio.sleep(1.5)
        await sampler.aclose()
        await sampler.aclose()
        with pytest.raises(RuntimeError, match="stopped"):
            await running

    before = {t.ident for t in threading.enumerate()}
    begin = time.monotonic()
    asyncio.run(work())
    assert time.monotonic() - begin < 30
    gc.collect()
    assert [t.name for t in threading.enumerate() if t.ident not in before] == []


def test_nothing_is_printed_and_the_process_ends(model):
    """Not a byte from llama.cpp on the process's own stdout and stderr, from import to exit."""
    script = """
import asyncio, os
from vervet.protocols import SamplerSetup
from vervet.records import Params, Request
from vervet.samplers.local import Local

async def main(close):
    sampler = Local("smollm2-135m", SamplerSetup(), threads=1)
    reply = await sampler.sample(Request("p", "Once", Params(0.7, 0.9, 4), 0, 2, 1))
    assert len(reply.completions) == 2
    if close:
        await sampler.aclose()

asyncio.run(main(True))
asyncio.run(main(False))
assert "GOMP_SPINCOUNT" not in os.environ
print("mine")
"""
    environment = {k: v for k, v in os.environ.items() if k not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=environment | {"PYTHONPATH": str(SRC)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"mine\n", b"")


@pytest.mark.slow
def test_one_request_beats_separate_ones(model, loop):
    """Tokens a second of processor time, n=32 in one request against 4 single ones: measured 2.4 times as many."""
    sampler = Local("smollm2-135m", SamplerSetup(), threads=1)

    def rate(requests: list[Request]) -> float:
        begin = time.process_time()
        tokens = sum(loop.run_until_complete(sampler.sample(r)).usage.completion_tokens for r in requests)
        return tokens / (time.process_time() - begin)

    fixed = {"extra": {"ignore_eos": True}, "prompt": (Message("user", "Explain the tides. " * 20),)}
    try:
        rate([request(32, 24, **fixed)])
        together = rate([request(32, 24, **fixed)])
        apart = rate([request(1, 24, first=i, **fixed) for i in range(4)])
    finally:
        loop.run_until_complete(sampler.aclose())
    assert together > 1.5 * apart, (together, apart)


@pytest.mark.slow
def test_the_base_model_of_the_catalogue_continues_code(loop):
    """Gemma comes in four wheels."""
    known = catalogue()["gemma3-270m"]
    try:
        path = fetch.cached(known.part)
    except ServiceError as error:
        pytest.skip(str(error))
    named, file = Local("gemma3-270m", SamplerSetup()), Local(str(path), SamplerSetup())
    traits = named.traits()
    assert file.traits() == traits
    try:
        prompt = "def add(a, b):\n    return"
        reply = loop.run_until_complete(named.sample(request(2, 6, 0, prompt=prompt)))
        assert texts(reply)[0].startswith(" a + b")
    finally:
        loop.run_until_complete(named.aclose())
        loop.run_until_complete(file.aclose())

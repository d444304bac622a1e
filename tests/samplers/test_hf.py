"""`hf/PATH` with a tiny random model made here: one pass over each prompt, the right draws, seeds, ends, limits, errors."""

from __future__ import annotations

import asyncio
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import vervet
from tests.helpers import write_problems
from tests.samplers.transformer import CONTEXT, TEMPLATE, make
from vervet.errors import BadData, BadOption, UserError
from vervet.protocols import SamplerSetup
from vervet.records import Message, Params, Reply, Request
from vervet.samplers.hf import HF
from vervet.testing.samplers import conform_to_sampler

for package in ("torch", "transformers"):
    pytest.importorskip(package, reason=f"the extra `hf` is not installed: no {package}")

pytestmark = pytest.mark.slow  # torch takes seconds to import, and only `make test-all` installs it

CHAT = (Message("user", "What is 1 + 1?"),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def loop():
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture(scope="module")
def sampler(folder: Path, loop: asyncio.AbstractEventLoop):
    made = HF(str(folder), SamplerSetup(), logprobs=True, threads=1)
    yield made
    loop.run_until_complete(made.aclose())


def request(n: int = 1, max_tokens: int = 12, temperature: float = 1.0, **changes: Any) -> Request:
    params = Params(
        temperature, changes.pop("top_p", None), max_tokens, changes.pop("stop", ()), changes.pop("extra", {})
    )
    fields = {"problem_id": "p", "prompt": CHAT, "params": params, "first": 0, "n": n, "run_seed": 7}
    return Request(**(fields | changes))


@pytest.fixture
def draw(sampler: HF, loop: asyncio.AbstractEventLoop):
    def work(*args: Any, by: HF = sampler, **changes: Any) -> Reply:
        return loop.run_until_complete(by.sample(request(*args, **changes)))

    return work


@pytest.fixture
def other(folder: Path, loop: asyncio.AbstractEventLoop):
    """Makes samplers with other options."""
    made: list[HF] = []

    def build(path: Path = folder, notices: list[str] | None = None, **options: Any) -> HF:
        made.append(
            HF(str(path), SamplerSetup(notice=None if notices is None else notices.append), threads=1, **options)
        )
        return made[-1]

    yield build
    for one in made:
        loop.run_until_complete(one.aclose())


@pytest.fixture
def seen(sampler: HF, draw: Any):
    """(rows, tokens) of every pass through the model."""
    draw()  # loads it
    passes: list[tuple[int, int]] = []

    def note(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        passes.append(tuple((args[0] if args else kwargs["input_ids"]).shape))

    assert sampler._model is not None
    handle = sampler._model.model.register_forward_pre_hook(note, with_kwargs=True)
    yield passes
    handle.remove()


def texts(reply: Reply) -> list[str]:
    return [c.text for c in reply.completions]


# ------------------------------------------------------------------------------------------------------ one pass a prompt


def test_a_prompts_tokens_are_processed_once_for_all_samples(draw: Any, seen: Any) -> None:
    """Three requests, 80 samples, two of the requests in one batch and one in two: one pass over the prompt."""
    prompt = "A long story. " * 20
    for first, n in ((0, 20), (20, 20), (40, 40)):
        reply = draw(n, 5, prompt=prompt, first=first, temperature=0.5)
        assert reply.usage.prompt_tokens == len(prompt)
        assert reply.usage.cached_tokens == (len(prompt) if first else 0)
    assert [shape for shape in seen if shape[1] > 1] == [(1, len(prompt))]
    assert all(tokens == 1 for _, tokens in seen[1:])


def test_without_room_for_prompts_they_are_processed_again(other: Any, draw: Any) -> None:
    small = other(prompt_cache_mb=0)
    assert [draw(2, by=small).usage.cached_tokens for _ in range(2)] == [0, 0]


def test_rows_that_have_ended_are_not_computed_any_more(draw: Any, seen: Any) -> None:
    """Letters as stop texts end each text soon; what is left is moved together."""
    reply = draw(32, 100, stop=tuple("abcdefghijklmnopqrstuvwxyz"))
    assert {c.finish_reason for c in reply.completions} >= {"stop"}
    rows = [shape[0] for shape in seen]
    assert rows[-1] <= 16
    assert sum(rows) < 32 * max(c.completion_tokens or 0 for c in reply.completions)


# ------------------------------------------------------------------------------------------------------ the draws


def test_it_is_a_sampler(folder: Path) -> None:
    conform_to_sampler(lambda: HF(str(folder), SamplerSetup()), request(2), seeded=True, regroups=True, draws=12)


def test_draws_follow_the_models_probabilities(other: Any, draw: Any, sampler: HF) -> None:
    """4,096 first tokens against the exact chances at temperature 0.8. False alarm: 1e-6."""
    import torch

    many = other(n_parallel=1024, logprobs=True)
    found = [c for first in range(0, 4096, 1024) for c in draw(1024, 1, 0.8, first=first, by=many).completions]
    model = many._model
    assert model is not None
    with torch.inference_mode():
        logits = model.model(torch.tensor([model.encode(CHAT)])).logits[0, -1]
        chances = (logits / 0.8).softmax(-1).numpy().astype(float)
        plain = logits.log_softmax(-1).numpy()
    letter = {model._decode([i]): i for i in range(len(chances))}
    # bytes that are no text by themselves all read alike: they are one class
    broken = [i for i in range(len(chances)) if model._decode([i]) == "\ufffd"]
    classes = [[i] for i in letter.values() if i not in broken] + [broken]
    expected = np.array([chances[c].sum() for c in classes]) * 4096
    counts = np.array([sum(letter[t.text] in c for t in found) for c in classes], float)
    rare = expected < 10
    expected = np.append(expected[~rare], expected[rare].sum())
    counts = np.append(counts[~rare], counts[rare].sum())
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-6
    for c in found:
        if c.text != "\ufffd":
            assert c.logprob == pytest.approx(float(plain[letter[c.text]]), abs=1e-3)


def test_top_p_keeps_the_fewest_tokens_that_reach_it(draw: Any, other: Any) -> None:
    import torch

    many = other(n_parallel=512)
    found = set(texts(draw(512, 1, top_p=0.3, by=many)))
    model = many._model
    assert model is not None
    with torch.inference_mode():
        chances = model.model(torch.tensor([model.encode(CHAT)])).logits[0, -1].softmax(-1)
    best, order = chances.sort(descending=True)
    kept = int((best.cumsum(0) - best < 0.3).sum())
    assert 1 < kept < 40
    assert found <= {model._decode([i]) for i in order[:kept].tolist()}


def test_temperature_0_is_greedy(draw: Any) -> None:
    assert len(set(texts(draw(4, temperature=0.0)))) == 1


def test_a_seed_means_the_same_text_however_samples_are_grouped(draw: Any, other: Any) -> None:
    together = texts(draw(12))
    assert texts(draw(12, by=other(n_parallel=5))) == together
    assert [t for i in range(0, 12, 4) for t in texts(draw(4, first=i))] == together
    assert texts(draw(12, run_seed=8)) != together


def test_log_probabilities_only_when_asked_for(draw: Any, other: Any) -> None:
    assert all(c.logprob is not None and c.logprob < 0 for c in draw(2).completions)
    assert [c.logprob for c in draw(2, by=other()).completions] == [None, None]


# ------------------------------------------------------------------------------------------------------ where texts end


def test_the_limit_on_tokens(draw: Any) -> None:
    reply = draw(8, 3, temperature=0.3)
    ends = {(c.finish_reason, c.completion_tokens) for c in reply.completions}
    assert ends <= {("length", 3), *(("stop", n) for n in (1, 2, 3))}
    assert reply.usage.completion_tokens == sum(c.completion_tokens or 0 for c in reply.completions)


def test_stop_texts_end_a_text_and_are_not_part_of_it(draw: Any) -> None:
    """Each text up to the first of them, as it would have been without; a stop text of several tokens too."""
    plain = draw(16, 40, temperature=0.7)
    found = re.findall("[ -~]{2}", " ".join(texts(plain)))
    stops = (found[0], found[1][0])
    for before, now in zip(plain.completions, draw(16, 40, temperature=0.7, stop=stops).completions, strict=True):
        at = min((i for i in map(before.text.find, stops) if i >= 0), default=None)
        assert now.text == (before.text if at is None else before.text[:at])
        assert now.finish_reason == (before.finish_reason if at is None else "stop")


def test_the_context_ends_a_text_and_a_longer_prompt_is_refused(draw: Any) -> None:
    reply = draw(1, 100, prompt="x" * (CONTEXT - 5), temperature=0.3)
    assert (reply.completions[0].completion_tokens or 0) <= 5
    with pytest.raises(ValueError, match=f"the prompt has {CONTEXT} tokens, the context holds {CONTEXT}"):
        draw(prompt="x" * CONTEXT)


# ------------------------------------------------------------------------------------------------------ prompts and runs


def test_chat_prompts_go_through_the_template_and_raw_ones_do_not(sampler: HF, draw: Any) -> None:
    draw()
    model = sampler._model
    assert model is not None
    assert model._decode(model.encode(CHAT)) == "<user>What is 1 + 1?<assistant>"
    assert model._decode(model.encode("def f():")) == "def f():"


def test_a_base_model_takes_raw_prompts(other: Any, draw: Any, tmp_path: Path) -> None:
    base = other(make(tmp_path / "base", template=None))
    assert base.traits().form == "completion"
    assert len(texts(draw(2, prompt="Once upon", by=base))) == 2
    with pytest.raises(UserError, match="say --prompt-form completion"):
        draw(by=base)


def test_a_template_that_refuses_leaves_the_problem_missing(other: Any, draw: Any, tmp_path: Path) -> None:
    strict = other(make(tmp_path / "strict", template="{{ raise_exception('no system turn') }}" + TEMPLATE))
    with pytest.raises(ValueError, match="refuses the prompt: no system turn"):
        draw(by=strict)


def test_a_run_from_a_folder(folder: Path, tmp_path: Path) -> None:
    task = write_problems(tmp_path / "t.jsonl", 3)
    options = {"model": f"hf/{folder}", "out": tmp_path / "r", "max_tokens": 8, "seed": 1}
    run = vervet.run(str(task), n=4, **options)
    before = [s.text for p in run.problem_ids() for s in run.samples(p)]
    run = vervet.run(str(task), n=6, **options)
    after = [s.text for p in run.problem_ids() for s in run.samples(p)]
    assert run.counts().n.tolist() == [6, 6, 6]
    assert [t for i in range(3) for t in after[6 * i : 6 * i + 4]] == before
    with run:
        assert run.ledger.config.model_fingerprint == HF(str(folder), SamplerSetup()).traits().fingerprint


def test_other_weights_are_another_model(folder: Path, tmp_path: Path) -> None:
    facts = [HF(str(f), SamplerSetup()).traits() for f in (folder, make(tmp_path / "m", seed=1))]
    assert facts[0].fingerprint != facts[1].fingerprint
    assert facts[0].parameters == facts[1].parameters == 35040


# ------------------------------------------------------------------------------------------------------ memory, cancelling


def test_where_memory_is_short_fewer_are_drawn_together(other: Any, draw: Any, loop: Any) -> None:
    """The model says that it has no room for more than five rows; the texts are the ones that it would have drawn."""
    import torch

    notices: list[str] = []
    tight = other(notices=notices)
    draw(by=tight)

    def refuse(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if (args[0] if args else kwargs["input_ids"]).shape[0] > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    assert tight._model is not None
    tight._model.model.register_forward_pre_hook(refuse, with_kwargs=True)
    most = 5
    assert texts(draw(12, by=tight)) == texts(draw(12))
    assert notices == [
        "no memory for 12 samples at once: 6 are drawn together",
        "no memory for 6 samples at once: 3 are drawn together",
    ]
    most = 0
    with pytest.raises(UserError, match="no memory for one sample of"):
        draw(1, prompt="another", by=tight)


def test_cancelling_ends_the_work_soon(sampler: HF, loop: asyncio.AbstractEventLoop, seen: list[Any]) -> None:
    async def work() -> None:
        task = asyncio.create_task(sampler.sample(request(32, 1500, 0.2, prompt="go on")))
        while len(seen) < 3:  # noqa: ASYNC110  it is under way
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await sampler.sample(request(1, 1))

    loop.run_until_complete(work())
    assert len(seen) < 1400


# ------------------------------------------------------------------------------------------------------ misuse


def test_a_gpu_that_is_not_there_is_one_clear_line(other: Any, draw: Any) -> None:
    with pytest.raises(BadOption, match="torch sees no such GPU here"):
        draw(by=other(device="cuda:99"))
    with pytest.raises(BadOption, match="write cpu, cuda or cuda:1"):
        draw(by=other(device="abacus"))


def test_weights_that_do_not_fit_their_config_are_one_clear_line(
    folder: Path, tmp_path: Path, other: Any, draw: Any
) -> None:
    import json
    import shutil

    bad = shutil.copytree(folder, tmp_path / "bad")
    config = json.loads((bad / "config.json").read_text())
    (bad / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(BadData, match="lacks the weights"):
        draw(by=other(bad))
    (bad / "config.json").write_text(json.dumps(config | {"model_type": "unheard-of"}))
    with pytest.raises(BadData, match="unheard-of"):
        draw(by=other(bad))


def test_extra_parameters_are_refused(draw: Any) -> None:
    with pytest.raises(ValueError, match="no extra parameters: min_p"):
        draw(extra={"min_p": 0.1})


def test_a_gpu_draws_like_a_processor(other: Any, draw: Any) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("not here: no GPU")
    on_gpu = draw(64, 1, by=other(device="cuda", logprobs=True))
    pairs = zip(on_gpu.completions, draw(64, 1).completions, strict=True)
    assert sum(math.isclose(a.logprob or 0, b.logprob or 0, abs_tol=1e-2) for a, b in pairs) >= 62

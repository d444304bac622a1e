"""What is asked of a real HTTP server, how its answers are read, and what it does not do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import vervet
from tests.helpers import write_problems
from tests.samplers.http import QUICK, ask, go, sampler, texts
from vervet.cli.main import execute
from vervet.errors import UserError
from vervet.protocols import SamplerSetup
from vervet.records import Params, Request
from vervet.samplers.openai import OpenAI
from vervet.testing.server import Server

FIELDS = {
    "top_k": 20, "min_p": 0.05, "presence_penalty": 0.5, "frequency_penalty": -0.25, "repetition_penalty": 1.1,
}  # fmt: skip

# --------------------------------------------------------------------------------------------------- what servers do not do


def test_a_server_that_ignores_n_is_asked_for_one_at_a_time(tmp_path: Path, task: Path) -> None:
    with Server(honours_n=False, latency_s=0.01) as server:
        run = go(server, task, tmp_path / "r", 50, seed=1, model_options={"max_n": 10})
        assert run.counts().n.tolist() == [50] * 6
        assert server.paid() == 300, "one request a sample and none in vain"
        seeds = [(row.prompt, row.seed) for row in server.served]
        assert len(set(seeds)) == 300, "every sample has a seed of its own"
    assert "gives 1 of 10 samples a request" in run.notices[0]
    assert len(run.notices) == 1


def test_a_server_that_gives_three_at_most_is_asked_for_three() -> None:
    notices: list[str] = []
    with Server(most_n=3) as server:
        reply = ask(sampler(server.url, notices=notices), n=12)
        assert len(reply.completions) == 12
        assert [row.n for row in server.served] == [12, 6, 3, 3, 3, 3]
    assert "refuses 6 samples a request: 3 are asked for" in notices[-1]


def test_an_n_that_the_user_chose_and_the_server_refuses_is_one_line() -> None:
    with Server(most_n=3) as server, pytest.raises(UserError, match=r"refuses 9 samples a request .* lower -M max_n"):
        ask(sampler(server.url, max_n=9), n=9)


@pytest.mark.parametrize("field", ["temperature", "top_p", "seed", "logprobs"])
def test_a_refused_parameter_is_left_out_once_and_said(field: str, tmp_path: Path, task: Path) -> None:
    with Server(refuses=[field], latency_s=0.01) as server:
        run = go(server, task, tmp_path / "r", 20, seed=3, top_p=0.9, model_options={"max_n": 1, "logprobs": True})
        assert run.counts().n.tolist() == [20] * 6
        paid = [row for row in server.served if row.choices]
        assert all(field not in row.body for row in paid)
        assert len(server.served) - len(paid) <= 64, "only what was out before the first refusal came"
    assert len(run.notices) == 1
    assert f"does not take {field}: it is left out" in run.notices[0]


def test_the_older_and_the_newer_name_of_the_token_limit_are_tried() -> None:
    notices: list[str] = []
    with Server(refuses=["max_completion_tokens"]) as server:
        ask(sampler(server.url, notices=notices))
        assert [("max_tokens" in row.body, bool(row.choices)) for row in server.served] == [
            (False, False),
            (True, True),
        ]
    assert "max_tokens is sent instead" in notices[0]
    with (
        Server(refuses=["max_completion_tokens", "max_tokens"]) as server,
        pytest.raises(UserError, match="refuses max_tokens"),
    ):
        ask(sampler(server.url))
    assert len(server.served) == 2


def test_refused_stop_texts_are_applied_by_us() -> None:
    with Server(refuses=["stop"], answer=lambda prompt, dice: "one\n\ntwo") as server:
        reply = ask(sampler(server.url), stop=("\n\n", "zzz"))
    assert [(c.text, c.finish_reason) for c in reply.completions] == [("one", "stop")]


def test_a_refused_extra_field_is_one_line() -> None:
    with Server(refuses=["top_k"]) as server, pytest.raises(UserError, match="refuses the extra field 'top_k'"):
        ask(sampler(server.url, extra='{"top_k": 20}'))


def test_a_prompt_that_is_too_long_leaves_its_problem_missing(tmp_path: Path) -> None:
    task = tmp_path / "q.jsonl"
    rows = [{"id": f"q{i}", "prompt": "x" * (500 * (i == 1)) + "What is 1 + 1?", "answer": "2"} for i in range(3)]
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Server(context=300) as server:
        run = go(server, task, tmp_path / "r", 5)
        assert server.faulty("refused") <= 2
    assert run.counts().n.tolist() == [5, 0, 5]
    assert run.to_dict()["missing"] == 5
    assert "q1: its missing samples stay missing: HTTP 400: This model's maximum context length" in run.notices[0]


# ----------------------------------------------------------------------------------------------------- what is asked and read


def test_both_endpoints_and_every_parameter(tmp_path: Path, task: Path) -> None:
    with Server() as server:
        extra = {"top_k": 20, "chat_template_kwargs": {"enable_thinking": False}}
        options = {"extra": json.dumps(extra), "max_n": 3, "logprobs": True}
        chat = go(
            server,
            task,
            tmp_path / "a",
            3,
            temperature=0.7,
            top_p=0.9,
            max_tokens=50,
            stop=("END",),
            model_options=options,
        )
        body = dict(server.served[0].body)
        assert body.pop("messages")[0]["role"] in ("system", "user")
        assert body == extra | {
            "model": "m", "temperature": 0.7, "top_p": 0.9, "max_completion_tokens": 50, "stop": ["END"],
            "logprobs": True, "n": 3,
        }  # fmt: skip
        server.served.clear()
        raw = go(server, task, tmp_path / "b", 3, model="vllm/m", prompt_form="completion", model_options=options)
        body = dict(server.served[0].body)
        assert isinstance(body["prompt"], str)
        assert (body["logprobs"], "max_tokens" in body) == (1, True)
    for run in (chat, raw):
        sample = next(run.samples("q0"))
        assert sample.logprob == pytest.approx(-0.5 * len(sample.text.split()))
        assert sample.completion_tokens == len(sample.text.split()), "counted by the log-probabilities"
    assert chat.config.model_options["extra"] == json.dumps(extra), "extra fields belong to the config"
    assert "max_n" not in chat.config.model_options


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (["--temperature", "0.3"], {"temperature": 0.3}),
        (["--top-p", "0.9"], {"top_p": 0.9}),
        (["--max-tokens", "17"], {"max_completion_tokens": 17}),
        (["--stop", "END", "--stop", "\n\n"], {"stop": ["END", "\n\n"]}),
        (["-M", "logprobs=true"], {"logprobs": True}),
        *((["-M", f"extra={json.dumps({name: value})}"], {name: value}) for name, value in FIELDS.items()),
        *((["--set", f"model.extra.{name}={value}"], {name: value}) for name, value in FIELDS.items()),
        (["-M", 'extra={"logit_bias": {"50256": -100}}'], {"logit_bias": {"50256": -100}}),
    ],
)
def test_each_parameter_changes_its_field_and_no_other(
    arguments: list[str], changed: dict[str, Any], tmp_path: Path, task: Path
) -> None:
    bodies = []
    with Server() as server:
        line = ["run", str(task), "-m", "openai/m", "--base-url", server.url, "-n", "3", "--problems", "q0"]
        for number, more in enumerate([[], arguments]):
            line_now = [*line, "-M", "probe=false", "--out", str(tmp_path / str(number)), "--json", *more]
            assert execute(line_now) == 0
            bodies.append(dict(server.served[-1].body))
    plain, body = bodies
    assert body == plain | changed
    assert body != plain


def test_a_given_seed_is_sent_and_another_one_is_another_seed(tmp_path: Path, task: Path) -> None:
    with Server() as server:
        for seed in (1, 2):
            go(server, task, tmp_path / str(seed), 1, seed=seed)
        seeds = [row.seed for row in server.served]
    assert None not in seeds
    assert len(set(seeds)) == 12


def test_seeds_are_sent_only_when_the_user_gave_one_and_samples_follow_from_them(tmp_path: Path, task: Path) -> None:
    """The same seed gives the same samples, however they are grouped, on a server whose choices count up from the seed."""
    with Server(p=0.5) as server:
        go(server, task, tmp_path / "none", 8)
        assert all("seed" not in row.body for row in server.served)
        runs = []
        for name, max_n in (("a", 1), ("b", 4), ("c", 8)):
            runs.append(go(server, task, tmp_path / name, 8, model="ollama/m", seed=9, model_options={"max_n": max_n}))
        assert texts(runs[0]) == texts(runs[1]) == texts(runs[2])
        server.served.clear()
        go(server, task, tmp_path / "wide", 8, seed=9, model_options={"max_n": 1})
        assert max(row.seed or 0 for row in server.served) > 1 << 32
        assert len({row.seed for row in server.served}) == 48


def test_folded_seeds_never_meet_within_a_problem() -> None:
    from vervet.samplers._http_body import fold_seed

    params = Params(1.0, None, 1)
    seeds = {
        fold_seed(Request("q", "x", params, first, 8, 7), j, 31) for first in range(0, 40_000, 8) for j in range(8)
    }
    assert len(seeds) == 40_000
    assert max(seeds) < (1 << 31) - 1


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"choices": [{"message": {"content": None}, "finish_reason": "stop"}]}, ("", "stop", "")),
        ({"choices": [{"message": {"content": "a", "reasoning_content": "r"}}]}, ("a", "unknown", "r")),
        (
            {"choices": [{"message": {"content": "a", "reasoning": "r"}, "finish_reason": "length"}]},
            ("a", "length", "r"),
        ),
        (
            {"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}]}}]},
            ("ab", "unknown", ""),
        ),
        ({"choices": [{"message": {"content": "", "refusal": "no"}, "finish_reason": "stop"}]}, ("no", "stop", "")),
        ({"choices": [{"text": "a", "finish_reason": "MAX_TOKENS"}]}, ("a", "length", "")),
    ],
)
def test_shapes_of_replies(reply: dict[str, Any], expected: tuple[str, str, str]) -> None:
    from vervet.samplers._http_reply import parse

    only = parse(json.dumps(reply).encode(), 4, 64).completions[0]
    assert (only.text, only.finish_reason, only.reasoning) == expected


def test_texts_come_as_they_are() -> None:
    """Half a surrogate pair, a null byte and a direction mark survive; choices are put in order."""
    from vervet.samplers._http_reply import parse

    body = rb'{"choices":[{"index":1,"text":"\ud83d \u0000 \u202e"},{"index":0,"text":"first"}]}'
    assert [c.text for c in parse(body, 2, 64).completions] == ["first", "\ud83d \0 \u202e"]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[3]}', b'{"choices":[{}]}', b"{" * 99999]
)
def test_what_is_no_answer_is_a_fault(body: bytes) -> None:
    from vervet.samplers._http_reply import BadReply, parse

    with pytest.raises(BadReply):
        parse(body, 1, 64)


@pytest.mark.parametrize(
    ("usage", "tokens", "counted"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 30, "prompt_tokens_details": {"cached_tokens": 4}}, (9, 4, 30), "server"),
        ({"prompt_tokens": 9, "completion_tokens": 30, "prompt_cache_hit_tokens": 4}, (9, 4, 30), "server"),
        ({"prompt_tokens": 9, "completion_tokens": 10}, (9, None, 20), "vervet"),
        ({"prompt_tokens": 9, "completion_tokens": 900}, (9, None, 20), "vervet"),
        ({"prompt_tokens": -1, "completion_tokens": True}, (None, None, 20), "vervet"),
        ({"prompt_tokens": "9", "completion_tokens": 2.5}, (None, None, 20), "vervet"),
        (None, (None, None, 20), "vervet"),
    ],
)  # fmt: skip
def test_token_counts_that_cannot_be_true_are_replaced_by_ours(usage: Any, tokens: Any, counted: str) -> None:
    """Two choices, both cut off at ten tokens: 20, unless the server says something possible."""
    from vervet.samplers._http_reply import parse

    choices = [{"text": "word " * 10, "finish_reason": "length"}] * 2
    found = parse(json.dumps({"choices": choices, "usage": usage}).encode(), 2, 10).usage
    if found.counted_by == "server":
        # 30 tokens for two choices of at most ten: within the slack for end marks
        assert (found.prompt_tokens, found.cached_tokens, found.completion_tokens) == tokens
    assert (found.prompt_tokens, found.cached_tokens, found.completion_tokens, found.counted_by) == (*tokens, counted)


# --------------------------------------------------------------------------------------------------------- replicas and flow


def test_a_problem_stays_with_its_replica_and_all_replicas_work(tmp_path: Path) -> None:
    """Without overload each prompt is known to one server; when a server is gone the others take over."""
    task = write_problems(tmp_path / "q.jsonl", 24)
    with Server(latency_s=0.01) as a, Server(latency_s=0.01) as b:
        options: dict[str, Any] = {"model": "openai/m", "model_options": QUICK | {"max_n": 2}, "out": tmp_path / "r"}
        run = vervet.run(str(task), n=8, base_url=(a.url, b.url), max_in_flight=8, **options)
        assert run.counts().n.tolist() == [8] * 24
        seen = [{row.prompt for row in server.served} for server in (a, b)]
        assert min(map(len, seen)) >= 3, "24 problems over two servers; fewer than 3 on one: odds below 1e-4"
        assert len(seen[0] & seen[1]) == 0
        url = b.url
    with Server(latency_s=0.01) as a:
        run = vervet.run(str(task), n=12, base_url=(a.url, url), max_in_flight=8, **options)
        assert run.counts().n.tolist() == [12] * 24


def test_replies_name_their_server(tmp_path: Path, task: Path) -> None:
    with Server() as server:
        run = go(server, task, tmp_path / "r", 2)
        rows = run.ledger.db.execute("SELECT DISTINCT name FROM requests JOIN names ON names.id = server").fetchall()
        assert rows == [(server.url,)]


@pytest.mark.parametrize("refusing", [False, True])
def test_the_sampler_sends_no_more_at_once_than_it_may(refusing: bool) -> None:
    """Never above what the user allows, and far below its start where the server says 429 (see test_limiter.py)."""
    with Server(latency_s=0.02, most_at_once=4 if refusing else None) as server:
        model = OpenAI("m", SamplerSetup(base_urls=(server.url,), max_in_flight=48), pause=0.02, patience=60)

        async def work() -> float:
            async def one(i: int) -> None:
                await model.sample(Request(f"q{i}", "What is 1 + 1?", Params(1.0, None, 64), 0, 1, 5))

            await asyncio.gather(*(one(i) for i in range(400)))
            assert model._client is not None
            limit = model._client.replicas[0].limiter.limit
            await model.aclose()
            return limit

        limit = asyncio.run(work())
        assert server.most_seen <= 48
        if refusing:
            assert limit < 24
        assert server.paid() == 400

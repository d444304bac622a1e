"""Runs over a real HTTP server that misbehaves on purpose: what is asked for, paid for, kept, said, and never shown."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

import vervet
from tests.helpers import SRC, command, write_problems
from tests.zygote import Zygote
from vervet.api import check_ledger
from vervet.cli.main import execute
from vervet.errors import BadOption, ServiceError, UserError
from vervet.protocols import SamplerSetup
from vervet.records import Message, Params, Reply, Request
from vervet.samplers.openai import OpenAI
from vervet.testing.server import FAULTS, REPEATED, UNPAID, Server, basic

QUICK = {"pause": 0.02, "timeout": 20, "probe": False}
FIELDS = {
    "top_k": 20, "min_p": 0.05, "presence_penalty": 0.5, "frequency_penalty": -0.25, "repetition_penalty": 1.1,
}  # fmt: skip


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_problems(tmp_path / "q.jsonl", 6)


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


# ------------------------------------------------------------------------------------------------ nothing lost, or bought twice


def test_a_fifth_of_all_requests_fails_and_every_problem_ends_with_exactly_n(tmp_path: Path) -> None:
    """10,000 samples through every fault there is; the server's own account is the witness."""
    task = write_problems(tmp_path / "q.jsonl", 50)
    faults = dict.fromkeys(FAULTS, 0.2 / len(FAULTS))
    with Server(faults=faults, seed=1, latency_s=0.005, slow_s=0.2) as server:
        run = go(server, task, tmp_path / "r", 200, model_options={"max_n": 4, "timeout": 1.5})
        assert run.counts().n.tolist() == [200] * 50
        assert set(server.faults) == {row.fault for row in server.served} - {""}, "every fault was met"
        said = next(notice for notice in run.notices if "1.5 s: slow answers are rarer" in notice)
        # on a busy machine a sound answer may come too late as well: such a request is paid twice, and it is said
        late = int(said.split()[0]) - server.faulty("hang")
        assert server.paid() <= 10_000 / 4 + server.faulty() + late
        # duplicates and empty texts are draws: as many as the server gave
        empty = sum(row.choices for row in server.served if row.fault == "empty")
        assert empty - 4 * late <= texts(run).count("") <= empty
        assert empty > 4 * late or late > 10
    assert check_ledger(tmp_path / "r")["faults"] == []


def test_faults_do_not_change_the_distribution_of_answers(tmp_path: Path) -> None:
    """Right with probability 0.3, else one of four wrong answers, with a fifth of the requests failing on the way.

    False alarm: a chi-square test at 1e-6.
    """
    task = write_problems(tmp_path / "q.jsonl", 20)
    kinds = [kind for kind in FAULTS if kind not in ("same", "empty", "hang", "slow")]
    with Server(p=0.3, faults=dict.fromkeys(kinds, 0.2 / len(kinds)), seed=2) as server:
        run = go(server, task, tmp_path / "r", 300, model_options={"max_n": 8})
    assert_distributed(run, 0.3)


def assert_distributed(run: vervet.Run, p: float) -> None:
    """Right with probability p, else one of four wrong answers with equal chances: chi-square at 1e-6."""
    seen = Counter(
        int((s.answer or "").strip() or -99) - int(q[1:]) - 1 for q in run.problem_ids() for s in run.samples(q)
    )
    expected = {0: p * seen.total(), **dict.fromkeys(range(1, 5), (1 - p) / 4 * seen.total())}
    assert set(seen) == set(expected)
    assert stats.chisquare([seen[k] for k in expected], list(expected.values())).pvalue > 1e-6


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_ten_times_among_faults_the_run_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """SIGKILL at ten moments of the work: exactly n a problem, the answers of a run without faults (a chi-square
    test at 1e-6), and paid again at most what was in flight at each kill."""
    task, in_flight, n = write_problems(tmp_path / "q.jsonl", 50), 16, 200
    kinds = [kind for kind in FAULTS if kind not in ("hang", "same", "empty")]
    dice, kills = random.Random(time.time_ns()), 0
    with Zygote() as zygote, Server(faults=dict.fromkeys(kinds, 0.2 / len(kinds)), seed=4, slow_s=0.2, p=0.3) as server:
        line = [
            "run", task, "-m", "openai/m", "-n", n, "--base-url", server.url, "--out", tmp_path / "r",
            "--max-in-flight", in_flight, "-M", "max_n=4", "-M", "pause=0.02", "-M", "timeout=5", "-M", "probe=false",
        ]  # fmt: skip
        server.latency_s = 0.05
        for _ in range(10):
            goal = server.paid() + dice.randint(1, 200)
            process = zygote.start(*line)
            while server.paid() < goal:
                time.sleep(0.005)
            os.kill(process, signal.SIGKILL)
            kills += zygote.wait()[0] == -signal.SIGKILL
        assert kills == 10, "each of them in the middle"
        code, said = zygote.run(*line)
        assert code == 0, said
        assert server.paid() <= 10_000 / 4 + server.faulty() + kills * in_flight
    with vervet.open_run(tmp_path / "r") as run:
        assert run.counts().n.tolist() == [n] * 50
        assert all([s.index for s in run.samples(p)] == list(range(n)) for p in run.problem_ids())
        assert_distributed(run, 0.3)
    assert check_ledger(tmp_path / "r")["faults"] == []


def test_an_interrupt_ends_the_waiting_and_keeps_what_was_paid_for(tmp_path: Path, task: Path) -> None:
    """Ctrl-C while most requests wait for a second try: no new request, everything paid for is stored, exit 130."""
    with Server(faults={"500": 0.6}, seed=4, latency_s=0.2) as server:
        line = command(
            "run", task, "-m", "openai/m", "-n", 60, "--base-url", server.url, "--out", tmp_path / "r",
            "-M", "max_n=1", "-M", "pause=300", "-M", "probe=false",
        )  # fmt: skip
        process = subprocess.Popen(
            line, env={**os.environ, "PYTHONPATH": str(SRC)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 60
        while server.paid() < 30 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, stderr = process.communicate(timeout=100)
        assert time.monotonic() - began < 60, "it does not sit out the pauses of minutes"
        assert process.returncode == 130, stderr
        with vervet.open_run(tmp_path / "r") as run:
            assert run.to_dict()["samples"] == server.paid()


def test_a_server_that_dies_and_comes_back_costs_nothing_but_time(tmp_path: Path, task: Path) -> None:
    """The run ends with exit 6 and one line; the same command goes on when the server is there again."""
    with Server(latency_s=0.05) as server:
        port, url = server.port, server.url
        line = ["run", str(task), "-m", "openai/m", "-n", "40", "--base-url", url, "--out", str(tmp_path / "r")]
        line += ["-M", "probe=false", "-M", "max_n=2", "-M", "patience=0.6", "-M", "pause=0.05", "--max-in-flight", "4"]
        process = subprocess.Popen(
            command(*line), env={**os.environ, "PYTHONPATH": str(SRC)}, stderr=subprocess.PIPE, text=True
        )
        while server.paid() < 8:
            time.sleep(0.02)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 6
    said = next(x for x in stderr.splitlines() if x.startswith("vervet: "))
    assert said.startswith(f"vervet: the model cannot be reached: {url}: cannot connect")
    with Server(port=port):
        assert execute(line) == 0
    with vervet.open_run(tmp_path / "r") as run:
        assert run.counts().n.tolist() == [40] * 6


# ------------------------------------------------------------------------------------------------------ one fault at a time


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_each_fault_alone(fault: str) -> None:
    """Half of all requests meet it; all the samples come, and the account shows what it cost."""
    with Server(faults={fault: 0.5}, seed=8, slow_s=0.1) as server:
        model = sampler(server.url, max_n=2, timeout=2 if fault == "hang" else 60, pause=0.01)

        async def work() -> list[Reply]:
            message = [(Message("user", f"What is {i} + 1?"),) for i in range(12)]
            wanted = [Request(f"q{i}", m, Params(1.0, None, 64), 0, 2, 5) for i, m in enumerate(message)]
            try:
                return list(await asyncio.gather(*(model.sample(w) for w in wanted)))
            finally:
                await model.aclose()

        replies = asyncio.run(work())
        assert [len(r.completions) for r in replies] == [2] * 12
        assert server.faulty(fault) > 0
        again = (
            server.faulty(*(REPEATED - UNPAID))
            if fault != "few"
            else sum(r.n > 1 and r.fault != "" for r in server.served)
        )
        # a busy machine may make a sound answer late: only where the time limit is short
        assert server.paid() == 12 + again or (fault == "hang" and server.paid() > 12 + again)
    assert {r.usage.counted_by for r in replies} == ({"server", "vervet"} if fault == "usage" else {"server"})
    assert all(0 < (r.usage.completion_tokens or 0) <= 128 for r in replies)


def test_retry_after_is_obeyed_by_everybody() -> None:
    """After a refusal with Retry-After nothing goes to that server before its time is up."""
    with Server(most_at_once=1, latency_s=0.05) as server:
        limiter_pause = 0.1
        server.faults = {"429-after": 0.3}
        model = sampler(server.url, pause=0.01)

        async def work() -> None:
            for i in range(30):
                await model.sample(Request(f"q{i}", f"What is {i} + 1?", Params(1.0, None, 64), 0, 1, 5))
            await model.aclose()

        asyncio.run(work())
        rows = server.served
    gaps = [b.at - a.at for a, b in itertools.pairwise(rows) if a.fault == "429-after"]
    assert gaps
    assert min(gaps) >= limiter_pause


def test_a_wait_longer_than_our_patience_ends_the_run_with_the_reason() -> None:
    with (
        Server(faults={"429-after": 1.0}) as server,
        pytest.raises(ConnectionError, match="asks us to wait"),
    ):
        ask(sampler(server.url, patience=0.05))


def test_a_prompt_on_which_the_server_always_fails_does_not_end_the_run(task: Path, tmp_path: Path) -> None:
    """The others go on; that problem's samples are missing, with the reason."""

    def answer(prompt: str, dice: random.Random) -> str:
        if "What is 3" in prompt:
            raise RuntimeError("the server has a bug")
        return "Answer: 1"

    with Server(answer=answer, latency_s=0.01) as server:
        run = go(server, task, tmp_path / "r", 40, max_in_flight=4, model_options={"max_n": 1, "pause": 0.001})
    assert run.counts().n.tolist() == [40, 40, 40, 0, 40, 40]
    assert "failed 10 times on this prompt, and not on others: HTTP 500" in run.notices[0]


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


# ---------------------------------------------------------------------------------------------------------------- misuse


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """Run a command that must be refused with `code`; returns its one line."""
    capsys.readouterr()
    assert execute([str(a) for a in arguments]) == code
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("vervet: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    assert out == ""
    return lines[0]


@pytest.fixture
def line(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return ["run", str(task), "-n", "4", "--out", "r", "-M", "pause=0.02"]


def test_no_key(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    assert "openai needs a key: set OPENAI_API_KEY" in refused(capsys, 1, *line, "-m", "openai/gpt")


def test_a_wrong_key(capsys: pytest.CaptureFixture[str], line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(key="right") as server:
        line += ["-m", "openai/m", "--base-url", server.url]
        assert "asks for a key (HTTP 401): set OPENAI_API_KEY" in refused(capsys, 1, *line)
        monkeypatch.setenv("OPENAI_API_KEY", "wrong-sesame")
        said = refused(capsys, 1, *line)
        assert "refuses the key in OPENAI_API_KEY (HTTP 401)" in said
        assert "wrong-sesame" not in said
        monkeypatch.setenv("MY_KEY", "right")
        assert execute([*line, "-M", "key_env=MY_KEY"]) == 0


def test_an_unknown_model(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    with Server() as server:
        assert "has no model 'zzz'" in refused(capsys, 1, *line, "-m", "openai/zzz", "--base-url", server.url)


def test_a_wrong_url(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    with Server() as server:
        wrong = server.url.removesuffix("/v1")
        said = refused(capsys, 1, *line, "-m", "openai/m", "--base-url", wrong)
        assert "is no OpenAI-compatible API (HTTP 404" in said
        assert "/v1" in said


def test_no_server(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    began = time.monotonic()
    said = refused(capsys, 6, *line, "-m", "openai/m", "--base-url", f"http://127.0.0.1:{port}/v1", "-M", "patience=1")
    assert f"http://127.0.0.1:{port}/v1: cannot connect (Connection refused)" in said
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--base-url", "localhost:8000"], "write http://host:port/v1"),
        (["--base-url", "http://user:sesame@/v1"], "write http://host:port/v1"),
        (["-M", "max_n=0"], "max_n must be at least 1"),
        (["-M", "timeout=0"], "timeout"),
        (["-M", "extra=[1]"], "takes a JSON object"),
        (["-M", 'extra={"n": 3}'], "'n' is set by Vervet itself"),
        (["-M", 'headers={"Authorization": "Bearer sesame"}'], 'write "$NAME"'),
        (["-M", 'headers={"X": "$NOT_SET"}', "--base-url", "http://127.0.0.1:9/v1"], "NOT_SET, which is not set"),
    ],
)
def test_bad_options(capsys: pytest.CaptureFixture[str], line: list[str], arguments: list[str], says: str) -> None:
    said = refused(capsys, 1, *line, "-m", "openai/m", *arguments)
    assert says in said
    assert "sesame" not in said


def test_a_base_url_for_a_model_without_server(capsys: pytest.CaptureFixture[str], line: list[str]) -> None:
    assert "--base-url" in refused(capsys, 1, *line, "-m", "fake/p=0.5", "--base-url", "http://127.0.0.1:1/v1")


def test_a_temperature_that_the_provider_would_lower_without_a_word() -> None:
    from vervet.samplers.openai import Anthropic

    with pytest.raises(UserError, match=r"anthropic takes --temperature 0 to 1, not 1\.5"):
        ask(Anthropic("claude", SamplerSetup()), temperature=1.5)


# --------------------------------------------------------------------------------------------------------------- no keys

CANARY = "canary-3f9d2c7be1a04c55"


def _everything_written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_key_appears_nowhere(
    tmp_path: Path,
    task: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the environment, in a URL's user-info and query, in a header, in an extra field: used, and never written or said."""
    caplog.set_level(1)
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "GATEWAY_KEY", "FIELD_KEY"):
        monkeypatch.setenv(name, f"{CANARY}-{name.lower()}")

    def run(*arguments: object) -> int:
        return execute([str(a) for a in arguments])

    options = [
        "-n",
        "3",
        "-v",
        "-M",
        'headers={"X-Gate":"$GATEWAY_KEY"}',
        "-M",
        'extra={"user":"$FIELD_KEY"}',
        "-M",
        "pause=0.02",
    ]
    with Server() as server:
        host = server.url.removeprefix("http://")
        url = f"http://me:{CANARY}-password@{host}?api-key={CANARY}-query"
        assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "a", *options, "--json") == 0
        served = server.served[0]
        assert served.headers["Authorization"] == basic("me", f"{CANARY}-password")
        assert served.headers["X-Gate"] == f"{CANARY}-gateway_key"
        assert served.body["user"] == f"{CANARY}-field_key"
        server.served.clear()
        assert run("run", task, "-m", "openai/m", "--base-url", server.url, "--out", "b", *options) == 0
        assert server.served[0].headers["Authorization"] == f"Bearer {CANARY}-openai_api_key"
        assert run("resume", "b", "-n", "5") == 0, "the keys are found again in the environment"
        assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "p", *options, "--dry-run") == 0
        priced = ["--price-in", "1", "--price-out", "1", "--budget-usd", "0.0001"]
        assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "q", *options, *priced) == 3
        # errors: the server sends the key back in its message
        server.key = "another"
        assert run("run", task, "-m", "openai/m", "--base-url", server.url, "--out", "c", *options) == 1
        assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "d", *options) == 1
        server.key, server.refuses = None, ["user"]
        assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "e", *options) == 1
    assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "f", *options, "-M", "patience=0.1") == 6
    assert (
        run("run", task, "-m", "openai/m", "--base-url", url.replace("127.0.0.1:", "[127:"), "--out", "g", *options)
        == 1
    )
    for literal in (f'headers={{"X-Gate":"{CANARY}"}}', f'extra={{"api_key":"{CANARY}"}}'):
        assert run("run", task, "-m", "openai/m", "--base-url", url, "--out", "h", "-M", literal) == 1
    for folder in ("a", "b"):
        assert run("coverage", folder, "--json") == 0
        assert run("show", folder) == 0
        assert run("report", folder, "-o", f"{folder}.html") == 0
        assert (tmp_path / f"{folder}.html").stat().st_size > 1000
    assert run("run", task, "-m", "openai/m", "--out", "a", "-n", "1") in (0, 1, 6)
    task.unlink()
    assert CANARY not in "".join(capfd.readouterr())
    assert CANARY not in caplog.text
    assert CANARY.encode() not in _everything_written(tmp_path)


def test_what_looks_like_a_key_is_refused_where_it_would_be_stored() -> None:
    for extra in ({"api_key": "x"}, {"metadata": {"token": "abc"}}, {"user": "sk-" + "a1" * 12}, {"x": "9f" * 16}):
        with pytest.raises(BadOption, match="looks like a key"):
            sampler("http://127.0.0.1:1/v1", extra=extra)
    harmless = {
        "max_tokens_per_image": 3,
        "stop_token_ids": [1],
        "repetition_penalty": 1.1,
        "guided_regex": "[a-z]+",
        "user": "me",
    }
    sampler("http://127.0.0.1:1/v1", extra=harmless)


def test_the_account_is_empty() -> None:
    from vervet.samplers._http_errors import Action, judge

    quota = b'{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}'
    assert judge(429, {}, quota).action is Action.MONEY
    assert judge(429, {}, b"{}").action is Action.SLOW_DOWN
    assert issubclass(ServiceError, Exception)


@pytest.mark.parametrize(
    ("status", "message", "action", "field"),
    [
        (400, "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.", "ADAPT",
         "max_tokens"),
        (400, "Unsupported value: 'temperature' does not support 0.7. Only the default (1) value is supported.", "ADAPT",
         "temperature"),
        (400, "`temperature` and `top_p` cannot both be specified for this model", "ADAPT", "temperature"),
        (400, "Invalid value for 'n': must be at most 8", "ADAPT", "n"),
        (400, "'max_tokens' is too large: 9000. This model's maximum context length is 4096 tokens", "REFUSE", ""),
        (400, "Please reduce the length of the messages", "REFUSE", ""),
        (400, "the request exceeds the available context size", "REFUSE", ""),
        (400, "The response was filtered due to the content management policy", "REFUSE", ""),
        (400, "something odd", "UNCLEAR", ""),
        (404, "The model `x` does not exist or you do not have access to it", "MODEL", ""),
        (404, "Not Found", "ADDRESS", ""),
        (405, "Method Not Allowed", "ADDRESS", ""),
        (401, "no", "KEY", ""),
        (403, "no", "KEY", ""),
        (402, "Insufficient Balance", "MONEY", ""),
        (500, "oops", "RETRY", ""),
        (529, "overloaded", "SLOW_DOWN", ""),
    ],
)  # fmt: skip
def test_what_servers_say(status: int, message: str, action: str, field: str) -> None:
    """Messages as OpenAI, vLLM, llama.cpp, Azure and DeepSeek word them."""
    from vervet.samplers._http_errors import judge

    found = judge(status, {}, json.dumps({"error": {"message": message}}).encode())
    assert (found.action.name, found.field) == (action, field)

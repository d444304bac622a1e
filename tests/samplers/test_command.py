"""`command/PATH` with real programs: what is handed over, what counts as a sample, and that nothing is left running."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

import vervet
from tests.helpers import write_problems
from vervet.cli.main import execute
from vervet.errors import BadOption, MissingPart, UserError
from vervet.protocols import SamplerSetup
from vervet.records import Message, Params, Reply, Request
from vervet.samplers.command import Command
from vervet.testing import samplers as suite

ASKED = Request("q1", (Message("user", "What is 1 + 1?"),), Params(0.7, 0.9, 64, ("END",)), 3, 1, run_seed=5)
HEAD = "#!/usr/bin/env -S python3 -S -E\nimport json, os, random, subprocess, sys, time\n"


@pytest.fixture
def agent(tmp_path: Path):
    """Makes an executable Python script out of its body; `asked` is what it was given."""

    def make(body: str, name: str = "agent.py", head: str = HEAD) -> str:
        path = tmp_path / name
        path.write_text(head + ("asked = json.load(sys.stdin)\n" if head == HEAD else "") + body + "\n")
        path.chmod(0o755)
        return str(path)

    return make


def ask(name: str, request: Request = ASKED, notices: list[str] | None = None, **options: Any) -> Reply:
    async def work() -> Reply:
        sampler = Command(name, SamplerSetup(notice=None if notices is None else notices.append), **options)
        try:
            return await sampler.sample(request)
        finally:
            await sampler.aclose()

    return asyncio.run(work())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# ------------------------------------------------------------------------------------------------------ the exchange


def test_it_is_a_sampler(agent) -> None:
    path = agent("""sed -n 's/.*"seed":\\([0-9]*\\).*/{"answer":"\\1"}/p'""", head="#!/bin/sh\n")
    build = lambda: Command(path, SamplerSetup())  # noqa: E731
    suite.check_traits(build)
    suite.check_neutral_options(build)
    suite.check_reply(build, ASKED)
    suite.check_concurrent(build, ASKED, seeded=True, at_once=8)
    suite.check_seeded(build, ASKED, regroups=True)
    suite.check_cancel(build, ASKED)


def test_the_whole_request_is_handed_over_and_nothing_else(agent) -> None:
    given = json.loads(ask(agent("print(json.dumps({'answer': json.dumps(asked)}))")).completions[0].text)
    assert given == {
        "schema": "vervet.attempt/1",
        "problem": "q1",
        "prompt": [{"role": "user", "content": "What is 1 + 1?"}],
        "index": 3,
        "seed": ASKED.seed_of(0),
        "params": {"temperature": 0.7, "top_p": 0.9, "max_tokens": 64, "stop": ["END"], "extra": {}},
        "timeout_s": 600.0,
    }


def test_answer_cost_trace_and_counts_come_back(agent) -> None:
    said = {
        "answer": "42",
        "trace": [{"tool": "calculator"}],
        "cost_usd": 0.5,
        "prompt_tokens": 900,
        "cached_tokens": 100,
        "completion_tokens": 7,
        "finish_reason": "done",
        "reasoning": "hm",
        "logprob": -2,
    }
    reply = ask(agent(f"print('thinking ...'); print(json.dumps({said!r}))"))
    (got,) = reply.completions
    assert (got.text, got.finish_reason, got.completion_tokens, got.reasoning, got.logprob) == (
        "42",
        "done",
        7,
        "hm",
        -2,
    )
    assert json.loads(got.trace) == said["trace"]
    usage = reply.usage
    assert (usage.cost_usd, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens) == (0.5, 900, 100, 7)


def test_json_may_fill_the_whole_output(agent) -> None:
    assert ask(agent("print(json.dumps({'text': 'a b'}, indent=2))")).completions[0].text == "a b"


def test_arguments_are_split_as_a_shell_does(agent) -> None:
    path = agent("print(json.dumps({'answer': repr(sys.argv[1:])}))")
    assert ask(path, args="--model 'a b' -v").completions[0].text == "['--model', 'a b', '-v']"
    with pytest.raises(BadOption, match="cannot be split"):
        Command(path, SamplerSetup(), args="'")


def test_attempts_do_not_meet_in_their_working_folder(agent) -> None:
    """Each begins in an empty folder of its own, which is gone afterwards."""
    path = agent(
        "seen = os.listdir(); open('mine', 'w'); print(json.dumps({'answer': json.dumps([os.getcwd(), seen])}))"
    )
    told = [json.loads(ask(path).completions[0].text) for _ in range(2)]
    assert told[0][0] != told[1][0]
    assert [seen for _, seen in told] == [[], []]
    assert not any(Path(folder).exists() for folder, _ in told)


def test_a_name_without_a_path_is_looked_up(agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent("print(json.dumps({'answer': 'here'}))", name="my-agent")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert ask("my-agent").completions[0].text == "here"


def test_an_edited_program_is_another_model(agent) -> None:
    before = Command(agent("pass"), SamplerSetup()).traits().fingerprint
    assert before != Command(agent("1"), SamplerSetup()).traits().fingerprint


# ------------------------------------------------------------------------------------------------------ what is a sample


def test_the_own_time_limit_makes_a_failed_sample(agent, tmp_path: Path) -> None:
    path = agent("time.sleep(0 if asked['problem'] == 'q0' else 600); print(json.dumps({'answer': '1'}))")
    task = write_problems(tmp_path / "t.jsonl", 2)
    run = vervet.run(str(task), model=f"command/{path}", n=1, out=tmp_path / "r", model_options={"timeout": 2})
    assert (run.counts().n.tolist(), run.counts().c.tolist()) == ([1, 1], [1, 0])
    (late,) = run.samples("q1")
    assert (late.text, late.finish_reason, str(late.outcome)) == ("", "timeout", "FAIL")


def test_giving_up_is_a_failed_sample(agent) -> None:
    assert ask(agent("print(json.dumps({'answer': None}))")).completions[0].text == ""


BROKEN = [
    ("sys.exit(3)", "exit code 3"),
    ("sys.exit('no\\x1b credit')", "exit code 1: no credit"),
    ("os.kill(os.getpid(), 11)", "SIGSEGV"),
    ("print('I am done.')", "no JSON object on the last line"),
    ("pass", "nothing on standard output"),
    ("print('[1]')", "no JSON object"),
    ("print(json.dumps({'result': 'x'}))", "neither 'answer' nor 'text'"),
    ("print(json.dumps({'answer': 'x', 'text': 'y'}))", "both 'answer' and 'text'"),
    ("print(json.dumps({'answer': 4}))", "its answer is no text but int"),
    ("print(json.dumps({'answer': 'x', 'cost_usd': -1}))", "its cost_usd is '-1'"),
    ("print(json.dumps({'answer': 'x', 'completion_tokens': 1.5}))", "not a whole number"),
    ("print(json.dumps({'answer': 'x', 'logprob': 1}))", "not a number up to 0"),
]


@pytest.mark.parametrize(("body", "why"), BROKEN)
def test_a_program_that_breaks_gives_no_sample(agent, body: str, why: str) -> None:
    notices: list[str] = []
    reply = ask(agent(body), notices=notices)
    assert reply.completions == ()
    assert "1 attempts" in notices[0]
    assert why in notices[0]


def test_what_broke_is_missing_and_asked_for_again(agent, tmp_path: Path) -> None:
    """Every first attempt breaks; the run goes on while it makes progress, and says what happened."""
    marks = tmp_path / "marks"
    marks.mkdir()
    path = agent(
        f"mark = os.path.join({str(marks)!r}, asked['problem'] + str(asked['index']))\n"
        "if asked['problem'] != 'q0' and not os.path.exists(mark): open(mark, 'w'); sys.exit('network is down')\n"
        "if asked['problem'] == 'q2': sys.exit('always')\n"
        "print(json.dumps({'answer': str(int(asked['problem'][1:]) + 1)}))"
    )
    task = write_problems(tmp_path / "t.jsonl", 3)
    run = vervet.run(str(task), model=f"command/{path}", n=2, out=tmp_path / "r", max_in_flight=1)
    assert run.counts().c.tolist() == [2, 2, 0]
    assert run.to_dict()["missing"] == 2
    assert "they are no FAILs" in run.notices[-1]


def test_a_program_that_never_works_ends_the_run(agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = write_problems(tmp_path / "t.jsonl", 20)
    code = execute(["run", str(task), "-m", f"command/{agent('sys.exit(7)')}", "-n", "5", "--out", str(tmp_path / "r")])
    assert code == 1
    assert "gives no sample (exit code 7): try it on its own" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------ nothing is left

SPAWN = """
out = os.environ['PIDS']
plain = subprocess.Popen(['sleep', '600'])
session = subprocess.Popen(['sleep', '600'], start_new_session=True, stdin=subprocess.DEVNULL)
orphan = int(subprocess.run(['sh', '-c', 'setsid sleep 600 >/dev/null 2>&1 & echo $!'], capture_output=True).stdout)
with open(out + '.tmp', 'w') as f: json.dump([os.getpid(), plain.pid, session.pid, orphan], f)
os.rename(out + '.tmp', out)
"""


@pytest.fixture
def pids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a program that spawns says whom it started."""
    monkeypatch.setenv("PIDS", str(tmp_path / "pids"))
    return tmp_path / "pids"


def test_the_whole_tree_ends_with_the_program(agent, pids: Path) -> None:
    """Also those that keep its standard output open, lead a session of their own or have lost their parent."""
    assert ask(agent(SPAWN + "print(json.dumps({'answer': 'x'}))")).completions[0].text == "x"
    assert not any(map(alive, json.loads(pids.read_text())))


def test_the_whole_tree_ends_at_the_time_limit(agent, pids: Path) -> None:
    for seconds in (1, 5, 25):  # a busy machine may need longer to start four processes
        assert ask(agent(SPAWN + "time.sleep(600)"), timeout=seconds).completions[0].finish_reason == "timeout"
        if pids.exists():
            break
    assert not any(map(alive, json.loads(pids.read_text())))


def test_the_whole_tree_ends_with_a_cancellation(agent, pids: Path) -> None:
    async def work() -> None:
        task = asyncio.create_task(Command(path, SamplerSetup()).sample(ASKED))
        while not pids.exists():  # noqa: ASYNC110, ASYNC240  a file is all that a program can tell
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    path = agent(SPAWN + "time.sleep(600)")
    asyncio.run(asyncio.wait_for(work(), 60))
    assert not any(map(alive, json.loads(pids.read_text())))


def test_attempts_run_side_by_side(agent, tmp_path: Path) -> None:
    """Each waits for the other to begin: one after the other they would wait for ever."""
    meet = tmp_path / "meet"
    meet.mkdir()
    path = agent(
        f"open(os.path.join({str(meet)!r}, str(asked['index'])), 'w')\n"
        f"while len(os.listdir({str(meet)!r})) < 4: time.sleep(0.01)\n"
        "print(json.dumps({'answer': '1'}))"
    )
    task = write_problems(tmp_path / "t.jsonl", 1)
    begin = time.monotonic()
    run = vervet.run(str(task), model=f"command/{path}", n=4, out=tmp_path / "r", model_options={"timeout": 100})
    assert run.counts().c.tolist() == [4], time.monotonic() - begin


# ------------------------------------------------------------------------------------------------------ keys and misuse


def test_the_users_keys_reach_the_program_and_are_kept_nowhere(agent, tmp_path: Path, monkeypatch, capfd) -> None:
    canary = 'canary-"quoted"-7f3a9c2e'
    monkeypatch.setenv("AGENT_API_KEY", canary)
    path = agent(
        "key = os.environ['AGENT_API_KEY']\n"
        "if asked['index'] == 1: sys.exit('refused: ' + key)\n"
        "print('log', key); print(key, file=sys.stderr)\n"
        "print(json.dumps({'answer': f'{len(key)} {key}', 'trace': {'header': 'Bearer ' + key}}))"
    )
    task = write_problems(tmp_path / "t.jsonl", 2)
    execute(["run", str(task), "-m", f"command/{path}", "-n", "2", "--out", str(tmp_path / "r"), "--json"])
    with vervet.open_run(tmp_path / "r") as run:
        kept = [(s.text, s.trace) for p in run.problem_ids() for s in run.samples(p)]
        assert kept[0] == (f"{len(canary)} [hidden]", '{"header":"Bearer [hidden]"}')
        assert len(kept) == 2
    out, err = capfd.readouterr()
    texts = [out, err, *(p.read_bytes().decode("latin-1") for p in (tmp_path / "r").rglob("*") if p.is_file())]
    assert not any("7f3a9c2e" in text for text in texts)


def test_a_run_folder_starts_no_program(agent, tmp_path: Path) -> None:
    path = agent("print(json.dumps({'answer': '1'}))")
    task = write_problems(tmp_path / "t.jsonl", 1)
    vervet.run(str(task), model=f"command/{path}", n=1, out=tmp_path / "r")
    with pytest.raises(UserError, match="none is started because a run folder says so"):
        vervet.resume(tmp_path / "r", n=2)
    run = vervet.run(str(task), model=f"command/{path}", n=2, out=tmp_path / "r")
    assert run.counts().n.tolist() == [2]


def test_what_is_no_program_is_one_clear_line(agent, tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match="there is no program"):
        Command("./nowhere", SamplerSetup())
    plain = tmp_path / "plain.py"
    plain.write_text("1")
    with pytest.raises(BadOption, match="chmod"):
        Command(str(plain), SamplerSetup())
    with pytest.raises(UserError, match="does its first line name a program"):
        ask(agent("", head="#!/nowhere/python\n"))
    with pytest.raises(UserError, match="begin a script with a line"):
        ask(agent("hello", head=""))
    with pytest.raises(BadOption, match="more than 0 seconds"):
        Command(agent("pass"), SamplerSetup(), timeout=0)

"""Budgets: hard caps over the whole run, through faults, crashes and several models."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vervet
from tests.helpers import served, write_problems
from tests.zygote import Zygote
from vervet import api
from vervet.api import check_ledger
from vervet.cli.main import execute
from vervet.errors import UserError
from vervet.ledger import Ledger
from vervet.ledger.spending import spent
from vervet.testing.server import FAULTS, Server


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_problems(tmp_path / "q.jsonl", 6)


def facts(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> dict[str, Any]:
    """The document of a command that ends with this exit code."""
    capsys.readouterr()
    assert execute([*map(str, arguments), "--json"]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


# --------------------------------------------------------------------------------------------------- each cap by itself


def test_a_budget_of_samples_is_used_up_and_a_larger_one_goes_on(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["run", task, "-m", "fake/p=0.3", "-n", 10, "--out", "r", "-M", "batch=4"]
    stopped = facts(capsys, 3, *line, "--budget-samples", 33)
    assert (stopped["stopped"], stopped["samples"], stopped["missing"], stopped["pending"]) == ("budget", 33, 27, 0)
    n = vervet.open_run("r").counts().n
    assert n.max() - n.min() <= 10, "a first round is stopped in the middle"
    again = facts(capsys, 3, "run", task, "-m", "fake/p=0.3", "--out", "r")
    assert again["samples"] == 33, "a repeat takes the budget from the run"
    more = facts(capsys, 3, "resume", "r", "--budget-samples", 50)
    assert more["samples"] == 50
    assert facts(capsys, 0, "resume", "r", "--budget-samples", 60)["stopped"] == "complete"
    assert all(len(seeds) == 1 for seeds in served(Path("r")).values())


def test_a_budget_of_tokens_counts_prompts_and_completions(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [
        "run",
        task,
        "-m",
        "fake/p=0.3",
        "-n",
        100,
        "--out",
        "r",
        "--max-tokens",
        20,
        "-M",
        "tokens=10",
        "-M",
        "batch=5",
    ]
    stopped = facts(capsys, 3, *line, "--budget-tokens", 3000)
    used = stopped["prompt_tokens"] + stopped["completion_tokens"]
    worst_of_one = 6 * 4 + 512 + 20 + 8 + 64
    assert 3000 - worst_of_one <= used <= 3000
    more = facts(capsys, 3, "resume", "r", "--budget-tokens", 4000)
    assert used < more["prompt_tokens"] + more["completion_tokens"] <= 4000


def test_a_budget_of_money_needs_a_price_and_holds(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", task, "-m", "fake/p=0.3", "-n", 100, "--out", "r", "--max-tokens", 20, "-M", "tokens=10"]
    assert execute([str(a) for a in (*line, "--budget-usd", 0.02)]) == 1
    said = capsys.readouterr().err
    assert "no price is known for fake/p=0.3" in said
    assert "--price-in" in said
    assert not Path("r").exists(), "refused at the start"
    stopped = facts(capsys, 3, *line, "--budget-usd", 0.02, "--price-in", 1, "--price-out", 10)
    assert 0.01 < stopped["usd"] <= 0.02
    expected = (stopped["prompt_tokens"] * 1 + stopped["completion_tokens"] * 10) / 1e6
    assert stopped["usd"] == pytest.approx(expected)
    assert facts(capsys, 0, "resume", "r", "--budget-usd", 5)["samples"] == 600


def test_a_budget_of_minutes_ends_the_sending_over_all_invocations(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["run", task, "-m", "fake/p=0.3", "-n", 10000, "--out", "r", "-M", "latency=0.05", "-M", "batch=1"]
    first = facts(capsys, 3, *line, "--max-in-flight", 2, "--budget-minutes", 0.01)
    assert 0 < first["samples"] < 5000
    again = facts(capsys, 3, *line, "--max-in-flight", 2, "--budget-minutes", 0.01)
    assert again["samples"] == first["samples"], "the time was worked already"
    assert facts(capsys, 3, "resume", "r", "--budget-minutes", 0.03)["samples"] > first["samples"]


def test_a_small_budget_buys_smaller_requests_rather_than_none(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Room for two samples of a request of 32, and as samples are short, for two more, again and again."""
    line = ["run", task, "-m", "fake/p=0.3", "-n", 32, "--out", "r", "--max-tokens", 1000]
    done = facts(capsys, 0, *line, "--budget-usd", 0.003, "--price-in", 0, "--price-out", 1)
    assert (done["samples"], done["requests"]) == (192, 96)
    assert facts(capsys, 3, *line, "--new", "--budget-usd", 0.0009, "--price-in", 0, "--price-out", 1)["samples"] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--budget-usd", "0"], "--budget-usd"),
        (["--budget-usd", "inf"], "--budget-usd"),
        (["--budget-samples", "-1"], "--budget-samples"),
        (["--price-in", "1"], "belong together"),
        (["--price-cached", "1"], "--price-cached needs"),
        (["--price-in", "-1", "--price-out", "1"], "--price-in"),
    ],
)
def test_an_impossible_budget_is_one_line(
    task: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert execute(["run", str(task), "-m", "fake/p=0.3", "--out", "r", *arguments]) == 1
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1


def test_settings_of_a_budget_come_from_file_and_environment(
    task: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("c.toml").write_text("budget-samples = 12\n")
    line = ["run", task, "-m", "fake/p=0.3", "-n", 10, "-c", "c.toml", "-M", "batch=3"]
    assert facts(capsys, 3, *line, "--out", "a")["samples"] == 12
    monkeypatch.setenv("VERVET_BUDGET_SAMPLES", "9")
    assert facts(capsys, 3, *line, "--out", "b")["samples"] == 9
    assert facts(capsys, 3, *line, "--out", "c", "--set", "budget_samples=6")["samples"] == 6


# ------------------------------------------------------------------------------------------------------ several models


def test_one_budget_over_several_models(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Equal shares; what one leaves the others get; a larger budget goes on with all, or with one."""
    line = ["run", task, "-m", "fake/p=0.3", "-m", "fake/p=0.6", "-m", "fake/p=0.9", "-n", 20, "--out", "all"]
    runs = facts(capsys, 3, *line, "--budget-samples", 90)["runs"]
    assert [run["samples"] for run in runs] == [30, 30, 30]
    one = facts(capsys, 3, "resume", runs[0]["run"], "--budget-samples", 100)
    assert one["samples"] == 40, "the others' 60 are counted"
    done = facts(capsys, 3, *line, "--budget-samples", 350)["runs"]
    assert [run["samples"] for run in done] == [117, 116, 117] or sum(run["samples"] for run in done) == 350
    assert facts(capsys, 0, *line, "--budget-samples", 1000)["runs"][2]["samples"] == 120


def test_what_a_small_run_leaves_goes_to_the_others(task: Path, tmp_path: Path) -> None:
    """The first model stops at its share of 40, the second needs 12 only: the first goes on with what is left."""
    runs = api.run_all(str(task), ["fake/p=0.3"], n=2, out=tmp_path / "b", budget_samples=12)
    assert runs[0].stopped == "complete"
    write = ["fake/p=0.3", "fake/p=0.6"]
    vervet.run(str(task), model=write[1], n=20, out=tmp_path / "a" / "fake--p=0.6")
    runs = api.run_all(str(task), write, n=20, out=tmp_path / "a", budget_samples=200)
    assert [run.facts().samples for run in runs] == [80, 120]


def test_a_shared_budget_whose_partner_is_gone_is_refused(task: Path, tmp_path: Path) -> None:
    models = ["fake/p=0.3", "fake/p=0.6"]
    runs = api.run_all(str(task), models, n=20, out=tmp_path / "a", budget_samples=40)
    runs[1].folder.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="shares its budget with"):
        vervet.resume(runs[0].folder, budget_samples=100)


# --------------------------------------------------------------------------------------------------- money, faults, SIGKILL


def test_what_nobody_knows_is_charged_at_its_worst_case(task: Path, tmp_path: Path) -> None:
    """Half of the bodies arrive broken: paid for, and charged as if they had been as long as allowed."""
    with Server(faults={"half": 0.5}, seed=3) as server:
        options = {"max_n": 2, "probe": False, "pause": 0.01}
        run = vervet.run(
            str(task), model="openai/m", n=8, out=tmp_path / "r", base_url=(server.url,), model_options=options,
            max_tokens=50, price_in=1.0, price_out=10.0, budget_usd=10,
        )  # fmt: skip
        document = run.to_dict()
        assert document["lost_requests"] == server.faulty("half") > 0
        assert document["lost_usd"] >= document["lost_requests"] * 2 * 50 * 10 / 1e6
        assert document["usd"] > server.bill(1, 10)
        known = document["usd"] - document["lost_usd"]
        assert known == pytest.approx((document["prompt_tokens"] * 1 + document["completion_tokens"] * 10) / 1e6)


def test_cached_prompt_tokens_have_their_own_price(task: Path, tmp_path: Path) -> None:
    with Server() as server:
        run = vervet.run(
            str(task), model="openai/m", n=2, out=tmp_path / "r", base_url=(server.url,), price_in=100.0, price_out=0.0,
            price_cached=10.0, model_options={"probe": False},
        )  # fmt: skip
        assert server.bill(100, 0, 10) < server.bill(100, 0)
        assert run.to_dict()["usd"] == pytest.approx(server.bill(100, 0, 10))


def test_a_probe_is_paid_from_the_budget(task: Path, tmp_path: Path) -> None:
    with Server() as server:
        run = vervet.run(
            str(task), model="openai/m", n=2, out=tmp_path / "r", base_url=(server.url,), price_in=1.0, price_out=1.0,
            budget_usd=1, max_tokens=30,
        )  # fmt: skip
        assert run.to_dict()["usd"] == pytest.approx(server.bill(1, 1))
    assert check_ledger(tmp_path / "r")["faults"] == []


def test_after_a_crash_what_was_out_is_lost_and_stays_charged(task: Path, tmp_path: Path) -> None:
    run = vervet.run(str(task), model="fake/p=0.3", n=2, out=tmp_path / "r", price_in=1.0, price_out=1.0, budget_usd=1)
    run.close()
    with Ledger.open(tmp_path / "r", writer=True) as ledger, ledger.transaction():
        before = spent(ledger)
        ledger.db.execute(
            "INSERT INTO requests (config, problem, first, n, state, cost_usd, charged_tokens) VALUES (0, 1, 5, 1, 0, 0.5, 99)"
        )
    done = vervet.resume(tmp_path / "r", n=3).to_dict()
    assert (done["lost_requests"], done["lost_usd"]) == (1, 0.5)
    with Ledger.open(tmp_path / "r") as ledger:
        assert spent(ledger).usd > before.usd + 0.5
        assert spent(ledger).tokens > before.tokens + 99


class Trial:
    """One random run: prices, lengths, faults, budget, kills."""

    def __init__(self, seed: int, folder: Path) -> None:
        dice = random.Random(seed)
        self.folder = folder / str(seed)
        self.folder.mkdir()
        self.task = write_problems(self.folder / "q.jsonl", dice.randint(1, 6))
        self.max_tokens = dice.choice((16, 60, 200))
        self.price = (10 ** dice.uniform(-1, 2), 10 ** dice.uniform(-1, 2))
        self.cached = dice.choice((None, self.price[0] / 10))
        self.max_n, self.n = dice.choice((1, 2, 5)), dice.randint(4, 24)
        one = (600 * self.price[0] + self.max_n * self.max_tokens * self.price[1]) / 1e6
        self.budget = one * 10 ** dice.uniform(-0.5, 1.5)
        kinds = dice.sample([k for k in FAULTS if k != "many"], dice.randint(0, 6))
        share = dice.uniform(0, 0.5)
        length = dice.randint(1, 2 * self.max_tokens)
        self.server = Server(
            answer=lambda prompt, d: "x" * (4 * d.randint(0, length)),
            faults={kind: share / len(kinds) for kind in kinds},
            seed=seed,
            latency_s=dice.uniform(0, 0.03),
            slow_s=0.05,
            honours_n=dice.random() < 0.8,
            usage=dice.choice(("right", "right", "one-choice", "none")),
        )
        self.kills = [dice.uniform(0.02, 0.5) for _ in range(dice.choice((0, 1, 2, 4)))]
        self.probe = dice.random() < 0.3

    def go(self, zygote: Zygote) -> tuple[int, float, float]:
        """Exit code of the last run, what the server's account says, and what the ledger says."""
        with self.server as server:
            line = [
                "run", self.task, "-m", "openai/m", "-n", self.n, "--base-url", server.url, "--out", self.folder / "r",
                "--budget-usd", self.budget, "--price-in", self.price[0], "--price-out", self.price[1],
                "--max-tokens", self.max_tokens, "-M", f"max_n={self.max_n}", "-M", "pause=0.005", "-M", "timeout=0.5",
                "-M", f"probe={self.probe}", *(["--price-cached", self.cached] if self.cached is not None else []),
            ]  # fmt: skip
            for kill in self.kills:
                zygote.run(*line, kill_after=kill)
            code, said = zygote.run(*line)
            assert code in (0, 3, 4, 6), said
            bill = server.bill(*self.price, self.cached)
        with Ledger.open(self.folder / "r") as ledger:
            return code, bill, spent(ledger).usd


def trials(count: int, tmp_path: Path, workers: int) -> Counter[int]:
    """So many random trials; the budget holds in each, by the server's account and by the ledger. Exit codes, counted."""
    codes: Counter[int] = Counter()
    failures: list[str] = []
    seeds: Iterator[int] = iter(range(count))

    def work() -> None:
        with Zygote() as zygote:
            for seed in seeds:
                try:
                    trial = Trial(seed, tmp_path)
                    code, bill, ledger = trial.go(zygote)
                except Exception as error:
                    failures.append(f"trial {seed}: {error!r}")
                    return
                codes[code] += 1
                if not bill <= ledger * (1 + 1e-9) or not ledger <= trial.budget * (1 + 1e-9):
                    failures.append(f"trial {seed}: {bill} by the server, {ledger} by the ledger, of {trial.budget}")

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    return codes


def test_a_money_budget_holds_in_random_trials(tmp_path: Path) -> None:
    """A sample of the 200 of the slow test."""
    codes = trials(3, tmp_path, 2)
    assert codes.total() == 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_money_budget_is_never_exceeded_in_200_trials(tmp_path: Path) -> None:
    """Random prices, lengths, faults and SIGKILLs; the server's own account is the witness, and never above the ledger's."""
    codes = trials(200, tmp_path, 3)
    assert codes.total() == 200
    assert min(codes[3], codes[0]) >= 20, "budgets that stop a run, and budgets that do not"

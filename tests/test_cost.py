"""`vervet cost`: the paper's table 1 to the cent, runs of the fake model, and single attempts to cross."""

from __future__ import annotations

import json

import numpy as np
import pytest

import vervet
from vervet.analysis.baseline import Baseline, crossing, parse_baseline
from vervet.api import Rates
from vervet.cli.main import execute
from vervet.errors import BadOption
from vervet.records import Counts

GPT_4O, SONNET = "GPT-4o=0.24@0.13usd", "Claude 3.5 Sonnet=26.7%@0.17usd"


def _deepseek():
    """300 problems, 250 samples each, of which 5 solve 29.62 %: 88 always solved, one in three samples or so, 211 never."""
    c = np.array([250] * 88 + [81] + [0] * 211)
    return Counts([f"swe-{i}" for i in range(300)], np.full(300, 250), c, source="DeepSeek-Coder-V2-Instruct")


@pytest.mark.parametrize(
    ("price", "total", "ratios"),
    [(0.0072, "10.80", ("3.61", "4.72")), (0.008, "12.00", ("3.25", "4.25"))],
    ids=["third version", "first version"],
)
def test_table_1_of_the_paper(tmp_path, capsys, price, total, ratios):
    counts = _deepseek()
    table = tmp_path / "deepseek.csv"
    rows = zip(counts.problem_ids, counts.n, counts.c, strict=True)
    table.write_text("problem_id,n,c\n" + "".join(f"{p},{n},{c}\n" for p, n, c in rows))
    options = ["--k", "5", "--usd-per-sample", str(price), "--baseline", GPT_4O, "--baseline", SONNET]
    assert execute(["cost", str(table), *options]) == 0
    out = [line.split() for line in capsys.readouterr().out.splitlines()]
    ours = next(line for line in out if "29.62%" in line)
    assert f"${total}" in ours
    assert "1.00x" in ours
    gpt, claude = (next(line for line in out if line[:1] == [name] and "1" in line) for name in ("GPT-4o", "Claude"))
    assert {"24.00%", "$39.00", f"{ratios[0]}x"} <= set(gpt)
    assert {"26.70%", "$51.00", f"{ratios[1]}x"} <= set(claude)
    assert execute(["cost", str(table), *options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [round(row["usd"], 2) for row in document["attempts"]] == [float(total), 39.0, 51.0]
    assert document["attempts"][0]["success"] == pytest.approx(0.2962, abs=5e-5)
    assert document["baselines"][0]["k"] == 1
    assert document["baselines"][0]["coverage"] > 0.24


def test_the_k_at_which_a_run_crosses_is_the_smallest():
    counts = Counts(["a", "b"], [100, 100], [10, 1])
    base = Baseline("strong", 0.4, usd=0.5)
    found = crossing(counts, base, usd_per_sample=0.01)
    values = [float(vervet.pass_at_k(counts.n, counts.c, k).mean()) for k in range(1, 101)]
    assert found.k == next(k for k, value in enumerate(values, 1) if value >= 0.4)
    assert found.usd == pytest.approx(0.01 * found.k)
    never = crossing(Counts(["a", "b"], [100, 90], [10, 0]), Baseline("perfect", 0.9))
    assert never.k is None
    assert never.k_max == 90
    assert crossing(counts, Baseline("none", 0.0)).k == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GPT_4O, Baseline("GPT-4o", 0.24, usd=0.13)),
        (SONNET, Baseline("Claude 3.5 Sonnet", 0.267, usd=0.17)),
        ("70B=.5@2e14 FLOPs", Baseline("70B", 0.5, flops=2e14)),
        ("a=b=1", Baseline("a=b", 1.0)),
    ],
)
def test_baselines_as_they_are_written(text, expected):
    found = parse_baseline(text)
    assert found == Baseline(expected.name, pytest.approx(expected.success), expected.usd, expected.flops)


@pytest.mark.parametrize(
    "text", ["GPT-4o", "GPT-4o=", "=0.3", "x=1.2", "x=-1%", "x=nan", "x=.2@", "x=.2@0usd", "x=.2@3eur"]
)
def test_baselines_that_say_nothing(text):
    with pytest.raises(BadOption, match="--baseline"):
        parse_baseline(text)


@pytest.fixture
def run(tmp_path):
    from vervet.testing.fakes import MemoryTask

    with vervet.run(MemoryTask, model="fake/p=0.3", n=20, out=tmp_path / "run", seed=1) as run:
        yield run


def test_a_run_in_tokens_money_flops_and_time(run):
    """With hand arithmetic on the ledger's own totals."""
    facts = run.facts()
    found = vervet.cost(run, rates=Rates(price_in=2.0, price_out=8.0, shape="1000,2,10")).runs[0]
    assert found.samples == 80
    assert found.prompt_tokens == facts.prompt_tokens
    assert found.completion_tokens == facts.completion_tokens > 0
    assert found.usd == pytest.approx((2 * facts.prompt_tokens + 8 * facts.completion_tokens) / 1e6)
    context = facts.prompt_tokens / found.requests + facts.completion_tokens / 80
    each = 2 * (1000 + 2 * 2 * 10 * context)
    assert found.flops == pytest.approx(each * (facts.prompt_tokens - found.cached_tokens + facts.completion_tokens))
    assert found.usd_per_solved == pytest.approx(found.usd / found.solved)
    assert found.seconds is not None
    assert found.seconds > 0


def test_cached_prompt_tokens_have_their_price():
    from vervet.analysis.cost import Priced, Used, cost
    from vervet.prices import given

    used = Used("run", samples=10, requests=2, prompt_tokens=1000, cached_tokens=600, completion_tokens=50)
    counts = vervet.Counts(problem_ids=["a"], n=[10], c=[1])
    for cached, usd in ((0.5, 400 * 2 + 600 * 0.5 + 50 * 8), (None, 1000 * 2 + 50 * 8)):
        found = cost([Priced(counts, used, price=given(2.0, 8.0, cached))]).runs[0]
        assert found.usd == pytest.approx(usd / 1e6)


def test_nothing_is_guessed(run, capsys):
    """A fake model has no shape and no price: both are unknown, which is said, and not 0."""
    found = vervet.cost(run)
    assert found.runs[0].flops is None
    assert found.runs[0].usd is None
    assert any("no price" in w for w in found.warnings)
    assert any("--shape" in w for w in found.warnings)
    folder = str(run.folder)
    assert execute(["cost", folder, "--price-in", "1"]) == 1
    assert execute(["cost", folder, "--k", "21"]) == 1
    assert execute(["cost", folder, "--shape", "unheard-of"]) == 1
    assert "PARAMETERS,LAYERS,WIDTH" in capsys.readouterr().err
    assert execute(["cost", folder]) == 0

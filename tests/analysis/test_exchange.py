"""Two runs at equal money and equal FLOPs, checked by listing every k."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from vervet.analysis.cost import Priced, Used
from vervet.analysis.exchange import exchange
from vervet.analysis.flops import Shape
from vervet.cli.main import execute
from vervet.errors import BadData
from vervet.estimate.coverage import pass_curve
from vervet.records import Counts

WEAK = Counts([f"p{i}" for i in range(40)], [100] * 40, [2, 5, 10, 20] * 10, source="weak")
STRONG = Counts([f"p{i}" for i in range(40)], [100] * 40, [50, 60, 0, 0] * 10, source="strong")


def _coverage(counts, k):
    return float(pass_curve(counts.n, counts.c, [k]).mean()) if k else 0.0


def test_equal_money_buys_what_it_buys():
    found = exchange(Priced(WEAK, usd_per_sample=0.01), Priced(STRONG, usd_per_sample=0.13), [5, 13, 26, 100])
    money = [p for p in found.points if p.basis == "usd"]
    assert [(p.k_a, p.k_b) for p in money] == [(13, 1), (26, 2), (100, 7)]
    assert money[0].coverage_b == pytest.approx(0.275)
    assert money[0].difference == pytest.approx(_coverage(WEAK, 13) - 0.275)
    assert money[0].low < money[0].difference < money[0].high
    assert any("flops" in w for w in found.warnings)


def test_the_lead_changes_where_every_budget_says_so():
    a, b = Priced(WEAK, usd_per_sample=0.01), Priced(STRONG, usd_per_sample=0.02)
    found = exchange(a, b).break_even
    leads = []
    for k in range(1, 101):
        gap = _coverage(WEAK, k) - _coverage(STRONG, k // 2)
        leads.append((k, "a" if gap > 0 else "b"))
    changes = [new for old, new in itertools.pairwise(leads) if old[1] != new[1]]
    assert [e.leader for e in found] == [lead for _, lead in changes]
    for even, (k, _) in zip(found, changes, strict=True):
        # the dense grid holds every k of 100 up to a step of a few
        assert even.k_a == pytest.approx(k, abs=3)


def test_the_front_holds_what_nothing_cheaper_reaches():
    found = exchange(Priced(WEAK, usd_per_sample=0.01), Priced(STRONG, usd_per_sample=0.13)).front
    assert [p.cost for p in found] == sorted(p.cost for p in found)
    assert [p.coverage for p in found] == sorted(p.coverage for p in found)
    every = [(0.01 * k, _coverage(WEAK, k)) for k in (1, 2, 5, 10, 20, 50, 100)]
    every += [(0.13 * k, _coverage(STRONG, k)) for k in (1, 2, 5, 10, 20, 50, 100)]
    for point in found:
        assert not any(cost < point.cost and value >= point.coverage for cost, value in every)
        assert point.cost_per_solved == pytest.approx(point.cost / point.coverage)


def test_a_prompt_is_computed_once_a_problem():
    """Shape (1000, 2, 10), prompt 30, samples of 20: 6,000 FLOPs a token, so 180,000 + 120,000 k."""

    def used(name):
        return Used(name, samples=4000, requests=40, prompt_tokens=1200, cached_tokens=0, completion_tokens=80_000)

    a, b = Priced(WEAK, used("a"), Shape(1000, 2, 10)), Priced(STRONG, used("b"), Shape(10_000, 2, 10))
    point = next(p for p in exchange(a, b, [60]).points if p.basis == "flops")
    each_b = 2 * (10_000 + 2000)
    assert point.k_b == int((180_000 + 60 * 120_000 - 30 * each_b) // (20 * each_b))


def test_runs_that_share_nothing():
    other = Counts(["x"], [10], [1])
    with pytest.raises(BadData, match="share no problem"):
        exchange(Priced(WEAK, usd_per_sample=1.0), Priced(other, usd_per_sample=1.0))


def test_the_command(tmp_path, capsys):
    for name, counts in (("weak", WEAK), ("strong", STRONG)):
        rows = zip(counts.problem_ids, counts.n, counts.c, strict=True)
        (tmp_path / f"{name}.csv").write_text("problem_id,n,c\n" + "".join(f"{p},{n},{c}\n" for p, n, c in rows))
    line = ["compare", str(tmp_path / "weak.csv"), str(tmp_path / "strong.csv"), "--usd-per-sample", "0.01,0.13"]
    assert execute([*line, "--baseline", "best=0.9@1usd"]) == 0
    out = capsys.readouterr().out
    assert "equal usd" in out
    assert "reaches best (90.0%)" in out
    assert execute([*line, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {p["basis"] for p in document["points"]} == {"k", "usd"}
    assert np.all([p["coverage"] > 0 for p in document["front"]])
    assert execute([*line[:3], "--usd-per-sample", "0.01"]) == 1
    assert execute([*line[:3], "--shape", "llama-3-8b"]) == 1

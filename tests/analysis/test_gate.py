"""Gates hold where the data show it, and chance passes them no more often than their level says."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

import vervet
from tests.helpers import write_problems
from vervet.analysis.gate import Gate, judge, least_passes, lower_limit, parse
from vervet.cli.main import execute
from vervet.errors import BadOption, CheckFailed
from vervet.records import Counts


def test_gates_are_read_as_they_are_written() -> None:
    assert parse("pass@10>=0.8 @95%") == parse("pass@10 >= 80% @0.95") == Gate(10, 0.8, 0.95)
    assert parse("coverage@1>=0.5") == Gate(1, 0.5)
    assert str(parse("pass@10>=0.8 @95%")) == "pass@10>=0.8 @95%"
    for bad in ("", "pass@0>=0.5", "pass@1>0.5", "pass@1>=1.5", "pass@1>=0.5 @100%", "pass@1>=0.5 @40%", "pass@1>=."):
        with pytest.raises(BadOption, match="gate"):
            parse(bad)


@pytest.mark.parametrize("n", [1, 7, 60])
@pytest.mark.parametrize("least", [0.1, 0.5, 0.8, 0.97])
def test_at_the_threshold_a_gate_passes_no_more_often_than_its_level_says(n: int, least: float) -> None:
    """Exactly: the probability of enough PASSes is summed, not simulated."""
    need = least_passes(n, least, 0.95)
    if need is None:
        assert lower_limit(n, n, 0.95) < least
        return
    assert binom.sf(need - 1, n, least) <= 0.05 + 1e-12
    assert lower_limit(need, n, 0.95) >= least
    assert need == 0 or lower_limit(need - 1, n, 0.95) < least


def test_problems_of_different_difficulty_keep_the_level() -> None:
    """Poisson-binomial, exactly by convolution: eight problems whose mean chance is the threshold."""
    chances = np.repeat([0.2, 0.5, 0.9, 1.0, 0.7, 0.8, 0.95, 0.95], 10)
    law = np.ones(1)
    for p in chances:
        law = np.convolve(law, [1 - p, p])
    need = least_passes(len(chances), float(chances.mean()), 0.95)
    assert need is not None
    assert law[need:].sum() <= 0.05


@pytest.mark.slow
def test_a_gate_at_larger_k_keeps_the_level_roughly() -> None:
    """40 problems, pass@5 exactly at the threshold, 40 gates at 95 %: 9 or more hold with a chance of 3e-4. Fixed seed."""
    dice = np.random.default_rng(11)
    chances = dice.beta(0.6, 1.2, 40)
    truth = float(np.mean(1 - (1 - chances) ** 5))
    gate, ids = Gate(5, truth, 0.95), [str(i) for i in range(40)]
    holds = sum(judge(Counts(ids, np.full(40, 30), dice.binomial(30, chances)), gate).holds for _ in range(40))
    assert holds < 9


def test_what_is_unknown_was_not_passed() -> None:
    sure = Counts(["a", "b"], [50, 50], [49, 49])
    unsure = Counts(["a", "b"], [50, 50], [49, 49], [20, 20])
    gate = parse("pass@1>=0.9 @95%")
    assert judge(sure, gate).holds
    assert not judge(unsure, gate).holds
    assert not judge(Counts(["a"], [3], [3]), parse("pass@10>=0.1")).holds, "n is too small to say"


def test_assert_pass_rate_of_a_function_stops_when_it_is_certain() -> None:
    calls = count()
    vervet.assert_pass_rate(lambda: next(calls) >= 0, 0.8, n=100)
    assert next(calls) == least_passes(100, 0.8, 0.95)
    tries = count()
    with pytest.raises(AssertionError, match="is not shown: 0 of") as failed:
        vervet.assert_pass_rate(lambda: next(tries) < 0, 0.8, n=100)
    assert isinstance(failed.value, CheckFailed)
    assert next(tries) < 20
    with pytest.raises(BadOption, match="take n = 14"):
        vervet.assert_pass_rate(lambda: True, 0.8, n=13)
    vervet.assert_pass_rate(lambda: True, 0.8, n=14)
    with pytest.raises(ZeroDivisionError):
        vervet.assert_pass_rate(lambda: bool(1 / 0), 0.8, n=14)


def test_assert_pass_rate_and_the_command_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, run = write_problems(tmp_path / "q.jsonl", 6), tmp_path / "r"
    vervet.run(task, model="fake/p=0.9", n=40, seed=3, out=run).close()
    vervet.assert_pass_rate(run, 0.8)
    with pytest.raises(AssertionError, match="does not hold"):
        vervet.assert_pass_rate(run, 0.95)
    assert execute(["coverage", str(run), "--fail-under", "pass@1>=0.8 @95%"]) == 0
    assert execute(["coverage", str(run), "--fail-under", "pass@1>=0.95 @95%"]) == 5
    assert "does not hold" in capsys.readouterr().err
    assert execute(["coverage", str(run), "--fail-under", "0.5"]) == 0
    assert execute(["coverage", str(run), "--fail-under", "pass@1 0.5"]) == 1

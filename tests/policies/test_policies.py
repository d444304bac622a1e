"""Policies: what they want, and that whole runs under them end where they should and are counted without bias."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import vervet
from tests.helpers import served, write_problems
from vervet.api.parts import build_policy
from vervet.cli.main import execute
from vervet.config import Settings
from vervet.errors import BadOption, RunMismatch
from vervet.ledger import Ledger, view
from vervet.ledger.rows import rows, stop
from vervet.policies.adaptive import Adaptive
from vervet.policies.fixed import Fixed
from vervet.policies.m_passes import FirstPass, MPasses, position
from vervet.protocols import SamplerSetup, SamplerTraits
from vervet.records import Completion, Reply, Request
from vervet.testing import policies

HERE = "tests.policies.test_policies"


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_problems(tmp_path / "q.jsonl", 12)


def test_all_policies_conform() -> None:
    policies.conform_to_policy(lambda: Fixed(30))
    policies.conform_to_policy(lambda: FirstPass(200), monotone=False)
    policies.conform_to_policy(lambda: MPasses(200, "3"), monotone=False)
    policies.conform_to_policy(lambda: Adaptive(200), monotone=False)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("m-passes", "m-passes=M"),
        ("m-passes=0", "m-passes=M"),
        ("m-passes=x", "m-passes=M"),
        ("first-pass=2", "takes no argument"),
        ("fixed=2", "takes no argument"),
        ("adaptive=2", "takes no argument"),
    ],
)
def test_a_wrong_argument_is_one_line(name: str, says: str) -> None:
    with pytest.raises(BadOption, match=says):
        build_policy(Settings(n=4, policy=name))


def test_the_design_is_named_for_the_estimators() -> None:
    designs = {
        name: build_policy(Settings(n=9, policy=name)).design for name in ("first-pass", "m-passes=1", "m-passes=4")
    }
    assert designs == {"first-pass": "first-pass", "m-passes=1": "first-pass", "m-passes=4": "m-passes=4"}


def test_a_stop_is_in_index_order_and_never_beyond_a_hole() -> None:
    """0 FAIL, 1 PASS, 2 UNKNOWN, 3 missing."""
    assert position([0, 1, 0, 1], 1) == 2
    assert position([0, 3, 1], 1) is None
    assert position([0, 2, 1], 1) == 3, "UNKNOWN is a draw, and no PASS"
    assert stop("first-pass", [0, 1, 0, 1]) == 2
    assert stop("m-passes=2", [0, 1, 0, 1, 0]) == 4
    assert stop("first-pass", [0, 3, 1]) == 1
    assert stop("fixed", [0, 1, 3, 1]) == stop("adaptive", [0, 1, 3, 1]) == 4
    wants = FirstPass(100).want({"a": [0, 3, 1], "b": [0] * 8, "c": [], "d": [0, 1, 0]})
    assert wants == {"a": 3, "b": 12, "c": 4, "d": 2}


def test_adaptive_gives_what_solved_problems_leave_to_the_others() -> None:
    """Twelve a problem: a base of three for all, then waves for the unsolved until the total of 48 is reached."""
    policy, row = Adaptive(12), {"a": [0, 1, 0], "b": [0] * 3, "c": [1, 1, 1], "d": [0] * 3}
    assert policy.want(dict.fromkeys(row, ())) == dict.fromkeys(row, 3)
    assert policy.want(row) == {"a": 3, "b": 7, "c": 3, "d": 7}
    for _ in range(20):
        row = {p: [*r, *[0] * (policy.want(row)[p] - len(r))] for p, r in row.items()}
    assert {p: len(r) for p, r in row.items()} == {"a": 3, "b": 21, "c": 3, "d": 21}
    assert sum(len(r) for r in row.values()) == 4 * 12


# ------------------------------------------------------------------------------------------------------- whole runs


def test_first_pass_ends_each_problem_at_its_first_pass(task: Path) -> None:
    line = [
        "run",
        str(task),
        "-m",
        "fake/beta=0.3,2",
        "-n",
        "60",
        "--policy",
        "first-pass",
        "--out",
        "r",
        "--seed",
        "4",
    ]
    assert execute(line) == 0
    with vervet.open_run("r") as run:
        counts, document = run.counts(), run.to_dict()
        assert counts.design == "first-pass"
        assert set(counts.c.tolist()) <= {0, 1}
        for problem, n, c in zip(counts.problem_ids, counts.n, counts.c, strict=True):
            outcomes = [str(s.outcome) for s in run.samples(problem)]
            first = outcomes.index("PASS") + 1 if "PASS" in outcomes else 60
            assert (n, c) == (first, "PASS" in outcomes)
            # a wave is a quarter of what is there, four at least
            assert len(outcomes) <= max(first + 3, first * 5 / 4)
        assert document["missing"] == 0
        assert document["overshoot"] == document["samples"] - counts.n.sum() > 0
        drawn = len(served(Path("r")))
    assert execute(line) == 0
    assert len(served(Path("r"))) == drawn, "a repeat wants nothing more"
    assert execute(["coverage", "r", "--json"]) == 0
    assert execute(["ledger", "check", "r"]) == 0


def test_more_samples_only_go_to_those_that_need_them(task: Path) -> None:
    """A larger -n asks again for unsolved problems alone, also after `resume`."""
    vervet.run(str(task), model="fake/beta=0.3,2", n=8, policy="first-pass", out="r", seed=4)
    before = served(Path("r"))
    with vervet.resume("r", n=60) as run:
        solved = {p for p, c in zip(run.problem_ids(), vervet.open_run("r").counts().c, strict=True) if c}
        assert run.counts().design == "first-pass"
    new = set(served(Path("r"))) - set(before)
    early = {p for p in solved if any(s.outcome == "PASS" and s.index < 8 for s in vervet.open_run("r").samples(p))}
    assert early
    assert not early & {problem for problem, _ in new}


def test_m_passes_and_adaptive_runs(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = vervet.run(str(task), model="fake/beta=0.5,1", n=40, policy="m-passes=3", out="m", seed=1)
    counts = run.counts()
    assert counts.design == "m-passes=3"
    assert counts.c.max() == 3
    assert vervet.coverage(counts, k=[1]).points[0].coverage is not None
    run = vervet.run(str(task), model="fake/beta=0.3,2", n=20, policy="adaptive", out="a", seed=4)
    facts = run.facts()
    assert facts.samples == 20 * 12
    held = {p: len(list(run.samples(p))) for p in run.problem_ids()}
    assert len(set(held.values())) > 1
    assert min(held.values()) >= 5, "the base"
    with pytest.raises(BadOption, match="adaptive design"):
        vervet.coverage(run.counts(), k=[1])
    capsys.readouterr()
    assert execute(["coverage", "a"]) == 1
    assert "adaptive design" in capsys.readouterr().err


def test_what_is_counted_under_first_pass_is_unbiased(tmp_path: Path) -> None:
    """1,500 problems of p = 0.3, 20 samples at most: pass@1 is 0.3, where passes over samples would say 0.44.

    False alarm: below 1e-6. The variance of the estimate of one problem is at most p (1 - p).
    """
    task = write_problems(tmp_path / "q.jsonl", 1500)
    run = vervet.run(str(task), model="fake/p=0.3", n=20, policy="first-pass", out=tmp_path / "r")
    point = vervet.coverage(run.counts(), k=[1]).points[0]
    assert abs((point.coverage or 0) - 0.3) < 5 * np.sqrt(0.21 / 1500)
    counts = run.counts()
    assert np.mean(counts.c / counts.n) > 0.4, "the plain ratio is far off"


class Hasty:
    """Short answers come first: sample i passes iff its draw says so, and passes take longer than failures."""

    def __init__(self, name: str, setup: SamplerSetup) -> None:
        self._p = float(name)

    def traits(self) -> SamplerTraits:
        return SamplerTraits(form="chat", max_n=1, max_in_flight=8)

    async def sample(self, request: Request) -> Reply:
        right = request.seed / 2.0**63 < self._p
        await asyncio.sleep(0.004 if right else 0)
        answer = int(request.problem_id[1:]) + 1 if right else -1
        return Reply((Completion(f"Answer: {answer}", completion_tokens=1),))

    async def aclose(self) -> None:
        return


def test_a_budget_that_ends_a_run_does_not_favour_what_comes_first(tmp_path: Path) -> None:
    """Requests in flight at the stop are drained: the samples are those with the lowest indexes, not the fastest.

    False alarm: below 1e-6 (5 standard deviations of a binomial).
    """
    task = write_problems(tmp_path / "q.jsonl", 40)
    passes = samples = 0
    for seed in range(6):
        run = vervet.run(
            str(task), model=f"{HERE}:Hasty/0.3", n=10, out=tmp_path / str(seed), seed=seed, budget_samples=150
        )
        facts = run.facts()
        passes, samples = passes + facts.passed, samples + facts.samples
        for problem in run.problem_ids():
            assert [s.index for s in run.samples(problem)] == list(range(len(list(run.samples(problem)))))
    assert samples == 6 * 150
    assert abs(passes / samples - 0.3) < 5 * np.sqrt(0.21 / samples)


def test_another_policy_on_a_run_is_refused(task: Path) -> None:
    vervet.run(str(task), model="fake/p=0.3", n=4, policy="first-pass", out="r")
    with pytest.raises(RunMismatch, match="sampled with --policy first-pass, not fixed"):
        vervet.run(str(task), model="fake/p=0.3", n=4, policy="fixed", out="r")


def test_another_verifiers_counts_do_not_claim_the_design(task: Path) -> None:
    """The stop followed from the run's own verifier; for another one the counts are adaptive, and refused."""
    vervet.run(str(task), model="fake/p=0.3", n=20, policy="first-pass", out="r")
    vervet.verify("r", verifier="number")
    with vervet.open_run("r") as run:
        assert run.counts().design == "first-pass"
        assert run.counts("number").design == "adaptive"


def test_a_policy_that_needs_verdicts_is_refused_where_there_are_none(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["sample", str(task), "-m", "fake/p=0.3", "--out", "r", "--set", "policy=first-pass"]) == 1
    assert "follows from verdicts: use `vervet run`" in capsys.readouterr().err


class Agreement:
    """A policy of a third party that looks at classes of answers: ends when two samples agree."""

    design = "votes=2"
    uses_classes = True
    seen: ClassVar[list[dict[str, list[int]]]] = []

    def __init__(self, n: int, argument: str = "") -> None:
        self._n, self._votes = n, int(argument or 2)

    def want(self, rows: Mapping[str, Sequence[int]], classes: Mapping[str, Sequence[int]]) -> dict[str, int]:
        Agreement.seen.append({p: list(c) for p, c in classes.items()})
        return {p: len(c) if self._agree(c) else min(self._n, len(c) + 2) for p, c in classes.items()}

    def _agree(self, classes: Sequence[int]) -> bool:
        return any(classes.count(key) >= self._votes for key in set(classes) if key >= 0)


def test_a_policy_may_look_at_classes_of_answers(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", str(task), "-m", "fake/p=0.5", "-n", "30", "--policy", f"{HERE}:Agreement=4", "--out", "r"]
    assert execute(line) == 0
    last = Agreement.seen[-1]
    assert all(max(row.count(key) for key in row) in (4, 5) for row in last.values())
    with Ledger.open(Path("r")) as ledger:
        found = rows(ledger, view(ledger), classes=True)
        assert found.classes == last
        assert {p: len(r) for p, r in found.outcomes.items()} == {p: len(r) for p, r in last.items()}
    capsys.readouterr()
    assert execute([*line[:6], "--out", "r"]) == 1, "code out of a ledger is not run"
    assert "give it again" in capsys.readouterr().err
    assert execute(["resume", "r"]) == 1


def test_dry_run_of_a_policy_says_at_most(task: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", str(task), "-m", "fake/p=0.3", "-n", "10", "--policy", "first-pass", "--dry-run", "--json"]
    assert execute(line) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (document["samples"], document["policy"]) == (120, "first-pass")

"""Sampling until a verifier accepts: what is drawn, what is cancelled, what every ending says, and what a certificate shows."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

import vervet
from tests.helpers import write_problems
from vervet import api
from vervet.cli.main import execute
from vervet.errors import BadData, BadOption, ServiceError, UnknownName, UserError
from vervet.estimate.search import PassPrior, expected_cost, expected_samples, waves
from vervet.policies.solve import Solve
from vervet.protocols import SamplerSetup, SamplerTraits
from vervet.records import (
    Completion,
    Outcome,
    Problem,
    Reason,
    Reply,
    Request,
    Strength,
    Usage,
    Verdict,
    VerifierSpec,
    fingerprint,
)

HERE = "tests.solve.test_solve"


class Broken:
    """A verifier that can decide nothing."""

    name = "broken"
    version = "1"
    needs: frozenset[str] = frozenset()

    def settings(self) -> Mapping[str, Any]:
        return {}

    def load(self, problem: Problem) -> None: ...

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        return [Verdict(Outcome.UNKNOWN, Reason.UNAVAILABLE, Strength.EXACT)] * len(answers)

    async def aclose(self) -> None: ...


class OneIsQuick:
    """One request in four is answered at once and right; the others never end."""

    ended: ClassVar[list[int]] = []

    def __init__(self, name: str, setup: SamplerSetup) -> None: ...

    def traits(self) -> SamplerTraits:
        return SamplerTraits("chat", max_n=1, max_in_flight=8)

    async def sample(self, request: Request) -> Reply:
        if request.first == 2:
            return Reply((Completion("Answer: 2", completion_tokens=3),), Usage(5, None, 3))
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.ended.append(request.first)
            raise
        raise AssertionError

    async def aclose(self) -> None: ...


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_problems(tmp_path / "q.jsonl", 4)


@pytest.fixture
def certificate(task: Path) -> dict[str, Any]:
    done = api.solve("q1", task=task, model="fake/p=0.2", seed=1, max_samples=400)
    assert done.certificate is not None
    return done.certificate


# ------------------------------------------------------------------------------------------- the search


def test_it_ends_with_the_first_pass_and_a_repeat_draws_nothing(task: Path) -> None:
    """Probability of no PASS among 400: 0.8^400, below 1e-38."""
    first = api.solve("q1", task=task, model="fake/p=0.2", seed=1, max_samples=400)
    again = api.solve("q1", task=task, model="fake/p=0.2", seed=1, max_samples=400)
    assert (first.outcome, first.answer, first.exit_code) == (Outcome.PASS, "2", 0)
    assert again.samples == first.samples < 400
    assert again.certificate is not None
    assert first.certificate is not None
    assert again.certificate["sample"] == first.certificate["sample"]


def test_what_is_in_flight_at_the_first_pass_is_cancelled(task: Path) -> None:
    """The other three requests of the batch would last for an hour."""
    OneIsQuick.ended.clear()
    done = api.solve("q1", task=task, model=f"{HERE}:OneIsQuick/x", max_samples=16)
    assert done.verified
    assert done.samples == 1
    assert done.asked[0].cancelled == 3
    assert sorted(OneIsQuick.ended) == [0, 1, 3]


def test_no_curve_is_read_off_a_search(task: Path) -> None:
    done = api.solve("q1", task=task, model="fake/p=0.2", seed=1, max_samples=400)
    with vervet.open_run(done.asked[0].run) as run, pytest.raises(BadOption, match="biased"):
        vervet.coverage(run.counts(), k=[1])


def test_a_problem_and_a_prompt_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    problem = Problem("mine", {"expected": "42"}, {"prompt": "What is 6 * 7?"}, "42")
    done = vervet.solve(problem, model="fake/p=0.5", verifier="exact", max_samples=200)
    assert (done.answer, done.verified) == ("42", True)
    spec = VerifierSpec("exact")
    assert vervet.solve(
        Problem("n", {"expected": "7"}, {"prompt": "7?"}, "7"), model="fake/p=1", verifier=spec
    ).verified
    with pytest.raises(UserError, match="what is right"):
        vervet.solve("a prompt", model="fake/p=0.5")


def test_waves_keep_the_cost_of_a_search_below_1_3_over_p_and_a_batch() -> None:
    for p in (0.5, 0.1, 0.03, 0.01, 0.002):
        assert expected_samples(p, 1 << 20, first=4) <= 1.3 / p + 4
        assert expected_samples(p, 1 << 20, first=1) >= 1 / p


def test_expected_samples_of_single_draws_is_the_geometric_sum() -> None:
    for p in (0.3, 0.9):
        assert expected_samples(p, 4, first=1) == pytest.approx((1 - (1 - p) ** 4) / p)


def _draw(policy: Solve, p: float, dice: random.Random) -> tuple[int, bool]:
    row: list[int] = []
    while (want := policy.want({"x": row})["x"]) > len(row):
        row += [int(dice.random() < p) for _ in range(want - len(row))]
    return len(row), 1 in row


def test_a_cascade_costs_what_theory_says_and_solves_as_much_as_the_dear_model_alone() -> None:
    """20,000 simulated problems, half easy for the cheap model. Mean cost within 6 standard errors: false alarm 2e-9."""
    dice = random.Random(5)
    cheap, dear, most = 16, 256, (16, 256)
    hard, easy = (0.0, 0.1), (0.3, 0.1)
    costs, solved, theory, chance = [], 0, 0.0, 0.0
    for i in range(20_000):
        p = easy if i % 2 else hard
        drawn, found = _draw(Solve(cheap, "4"), p[0], dice)
        cost = 1.0 * drawn
        if not found:
            drawn, found = _draw(Solve(dear, "4"), p[1], dice)
            cost += 20.0 * drawn
        costs.append(cost)
        solved += found
        expected = expected_cost(p, (1.0, 20.0), most, first=4)
        theory += expected[0] / 20_000
        chance += expected[1] / 20_000
    mean = sum(costs) / len(costs)
    se = (sum((c - mean) ** 2 for c in costs)) ** 0.5 / len(costs)
    assert abs(mean - theory) < 6 * se
    alone, solves = expected_cost((0.1,), (20.0,), (256,), first=4)
    assert theory < 0.6 * alone
    assert chance >= solves - 1e-12
    assert abs(solved / 20_000 - chance) < 0.001


def test_a_cascade_goes_on_to_the_dear_model(task: Path) -> None:
    done = api.solve("q1", task=task, model=["fake/p=0.0", "fake/p=0.9"], hunt=api.Hunt(switch_after=6))
    assert done.asked[0].samples == 6
    assert done.verified
    assert done.certificate is not None
    assert done.certificate["sample"]["model"] == "fake/p=0.9"


def test_the_prior_says_how_long_it_pays() -> None:
    """By the rule itself: the n-th sample is worth it, the next one is not."""
    prior = PassPrior(0.5, 2.0)
    for worth in (1.0, 7.5, 100.0, 1234.0):
        n = prior.worth_it(worth)
        assert n == 1 or worth * prior.next_pass(n - 1) >= 1
        assert worth * prior.next_pass(n) < 1
    assert PassPrior().switch(1.0, 20.0) == 20
    assert list(waves(4, 11)) == [4, 8, 11]


def test_worth_ends_a_search_before_n(task: Path) -> None:
    done = api.solve("q1", task=task, model="fake/p=0.0", max_samples=64, hunt=api.Hunt(worth=20))
    assert done.samples == PassPrior().worth_it(20) == 10


# ------------------------------------------------------------------------------------------- endings


def _said(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def test_every_ending_has_its_code_and_nothing_unverified_is_called_verified(
    task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solve = ["solve", str(task), "--problem", "q2", "-m"]
    assert execute([*solve, "fake/p=1", "--json"]) == 0
    assert _said(capsys)[0]["verified"] is True
    for arguments, code, outcome, stopped in (
        (["fake/p=0", "-n", "8"], 5, "FAIL", "samples"),
        (["fake/p=0", "-n", "8", "--budget-samples", "5", "--new"], 3, "FAIL", "budget"),
        (["fake/p=1", "-n", "8", "--verifier", f"{HERE}:Broken", "--new"], 4, "UNKNOWN", "undecided"),
    ):
        assert execute([*solve, *arguments, "--json"]) == code
        said = _said(capsys)[0]
        assert (said["outcome"], said["stopped"], said["verified"]) == (outcome, stopped, False)
        assert said["certificate"] is None
        assert said["fallback"] == "majority"
        assert execute([*solve, *arguments]) == code
        assert "NOT VERIFIED" in capsys.readouterr().err
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        down = ["openai/m", "--base-url", url, "-M", "timeout=1", "-M", "patience=0", "-M", "pause=0.05"]
        assert execute([*solve, *down, "--json"]) == 6
        assert _said(capsys)[0]["error"] == "service"


def test_a_model_that_is_down_does_not_end_a_cascade(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Down(OneIsQuick):
        async def sample(self, request: Request) -> Reply:
            raise ConnectionError("no route")

    monkeypatch.setitem(globals(), "Down", Down)
    done = api.solve("q1", task=task, model=[f"{HERE}:Down/x", "fake/p=1"])
    assert done.verified
    assert "no route" in done.asked[0].error
    with pytest.raises(ServiceError, match="no route"):
        api.solve("q2", task=task, model=f"{HERE}:Down/x")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--problem", "q9", "-m", "fake/p=1"], "no problem 'q9'"),
        (["--problem", "q1"], "name a model"),
        (["-m", "fake/p=1"], "--problem"),
        (["--problem", "q1", "-m", "fake/p=1", "--worth", "0"], "--worth"),
        (["--problem", "q1", "-m", "fake/p=1", "--prior", "0,1"], "--prior"),
        (["--problem", "q1", "-m", "fake/p=1", "--prior", "x"], "--prior"),
        (["--problem", "q1", "-m", "fake/p=1", "--fallback", "oracle"], "--fallback"),
        (["--problem", "q1", "-m", "fake/p=1", "-m", "fake/p=1"], "twice"),
        (["--problem", "q1", "-m", "fake/p=1", "--check", "x {answer}", "--verifier", "exact"], "--check"),
    ],
)
def test_mistakes_get_one_line(task: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    assert execute(["solve", str(task), *arguments]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


# ------------------------------------------------------------------------------------------- certificates


def test_a_certificate_replays_to_the_same_verdict(certificate: dict[str, Any], task: Path) -> None:
    found = api.replay(certificate, task=task)
    assert (found.holds, found.outcome, found.claimed) == (True, Outcome.PASS, "PASS")


def _sealed(certificate: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A certificate with changes, and every hash made to fit again."""
    body = {k: v for k, v in certificate.items() if k not in ("digest", "schema", "vervet", "made")} | changes
    return api.certificates.seal(body)  # type: ignore[attr-defined]


def test_a_changed_answer_test_or_verifier_is_found(certificate: dict[str, Any], task: Path) -> None:
    def says(changed: dict[str, Any], *, data: Path | None = None) -> str:
        found = api.replay(changed, task=data)
        assert not found.holds
        return " | ".join(found.findings)

    problem, verifier = certificate["problem"], certificate["verifier"]
    assert "hash differs" in says(certificate | {"answer": "3"})
    assert "digest differs" in says(certificate | {"task": "other"})
    forged = _sealed(certificate, answer="3", answer_hash=fingerprint("3"))
    assert "was PASS and is FAIL" in says(forged)
    other = Problem(problem["id"], {"expected": "3"}, {}, "3")
    tests = {"id": other.id, "check": other.check, "reference": "3", "fingerprint": other.check_fingerprint}
    assert "fingerprint differs" in says(certificate | {"problem": problem | {"check": {"expected": "3"}}})
    forged = _sealed(certificate, answer="3", answer_hash=fingerprint("3"), problem=tests)
    assert api.replay(forged).holds, "made up as a whole, it is true of other tests"
    assert "not those of q1" in says(forged, data=task)
    assert "version 1 here, 0" in says(_sealed(certificate, verifier=verifier | {"version": "0", "fingerprint": "x"}))
    assert "other settings" in says(_sealed(certificate, verifier=verifier | {"fingerprint": "x"}))
    assert "was UNKNOWN" in says(_sealed(certificate, verdict=certificate["verdict"] | {"outcome": "UNKNOWN"}))


def test_names_in_a_certificate_are_not_code(certificate: dict[str, Any], tmp_path: Path) -> None:
    verifier = certificate["verifier"]
    for name in (f"{HERE}:Broken", "os:system", "nothing"):
        with pytest.raises(UnknownName):
            api.replay(_sealed(certificate, verifier=verifier | {"name": name}))
    touched = tmp_path / "touched"
    told = {"name": "command", "options": {"command": f"/usr/bin/touch {touched} {{answer}}"}}
    with pytest.raises(UserError, match="a certificate cannot bring"):
        api.replay(_sealed(certificate, verifier=verifier | told))
    assert not touched.exists()
    for name in ("judge", "lean", "rocq"):
        reaching = {"judge": "model", "lean": "project", "rocq": "coqtop"}[name]
        with pytest.raises(UserError, match="cannot bring"):
            api.replay(_sealed(certificate, verifier=verifier | {"name": name, "options": {reaching: "x"}}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "vervet.solve/1", "certificate": null}', "\x00"])
def test_what_is_no_certificate_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(BadData):
        api.replay(path)


def test_hidden_tests_judge_the_accepted_answer_and_steer_nothing(task: Path, tmp_path: Path) -> None:
    rows = [
        json.loads(line) | {"hidden": "2" if i == 1 else "0"} for i, line in enumerate(task.read_text().splitlines())
    ]
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    hunt = api.Hunt(hidden={"answer": "hidden"})
    solve: dict[str, Any] = {"task": task, "model": "fake/p=0.5", "seed": 3, "max_samples": 200, "hunt": hunt}
    with pytest.raises(UserError, match="hide nothing"):
        api.solve("q1", **solve)
    bad = api.solve("q2", **solve)
    assert (bad.outcome, bad.verified, bad.exit_code, bad.stopped) == (Outcome.FAIL, False, 5, "solved")
    assert bad.certificate is not None
    assert bad.certificate["verdict"]["outcome"] == "PASS"
    assert bad.certificate["hidden"]["verdict"]["outcome"] == "FAIL"

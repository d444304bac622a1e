"""The verifier `swebench`: what an attempt means, how many there are, and where there is no engine. No container is started."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest

from tests import swebench_instance as instance
from vervet.errors import BadData, BadOption
from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.testing import verifiers
from vervet.verifiers._swebench_harness import Attempt
from vervet.verifiers.swebench import FIELDS, Gold, SWEBench, decide

CHECK = {name: str(instance.row()[name]) for name in FIELDS} | {"FAIL_TO_PASS": ["a"], "PASS_TO_PASS": ["b"]}
PROBLEM = Problem("q", {**CHECK, "flaky": False}, {}, instance.GOLD)
PASSED = Verdict(Outcome.PASS, Reason.ACCEPTED, Strength.SAME_PROCESS, "docker")
GOLD = Gold(PASSED, 0.001)


def report(**fields):
    empty = {"success": [], "failure": []}
    status = {"FAIL_TO_PASS": {"success": [], "failure": ["a"]}, "PASS_TO_PASS": empty}
    base = {"resolved": False, "patch_successfully_applied": True, "infra_failure": False, "tests_status": status}
    return Attempt("report", report={**base, **fields}, seconds=1.0, output="1 failed")


UNREADABLE = report(patch_successfully_applied=False, tests_status=None)
NO_MEMORY = report(patch_successfully_applied=False, infra_failure=True, infra_failure_reason="out_of_memory")


@pytest.mark.parametrize(
    ("attempt", "gold", "outcome", "reason"),
    [
        (report(resolved=True), GOLD, "PASS", "accepted"),
        (report(), GOLD, "FAIL", "wrong_answer"),
        (Attempt("unappliable", "Hunk #1 FAILED"), GOLD, "FAIL", "patch_not_applied"),
        (UNREADABLE, GOLD, "FAIL", "exited"),
        (UNREADABLE, None, "UNKNOWN", "verifier_failed"),
        (NO_MEMORY, GOLD, "UNKNOWN", "sandbox_failed"),
        (Attempt("timeout"), GOLD, "FAIL", "wall_time"),
        (Attempt("timeout"), Gold(PASSED, 20.0), "UNKNOWN", "starved"),
        (Attempt("timeout"), None, "UNKNOWN", "starved"),
        (Attempt("broken", "404"), GOLD, "UNKNOWN", "sandbox_failed"),
        (Attempt("unreachable", "no socket"), GOLD, "UNKNOWN", "unavailable"),
    ],
)
def test_what_an_attempt_means(attempt, gold, outcome, reason):
    verdict = decide(attempt, gold, 60.0)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert verdict.strength == "same-process"


def test_the_reason_is_in_the_log():
    assert "still failing (FAIL_TO_PASS): a" in decide(report(), GOLD, 60.0).log
    assert decide(Attempt("unappliable", "Hunk #1 FAILED"), GOLD, 60.0).log == "Hunk #1 FAILED"


ENDS = {"P": report(resolved=True), "F": report(), "?": Attempt("broken"), "!": Attempt("unreachable")}


class Scripted(SWEBench):
    """Attempts out of a list, by patch: P resolves, F does not, ? is an accident, ! means that no engine answers."""

    def __init__(self, scripts, **options):
        super().__init__(**options)
        self._scripts = scripts
        self.ran = []

    async def _attempt(self, problem, patch):
        self.ran.append(patch)
        script = self._scripts[patch]
        return ENDS[script[(self.ran.count(patch) - 1) % len(script)]]


def judge(verifier, *answers, flaky=False):
    problem = Problem("q", {**CHECK, "flaky": flaky}, {}, instance.GOLD)
    found = asyncio.run(verifier.verify(problem, answers))
    return [(v.outcome.value, v.reason.value) for v in found]


def test_the_gold_patch_comes_first_and_once():
    verifier = Scripted({instance.GOLD: "P", "x": "F", "y": "P"})
    assert judge(verifier, "x", "y", instance.GOLD, "x", "") == [
        ("FAIL", "wrong_answer"),
        ("PASS", "accepted"),
        ("PASS", "accepted"),
        ("FAIL", "wrong_answer"),
        ("FAIL", "no_answer"),
    ]
    assert verifier.ran[0] == instance.GOLD
    assert sorted(verifier.ran) == sorted([instance.GOLD, "x", "y"])


def test_nothing_is_decided_where_the_gold_patch_does_not_pass():
    verifier = Scripted({instance.GOLD: "F", "x": "P"})
    assert judge(verifier, "x", instance.GOLD) == [("UNKNOWN", "verifier_failed")] * 2
    assert verifier.ran == [instance.GOLD]
    assert judge(Scripted({instance.GOLD: "F", "x": "P"}, gold=False), "x") == [("PASS", "accepted")]


def test_a_gold_patch_that_met_an_accident_is_tried_again():
    verifier = Scripted({instance.GOLD: "?P", "x": "P"})
    assert judge(verifier, "x") == [("UNKNOWN", "sandbox_failed")]
    assert judge(verifier, "x") == [("PASS", "accepted")]


@pytest.mark.parametrize(
    ("script", "verdict", "runs"),
    [
        ("P", ("PASS", "accepted"), 6),
        ("F", ("FAIL", "wrong_answer"), 6),
        ("PF", ("PASS", "accepted"), 11),
        ("FP", ("FAIL", "wrong_answer"), 11),
        ("FFFFFPPPPPP", ("PASS", "accepted"), 11),
        ("?P", ("UNKNOWN", "sandbox_failed"), 11),  # 5 PASS of 11
        ("P?", ("PASS", "accepted"), 11),
        ("PP!", ("UNKNOWN", "unavailable"), 3),
    ],
)
def test_flaky_instances_are_decided_by_the_majority_of_eleven_runs(script, verdict, runs):
    verifier = Scripted({instance.GOLD: "P", "x": script})
    assert judge(verifier, "x", flaky=True) == [verdict]
    assert verifier.ran.count("x") == runs


def test_the_runs_of_a_flaky_instance_are_told():
    verifier = Scripted({instance.GOLD: "P", "x": "PF"}, flaky_trials=3)
    [verdict] = asyncio.run(verifier.verify(Problem("q", {**CHECK, "flaky": True}, {}, instance.GOLD), ["x"]))
    assert verdict.log == "2 of 3 runs PASS (3 at most)"


def test_an_instance_without_tests_decides_nothing():
    verifier = Scripted({instance.GOLD: "P", "x": "P"})
    bare = verifier.without_tests(PROBLEM)
    assert asyncio.run(verifier.verify(bare, ["x"]))[0].reason == "no_tests"


def test_settings():
    build = SWEBench
    verifiers.check_identity(build)
    variants = [lambda: SWEBench(timeout_s=60), lambda: SWEBench(trials=3), lambda: SWEBench(flaky_trials=3)]
    verifiers.check_settings(build, [*variants, lambda: SWEBench(gold=False)])
    for wrong in ({"timeout_s": 0}, {"trials": 2}, {"flaky_trials": 0}, {"at_once": 0}):
        with pytest.raises(BadOption):
            SWEBench(**wrong)


def test_checks():
    broken = [{"image": ""}, {"FAIL_TO_PASS": "a"}, {"eval_type": "some"}, {"images": "x"}]
    verifiers.check_load(SWEBench, PROBLEM, [{**PROBLEM.check, **change} for change in broken])
    with pytest.raises(BadData, match="problem 'q': its eval_type 'some' is neither"):
        SWEBench().load(Problem("q", {**CHECK, "eval_type": "some"}))


def test_an_engine_that_does_not_answer_is_unknown(monkeypatch, tmp_path):
    for package in ("swebench", "docker"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"no {package} package (extra: swebench)")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")

    async def run():
        verifier = SWEBench()
        try:
            return await verifier.verify(PROBLEM, ["x", ""])
        finally:
            await verifier.aclose()

    unknown, empty = asyncio.run(run())
    assert (unknown.outcome, unknown.reason) == (Outcome.UNKNOWN, Reason.UNAVAILABLE)
    assert "no container engine answers" in unknown.log
    assert (empty.outcome, empty.reason) == (Outcome.FAIL, Reason.NO_ANSWER)

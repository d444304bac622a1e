"""reasoning-gym's scoring: a full score is PASS, hostile answers run nothing, and our own failures are UNKNOWN."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import json
import subprocess
import sys

import pytest

from vervet.errors import BadData
from vervet.records import Outcome, Problem, Reason
from vervet.tasks.reasoning_gym import ReasoningGym as Task
from vervet.testing.verifiers import check_identity, check_load, check_settings
from vervet.verifiers._gym_worker import _harmless
from vervet.verifiers.reasoning_gym import ReasoningGym

RUNS = "__import__('os').system('touch ran')"


@pytest.fixture
def library():
    if importlib.util.find_spec("reasoning_gym") is None:
        pytest.skip("reasoning-gym is not installed (extra: reasoning-gym)")


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("[[1, 2], ['a', \"b\"]]", True),
        ("Symbol ('x')**Integer (2 )/Float ('1.5')+sin (Symbol ('x'))", True),
        ("Function ('f')(Symbol ('x'))", True),
        ("-1 + 2*3", True),
        (RUNS, False),
        ("().__class__", False),
        ("[x for x in (1,)]", False),
        ("(lambda: 1)()", False),
        ("f'{1}'", False),
        ("open('secret')", False),
        ("eval('1')", False),
        ("sympify('1')", False),
        ("lambdify((), '1')", False),
        ("_x", False),
        (compile("1", "", "eval"), False),
    ],
)
def test_only_what_can_but_compute_is_evaluated(text, harmless):
    assert _harmless(text) is harmless
    if isinstance(text, str):
        ast.parse(text, mode="eval")


def problem(family, **config):
    return Task(dataset=family, size=1, config=config).problems()[0]


def test_hostile_answers_fail_each_beside_a_right_one_that_passes(library):
    """By way of `eval` in the library itself and in sympy; and the next answer meets a process as it was."""
    integral, matrix, sorting = problem("simple_integration"), problem("spiral_matrix"), problem("number_sorting")
    table = [
        (integral, f"{integral.reference} + 0*{RUNS}", Reason.FORBIDDEN),
        (integral, "().__class__.__base__.__subclasses__()", Reason.FORBIDDEN),
        (integral, 'lambdify((), \'open("ran", "w")\')()', Reason.FORBIDDEN),
        (integral, "(" * 5000, Reason.WRONG),
        (matrix, f"[{RUNS}]", Reason.FORBIDDEN),
        (matrix, "[" * 5000, Reason.WRONG),
        (sorting, "[1e999, NaN]", Reason.WRONG),
        (sorting, "x" * 200_000, Reason.WRONG),
    ]

    async def judged():
        verifier = ReasoningGym(processes=1)
        try:
            found = []
            for asked, answer, _ in table:
                # the right one after the hostile one, in the same process
                found.append(await verifier.verify(asked, [answer, asked.reference]))
            return found
        finally:
            await verifier.aclose()

    found = asyncio.run(judged())
    for (_, answer, reason), (bad, good) in zip(table, found, strict=True):
        assert (bad.outcome, bad.reason) == (Outcome.FAIL, reason), (answer[:60], bad)
        assert good.outcome is Outcome.PASS, (answer[:60], good)
    assert "namespaces" in found[0][0].isolation


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_partial_score_fails_and_says_so_and_our_own_faults_are_unknown(library):
    asked = problem("chain_sum")
    lost = {**problem("spiral_matrix").check, "entry": {"question": "?", "answer": "1"}}

    async def judged():
        verifier = ReasoningGym(cpu_s=2, processes=1)
        try:
            [partial] = await verifier.verify(asked, [f"It is {asked.reference}."])
            [endless] = await verifier.verify(problem("simple_integration"), ["9**9**9**9"])
            [without] = await verifier.verify(Problem("c", {**lost, "dataset": "no_such"}), ["1"])
            [worker] = verifier._free
            dead = asyncio.ensure_future(verifier.verify(asked, ["1"]))
            worker.session._container._process.kill()
            [died] = await dead
            [after] = await verifier.verify(asked, [asked.reference])
            return partial, endless, without, died, after
        finally:
            await verifier.aclose()

    partial, endless, without, died, after = asyncio.run(judged())
    assert (partial.outcome, partial.reason) == (Outcome.FAIL, Reason.WRONG)
    assert partial.log.startswith("score 0.")
    assert (endless.outcome, endless.reason) == (Outcome.FAIL, Reason.CPU_TIME)
    assert (without.outcome, without.reason) == (Outcome.UNKNOWN, Reason.VERIFIER)
    assert (died.outcome, died.reason) == (Outcome.UNKNOWN, Reason.VERIFIER)
    assert after.outcome is Outcome.PASS


def test_a_malformed_check_is_refused():
    entry = {"question": "?", "answer": "1"}
    for check in ({}, {"dataset": "x", "config": 1, "entry": entry}, {"dataset": "x", "config": {}, "entry": {}}):
        with pytest.raises(BadData, match="'p'"):
            ReasoningGym().load(Problem("p", check))


def test_who_it_is_and_what_it_reads(library):
    asked = Problem("p", {"dataset": "chain_sum", "config": {}, "entry": {"question": "?", "answer": "1"}})
    check_identity(ReasoningGym)
    check_settings(ReasoningGym, [lambda: ReasoningGym(cpu_s=3), lambda: ReasoningGym(memory_mb=3000)])
    check_load(ReasoningGym, asked, [{}, {**asked.check, "entry": 3}, {**asked.check, "more": 1}])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_family_takes_its_own_references_and_no_stub(library):
    """But for those without a reference, which are named."""
    made = subprocess.run([sys.executable, "-P", "-c", EVERY_FAMILY], capture_output=True, check=True)
    problems = [Task(dataset=family)._problem(0, entry) for family, entry in json.loads(made.stdout).items()]

    async def judged():
        verifier = ReasoningGym(processes=1)
        try:
            return [await verifier.verify(p, [p.reference or "", "vervet", "[]"]) for p in problems]
        finally:
            await verifier.aclose()

    found = asyncio.run(judged())
    assert len(problems) > 100
    without = {p.check["dataset"] for p in problems if p.reference is None}
    assert without == {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
    for p, (right, *stubs) in zip(problems, found, strict=True):
        assert right.outcome is (Outcome.FAIL if p.reference is None else Outcome.PASS), (p.id, right)
        if p.check["dataset"] not in CREDULOUS:
            assert all(stub.outcome is Outcome.FAIL for stub in stubs), (p.id, stubs)


# takes any text at all for right: a fault of the library, named in docs/tasks/reasoning-gym.md
CREDULOUS = {"game_of_life_halting"}
EVERY_FAMILY = """
import contextlib, json, sys
from reasoning_gym.factory import DATASETS
from vervet.tasks._gym_maker import made
with contextlib.redirect_stdout(sys.stderr):
    names = sorted(set(DATASETS) - {"composite"})
    found = [(f, made({"dataset": f, "config": {"seed": 0, "size": 1}})["entries"][0]) for f in names]
print(json.dumps(dict(found)))
"""

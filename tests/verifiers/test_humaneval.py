"""All 164 HumanEval problems: references pass in both forms, stubs fail."""

from __future__ import annotations

import asyncio

import pytest

from vervet.errors import MissingPart, ServiceError
from vervet.records import Outcome, Problem, Strength
from vervet.sandbox import capabilities
from vervet.verifiers.python_tests import PythonTests

EQUAL = """
class E:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    def __gt__(self, other): return True
    def __sub__(self, other): return 0
    def __len__(self): return 1
    def __iter__(self): return iter([self])
    def __bool__(self): return True
    __hash__ = None
    def __getattr__(self, name): return lambda *a: True
"""
STUBS = {
    "pass": lambda f: "    pass\n",
    "None": lambda f: "    return None\n",
    "the first argument back": lambda f: f"def {f}(*args): return args[0]\n",
    "a constant": lambda f: f"def {f}(*args): return 17\n",
    "an object equal to everything": lambda f: f"{EQUAL}\ndef {f}(*args): return E()\n",
    "a number equal to everything": lambda f: (
        f"class I(int):\n    __eq__ = lambda s, o: True\n    __hash__ = int.__hash__\ndef {f}(*args): return I(5)\n"
    ),
    "an exit": lambda f: f"def {f}(*args): raise SystemExit(0)\n",
}

QUICK = {"the first argument back", "a number equal to everything"}


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    if not capabilities().namespaces:
        pytest.skip("not here: no namespaces")
    humaneval = pytest.importorskip("vervet.tasks.humaneval")
    try:
        return list(humaneval.HumanEval().problems())
    except (MissingPart, ServiceError) as error:
        pytest.skip(f"the HumanEval file is not at hand: {error}")


def outcomes(problems, answers):
    """Verdicts of one answer a problem."""

    async def run():
        verifier = PythonTests()
        try:
            work = (verifier.verify(p, [a]) for p, a in zip(problems, answers, strict=True))
            return [v for (v,) in await asyncio.gather(*work)]
        finally:
            await verifier.aclose()

    return asyncio.run(run())


@pytest.mark.network
@pytest.mark.parametrize("form", ["completion", "program"])
def test_every_reference_passes(problems, form):
    answers = [p.reference if form == "completion" else p.check["prompt"] + p.reference for p in problems]
    verdicts = outcomes(problems, answers)
    assert [(p.id, v.log) for p, v in zip(problems, verdicts, strict=True) if v.outcome != Outcome.PASS] == []
    assert {v.strength for v in verdicts} == {Strength.SEPARATE_PROCESS}
    assert len(verdicts) == 164


@pytest.mark.network
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in STUBS])
def test_every_stub_fails(problems, name):
    verdicts = outcomes(problems, [STUBS[name](p.check["entry_point"]) for p in problems])
    assert [
        (p.id, v.outcome, v.log) for p, v in zip(problems, verdicts, strict=True) if v.outcome != Outcome.FAIL
    ] == []

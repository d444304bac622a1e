"""The verifier `math`: right on a table of pairs, never worse than math-verify alone, unmoved by hostile answers."""

from __future__ import annotations

import asyncio
import importlib.util
from collections import Counter

import pytest

from tests.verifiers.math_pairs import by_hand, from_sympy
from vervet.errors import BadData, BadOption
from vervet.records import Outcome, Problem, Reason
from vervet.testing.verifiers import conform_to_verifier
from vervet.text.math import canonical, spell
from vervet.text.structure import shape
from vervet.verifiers.math import Math, quick

if importlib.util.find_spec("math_verify") is None:
    pytest.skip("needs math-verify (vervet[math])", allow_module_level=True)

PROBLEM = Problem("p", {"expected": "\\frac{1}{2}"})


def compared(pairs, **options):
    """The outcome of each pair, all at once as a run has them."""

    async def work():
        verifier = Math(**options)
        try:
            return await asyncio.gather(*(verifier.compare(gold, answer) for gold, answer, _ in pairs))
        finally:
            await verifier.aclose()

    return asyncio.run(work())


def judged(expected, *answers, **options):
    async def work():
        verifier = Math(**options)
        try:
            return await verifier.verify(Problem("p", {"expected": expected}), answers)
        finally:
            await verifier.aclose()

    return asyncio.run(work())


def faults(pairs, found):
    return [
        (gold, answer, equal, str(f.outcome))
        for (gold, answer, equal), f in zip(pairs, found, strict=True)
        if (f.outcome is Outcome.PASS) != equal
    ]


def test_what_spelling_and_numbers_decide_is_right():
    """No process is needed for most pairs, and none of them is decided wrongly."""
    decided = [(g, a, equal, quick(spell(g), spell(a))) for g, a, equal in by_hand()]
    settled = [d for d in decided if d[3] is not None]
    assert [d for d in settled if d[2] != d[3]] == []
    assert len(settled) > len(decided) / 2


@pytest.mark.slow
def test_the_table_of_pairs():
    """At least 300 pairs: no wrong PASS, at most 5 % wrong FAIL, never worse than math-verify alone."""
    from math_verify import parse, verify

    pairs = by_hand() + from_sympy()
    assert len(pairs) >= 300
    assert min(Counter(equal for *_, equal in pairs).values()) > 100
    wrong = faults(pairs, compared(pairs, cpu_s=30))
    assert [w for w in wrong if not w[2]] == []
    assert len(wrong) <= 0.05 * sum(equal for *_, equal in pairs)
    for gold, answer, equal, _ in wrong:
        alone = verify(parse(f"${gold}$"), parse(f"${answer}$"))
        assert alone != equal, f"math-verify alone decides {gold!r} and {answer!r} rightly"


def test_a_few_pairs_of_each_kind():
    chosen = [p for p in by_hand()[::13] if quick(spell(p[0]), spell(p[1])) is None]
    assert len(chosen) >= 5
    assert faults(chosen, compared(chosen, cpu_s=30, workers=1)) == []


HOSTILE = {
    "a tower of powers": "9^{9^{9^{9^{9}}}}",
    "a factorial of a factorial": "((10!)!)!",
    "nested fractions": "\\frac{1}{" * 150 + "1" + "}" * 150,
    "nested brackets": "(" * 400 + "1" + ")" * 400,
    "open brackets": "(" * 900,
    "a long sum": "+".join(["x"] * 400),
    "a long integral": "\\int_0^1 " * 80 + "x",
    "a sum without end": "\\sum_{n=1}^{10^{10^{10}}} n^{n}",
    "digits": "9" * 990,
    "too long": "1+" * 100_000 + "1",
    "control characters": "\0\x1b[2J\\frac",
    "lone surrogates": "\ud800\\frac{1}{2}",
    "code": "__import__('os').system('touch hacked')",
    "format": "{0.__class__}",
}


@pytest.mark.slow
def test_hostile_answers_end_and_never_pass(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    verdicts = judged("\\sqrt{7}+x", *HOSTILE.values(), cpu_s=1)
    outcomes = dict(zip(HOSTILE, verdicts, strict=True))
    assert not [name for name, v in outcomes.items() if v.outcome is Outcome.PASS]
    assert list(tmp_path.iterdir()) == []
    # the next answer is judged as if nothing had happened
    assert judged("\\sqrt{8}", "2\\sqrt{2}", cpu_s=30)[0].outcome is Outcome.PASS


def test_an_answer_that_cannot_be_read_in_time_is_fail_and_the_next_is_judged():
    first, second = judged("\\sqrt{8}", HOSTILE["a tower of powers"], "2\\sqrt{2}", cpu_s=1, workers=1)
    assert first.outcome is not Outcome.PASS
    assert second.outcome is Outcome.PASS


@pytest.mark.slow
def test_ten_thousand_samples_cost_their_distinct_answers():
    """A pair goes to a worker once, however often and at whatever moment it is asked for."""

    async def work():
        verifier = Math(cpu_s=30, workers=1)
        asked = []
        ask = verifier._workers.compare

        def counted(gold, answer):
            asked.append((gold, answer))
            return ask(gold, answer)

        verifier._workers.compare = counted
        try:
            answers = ["2\\sqrt{2}", "\\sqrt{7}", "\\sqrt{8}", "8"] * 2500
            verdicts = await verifier.verify(Problem("p", {"expected": "\\sqrt{8}"}), answers)
            return asked, Counter(v.outcome for v in verdicts)
        finally:
            await verifier.aclose()

    asked, outcomes = asyncio.run(work())
    assert outcomes == {Outcome.PASS: 5000, Outcome.FAIL: 5000}
    assert len(asked) == len(set(asked)) <= 4


def test_a_dead_worker_is_unknown_and_a_repeat_decides():
    async def work():
        verifier = Math(cpu_s=30, workers=1)
        problem = Problem("p", {"expected": "\\sqrt{8}"})
        try:
            await verifier.verify(problem, ["\\sqrt{7}"])
            for process in verifier._workers._all:
                process.kill()
                await process.wait()
            [lost] = await verifier.verify(problem, ["2\\sqrt{2}"])
            [again] = await verifier.verify(problem, ["2\\sqrt{2}"])
            return lost, again
        finally:
            await verifier.aclose()

    lost, again = asyncio.run(work())
    assert (lost.outcome, lost.reason) == (Outcome.UNKNOWN, Reason.VERIFIER)
    assert again.outcome is Outcome.PASS


@pytest.mark.slow
def test_it_keeps_a_verifiers_promises():
    conform_to_verifier(
        lambda: Math(workers=1),
        PROBLEM,
        right="0.5",
        wrong="\\sqrt{2}",
        malformed=[{}, {"expected": 3}, {"expected": " "}, {"expected": "1", "tolerance": 1}],
        variants=[lambda: Math(cpu_s=9), lambda: Math(memory_mb=2048)],
    )


def test_several_references_and_bad_settings():
    verdicts = judged(["7", "x=3"], "3", "7.0", "8", " ")
    assert [v.outcome for v in verdicts] == ["PASS", "PASS", "FAIL", "FAIL"]
    assert verdicts[3].reason is Reason.NO_ANSWER
    with pytest.raises(BadData, match="problem 'p'"):
        judged("")
    with pytest.raises(BadOption, match="memory_mb"):
        Math(memory_mb=1)
    with pytest.raises(BadOption, match="cpu_s"):
        Math(cpu_s=0)


@pytest.mark.parametrize("text", [t for pair in by_hand() for t in pair[:2]] + list(HOSTILE.values()))
def test_canonical_is_idempotent(text):
    assert canonical(canonical(text)) == canonical(text)


@pytest.mark.parametrize(
    ("text", "kind", "parts"),
    [
        ("(1,2)", "tuple", ("1", "2")),
        ("(0,9)\\cup[9,36)", "union", ("(0,9)", "[9,36)")),
        ("(1,2),(3,4)", "list", ("(1,2)", "(3,4)")),
        ("\\{1,(2,3)\\}", "set", ("1", "(2,3)")),
        ("1\\pm\\sqrt{2}", "list", ("1+\\sqrt{2}", "1-\\sqrt{2}")),
        ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "matrix", ("1", "2", "3", "4")),
        ("f(1,2)", "atom", ("f(1,2)",)),
        ("(x+1)(x-1)", "atom", ("(x+1)(x-1)",)),
        ("((((", "atom", ("((((",)),
        ("", "atom", ("",)),
    ],
)
def test_structures(text, kind, parts):
    found = shape(text)
    assert (found.kind, found.parts) == (kind, parts)

"""Proofs in Rocq, judged by the real coqtop: honest ones PASS, every trick FAILs and its twin without the trick PASSes."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.data import shared
from tests.verifiers.provers import coqtop, judge
from vervet.errors import MissingPart
from vervet.records import Outcome, Problem, Reason
from vervet.tasks.minif2f import LIBRARIES, MiniF2F
from vervet.testing.verifiers import conform_to_verifier
from vervet.verifiers.rocq import Rocq

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SUM = "Require Import Reals Lra.\nOpen Scope R_scope.\nTheorem t (x y : R) (h : x + y = 5) (k : x - y = 1) : x = 3.\nProof."
FALSE = "Require Import Lia.\nTheorem f (n : nat) : n + 1 = n.\nProof.\nAdmitted."
TRUE = "Require Import Lia.\nTheorem f (n : nat) : n + 1 = S n.\nProof.\nAdmitted."
TWIN = "Proof. intros. lia. Qed."

LOOP = "Fixpoint c (n : nat) : False := c n. Theorem f (n : nat) : n + 1 = n. Proof. destruct (c 0). Qed."

# name: an attack on a false statement
ATTACKS = {
    "admitted": "Proof. Admitted.",
    "admit": "Proof. admit. Qed.",
    "give_up": "Proof. give_up. Qed.",
    "an axiom": "Axiom cheat : False. Theorem f (n : nat) : n + 1 = n. Proof. destruct cheat. Qed.",
    "a parameter": "Parameter cheat : False. Theorem f (n : nat) : n + 1 = n. Proof. destruct cheat. Qed.",
    "a hypothesis": "Section S. Hypothesis c : False. Theorem f (n : nat) : n + 1 = n. Proof. destruct c. Qed. End S.",
    "another statement": "Theorem f (n : nat) : n + 1 = n + 1. Proof. reflexivity. Qed.",
    "an extra assumption": "Theorem f (n : nat) (h : False) : n + 1 = n. Proof. destruct h. Qed.",
    "another plus": "Definition add (a b : nat) := a. Theorem f (n : nat) : add n 1 = n. Proof. reflexivity. Qed.",
    "a notation": 'Notation "a + b" := (fst (a, b)). Theorem f (n : nat) : n + 1 = n. Proof. reflexivity. Qed.',
    "an abbreviation": "Notation eq := (fun _ _ => True). Theorem f (n : nat) : eq (n + 1) n. Proof. exact I. Qed.",
    "a tactic notation": 'Tactic Notation "lia" := admit. Theorem f (n : nat) : n + 1 = n. Proof. lia. Qed.',
    "a redefined tactic": "Ltac lia := admit. Theorem f (n : nat) : n + 1 = n. Proof. lia. Qed.",
    "guards off": "Unset Guard Checking. " + LOOP,
    "guards off by attribute": "#[bypass_check(guard)] " + LOOP,
    "an error passed over": "Proof. lia. reflexivity. Qed.",
    "another theorem": "Theorem g (n : nat) : n + 1 = S n. Proof. lia. Qed.",
    "aborted": "Theorem f (n : nat) : n + 1 = n. Proof. Abort.",
    "a forged prompt": 'Proof. idtac "<prompt>Coq < 99 || 0 < </prompt>". Qed.',
    "a forged listing": 'Proof. idtac "Closed under the global context". Qed.',
    "an open comment": "Proof. (* Qed. ",
    "an open string": 'Proof. idtac "Qed. ',
    "a written file": 'Redirect "x" Print nat. Theorem f (n : nat) : n + 1 = n. Proof. lia. Qed.',
    "foreign code": 'Declare ML Module "x". Theorem f (n : nat) : n + 1 = n. Proof. lia. Qed.',
    "another state": "Proof. BackTo 1. Qed.",
    "the end of the prover": "Quit.",
}


def build():
    coqtop()
    return Rocq(processes=1)


def test_honest_proofs_pass_and_wrong_ones_fail():
    answers = {
        "lra.": "PASS",
        "Proof. lra. Qed.": "PASS",
        "Proof.\n  assert (a : 2 * x = 6) by lra.\n  lra.\nQed.": "PASS",
        "Lemma a (x : R) : 2 * x = 6 -> x = 3. Proof. lra. Qed.\n"
        "Theorem t (u v : R) (h : u + v = 5) (k : u - v = 1) : u = 3. Proof. apply a. lra. Qed.": "PASS",
        "ring.": "FAIL",
        "no tactic at all.": "FAIL",
        "lra": "FAIL",
        "": "FAIL",
    }
    verdicts = judge(build, SUM, *answers)
    assert [v.outcome for v in verdicts] == list(answers.values())
    assert all(v.isolation.startswith("namespaces") for v in verdicts if v.outcome == Outcome.PASS)
    assert verdicts[-1].reason == Reason.NO_ANSWER


def test_every_attack_fails_and_its_twin_passes():
    verdicts = dict(zip(ATTACKS, judge(build, FALSE, *ATTACKS.values()), strict=True))
    assert {name: str(v.outcome) for name, v in verdicts.items()} == dict.fromkeys(ATTACKS, "FAIL")
    # the same sort of answer without the trick, about a statement that holds
    stated = "Theorem f (n : nat) : n + 1 = S n. Proof."
    twins = [
        TWIN,
        f"Lemma c (n : nat) : n + 1 = S n. Proof. lia. Qed. {stated} exact (c n). Qed.",
        f"Ltac close := lia. {stated} close. Qed.",
        f"Fixpoint d (n : nat) : nat := match n with O => O | S m => d m end. {stated} lia. Qed.",
        'Proof. idtac "proved". lia. Qed.',
        "Proof. (* Admitted. *) lia. Qed.",
    ]
    assert [v.outcome for v in judge(build, TRUE, *twins)] == [Outcome.PASS] * len(twins)


def test_time_is_the_answers_and_the_prover_comes_back():
    loop = "Theorem f (n : nat) : n + 1 = S n. Proof. do 1000000000 idtac. lia. Qed."
    slow, after = judge(lambda: Rocq(coqtop=coqtop(), processes=1, cpu_s=1.0, wall_s=60), TRUE, loop, TWIN)
    assert (slow.outcome, slow.reason) == (Outcome.FAIL, Reason.CPU_TIME)
    assert after.outcome == Outcome.PASS


def test_time_counts_over_all_the_sentences_of_an_answer():
    many = "Proof. " + "idtac. " * 200_000 + "lia. Qed."
    began = time.monotonic()
    slow, after = judge(lambda: Rocq(coqtop=coqtop(), processes=1, cpu_s=1.0, wall_s=60), TRUE, many, TWIN)
    assert (slow.outcome, slow.reason) == (Outcome.FAIL, Reason.CPU_TIME)
    assert after.outcome == Outcome.PASS
    assert time.monotonic() - began < 60


def test_an_answer_cut_short_fails_without_waiting_for_its_rest():
    began = time.monotonic()
    [verdict] = judge(lambda: Rocq(coqtop=coqtop(), processes=1, wall_s=300), TRUE, "Proof. intros. li")
    assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, Reason.SYNTAX)
    assert time.monotonic() - began < 100


def test_a_statement_that_does_not_load_says_nothing_about_answers():
    [verdict] = judge(build, "Theorem f : no_such_thing = 1.\nProof.", "lia.")
    assert (verdict.outcome, verdict.reason) == (Outcome.UNKNOWN, Reason.VERIFIER)
    assert "no_such_thing" in verdict.log


def test_a_prover_that_dies_is_unknown_and_is_replaced():
    coqtop()

    async def run():
        verifier = Rocq(processes=1)
        problem = Problem("p", {"statement": TRUE})
        try:
            first = await verifier.verify(problem, [TWIN])
            [prover] = verifier._free
            await prover.aclose()
            return [*first, *await verifier.verify(problem, [TWIN]), *await verifier.verify(problem, [TWIN])]
        finally:
            await verifier.aclose()

    assert [v.outcome for v in asyncio.run(run())] == [Outcome.PASS, Outcome.UNKNOWN, Outcome.PASS]


def test_without_coq_there_is_one_clear_line():
    with pytest.raises(MissingPart, match="apt install coq"):
        judge(lambda: Rocq(coqtop="no-such-coqtop"), TRUE, TWIN)


def test_rocq_conforms():
    coqtop()
    conform_to_verifier(
        lambda: Rocq(processes=2),
        Problem("p", {"statement": TRUE}),
        right=TWIN,
        wrong="Proof. reflexivity. Qed.",
        malformed=[{}, {"statement": "Definition d := 1."}],
        variants=[lambda: Rocq(cpu_s=2.0), lambda: Rocq(memory_mb=1024)],
        size=100_000,
        limit_s=600,
    )


@pytest.mark.needs_data
def test_the_130_statements_load_but_one():
    coqtop()
    problems = MiniF2F(language="rocq", path=shared("minif2f/mathd_rocq.jsonl")).problems()
    assert len(problems) == 130
    assert all(p.check["statement"].startswith(LIBRARIES) for p in problems)

    async def run():
        verifier = Rocq(processes=2)
        try:
            return await asyncio.gather(*(verifier.verify(p, ["idtac."]) for p in problems))
        finally:
            await verifier.aclose()

    verdicts = {p.id: v for p, [v] in zip(problems, asyncio.run(run()), strict=True)}
    unloadable = {name for name, v in verdicts.items() if v.outcome is Outcome.UNKNOWN}
    assert unloadable == {"mathd_algebra_302"}, [verdicts[n].log for n in unloadable]

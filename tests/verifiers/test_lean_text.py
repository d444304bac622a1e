"""Lean as text: no prover is needed to take a statement apart, to refuse words, to put a file together."""

from __future__ import annotations

import pytest

from vervet.errors import BadData, BadOption
from vervet.records import Outcome, Problem, Reason
from vervet.verifiers import _lean_text as text
from vervet.verifiers._lean_drivers import Message, Report
from vervet.verifiers.lean import Lean, decide

SOURCE = "import Mathlib\n\nopen Real\n\ntheorem t\n  (x : Nat) (h : ∃ y : Nat, x = y) :\n  x = {n : Nat | n = 1}.a := by sorry"


def test_a_statement_is_taken_apart_at_the_colon_outside_brackets():
    found = text.statement(SOURCE)
    assert found is not None
    assert (found.header, found.name) == ("import Mathlib\n\nopen Real", "t")
    assert found.proposition("p") == "def p : Prop := ∀ (x : Nat) (h : ∃ y : Nat, x = y), (x = {n : Nat | n = 1}.a)"
    plain = text.statement("theorem t : 1 = 1 := sorry")
    assert plain is not None
    assert plain.proposition("p") == "def p : Prop := (1 = 1)"
    for wrong in ("def d := 1", "theorem t : True := trivial", "theorem t", ""):
        assert text.statement(wrong) is None


@pytest.mark.parametrize(
    "answer",
    [
        "axiom cheat : False",
        "private axiom cheat : False",
        "by run_tac Lean.Elab.admitGoal",
        "macro \"foo\" : term => `(True)",
        "local notation \"foo\" => True",
        "scoped infixl:65 \" + \" => Nat.mul",
        "elab \"x\" : tactic => do return",
        "#eval 1",
        "#print axioms t",
        "#exit",
        "unsafe def c : False := c",
        "@[implemented_by foo] def c := 1",
        "@[extern \"f\"] opaque f : Nat",
        "@[tactic foo] def f := 1",
        "attribute [command_elab foo] f",
        "initialize do IO.println 1",
        "set_option debug.skipKernelTC true",
        "set_option debug.byAsSorry true in",
        "set_option bootstrap.inductiveCheckResultingUniverse false",
        "import Evil",
        # signs of a comment that are none for Lean: nothing behind them may hide
        "let x <-- (by run_tac foo)",
        "a //- b (by run_tac foo) -/",
        "foo/- --  -/ (by run_tac foo)",
        "\"/-\" (by run_tac foo) \"-/\"",
        "'\"' \"/-\" (by run_tac foo)",
        "«/-» (by run_tac foo) «-/»",
        "-/ (by run_tac foo)",
        "s!\"{(by run_tac foo)}\"",
    ],
)  # fmt: skip
def test_words_that_assume_change_the_language_or_run_code_are_refused(answer):
    assert text.refused(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "by norm_num [Nat.succ]",
        "by\n  -- by the axiom of choice, no macro\n  simp",
        "/- an axiom /- nested macro -/ elab -/\nby simp",
        "set_option maxHeartbeats 400000 in\ntheorem t : True := trivial",
        "set_option linter.unusedVariables false",
        "have h := List.prefix_rfl\nexact #[1, 2].size",
        "theorem x.macro : True := trivial",
        "axiom' h",
        "by exact fun init' => h",
    ],
)
def test_what_a_proof_needs_is_allowed(answer):
    assert text.refused(answer) is None


def test_answers_of_every_form_become_commands():
    wanted = text.statement(SOURCE)
    assert wanted is not None
    assert text.body("by simp", wanted) == f"{wanted.opening} := by simp"
    assert text.body(":= foo x", wanted) == f"{wanted.opening} := foo x"
    assert text.body("  simp\n  ring", wanted) == f"{wanted.opening} := by\n  simp\n  ring"
    whole = "import Mathlib\nopen Real\nlemma a : 1 = 1 := rfl\ntheorem t (x : Nat) : True := trivial"
    assert text.body(whole, wanted) == whole.removeprefix("import Mathlib\n")
    program = text.program(wanted, "theorem t := x", "9")
    assert program.index("vervet_type_9") < program.index("theorem t := x") < program.index("@_root_.t")


@pytest.mark.parametrize(
    ("messages", "clean", "outcome", "reason"),
    [
        ([("info", "'vervet_final_9' does not depend on any axioms")], True, "PASS", "accepted"),
        ([("info", "'vervet_final_9' depends on axioms: [propext,\n Quot.sound]")], True, "PASS", "accepted"),
        ([("info", "'vervet_final_9' depends on axioms: [propext, sorryAx]")], True, "FAIL", "rejected"),
        ([("info", "'vervet_final_9' depends on axioms: [Lean.ofReduceBool]")], True, "FAIL", "rejected"),
        ([("info", "'vervet_final_9' depends on axioms: [t._native.native_decide.ax_1]")], True, "FAIL", "rejected"),
        ([("info", "'t' does not depend on any axioms")], True, "FAIL", "rejected"),
        ([("info", "'vervet_final_9' does not depend on any axioms"), ("error", "x")], False, "FAIL", "rejected"),
        ([("info", "'vervet_final_9' does not depend on any axioms")] * 2, True, "FAIL", "rejected"),
        ([("info", "'vervet_final_9' does not depend on any axioms")], False, "UNKNOWN", "verifier_failed"),
        ([], True, "FAIL", "rejected"),
    ],
)  # fmt: skip
def test_a_report_is_a_pass_only_with_no_error_and_standard_axioms(messages, clean, outcome, reason):
    verdict = decide(Report(tuple(Message(*m) for m in messages), clean), "9")
    assert (verdict.outcome, verdict.reason) == (Outcome(outcome), Reason(reason))


def test_bad_checks_and_options_are_refused():
    for check in ({}, {"statement": "def d := 1"}, {"statement": SOURCE, "x": 1}):
        with pytest.raises(BadData, match="'p'"):
            Lean().load(Problem("p", check))
    for options in ({"project": "a", "server": "http://b"}, {"cpu_s": 0}, {"memory_mb": 1}, {"processes": 0}):
        with pytest.raises(BadOption):
            Lean(**options)

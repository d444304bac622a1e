"""Rocq's vernacular as text: no prover is needed to split it, to refuse commands, to read a list of axioms."""

from __future__ import annotations

import pytest

from vervet.errors import BadData
from vervet.records import Problem
from vervet.verifiers import _rocq_text as text
from vervet.verifiers.rocq import Rocq


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("intros. lra.", ["intros.", "lra."]),
        ("a. (* b. (* c. *) d. *) e.", ["a.", "e."]),
        ('idtac "a. b". lia.', ['idtac "a. b".', "lia."]),
        ("rewrite Nat.add_comm. ring.", ["rewrite Nat.add_comm.", "ring."]),
        ("split. - lra. - { lia. }", ["split.", "-", "lra.", "-", "{", "lia.", "}"]),
        ("split. 1: { lia. } all: lra.", ["split.", "1: {", "lia.", "}", "all: lra."]),
        ("** lia. ++ lia.", ["**", "lia.", "++", "lia."]),
        ("Proof with auto. intros... Qed.", ["Proof with auto.", "intros...", "Qed."]),
        ("lra", ["lra"]),
        ("(* never closed. lra.", []),
        ('idtac "never closed. lra.', ['idtac "never closed. lra.']),
        ("", []),
    ],
)
def test_sentences_are_split_as_the_prover_splits_them(source, expected):
    assert text.sentences(source) == expected


@pytest.mark.parametrize(
    "sentence", ["lra.", "intros...", "-", "{", "}", "1: {", 'idtac "a. b".', "rewrite Nat.add_comm."]
)
def test_a_sentence_with_its_end_is_complete(sentence):
    assert text.complete(sentence)


@pytest.mark.parametrize("sentence", ["lra", "rewrite Nat.add_comm", 'idtac "never closed. lra.', "a ..", "1:", ""])
def test_a_sentence_cut_short_is_not(sentence):
    assert not text.complete(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "Axiom cheat : False.",
        "Local Axiom cheat : False.",
        "Parameter cheat : False.",
        "Variable cheat : False.",
        "Context (h : False).",
        "Admitted.",
        "Notation foo := True.",
        'Tactic Notation "lra" := idtac.',
        "Unset Guard Checking.",
        "Set Universe Polymorphism.",
        "#[bypass_check(guard)] Fixpoint f (n : nat) : False := f n.",
        'Redirect "/tmp/x" Print nat.',
        'Time Redirect "/tmp/x" Print nat.',
        "Fail Fail Axiom cheat : False.",
        'Load "/etc/passwd".',
        'Cd "/".',
        'Declare ML Module "extraction_plugin".',
        'Extraction "/tmp/x.ml" nat.',
        "Module M.",
        "Section S.",
        "Program Definition x : nat := _.",
        "Admit Obligations.",
        "Coercion f : nat >-> R.",
        "Drop.",
        "Quit.",
        "BackTo 1.",
        "Reset Initial.",
    ],
)
def test_commands_that_assume_or_reach_outside_are_refused(sentence):
    assert text.refused(sentence)


@pytest.mark.parametrize(
    "sentence",
    ["lra.", "Proof.", "Qed.", "Time lra.", "all: lia.", "2: nra.", "-", "{", "Lemma a : True.", "Require Import Lra.",
     "From Coq Require Import Lia.", "Local Open Scope R_scope.", "Fail lia.", "Ltac t := lra.", "exact I."],
)  # fmt: skip
def test_what_a_proof_needs_is_allowed(sentence):
    assert text.refused(sentence) is None


def test_a_statement_is_found_behind_its_header_with_or_without_admitted():
    for tail in ("", "\nProof.", "\nProof.\nAdmitted.", "\n\nProof.\n(* todo *)\n"):
        found = text.statement(
            f"Require Import Reals.\nDefinition d := 1.\nTheorem t (x : nat) : x = d -> x = 1.{tail}"
        )
        assert found is not None
        assert found.header == ("Require Import Reals.", "Definition d := 1.")
        assert (found.name, found.renamed("u")) == ("t", "Theorem u (x : nat) : x = d -> x = 1.")
    assert text.statement("Definition d := 1.") is None


def test_a_name_that_is_part_of_its_keyword_is_renamed_in_the_right_place():
    found = text.statement("Theorem T : forall T : Prop, T -> T.")
    assert found is not None
    assert found.renamed("u") == "Theorem u : forall T : Prop, T -> T."


def test_scripts_and_files_become_the_same_proof():
    wanted = text.statement("Require Import Lra.\nTheorem t : True.\nProof.\nAdmitted.")
    assert wanted is not None
    closed = ["Theorem t : True.", "Proof.", "exact I.", "Qed."]
    for answer in ("exact I.", "Proof. exact I. Qed.", "Proof.\n exact I.\nDefined.", "exact I. Qed."):
        assert text.script(answer, wanted) == closed
    whole = "Require Import Lra. Lemma a : True. Proof. exact I. Qed. Theorem t : True. Proof. exact a. Qed."
    assert text.script(whole, wanted) == text.sentences(whole)[1:]


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        (["Closed under the global context"], ()),
        (["Axioms:", "classic : forall P : Prop, P \\/ ~ P"], ("classic",)),
        (["Axioms:", "A.B.sig_forall_dec", "  : forall P,", "    {P} + {~ P}", "x : nat"], ("A.B.sig_forall_dec", "x")),
        (["Axioms:", "f is assumed to be guarded."], None),
        (["Theory: Set is impredicative"], None),
        (["Closed under the global context", "Axioms:"], None),
        ([], None),
    ],
)
def test_listed_axioms_are_read_and_anything_else_is_not(listing, expected):
    assert text.assumed(listing) == expected


def test_checks_without_a_theorem_are_refused_at_load():
    for check in (
        {},
        {"statement": 3},
        {"statement": "Definition d := 1."},
        {"statement": "Theorem t : True.", "x": 1},
    ):
        with pytest.raises(BadData, match="'p'"):
            Rocq().load(Problem("p", check))

"""miniF2F: statements of school and contest mathematics to prove (Zheng et al. 2021, arXiv:2109.00110), in Lean 4 or Rocq.

By default the 130 test problems whose name contains `mathd`, as in "Large Language Monkeys". Rows are those of the hub's
`cat-searcher/minif2f-lean4` (id, split, header, formal_statement) or plain ones (name, statement). Known faults of the
data: see docs/tasks/minif2f.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from vervet.errors import BadData, BadOption, MissingPart
from vervet.records import DataSource, Message, Params, Problem, Prompt, PromptForm, Recipe, VerifierSpec, fingerprint
from vervet.tasks import _choice, _hub, _rows
from vervet.text.fences import blocks

REPO = "cat-searcher/minif2f-lean4"
PATTERNS = ("**/*test*",)
LIBRARIES = "Require Import Lra Lia Psatz."
"""Loaded before each Rocq statement, so that `lra`, `lia`, `nra` and `nia` are there: they are what Lean's header brings."""
INSTRUCTIONS = {
    "lean": "Prove this theorem in Lean 4 with Mathlib. Reply with one fenced lean block: the complete theorem and its proof.",
    "rocq": "Prove this theorem in Rocq (Coq). Reply with one fenced rocq block: only the proof script, from Proof. to Qed.",
}
_FENCES = {"lean": ("lean", "lean4", ""), "rocq": ("rocq", "coq", "v", "")}
PAPER_SHOTS = (
    "mathd_algebra_116",
    "amc12_2000_p5",
    "mathd_algebra_132",
    "mathd_algebra_11",
    "mathd_numbertheory_84",
)
"""The validation problems whose proofs stand in the paper's prompt."""
_LEAN_STARTS = re.compile(r"(?:by|theorem|lemma|import|open|have|intro|norm_num|simp|nlinarith|linarith|ring)\b")
_PAPER_HEAD = (
    "Write a lean4 proof to the provided formal statement. You have access to the standard mathlib4 library.\n"
)
PAPER_STOP = "Write a lean4"
PAPER = Recipe(
    source="Brown et al. 2024, arXiv:2407.21787",
    n=10_000,
    form="completion",
    guesses=(
        f"the examples: proofs of {', '.join(PAPER_SHOTS)} from the validation split come from -T shots=FILE, not from here",
        "judged as whole proofs; the paper ran them line by line as tactics and rejected calc, nested by and cases ... with",
        "the prover: the paper used Lean 4.3.0-rc2 with its Mathlib, here it is the one that the verifier finds",
        "top-p: the paper names none; none is taken",
    ),
)


class MiniF2F:
    """miniF2F: theorems to prove in Lean 4 or Rocq; a proof assistant decides.

    Options (-T): language: lean or rocq.  path: the file of statements, else (Lean) the hub's cat-searcher/minif2f-lean4.
    only: problems whose name contains this, "" for all.  split: test or valid.  shots: worked examples, rows with a
    `proof`.  protocol: modern, or paper (raw prompts, temperature 0.5, 200 tokens).  subset, subset_seed: a seeded choice.
    project, lean, server: how the verifier `lean` reaches a prover.
    """

    name = "minif2f"

    def __init__(
        self,
        *,
        language: Literal["lean", "rocq"] = "lean",
        path: Path | None = None,
        only: str = "mathd",
        split: Literal["test", "valid"] = "test",
        shots: Path | None = None,
        revision: str = "main",
        subset: int | None = None,
        subset_seed: int = 0,
        protocol: Literal["modern", "paper"] = "modern",
        project: Path | None = None,
        lean: str | None = None,
        server: str | None = None,
    ) -> None:
        self._language, self._path, self._only, self._split = language, path, only, split
        self._shots_path, self._revision = shots, revision
        self._subset, self._subset_seed = subset, subset_seed
        self._paper = protocol == "paper"
        if self._paper and language != "lean":
            raise BadOption("-T protocol=paper is Lean; the paper has no Rocq")
        drivers = {"project": None if project is None else str(project), "lean": lean, "server": server}
        given = {k: v for k, v in drivers.items() if v is not None}
        if given and language != "lean":
            raise BadOption(f"-T {next(iter(given))} is for Lean; with -T language=rocq the prover is coqtop")
        self.verifier = VerifierSpec(language, given)
        self.extractor = f"minif2f-{language}/1"
        self.recipe: Recipe | None = PAPER if self._paper else None

    # ------------------------------------------------------------------------------------------------- the data

    def source(self) -> DataSource:
        """Identity of all problems, before any choice."""
        digest = fingerprint([[p.id, p.check, dict(p.data)] for p in self._everything])
        if self._path is not None:
            return DataSource(str(self._path), "", digest)
        return DataSource(REPO, self._files[1], digest)

    def problems(self) -> Sequence[Problem]:
        """The chosen problems in the data set's order."""
        return _choice.subset(self._everything, self._subset, self._subset_seed)

    @cached_property
    def _files(self) -> tuple[list[Path], str]:
        if self._language != "lean":
            raise MissingPart(
                "miniF2F for Rocq is on no hub: get the miniF2F-rocq statements and name them with -T path=FILE"
            )
        patterns = PATTERNS if self._split == "test" else ("**/*valid*",)
        return _hub.files(_hub.HubSet(REPO, patterns), self._revision)

    @cached_property
    def _everything(self) -> tuple[Problem, ...]:
        paths = [self._path] if self._path is not None else self._files[0]
        found = _rows.problems(paths, self._problem)
        if not found:
            raise BadData(f"no {self._split} problem whose name contains {self._only!r}: change -T only= or -T split=")
        return found

    def _problem(self, where: str, row: Mapping[str, Any]) -> Problem | None:
        name = _rows.text(where, row, "id" if "id" in row else "name")
        if self._only not in name or row.get("split", self._split) != self._split:
            return None
        text = _statement(where, row)
        if self._language == "rocq":
            text = f"{LIBRARIES}\n{text}"
        elif not re.search(r":=\s*(?:by\s*)?(?:sorry)?\s*\Z", text):
            raise BadData(f"{where}: the statement of {name!r} does not end in := by sorry")
        proof = row.get("proof")
        return Problem(name, {"statement": text}, {"statement": text}, proof if isinstance(proof, str) else None)

    @cached_property
    def _shots(self) -> tuple[tuple[str, str, str], ...]:
        """(name, statement, proof) of worked examples."""
        if self._shots_path is None:
            return ()
        found = []
        for where, row in _rows.read(self._shots_path):
            name = _rows.text(where, row, "id" if "id" in row else "name")
            found.append((name, _statement(where, row), _rows.text(where, row, "proof")))
        return tuple(found)

    # ------------------------------------------------------------------------------------------------- prompts

    def params(self, form: PromptForm) -> Params:
        """Temperature 0.5 and 200 tokens are the paper's; a modern prover writes more."""
        if self._paper:
            return Params(temperature=0.5, top_p=None, max_tokens=200, stop=(PAPER_STOP,))
        stop = ("```",) if form == "completion" else ()
        return Params(temperature=0.8, top_p=0.95, max_tokens=1024, stop=stop)

    def prompt(self, problem: Problem, form: PromptForm) -> Prompt:
        statement = str(problem.data["statement"])
        _choice.refuse_leaks(problem.id, _bare(statement), (_bare(s) for _, s, _ in self._shots))
        if self._paper:
            shown = "".join(_paper_block(s, i, proof) for i, (_, s, proof) in enumerate(self._shots, 1))
            return shown + _paper_block(statement, len(self._shots) + 1, None)
        fence = _FENCES[self._language][0]
        shown = "".join(f"```{fence}\n{_open(s)}{proof}\n```\n\n" for _, s, proof in self._shots)
        if form == "completion":
            return f"{shown}```{fence}\n{_open(statement)}"
        return (Message("user", f"{shown}{INSTRUCTIONS[self._language]}\n\n```{fence}\n{statement.strip()}\n```"),)

    # ------------------------------------------------------------------------------------------------- answers

    def extract(self, text: str) -> str | None:
        """The last fenced block of the language, else the text up to the first fence at the margin.

        A completion continues the prompt: it is a proof body. Nothing but blanks is no answer.
        """
        if self._paper:
            body = text.partition("```")[0].partition(PAPER_STOP)[0]
            return f"by (\n{body}" if body.strip() else None  # the prompt has opened the bracket
        wanted = _FENCES[self._language]
        found = [b for b in blocks(text) if b.info.split(" ")[0].lower() in wanted and b.code.strip()]
        if found:
            return found[-1].code
        body = text.partition("```")[0]
        return body if body.strip() and _looks_formal(body, self._language) else None

    def canonical(self, answer: str) -> str:
        """Without blanks at line ends and blank lines; indentation means something in Lean."""
        return "\n".join(line.rstrip() for line in answer.split("\n") if line.strip())

    def example(self, problem: Problem, right: bool) -> str | None:
        """A fenced block with the reference, or with a script that cannot close a goal."""
        if problem.reference is None:
            return None
        wrong = "fail" if self._language == "lean" else "fail."
        return f"```{_FENCES[self._language][0]}\n{problem.reference if right else wrong}\n```\n"


def _statement(where: str, row: Mapping[str, Any]) -> str:
    if "formal_statement" in row:
        header = row.get("header") or ""
        return f"{header}\n{_rows.text(where, row, 'formal_statement')}".strip()
    return _rows.text(where, row, "statement")


def _bare(statement: str) -> str:
    """What a statement claims, without its header and the name it goes by, so that a renamed copy is found."""
    return re.split(r"\b(?:theorem|lemma)\s+[\w.']+", statement, flags=re.IGNORECASE)[-1]


def _open(statement: str) -> str:
    """A statement as a base model continues it: up to where the proof begins."""
    text = re.sub(r"\bsorry\s*\Z", "", statement.rstrip())
    text = re.sub(r"\s*(?:Proof\.)?\s*(?:Admitted\.)?\s*\Z", "", text)
    return f"{text}\n" if text.endswith("by") else f"{text}\nProof.\n"


def _paper_block(statement: str, number: int, proof: str | None) -> str:
    """One statement in the paper's form; the theorem is renamed, for a name can tell what the problem is."""
    text = re.sub(r"\btheorem\s+[\w.']+", f"theorem theorem_{number}", statement, count=1)
    text = re.sub(r"\s*(?:by\s*)?sorry\s*\Z", "", text.rstrip())
    return f"{_PAPER_HEAD}```{text}\nby (\n" + (f"{proof}```\n\n" if proof is not None else "")


def _looks_formal(body: str, language: str) -> bool:
    """Whether a text without a fence is a proof rather than prose about one."""
    first = body.strip().split("\n", 1)[0]
    if language == "rocq":
        return (first.rstrip().endswith(".") and len(first.split()) <= 12) or "Qed." in body
    return body[:1] in " \t\n" or bool(
        re.match(r"(?:by|theorem|lemma|import|open|have|intro|norm_num|simp|nlinarith|linarith|ring)\b", first)
    )

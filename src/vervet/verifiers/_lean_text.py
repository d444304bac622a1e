"""Lean as text: what an answer may contain, and the file that is handed to the prover.

The file reads the problem's statement first, as a proposition, then the answer inside a section of its own, and then
proves the proposition by the answer's theorem and asks for its axioms::

    <header>                                      imports, options, open namespaces of the problem
    def vervet_type_N : Prop := ∀ (n : Nat), ...    read before the answer can change what anything means
    section vervet_section_N
    <answer>
    end vervet_section_N
    theorem vervet_final_N : vervet_type_N := @_root_.name
    #print axioms vervet_final_N

N is random, so that no answer can speak of these names. Lean lets a file change its own language and run programs while
it is read; none of that can be part of a proof, so the words that begin it are refused wherever they stand.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

AXIOMS = frozenset({"propext", "Classical.choice", "Quot.sound"})
"""The axioms of Lean's own library. `native_decide` adds others, which trust the compiler."""
REFUSED = (
    "axiom",
    "macro",
    "macro_rules",
    "syntax",
    "declare_syntax_cat",
    "notation",
    "notation3",
    "infix",
    "infixl",
    "infixr",
    "prefix",
    "postfix",
    "unif_hint",
    "elab",
    "elab_rules",
    "binder_predicate",
    "by_elab",
    "run_tac",
    "run_cmd",
    "run_elab",
    "run_meta",
    "eval_expr",
    "initialize",
    "builtin_initialize",
    "unsafe",
    "implemented_by",
    "extern",
    "export",
    "init",
    "builtin_init",
    "csimp",
    "simproc",
    "dsimproc",
    "simproc_decl",
    "builtin_simproc",
    "tactic",
    "command_elab",
    "term_elab",
    "command_parser",
    "term_parser",
    "tactic_parser",
    "app_unexpander",
    "delab",
    "env_linter",
    "import",
)
"""Words that add assumptions or syntax, run code while the file is read, or put foreign code in place of definitions."""
OPTIONS = frozenset(
    {"maxHeartbeats", "maxRecDepth", "autoImplicit", "relaxedAutoImplicit", "synthInstance.maxHeartbeats"}
)
"""Options that an answer may set besides those of `linter.` and `pp.`: none of them turns a check off."""
_REFUSED = re.compile(rf"(?<![\w.'!?])(?:{'|'.join(REFUSED)})(?![\w'!?])")
_COMMAND = re.compile(r"#[A-Za-z_]\w*")
_OPTION = re.compile(r"\bset_option\s+([\w.«»]*)")
_COMMENT = re.compile(r"--|/-|-/")
_THEOREM = re.compile(r"^[ \t]*(?:theorem|lemma)\s+([^\s:({\[⦃]+)", re.MULTILINE)
_PROOF = re.compile(r"\s*:=\s*(?:by\s*)?(?:sorry\s*)?\Z")
_OPENING, _CLOSING = "([{⦃⟨", ")]}⦄⟩"


@dataclass(frozen=True, slots=True)
class Statement:
    """A theorem to prove, taken apart."""

    header: str
    # imports, options, open namespaces, definitions: everything before the theorem
    name: str
    binders: str
    # "(n : Nat) (h : x = 1)", may be blank
    claim: str
    # what is to hold

    @property
    def opening(self) -> str:
        """The theorem up to where its proof begins."""
        return f"theorem {self.name} {self.binders.strip()} :\n  {self.claim.strip()}"

    def proposition(self, name: str) -> str:
        """The statement as a definition, which needs no proof."""
        quantified = f"∀ {self.binders.strip()}, " if self.binders.strip() else ""
        return f"def {name} : Prop := {quantified}({self.claim.strip()})"


def statement(text: str) -> Statement | None:
    """The last theorem of a text that ends in `:= by sorry`, `:= sorry` or `:=`. None where there is none."""
    found = list(_THEOREM.finditer(text))
    proof = _PROOF.search(text)
    if not found or proof is None:
        return None
    rest = text[found[-1].end() : proof.start()]
    colon = _colon(rest)
    if colon is None:
        return None
    return Statement(text[: found[-1].start()].rstrip(), found[-1][1], rest[:colon], rest[colon + 1 :])


def _colon(text: str) -> int | None:
    """The first colon outside brackets."""
    depth = 0
    for i, char in enumerate(text):
        if char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            depth -= 1
        elif char == ":" and depth == 0:
            return i
    return None


def refused(answer: str) -> str | None:
    """Why an answer may not go to the prover, None where it may."""
    text = without_comments(answer)
    if match := _REFUSED.search(text):
        return f"{match[0]!r}"
    if match := _COMMAND.search(text):
        return f"the command {match[0]}"
    for match in _OPTION.finditer(text):
        if match[1] not in OPTIONS and not match[1].startswith(("linter.", "pp.")):
            return f"the option {match[1]!r}"
    return None


def without_comments(text: str) -> str:
    """The text without comments, or all of it where a comment's bounds could be mistaken.

    What is dropped here is not looked at, so nothing that Lean reads may be dropped: with a quoted string, a quoted name, or
    a comment sign that does not follow a blank, the whole text stays.
    """
    if '"' in text or "«" in text:
        return text
    out: list[str] = []
    position = depth = 0
    for match in _COMMENT.finditer(text):
        if match.start() < position:
            continue
        sign = match[0]
        if depth == 0 and (sign == "-/" or (match.start() and not text[match.start() - 1].isspace())):
            return text
        if sign == "--" and depth == 0:
            out.append(text[position : match.start()])
            end = text.find("\n", match.end())
            position = len(text) if end < 0 else end
        elif sign == "/-":
            if depth == 0:
                out.append(text[position : match.start()])
            depth, position = depth + 1, match.end()
        elif sign == "-/":
            depth, position = depth - 1, match.end()
    return "".join(out) + ("" if depth else text[position:])


def body(answer: str, wanted: Statement) -> str:
    """The answer as commands: its own theorem, or the problem's with the answer as its proof."""
    answer = without_imports(answer, wanted)
    if any(m[1] == wanted.name for m in _THEOREM.finditer(answer)):
        return answer.strip()
    proof = answer.strip("\n")
    first = proof.lstrip()
    if first.startswith(":="):
        return f"{wanted.opening} {first}"
    if re.match(r"by\b", first):
        return f"{wanted.opening} := {first}"
    return f"{wanted.opening} := by\n{textwrap.indent(textwrap.dedent(proof), '  ')}"


def without_imports(answer: str, wanted: Statement) -> str:
    """The answer without the import lines that the problem's own header has."""
    own = {line.strip() for line in wanted.header.split("\n")} | {"import Mathlib", "prelude"}
    lines = answer.split("\n")
    return "\n".join(line for line in lines if line.strip() not in own or not line.startswith(("import ", "prelude")))


def program(wanted: Statement, commands: str, tag: str) -> str:
    """What follows the header, see the module's docstring."""
    return (
        f"{wanted.proposition(f'vervet_type_{tag}')}\n"
        f"section vervet_section_{tag}\n{commands}\n\nend vervet_section_{tag}\n"
        f"theorem vervet_final_{tag} : vervet_type_{tag} := @_root_.{wanted.name}\n"
        f"#print axioms vervet_final_{tag}\n"
    )


def axioms(message: str, tag: str) -> tuple[str, ...] | None:
    """Axiom names in a message of `#print axioms`, () where there are none; None where it is another message."""
    name = f"'vervet_final_{tag}'"
    flat = " ".join(message.split())
    if flat == f"{name} does not depend on any axioms":
        return ()
    match = re.fullmatch(re.escape(name) + r" depends on axioms: \[(.*)\]", flat)
    return tuple(part.strip() for part in match[1].split(",")) if match else None

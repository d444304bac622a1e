"""Rocq's vernacular as text: sentences, the commands an answer may use, and what an answer is made of.

Nothing here decides that a proof is right; it decides what is handed to the prover at all. Splitting follows the
reference manual ("Lexical conventions", "Bullets"): linear, total, tolerant of text that is no Rocq.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

COMMANDS = frozenset(
    {
        "Proof",
        "Qed",
        "Defined",
        "Abort",
        "Lemma",
        "Theorem",
        "Remark",
        "Fact",
        "Corollary",
        "Proposition",
        "Property",
        "Example",
        "Goal",
        "Definition",
        "Fixpoint",
        "Let",
        "Ltac",
        "Require",
        "From",
        "Import",
        "Open",
        "Close",
        "Local",
        "Global",
        "Time",
        "Fail",
        "Succeed",
        "Check",
        "Print",
        "Search",
        "SearchPattern",
        "SearchRewrite",
        "About",
        "Locate",
        "Compute",
        "Eval",
        "Show",
        "Focus",
        "Unfocus",
        "Opaque",
        "Transparent",
        "Restart",
        "Undo",
        "Existential",
        "Optimize",
        "Unshelve",
    }
)
"""First words of the commands that an answer may use. Tactics begin with a lower-case letter or a sign.

Left out on purpose: whatever adds an assumption (Axiom, Parameter, Variable, Context, Hypothesis, Conjecture, Admitted,
Declare, Module), changes how text is read or printed (Notation, Infix, Coercion, Canonical, Scope, Tactic Notation),
sets an option or attribute that could turn a check off (Set, Unset, #[...]), or reaches outside (Load, Redirect, Cd, Add,
Declare ML Module, Extraction, Drop, Quit).
"""
_MODIFIERS = frozenset({"Local", "Global", "Time", "Fail", "Succeed"})
_DECLARES = frozenset(
    {"Lemma", "Theorem", "Remark", "Fact", "Corollary", "Proposition", "Property", "Example", "Definition", "Fixpoint"}
)
_AFTER_MODIFIER = _DECLARES | {"Open", "Close", "Ltac", "Let"}
_TOKEN = re.compile(r'\(\*|\*\)|"|\.(?=\s|\Z)')
_SPACE = re.compile(r"(?:\s+|\(\*)")
_BULLET = re.compile(r"\{|\}|-+|\++|\*+(?!\))|(?:\d+|\[[\w']+\]|all|!)\s*:\s*\{")
_SELECTOR = re.compile(r"(?:\d[\d\s,-]*|\[[\w']+\]|all|par|!)\s*:\s*")
_WORD = re.compile(r"[^\W\d][\w']*")
_NAMED = re.compile(rf"\s*(?:(?:Local|Global)\s+)?(?:{'|'.join(sorted(_DECLARES))})\s+([^\W\d][\w']*)")


def sentences(text: str) -> list[str]:
    """The text's sentences without comments and outer blanks; bullets and braces are sentences of their own.

    What follows the last full stop is the last sentence, if it is more than blanks.
    """
    found: list[str] = []
    text = without_comments(text)
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
        elif match := _BULLET.match(text, position):
            found.append(match[0])
            position = match.end()
        else:
            end = _full_stop(text, position) or len(text)
            found.append(text[position:end].strip())
            position = end
    return found


def complete(sentence: str) -> bool:
    """Whether it has its end. The prover would wait for the rest of one that has not, as truncated answers have."""
    return bool(_BULLET.fullmatch(sentence)) or _full_stop(sentence, 0) == len(sentence)


def _full_stop(text: str, start: int) -> int | None:
    """Where the sentence that begins at `start` ends, behind its full stop; None where it does not."""
    position = start
    while match := _TOKEN.search(text, position):
        position = match.end()
        if match[0] == '"':
            close = text.find('"', position)
            if close < 0:
                return None
            position = close + 1
        elif match[0] == ".":
            dots = len(text[max(start, match.start() - 2) : match.end()]) - len(
                text[max(start, match.start() - 2) : match.end()].rstrip(".")
            )
            if dots != 2:  # `..` is a token of its own; `.` and `...` end a sentence
                return position
    return None


def without_comments(text: str) -> str:
    """Each comment replaced by a blank. Comments nest; a quoted string in one hides its end, as in Rocq."""
    out: list[str] = []
    depth, kept = 0, 0
    position = 0
    while match := _TOKEN.search(text, position):
        position = match.end()
        if match[0] == '"':
            close = text.find('"', position)
            if close < 0:
                break
            position = close + 1
        elif match[0] == "(*":
            if depth == 0:
                out.append(text[kept : match.start()] + " ")
            depth += 1
        elif match[0] == "*)" and depth:
            depth -= 1
            kept = position
    return "".join(out) + ("" if depth else text[kept:])


def name_of(sentence: str) -> str | None:
    """The name that a sentence declares by Theorem, Lemma, Definition and the like."""
    match = _NAMED.match(sentence)
    return match[1] if match else None


def refused(sentence: str) -> str | None:
    """Why a sentence may not go to the prover, None where it may."""
    rest = sentence[match.end() :] if (match := _SELECTOR.match(sentence)) else sentence
    if rest.startswith(("#[", "#")):
        return "an attribute"
    word = _WORD.match(rest)
    while word and word[0] in _MODIFIERS and word[0] in COMMANDS:
        rest = rest[word.end() :].lstrip()
        inner = _WORD.match(rest)
        if inner and inner[0][0].isupper() and inner[0] not in _AFTER_MODIFIER | COMMANDS:
            return f"the command {inner[0]}"
        if inner is None or not inner[0][0].isupper():
            return None
        word = inner
    if word is None or not word[0][0].isupper():
        return None
    if word[0] in COMMANDS:
        return None
    return f"the command {word[0]}" if not re.match(r"[\w']*\s*:=|\s*$", rest[word.end() :]) else f"{word[0]!r}"


@dataclass(frozen=True, slots=True)
class Statement:
    """A theorem to prove, taken apart."""

    header: tuple[str, ...]
    # sentences before it: imports, scopes, definitions
    text: str
    # the sentence that states it
    name: str

    def renamed(self, name: str) -> str:
        """The sentence with another name."""
        start = self.text.index(self.name, len(self.text.split(None, 1)[0]))
        return self.text[:start] + name + self.text[start + len(self.name) :]

    @property
    def axioms(self) -> frozenset[str]:
        """Names that the header itself assumes: the data set's doing, not an answer's."""
        found = (re.match(r"(?:Axiom|Parameter|Conjecture)s?\s+([\w']+)", s) for s in self.header)
        return frozenset(m[1] for m in found if m)


def statement(text: str) -> Statement | None:
    """The last theorem that a text states, and what comes before it. None where there is none.

    A `Proof.` and an `Admitted.` behind it, which some files of miniF2F have and some lack, are dropped.
    """
    found = sentences(text)
    for i in range(len(found) - 1, -1, -1):
        word = _WORD.match(found[i])
        if word and word[0] in _DECLARES - {"Definition", "Fixpoint"} and (name := name_of(found[i])):
            return Statement(tuple(found[:i]), found[i], name)
    return None


def script(answer: str, wanted: Statement) -> list[str]:
    """The sentences that prove `wanted` as `answer` would: the answer's own file, or its tactics below the statement."""
    found = sentences(answer)
    if any(name_of(s) == wanted.name for s in found):
        known = {_flat(s) for s in wanted.header}
        return [s for s in found if _flat(s) not in known]
    body = [s for s in found if _flat(s) not in ("Proof.", "Qed.", "Defined.")]
    opening = next((s for s in found if s.startswith("Proof ")), "Proof.")
    return [wanted.text, opening, *(s for s in body if s is not opening), "Qed."]


def _flat(sentence: str) -> str:
    return " ".join(sentence.split())


def assumed(listing: Sequence[str]) -> tuple[str, ...] | None:
    """Axiom names in what `Print Assumptions` printed, None where it says anything else.

    () for a closed proof. A line about guards, positivity or universes that were not checked is "anything else".
    """
    lines = [line for line in listing if line.strip()]
    if not lines:
        return None
    if lines[0].strip() == "Closed under the global context":
        return () if len(lines) == 1 else None
    if lines[0].strip() != "Axioms:":
        return None
    names: list[str] = []
    for line in lines[1:]:
        if line[0].isspace():
            continue
        match = re.match(r"([\w.']+)\s*(?::|$)", line)
        if match is None:
            return None
        names.append(match[1])
    return tuple(names)

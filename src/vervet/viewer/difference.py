"""Two texts line by line, and within changed lines word by word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vervet.viewer.text import escaped, markup

MOST_LINES = 1_500
# of each text: beyond, the comparison would take longer than a person waits
MOST_CHARS = 1_000
# of a line that is compared by word, and that is shown at all
CONTEXT = 4
# equal lines kept around a change
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a comparison."""

    kind: str
    # "same", "less" (only in a), "more" (only in b), "skip" (equal lines left out)
    a: int | None
    b: int | None
    # line numbers from 1
    body: Any
    # Markup; for "skip" the number of lines


@dataclass(frozen=True, slots=True)
class Difference:
    lines: tuple[Line, ...]
    same: bool
    # the texts are equal
    cut: bool
    # they are longer than what was compared


def compare(a: str, b: str, *, everything: bool = False) -> Difference:
    """Rows of a unified comparison; long equal stretches are folded unless `everything` is said."""
    left, right = a.split("\n"), b.split("\n")
    cut = len(left) > MOST_LINES or len(right) > MOST_LINES or max(map(len, left + right)) > MOST_CHARS
    left, right = ([line[:MOST_CHARS] for line in lines[:MOST_LINES]] for lines in (left, right))
    rows = list(_rows(left, right))
    return Difference(tuple(rows if everything else _folded(rows)), a == b, cut)


def _rows(left: list[str], right: list[str]) -> Iterator[Line]:
    matcher = difflib.SequenceMatcher(None, left, right)
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        if kind == "equal":
            for d in range(i_end - i):
                yield Line("same", i + d + 1, j + d + 1, markup(escaped(left[i + d])))
            continue
        pairs = min(i_end - i, j_end - j)
        marked = [_words(left[i + d], right[j + d]) for d in range(pairs)]
        old = [m[0] for m in marked] + [escaped(line) for line in left[i + pairs : i_end]]
        new = [m[1] for m in marked] + [escaped(line) for line in right[j + pairs : j_end]]
        yield from (Line("less", i + d + 1, None, markup(text)) for d, text in enumerate(old))
        yield from (Line("more", None, j + d + 1, markup(text)) for d, text in enumerate(new))


def _words(old: str, new: str) -> tuple[str, str]:
    """Both lines with what differs marked; unmarked where they share next to nothing."""
    a, b = _WORDS.findall(old), _WORDS.findall(new)
    matcher = difflib.SequenceMatcher(None, a, b)
    if len(a) * len(b) > 40_000 or matcher.ratio() < 0.35:
        return escaped(old), escaped(new)
    left: list[str] = []
    right: list[str] = []
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        for out, words in ((left, a[i:i_end]), (right, b[j:j_end])):
            text = escaped("".join(words))
            out.append(f"<mark>{text}</mark>" if kind != "equal" and text else text)
    return "".join(left), "".join(right)


def _folded(rows: list[Line]) -> Iterator[Line]:
    changed = [i for i, row in enumerate(rows) if row.kind != "same"]
    near = {i for at in changed for i in range(at - CONTEXT, at + CONTEXT + 1)}
    skipped = 0
    for i, row in enumerate(rows):
        if i in near or not changed:
            if skipped:
                yield Line("skip", None, None, skipped)
            skipped = 0
            yield row
        else:
            skipped += 1
    if skipped:
        yield Line("skip", None, None, skipped)

"""The outer structure of a mathematical answer: tuples, intervals, sets, lists, unions, matrices, plus-minus.

Works on the plain spelling of `vervet.text.math`; what is inside stays text. Linear in its input, never raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["atom", "tuple", "set", "list", "union", "matrix"]
_PAIRS = {"(": ")", "[": "]", "\\{": "\\}", "{": "}"}
_CLOSERS = {")", "]", "\\}", "}"}
_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|.", re.DOTALL)
_MATRIX = re.compile(r"(-?)\\begin\{pmatrix\}(.*)\\end\{pmatrix\}", re.DOTALL)
_WORD_COMMA = re.compile(
    r"\\text\{\s*(?:,?\s*(?:and|or)\s*)\}|(?<=[\d)}\]])\s*,?\s*(?<![a-zA-Z])(?:and|or)(?![a-zA-Z])\s*"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A structure and its parts."""

    kind: Kind
    parts: tuple[str, ...]
    # of a matrix: its cells, row by row
    brackets: str = ""
    # "()", "[)", ...: of tuples and intervals
    columns: int = 0
    # of a matrix

    @property
    def ordered(self) -> bool:
        return self.kind in {"tuple", "matrix"}


def shape(text: str) -> Shape:
    """What the outermost structure is; an atom where there is none."""
    found = _matrix(text)
    if found is not None:
        return found
    unions = _split(text, "\\cup")
    if len(unions) > 1:
        return Shape("union", unions)
    return _bracketed(text) or _list(text) or Shape("atom", (text,))


def _matrix(text: str) -> Shape | None:
    match = _MATRIX.fullmatch(text)
    if match is None or match[1] or "\\begin" in match[2]:
        return None
    rows = [tuple(cell.strip() for cell in row.split("&")) for row in match[2].split("\\\\") if row.strip()]
    if not rows or len({len(row) for row in rows}) != 1:
        return None
    return Shape("matrix", tuple(cell for row in rows for cell in row), columns=len(rows[0]))


def _bracketed(text: str) -> Shape | None:
    opener = "\\{" if text.startswith("\\{") else text[:1]
    closer = "\\}" if text.endswith("\\}") else text[-1:]
    if opener not in {"(", "[", "\\{"} or closer not in {")", "]", "\\}"} or len(text) < len(opener + closer):
        return None
    if (opener == "\\{") != (closer == "\\}") or not _closes_at_end(text):
        return None
    inside = text[len(opener) : -len(closer)]
    parts = _split(inside, ",")
    if opener == "\\{":
        return None if "\\mid" in inside or "|" in inside or ":" in inside else Shape("set", parts)
    return Shape("tuple", parts, opener + closer) if len(parts) > 1 else None


def _closes_at_end(text: str) -> bool:
    """Whether the first bracket is closed by the last: not so in (1,2),(3,4)."""
    depth = 0
    tokens = _TOKEN.findall(text)
    for i, token in enumerate(tokens):
        depth += (token in _PAIRS) - (token in _CLOSERS)
        if depth == 0:
            return i == len(tokens) - 1
    return False


def _list(text: str) -> Shape | None:
    plain = _WORD_COMMA.sub(",", text)
    for mark in (",", ";"):
        parts = tuple(part for part in _split(plain, mark) if part)
        if len(parts) > 1:
            return Shape("list", parts)
    halves = _split(text, "\\pm")
    if len(halves) == 2 and halves[1]:
        return Shape("list", (f"{halves[0]}+{halves[1]}" if halves[0] else halves[1], f"{halves[0]}-{halves[1]}"))
    return None


def _split(text: str, mark: str) -> tuple[str, ...]:
    """Parts between marks outside all brackets; a half-open interval's brackets count as a pair."""
    parts: list[str] = []
    current: list[str] = []
    depth = 0
    for token in _TOKEN.findall(text):
        depth += (token in _PAIRS) - (token in _CLOSERS)
        if token == mark and depth == 0:
            parts.append("".join(current).strip())
            current = []
        else:
            current.append(token)
    return (*parts, "".join(current).strip())

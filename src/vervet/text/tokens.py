"""Comparing a program's output with the expected one, by the rules of CodeContests' own tester (Li et al. 2022).

Tokens between blanks, in any case: equal whole numbers exactly, other numbers to 1e-5, all else as text. How the tokens are
spread over lines does not matter.
"""

from __future__ import annotations

import math
import re

TOLERANCE = 1e-5
_BLANKS = re.compile(r"[ \n\t\r\v]+")
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII)
_LONGEST = 400
# characters of a token that is read as a number


def tokens(output: str) -> list[str]:
    """The tokens, in lower case."""
    return [token for token in _BLANKS.split(output.lower()) if token]


def same_output(expected: str, found: str) -> str:
    """Empty where the outputs are the same by the rules above, else the first difference in words."""
    wanted, got = tokens(expected), tokens(found)
    for position, (a, b) in enumerate(zip(wanted, got, strict=False), 1):
        if a != b and not _equal(a, b):
            return f"token {position}: expected {a[:60]!r}, found {b[:60]!r}"
    if len(wanted) != len(got):
        return f"expected {len(wanted)} tokens, found {len(got)}"
    return ""


def _equal(a: str, b: str) -> bool:
    if max(len(a), len(b)) > _LONGEST or not (_NUMBER.fullmatch(a) and _NUMBER.fullmatch(b)):
        return False
    if _WHOLE.fullmatch(a) and _WHOLE.fullmatch(b):
        return int(a) == int(b)
    difference = abs(float(a) - float(b))
    return not math.isnan(difference) and difference < TOLERANCE

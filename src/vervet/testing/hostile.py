"""Texts that models do write, or that somebody might make them write: what extraction and verification must survive.

Each family is a function of a size in characters, so that the time spent on it can be followed as it doubles.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable

MEGABYTE = 1 << 20
_SLOW_S = 0.1
# below this a time is not judged
_FAR_S = 1.0
# no further doubling above this
_RATIO = 3.0
# of the times at 2x and 1x: 2 is linear, 4 quadratic; between them is the allowance for noise and caches
_ATTEMPTS = 4


def _repeat(piece: str) -> Callable[[int], str]:
    return lambda size: (piece * (size // len(piece) + 1))[:size]


def _bytes(size: int) -> str:
    return random.Random(0).randbytes(size).decode("utf-8", "replace")  # noqa: S311  the same text each time


def _surrogates(size: int) -> str:
    return "\ud800\udfff\udc00x" * (size // 4 + 1)


def _nested_fences(size: int) -> str:
    """Fences of growing length, each inside the one before, until the text is long enough."""
    lines, length, total = [], 3, 0
    while total < size:
        lines.append("`" * length + "python\nx = 1")
        total += length + 13
        length += 1
    return "\n".join(lines)


FAMILIES: dict[str, Callable[[int], str]] = {
    "random bytes": _bytes,
    "backticks": _repeat("`"),
    "fences": _repeat("```"),
    "fence lines": _repeat("```\n"),
    "fence lines, opened and closed": _repeat("```python\nx\n```\n"),
    "nested fences": _nested_fences,
    "tildes": _repeat("~~~\n"),
    "blanks": _repeat(" "),
    "tabs and blanks": _repeat("\t "),
    "new lines": _repeat("\n"),
    "carriage returns": _repeat("\r"),
    "blank lines": _repeat("   \n"),
    "lone surrogates": _surrogates,
    "NULs": _repeat("\0"),
    "digits": _repeat("9"),
    "digits and commas": _repeat("1,"),
    "minus signs": _repeat("-"),
    "exponents": _repeat("1e"),
    "slashes": _repeat("1/"),
    "open braces": _repeat("{"),
    "open parentheses": _repeat("("),
    "open brackets": _repeat("["),
    "boxes": _repeat("\\boxed{"),
    "backslashes": _repeat("\\"),
    "dollar signs": _repeat("$"),
    "marks of an answer": _repeat("Answer: "),
    "marks without an answer": _repeat("answer is"),
    "hashes": _repeat("#### "),
    "definitions": _repeat("def f():\n"),
    "indented lines": _repeat("    return 1\n"),
    "one long line": _repeat("x"),
    "words": _repeat("lorem ipsum "),
    "quotation marks": _repeat("'\""),
    "markup": _repeat("<think>"),
    "combining marks": _repeat("e\u0301\u0323"),
    "wide digits": _repeat("\u0661\uff11"),
    "right to left": _repeat("\u202e\u05d0"),
    "line separators": _repeat("\u2028\x0c\x85"),
}
"""Name -> text of about so many characters."""


def texts(size: int = MEGABYTE) -> dict[str, str]:
    """A text of each family, and the empty one."""
    return {"empty": "", **{name: grow(size) for name, grow in FAMILIES.items()}}


def growth(function: Callable[[str], object], grow: Callable[[int], str], size: int = MEGABYTE) -> str:
    """Empty where a function's time is roughly linear in its text up to `size`, else both times in words.

    Processor time of this thread, from a few characters on, so that an exponential function is noticed early; then doubling.
    Times below 0.1 s are not judged: no quadratic function of a megabyte is that quick. What looks bad is measured again.
    """
    for length in range(4, 64, 4):
        text = grow(length)
        if _time(function, text) > _SLOW_S and (spent := _time(function, text)) > _SLOW_S:
            return f"{spent:.2f} s for {length} characters"
    before, length = 0.0, 64
    while length <= size:
        text = grow(length)
        spent = _time(function, text)
        if spent > _SLOW_S and spent > _RATIO * before:
            half = grow(length // 2)
            pairs = [(_time(function, half), _time(function, text)) for _ in range(_ATTEMPTS)]
            before, spent = min(pairs, key=lambda pair: pair[1] / max(pair[0], 1e-9))
            if spent > _SLOW_S and spent > _RATIO * before:
                return f"{before:.2f} s for {length // 2:,} characters, {spent:.2f} s for {length:,}"
        if spent > _FAR_S:
            return ""
        before = spent
        length *= 2
    return ""


def _time(function: Callable[[str], object], text: str) -> float:
    """Without the garbage collector, whose time grows with what else the process holds."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.thread_time()
        function(text)
        return time.thread_time() - start
    finally:
        if collecting:
            gc.enable()

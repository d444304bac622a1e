"""Numbers and foreign text as a reader should see them."""

from __future__ import annotations

import math
import shlex
import unicodedata

DASH = "\u2013"
# for what there is not
THIN = "\u202f"
# narrow no-break space: between a number and its unit
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# control, format (bidi marks among them), surrogate, private, unassigned, line and paragraph separators
LONGEST = 400
# characters of a foreign text that a page shows


def visible(text: str, longest: int = LONGEST) -> str:
    """`text` with every character that could act instead of being read written as an escape, and cut where it is long.

    Control characters, direction marks, lone surrogates and the like become \\x1b, \\u202e, \\U000e0001. Linear, total.
    """
    cut = text if len(text) <= longest else text[:longest] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(_escape(c) if unicodedata.category(c) in _HIDDEN else c for c in cut)


def _escape(c: str) -> str:
    code = ord(c)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def shell_word(text: str) -> str:
    """`text` as one word of a command line; what cannot be seen becomes $'...' escapes (bash, zsh, ksh)."""
    if visible(text, len(text)) == text:
        return shlex.quote(text)
    out = []
    for c in text:
        if c in "\\'":
            out.append("\\" + c)
        elif c == "\n":
            out.append("\\n")
        elif c == "\t":
            out.append("\\t")
        else:
            out.append(_escape(c) if unicodedata.category(c) in _HIDDEN else c)
    return "$'" + "".join(out) + "'"


def percent(share: float | None) -> str:
    """0.1234 -> "12.3 %"; two digits below 1 %; never "0 %" or "100 %" for what is neither; None -> a dash."""
    if share is None:
        return DASH
    value = 100.0 * share
    if value in (0.0, 100.0):
        return f"{value:.0f}{THIN}%"
    distance = min(value, 100.0 - value)
    if distance < 1e-6:
        return (">99.999999" if value > 50 else "<0.000001") + f"{THIN}%"
    # two digits of what is small: of the share itself, or one of what is missing to the whole
    small = -math.floor(math.log10(distance * (1 + 1e-9)))
    digits = 1 if distance >= 1 or (value > 50 and distance >= 0.05) else small + (value < 50)
    return f"{value:.{min(digits, 6)}f}{THIN}%"


def round_percent(share: float) -> str:
    """0.95 -> "95 %": a level or an edge that somebody chose, without digits that say nothing."""
    return f"{100 * share:.6g}{THIN}%"


def number(value: float | None) -> str:
    """12345 -> "12,345"; None -> a dash."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def plain(value: float) -> str:
    """A parameter as a person writes it: 0.8, 1, 1e-05."""
    return f"{value:.12g}"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """ "1 problem", "1,000 problems"."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def short(k: float) -> str:
    """1 -> "1", 1000 -> "1k", 2500 -> "2.5k", 1000000 -> "1M": an axis label."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if k >= unit:
            return f"{k / unit:g}{letter}"
    return f"{k:g}"


def listed(items: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1] if items else ""

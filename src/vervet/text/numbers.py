"""Numbers as people and models write them, read exactly."""

from __future__ import annotations

import re
from fractions import Fraction

_LONGEST = 200
# characters of a number: what is longer is none, and cannot cost time
_LARGEST_EXPONENT = 300
_DECIMAL = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:[eE]([+-]?\d{1,4}))?|\.\d+(?:[eE]([+-]?\d{1,4}))?"
_NUMBER = re.compile(rf"([+-]?)[$€£]?\s?([+-]?)({_DECIMAL})(?:\s?/\s?({_DECIMAL}))?\s?\\?%?", re.ASCII)
# a sign, perhaps a currency, digits with commas, perhaps a decimal part and a denominator; linear: nothing can be
# matched in two ways
_IN_TEXT = re.compile(r"-?[$€£]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?: ?/ ?\d+)?", re.ASCII)


def parse_number(text: str) -> Fraction | None:
    """The number that a whole text is, exactly; None where it is none. Total, linear, bounded.

    Signs, thousands commas, decimals, exponents, a/b, and a currency sign before or a per cent sign after.
    """
    text = text.strip().replace("\u2212", "-").replace("\\$", "$")
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1]
    if len(text) > _LONGEST:
        return None
    found = _NUMBER.fullmatch(text)
    if found is None or (found[1] and found[2]):
        return None
    exponents = [int(e) for e in (found[4], found[5], found[7], found[8]) if e]
    if any(abs(e) > _LARGEST_EXPONENT for e in exponents):
        return None
    value = Fraction(found[3].replace(",", ""))
    if found[6]:
        below = Fraction(found[6].replace(",", ""))
        if below == 0:
            return None
        value /= below
    return -value if "-" in {found[1], found[2]} else value


def numbers_in(text: str) -> list[str]:
    """Every number in a text, without currency signs and thousands commas; what is too long to be one is left out."""
    found = (match[0] for match in _IN_TEXT.finditer(text.replace("\u2212", "-")))
    cleaned = (re.sub(r"[$€£, ]", "", number) for number in found if len(number) <= _LONGEST)
    return [number for number in cleaned if number not in {"", "-"}]

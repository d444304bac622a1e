"""A plain spelling for mathematical answers, after the idea of Lewkowycz et al. 2022 (Minerva, arXiv:2206.14858, appendix D).

Two answers with the same spelling mean the same; two with different spellings may still be equal, which a verifier decides.
Strings in, strings out: nothing is evaluated. Total, and linear because what is long is left alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vervet.text.numbers import parse_number

LONGEST = 1000
"""Characters of an answer that are normalised; longer ones only lose superfluous blanks."""
_PASSES = 8
_ROW = "\x1e"

_UNICODE = str.maketrans(
    {
        "\u2212": "-",
        "\u2013": "-",
        "\u00d7": "\\times ",
        "\u00b7": "\\cdot ",
        "\u22c5": "\\cdot ",
        "\u00f7": "/",
        "\u03c0": "\\pi ",
        "\u221e": "\\infty ",
        "\u221a": "\\sqrt ",
        "\u2264": "\\le ",
        "\u2265": "\\ge ",
        "\u2260": "\\ne ",
        "\u222a": "\\cup ",
        "\u00b0": "^\\circ ",
        "\u00bd": "\\frac{1}{2}",
        "\u00b2": "^2",
        "\u00b3": "^3",
        "\u00a0": " ",
        "\u2009": " ",
    }
)
_SAME = (
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|limits)(?![a-zA-Z])\s?"), ""),
    (re.compile(r"\\leq(?:slant)?(?![a-zA-Z])"), r"\\le"),
    (re.compile(r"\\geq(?:slant)?(?![a-zA-Z])"), r"\\ge"),
    (re.compile(r"\\neq(?![a-zA-Z])"), r"\\ne"),
    (re.compile(r"\\times(?![a-zA-Z])"), r"\\cdot"),
    (re.compile(r"\\(?:mathrm|mathbf|mathit|mathsf|textbf|textit|textrm|mbox|textnormal)(?=\s?\{)"), r"\\text"),
    # round or square brackets around a matrix; vmatrix is a determinant
    (re.compile(r"\\(begin|end)\{[bB]?matrix\}"), r"\\\1{pmatrix}"),
    (re.compile(r"\\langle(?![a-zA-Z])\s?"), "("),
    (re.compile(r"\s?\\rangle(?![a-zA-Z])"), ")"),
    # \! between digits is a thousands separator: 1,\!234
    (re.compile(r"(?<=\d),?\\!(?=\d{3})"), ""),
    (re.compile(r"(?<=\d)\{,\}(?=\d{3})"), ""),
    (re.compile(r"\\[!,;:>]|\\q?quad(?![a-zA-Z])|~|\\ "), " "),
    (re.compile(r"\^\s?(?:\{\s?\\(?:circ|degree)\s?\}|\\circ(?![a-zA-Z]))|\\degree(?:s)?(?![a-zA-Z])"), " "),
    (re.compile(r"\\\$|[$€£]"), ""),
    (re.compile(r"\\(?:\(|\)|\[|\])"), ""),
    (re.compile(r"\\%|%"), r"\\%"),
    # arguments without braces: \frac12, \frac1{72}, \sqrt2
    (re.compile(r"\\frac\s?([0-9a-zA-Z])\s?([0-9a-zA-Z])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s?([0-9a-zA-Z])\s?(?=\{)"), r"\\frac{\1}"),
    (re.compile(r"\\frac(\{[^{}]*\})\s?([0-9a-zA-Z])"), r"\\frac\1{\2}"),
    (re.compile(r"\\sqrt\s?([0-9a-zA-Z])"), r"\\sqrt{\1}"),
    (re.compile(r"([\^_])\s?\{\s?(\w)\s?\}"), r"\1\2"),
)
_LONE = re.compile(r"\\text\{([^{}\\$]*)\}")
_WORDS = re.compile(r"[a-zA-Z][a-zA-Z' -]*[a-zA-Z]")
_UNIT_TEXT = r"[a-zA-Z][a-zA-Z. /]*(?:\^?\{?[23]\}?)?"
_UNIT = re.compile(
    rf"(?P<value>.*[\d)}}\]πe!])\s*(?:\\text\{{\s*(?P<text>{_UNIT_TEXT})\s*\}}\s*(?P<power>(?:\^\{{?[23]\}}?)?)"
    rf"|(?P<percent>\\%)|(?<=[\d)}}\]])\s+(?P<word>[a-zA-Z]{{2,}}(?:[ /][a-zA-Z]+)*))",
    re.DOTALL,
)
_NOT_UNITS = {"or", "and", "to", "mod", "if", "is", "for", "where", "base", "only", "no"}
_LEAST_WORD = 4
# letters of a bare word that is a unit without being known as one: shorter ones may be products of variables
_FUNCTIONS = {
    "sqrt",
    "sinh",
    "cosh",
    "tanh",
    "theta",
    "alpha",
    "beta",
    "gamma",
    "delta",
    "lambda",
    "infinity",
    "frac",
    "cdot",
}
_GENERIC = {"unit", "square unit", "cubic unit", "sq unit", "units squared", "cu unit", "unit squared", "unit cubed"}
_ALIASES = {
    "cm": "centimeter", "mm": "millimeter", "km": "kilometer", "m": "meter", "in": "inch", "inche": "inch", "ft": "foot",
    "feet": "foot", "yd": "yard", "mi": "mile", "kg": "kilogram", "g": "gram", "lb": "pound", "oz": "ounce", "s": "second",
    "sec": "second", "min": "minute", "h": "hour", "hr": "hour", "metre": "meter", "centimetre": "centimeter",
    "kilometre": "kilometer", "mph": "mile per hour", "miles/hour": "mile per hour", "percent": "\\%", "per cent": "\\%",
    "buck": "dollar", "usd": "dollar", "¢": "cent", "deg": "degree",
}  # fmt: skip
_LEFT = re.compile(
    r"\s*(?:[a-zA-Z](?:_\w|_\{\w+\})?|\\[a-zA-Z]+|[a-zA-Z]\([a-zA-Z](?:,[a-zA-Z])*\))\s*(?:=|\\in(?![a-zA-Z]))\s*"
)


@dataclass(frozen=True, slots=True)
class Spelling:
    """An answer taken apart."""

    value: str
    # the plain spelling, without unit and without "x ="
    unit: str
    # the unit, "" where there is none or none that says anything ("units")
    left: str
    # what stood before the equals sign, "x"; "" where nothing did
    words: bool = False
    # the value is words, in lower case, and no product of variables


def spell(answer: str) -> Spelling:
    """The plain spelling of an answer. Equal spellings are equal answers, if their units and left sides do not differ."""
    text = " ".join(answer.split())
    if len(text) > LONGEST:
        return Spelling(text, "", "")
    for _ in range(_PASSES):
        plain = _pass(text)
        if plain == text:
            break
        text = plain
    text, left = _without_left(text)
    text, unit = _without_unit(text)
    value, words = _close(text)
    return Spelling(value, unit, left, words)


def canonical(answer: str) -> str:
    """A key under which equal answers meet: cheap, total, idempotent. Units and "x =" are dropped."""
    text = " ".join(answer.split())
    key = text
    for _ in range(_PASSES):
        if len(key) > LONGEST:
            break
        following = " ".join(spell(key).value.split())
        if following == key:
            return key
        key = following
    return text


def _pass(text: str) -> str:
    # a row's end in a matrix is two backslashes, not a backslash and a space
    text = text.translate(_UNICODE).replace("\\\\", _ROW)
    for pattern, replacement in _SAME:
        text = pattern.sub(replacement, text)
    return " ".join(text.replace(_ROW, "\\\\").split()).rstrip(".").strip()


def _without_left(text: str) -> tuple[str, str]:
    """("5", "x") for "x = 5"; unchanged where there is more than one relation or the left side is an expression."""
    match = _LEFT.match(text)
    if match and match.end() < len(text) and not re.search(r"[=<>]|\\(?:le|ge|ne|in)(?![a-zA-Z])", text[match.end() :]):
        return text[match.end() :], re.sub(r"[\s=]|\\in(?![a-zA-Z])", "", match[0])
    return text, ""


def _without_unit(text: str) -> tuple[str, str]:
    match = _UNIT.fullmatch(text)
    if match is None:
        return text, ""
    if match["percent"]:
        return match["value"].strip(), "\\%"
    words = (match["text"] or match["word"] or "").strip()
    first = words.lower().partition(" ")[0]
    if set(words.lower().split()) & _NOT_UNITS or not first:
        return text, ""
    if not match["text"] and first not in _ALIASES and (len(first) < _LEAST_WORD or first in _FUNCTIONS):
        return text, ""
    return match["value"].strip(), unit_name(words + (match["power"] or ""))


def unit_name(words: str) -> str:
    """One name a unit: "sq cm", "square centimeters" and "cm^2" are one. Empty for units that say nothing."""
    name = " ".join(words.lower().replace(".", " ").split())
    power = re.search(r"\^?\{?([23])\}?$", name)
    if power:
        name = ("square " if power[1] == "2" else "cubic ") + name[: power.start()].strip()
    name = re.sub(r"^(?:sq|squared) ", "square ", name)
    name = re.sub(r"^cu ", "cubic ", name)
    name = re.sub(r"^(.*) (squared|cubed)$", lambda m: {"squared": "square ", "cubed": "cubic "}[m[2]] + m[1], name)
    head, _, tail = name.rpartition(" ")
    tail = tail[:-1] if len(tail) > 3 and tail.endswith("s") and not tail.endswith("ss") else tail
    tail = _ALIASES.get(tail, tail)
    name = f"{head} {tail}".strip()
    name = _ALIASES.get(name, name)
    return "" if name in _GENERIC else name


def _close(text: str) -> tuple[str, bool]:
    """Blanks out, numbers in one spelling; words in lower case, and whether it is words."""
    lone = _LONE.fullmatch(text)
    if lone:
        text = lone[1].strip()
        if not re.search(r"[\d=]", text) and len(text) > 1:
            inside = text.strip("()")
            return (inside, False) if len(inside) == 1 else (inside.lower(), True)
    text = re.sub(r"^\((?:\\text\{)?([A-Za-z])\}?\)$", r"\1", text)
    if _WORDS.fullmatch(text) and len(text) >= _LEAST_WORD:
        return text.lower(), True
    dense = re.sub(r"\\([a-zA-Z]+) (?=[a-zA-Z])", "\\\\\\1\0", text).replace(" ", "").replace("\0", " ")
    dense = re.sub(r"^\{(.*)\}$", lambda m: m[1] if not re.search(r"[{}]", m[1]) and "," not in m[1] else m[0], dense)
    value = parse_number(dense) if re.fullmatch(r"[-+]?[\d,]*\.?\d*", dense) else None
    if value is not None:
        return (str(value.numerator) if value.denominator == 1 else _decimal(dense)), False
    simple = re.fullmatch(r"(-?)(\d+)/(\d+)", dense)
    return (f"{simple[1]}\\frac{{{simple[2]}}}{{{simple[3]}}}" if simple else dense), False


def _decimal(text: str) -> str:
    """0.50, .5 and +0.5 are 0.5; commas are gone."""
    sign = "-" if text.startswith("-") else ""
    whole, _, part = text.lstrip("+-").replace(",", "").partition(".")
    return f"{sign}{whole.lstrip('0') or '0'}.{part.rstrip('0')}"

"""Foreign text as markup: every character can be seen, none can act, long texts come in parts, code has colours.

What the page gets is `Markup`: HTML-escaped here, with `<i class=esc>` around the escape of each character that could act
instead of being read (control and direction characters, lone surrogates) and `<span class=t-...>` around tokens of code.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vervet.reports.format import visible

PART = 60_000
# characters of a text on one page: 5 MB are 84 parts
HIGHLIGHTED = 30_000
# characters of code that get colours; a lexer's regular expressions meet hostile text
_LINE = 5_000
# and no line of code may be longer for that
_FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*$", re.MULTILINE)
LEXERS = {"python_tests": "python", "stdio_tests": "python", "lean": "lean4", "rocq": "coq", "swebench": "diff"}
# verifier -> language of its answers


@dataclass(frozen=True, slots=True)
class Shown:
    """One part of a text, ready for a page."""

    body: Any
    # Markup
    part: int
    # from 1
    parts: int
    length: int
    # characters of the whole text


def show(text: str, part: int = 1, language: str = "", *, fences: bool = False) -> Shown:
    """One part of `text`. `language` colours all of it; `fences` the code blocks that it declares."""
    parts = max(1, -(-len(text) // PART))
    part = min(max(part, 1), parts)
    piece = text[(part - 1) * PART : part * PART]
    body = markup("".join(_fenced(piece) if fences else _coloured(piece, language)))
    return Shown(body, part, parts, len(text))


def markup(text: str) -> Any:
    """Mark as HTML what was escaped in this module."""
    from markupsafe import Markup  # noqa: PLC0415  an extra

    return Markup(text)  # noqa: S704  every caller has escaped


def escaped(text: str) -> str:
    """HTML of a text in which every character can be seen; line ends and tabs stay."""
    return "\n".join(_line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    if line.isprintable():
        return html.escape(line)
    return "".join(_piece(c) for c in line)


def _piece(c: str) -> str:
    if c == "\t" or c.isprintable() or unicodedata.category(c) == "Zs":
        return html.escape(c)
    return f'<i class="esc">{html.escape(visible(c))}</i>'


def glimpse(text: str, longest: int = 90) -> str:
    """The first and the last line that say something: answers that begin alike often end differently."""
    first = next((stripped for line in text[:2000].split("\n") if (stripped := line.strip())), "")
    last = next((stripped for line in reversed(text[-2000:].split("\n")) if (stripped := line.strip())), "")
    if len(text) <= longest or "\n" not in text.strip():
        return visible(" ".join(text.split()) if len(text) <= longest else first, longest)
    return f"{visible(first, longest // 2)} … {visible(last, longest // 2)}"


# --------------------------------------------------------------------------------------------------------- colours


def _fenced(text: str) -> Iterator[str]:
    """Prose as it is, fenced blocks with the colours of the language they name."""
    opened: re.Match[str] | None = None
    at = 0
    for match in _FENCE.finditer(text):
        if opened is None:
            yield escaped(text[at : match.end()])
            opened, at = match, match.end()
        elif match[2][0] == opened[2][0] and len(match[2]) >= len(opened[2]) and not match[3]:
            yield from _coloured(text[at : match.start()], opened[3] or "python")
            yield escaped(match[0])
            opened, at = None, match.end()
    if opened is not None:
        yield from _coloured(text[at:], opened[3] or "python")
    else:
        yield escaped(text[at:])


def _coloured(text: str, language: str) -> Iterator[str]:
    lexer = _lexer(language) if len(text) <= HIGHLIGHTED else None
    if lexer is None or any(len(line) > _LINE for line in text.split("\n")):
        yield escaped(text)
        return
    # the raw variant: the other one would drop and change characters
    for _, kind, piece in lexer.get_tokens_unprocessed(text):
        name = _class(kind)
        yield f'<span class="t-{name}">{escaped(piece)}</span>' if name and piece.strip() else escaped(piece)


def _lexer(language: str) -> Any:
    from pygments.lexers import get_lexer_by_name  # noqa: PLC0415  an extra
    from pygments.util import ClassNotFound  # noqa: PLC0415

    try:
        return get_lexer_by_name(language) if language else None
    except ClassNotFound:
        return None


_KINDS = (
    ("Comment", "c"),
    ("Literal.String", "s"),
    ("Literal.Number", "n"),
    ("Keyword", "k"),
    ("Operator.Word", "k"),
    ("Name.Function", "f"),
    ("Name.Class", "f"),
    ("Name.Builtin", "b"),
    ("Name.Decorator", "d"),
    ("Generic.Deleted", "x"),
    ("Generic.Inserted", "i"),
)


def _class(kind: Any) -> str:
    """A few classes are enough to read code; each has a colour in both themes."""
    name = ".".join(kind)
    return next((short for prefix, short in _KINDS if name.startswith(prefix)), "")

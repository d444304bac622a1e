"""Final answers in a model's text: after `####`, in `\\boxed{...}`, after "the answer is". Linear and total."""

from __future__ import annotations

import re

_BOXES = ("\\boxed", "\\fbox")
_LONGEST_LINE = 2000
# characters of a line that are looked at: answers are short, hostile lines are not
_PHRASE = re.compile(r"(?:final answer|answer|result) ?(?:is|:|=)[ \t]*:?", re.IGNORECASE)


def boxed(text: str) -> str | None:
    """What the last `\\boxed{...}` holds, braces balanced; None where there is none that is closed.

    `\\boxed 5` holds the next word. An escaped brace counts for nothing.
    """
    spot = max(text.rfind(name) for name in _BOXES)
    if spot < 0:
        return None
    name = next(n for n in _BOXES if text.startswith(n, spot))
    rest = text[spot + len(name) : spot + len(name) + _LONGEST_LINE].lstrip()
    if not rest.startswith("{"):
        word = re.match(r"[^\s$]+", rest)
        return word[0] if word else None
    return _braced(rest)


def _braced(text: str) -> str | None:
    depth, i = 0, 0
    while i < len(text):
        if text[i] == "\\":
            i += 2
            continue
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return text[1:i].strip() or None
        i += 1
    return None


def after(text: str, mark: str) -> str | None:
    """The rest of the line after the last `mark`, without blanks around it; None where there is no mark or nothing follows."""
    spot = text.rfind(mark)
    if spot < 0:
        return None
    return _line(text, spot + len(mark)) or None


def after_phrase(text: str) -> str | None:
    """What follows the last "answer is", "final answer:" and the like in its line; None where there is none."""
    found = None
    for match in _PHRASE.finditer(text):
        found = match
    return (_line(text, found.end()) or None) if found else None


def _line(text: str, start: int) -> str:
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    return text[start : min(end, start + _LONGEST_LINE)].strip()

"""Code fences in a model's text: blocks between lines of three or more backticks or tildes.

The reading follows CommonMark's fenced code blocks (section 4.5), except that a fence may be indented by any amount:
answers sit inside lists. As there, a block that is never closed runs to the end of the text: the text was cut off, or a
stop string took the closing fence. One pass over the lines: linear, total, parses no code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# `[ \t]*` and the run are possessive in effect: the classes do not overlap, so that matching a line is linear
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})([^\r\n]*)")
_BREAK = re.compile(r"\r\n|\n|\r")
# not str.splitlines, which also breaks at form feeds and U+2028: they may stand inside Python strings


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    code: str
    # the lines between the fences, without the fence's own indentation; ends with a newline unless empty
    info: str
    # what follows the opening fence, "python"
    closed: bool
    # whether a closing fence was found


def lines_of(text: str) -> list[str]:
    """The text's lines without their ends: broken at \\n, \\r\\n and \\r only."""
    return _BREAK.split(text)


def blocks(text: str) -> list[Block]:
    """All fenced blocks in order; empty where there is no fence. A fence inside another kind of fence is content."""
    found: list[Block] = []
    opened: tuple[int, str, str] | None = None  # indentation, fence, info
    content: list[str] = []
    for line in lines_of(text):
        match = _FENCE.match(line)
        if opened is None:
            # an info string with backticks is inline code that happens to start a line: ```x```
            if match and not (match[2][0] == "`" and "`" in match[3]):
                opened, content = (len(match[1]), match[2], match[3].strip()), []
        elif match and not match[3].strip() and match[2][0] == opened[1][0] and len(match[2]) >= len(opened[1]):
            found.append(Block(_joined(content, opened[0]), opened[2], True))
            opened = None
        else:
            content.append(line)
    if opened is not None:
        found.append(Block(_unclosed(_joined(content, opened[0]), opened[1]), opened[2], False))
    return found


def _joined(lines: list[str], indent: int) -> str:
    """Content lines without up to `indent` leading blanks, each ended by a newline."""
    return "".join(line[min(indent, len(line) - len(line.lstrip(" \t"))) :] + "\n" for line in lines)


def _unclosed(code: str, fence: str) -> str:
    """Code of a block without a closing line: small models close it at the end of the last line of code."""
    body = code.rstrip()
    return body.removesuffix(fence) + "\n" if body.endswith(fence) else code

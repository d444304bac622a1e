"""Unified diffs in texts: finding one, and a key under which equal ones meet.

A hunk's lines begin with a blank, `+`, `-` or `\\`, so that no line of a diff begins with a code fence, whatever the files are
about; a line of a diff *of* a Markdown file may well be a blank and then a fence. Hence fences count here by their
indentation, other than in `vervet.text.fences`. One pass over the lines: linear, total.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([^\s`]*)[ \t]*\r?\Z")
_TAGS = ("patch", "diff")
# how SWE-bench's own prompts ask for a diff
_CONTEXT = re.compile(r"(@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@).*")


def find(text: str) -> str | None:
    """The diff in a text, its lines unchanged; None where there is none.

    A text that begins with a diff is one, to its end or the first fence at the margin. Else the last fenced block with a
    diff, complete ones first, or the last <patch> element; else whatever follows the first line that begins a diff.
    """
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return None
    if begins(lines, first):
        return _raw(lines, first)
    for candidate in (*_fenced(lines), *_tagged(text)):
        start = _start(candidate)
        if start is not None:
            return "\n".join(candidate[start:])
    start = _start(lines)
    return None if start is None else _raw(lines, start)


def begins(lines: Sequence[str], at: int) -> bool:
    """Whether a diff's header stands on line `at`."""
    line = lines[at]
    if line.startswith("diff --git "):
        return True
    return line.startswith("--- ") and at + 1 < len(lines) and lines[at + 1].startswith("+++ ")


def canonical(diff: str) -> str:
    """Without blob names, times, and what a hunk's head says beyond its line numbers."""
    kept = []
    for line in diff.split("\n"):
        if line.startswith("index "):
            continue
        if line.startswith(("--- ", "+++ ")):
            line = line.partition("\t")[0].rstrip()  # noqa: PLW2901
        kept.append(_CONTEXT.sub(r"\1", line) if line.startswith("@@ ") else line)
    return "\n".join(kept).strip("\n")


def _start(lines: Sequence[str]) -> int | None:
    return next((i for i in range(len(lines)) if begins(lines, i)), None)


def _raw(lines: Sequence[str], start: int) -> str:
    end = next((i for i in range(start, len(lines)) if lines[i].startswith(("```", "~~~"))), None)
    if end is None:
        return "\n".join(lines[start:])
    return "\n".join([*lines[start:end], ""])


def _fenced(lines: Sequence[str]) -> list[list[str]]:
    """Lines of fenced blocks, best first: the last complete one, the ones before it, then one that is not closed."""
    found: list[list[str]] = []
    opened: tuple[int, str] | None = None
    block: list[str] = []
    for line in lines:
        match = _FENCE.match(line)
        if opened is None:
            if match:
                opened, block = (len(match[1]), match[2]), []
        elif match and not match[3] and match[2].startswith(opened[1]) and len(match[1]) <= opened[0]:
            found.append([*block, ""])
            opened = None
        else:
            indent = min(opened[0], len(line) - len(line.lstrip(" \t")))
            block.append(line[indent:])
    found.reverse()
    return [*found, block] if opened else found


def _tagged(text: str) -> list[list[str]]:
    """Lines between the last <patch> or <diff> and its end."""
    found = []
    for tag in _TAGS:
        end = text.rfind(f"</{tag}>")
        start = text.rfind(f"<{tag}>", 0, end) if end >= 0 else -1
        if start >= 0:
            inner = text[start + len(tag) + 2 : end]
            found.append((inner if inner.endswith("\n") else inner + "\n").split("\n"))
    return found

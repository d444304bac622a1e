"""Programs in answers: which language a piece of code is in, and code with its language as one text."""

from __future__ import annotations

import re

from vervet.text.fences import blocks

ALIASES = {
    **dict.fromkeys(("py", "python", "python3", "pypy", "pypy3"), "python"),
    **dict.fromkeys(("cpp", "c++", "cc", "cxx", "c++17", "c++14", "c++11", "g++"), "cpp"),
    "java": "java",
}
_LOOKED_AT = 20_000


def language_of(info: str) -> str | None:
    """The language that a fence's label names; None where it names none that is known."""
    word = re.split(r"[\s{.]+", info.strip().lower().lstrip("{."))[0]
    return ALIASES.get(word)


def guess(code: str) -> str | None:
    """The language of code without a label, where it shows plainly."""
    head = code[:_LOOKED_AT]
    if re.search(r"^[ \t]*#[ \t]*include[ \t]*[<\"]", head, re.MULTILINE):
        return "cpp"
    if re.search(r"^[ \t]*(?:import java\.|public (?:final )?class )", head, re.MULTILINE):
        return "java"
    if re.search(r"^(?:import \w|from [\w.]+ import|def \w|for \w+ in |while |print ?\()", head, re.MULTILINE):
        return "python"
    return None


def fenced(language: str, code: str) -> str:
    """Code and its language as one text, which `read` takes apart again."""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"


def read(answer: str, default: str) -> tuple[str, str]:
    """(language, code): a fenced block says its language, other code is looked at, the rest is in the default's."""
    found = blocks(answer) if answer.lstrip().startswith(("```", "~~~")) else []
    code, info = (found[0].code, found[0].info) if found else (answer, "")
    return language_of(info) or guess(code) or default, code

"""What can stand before any task's prompts: a system prompt, and worked examples.

    -T system="You are a careful mathematician."
    -T examples=shots.jsonl        one {"prompt": ..., "answer": ...} a line

A chat gets the system prompt as its first message and each example as a turn of user and assistant; raw text to be continued
gets the examples before it, a blank line after each. A task with options of these names keeps them for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from vervet import plugins
from vervet.errors import BadData, BadOption
from vervet.records import Message, Prompt, fingerprint

NAMES = ("system", "examples")


@dataclass(frozen=True, slots=True)
class Dress:
    """What goes before every prompt of a run."""

    system: str = ""
    examples: tuple[tuple[str, str], ...] = ()
    # (prompt, answer)

    def on(self, prompt: Prompt) -> Prompt:
        """The prompt with everything before it. Raises: BadOption for a system prompt before raw text."""
        if isinstance(prompt, str):
            if self.system:
                raise BadOption("-T system needs chat prompts: add --prompt-form chat, or put it into the prompts")
            return "".join(f"{asked}{answer}\n\n" for asked, answer in self.examples) + prompt
        head = (Message("system", self.system),) if self.system else ()
        own = tuple(m for m in prompt if m.role == "system")
        turns = tuple(
            m for asked, answer in self.examples for m in (Message("user", asked), Message("assistant", answer))
        )
        return (*head, *own, *turns, *(m for m in prompt if m.role != "system"))

    def config(self) -> dict[str, Any]:
        """What of it can change a text: an entry of the config's task options each."""
        said: dict[str, Any] = {"system": self.system} if self.system else {}
        return said | ({"examples": fingerprint(self.examples)} if self.examples else {})


def take(target: type[Any], options: dict[str, Any]) -> Dress:
    """Take `system` and `examples` out of the options of a task that does not know them. Raises: BadOption, BadData."""
    known = plugins.parameters(target)
    said = {name: options.pop(name) for name in NAMES if name in options and name not in known}
    system = said.get("system", "")
    if not isinstance(system, str):
        raise BadOption("-T system takes a text")
    return Dress(system, _examples(Path(said["examples"])) if "examples" in said else ())


def _examples(path: Path) -> tuple[tuple[str, str], ...]:
    try:
        lines: Sequence[bytes] = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadOption(f"-T examples={path} cannot be read: {error.strerror}") from error
    found = tuple(_example(path, number, line) for number, line in enumerate(lines, 1) if line.strip())
    if not found:
        raise BadData(f'{path} holds no examples: one {{"prompt": ..., "answer": ...}} a line')
    return found


def _example(path: Path, number: int, line: bytes) -> tuple[str, str]:
    try:
        row: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BadData(f"{path} line {number} is not JSON: {error}") from error
    pair = (row.get("prompt"), row.get("answer")) if isinstance(row, Mapping) else (None, None)
    if not (isinstance(pair[0], str) and isinstance(pair[1], str)):
        raise BadData(f'{path} line {number}: an example is {{"prompt": text, "answer": text}}')
    return pair[0], pair[1]

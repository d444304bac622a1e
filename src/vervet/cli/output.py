"""What the commands print with: results on stdout, everything else on stderr, nothing that a text could turn into a control."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import orjson
import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more about what is being done.")]


def say(text: str) -> None:
    """A line of result."""
    sys.stdout.write(f"{text}\n")


def warn(text: str) -> None:
    """A line beside the result."""
    sys.stderr.write(f"{text}\n")


def document(value: Mapping[str, Any]) -> None:
    """The one JSON document of a --json command."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode() + "\n")


def printable(text: str) -> str:
    """Text from a model or a file, safe for a terminal: control and direction characters are shown as escapes."""
    return "".join(c if c in "\n\t" or not _is_control(c) else _escape(c) for c in text)


def _is_control(c: str) -> bool:
    return unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn")


def _escape(c: str) -> str:
    code = ord(c)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Aligned columns, the first `left` to the left and the rest to the right."""
    cells = [list(map(str, header)), *([str(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]
    return "\n".join(line.rstrip() for line in lines)


def share(value: float | None, digits: int = 1) -> str:
    """0.1234 -> "12.3%"; None -> "-"."""
    return "-" if value is None else f"{100 * value:.{digits}f}%"

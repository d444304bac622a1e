"""The process that parses answers and never executes one.

Compiling in a process that lives on costs a fifth of compiling in a fresh fork, whose every page is first touched
then. It has a uid of its own and no power; it hands code to candidates through a pipe, each of which reads exactly
one answer. A source that crashes it costs its own answer only: the container is replaced.
"""

from __future__ import annotations

import json
import marshal
import socket
from types import CodeType

from vervet.sandbox.inside import wire

ANSWER = "<answer>"
_MAX_LOG = 2000


def main(driver: socket.socket, candidates: int) -> None:
    """Compile until the driver is gone: one request in, one message out."""
    while True:
        try:
            request = json.loads(wire.receive_whole(driver))
            wire.write(candidates, message(request["forms"], request["entry"]))
        except wire.Closed:
            return


def message(forms: list[list[str]], entry: str) -> bytes:
    """("code", entry point, codes, sources) of the first of `forms` that compiles, or (what failed, log)."""
    first: Exception | None = None
    for sources in forms:
        try:
            return marshal.dumps(("code", entry, [_compiled(s, i) for i, s in enumerate(sources)], sources))
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
            first = first or error
    log = f"{type(first).__name__}: {first.msg if isinstance(first, SyntaxError) else first}"[:_MAX_LOG]
    if isinstance(first, SyntaxError) and first.lineno:
        log = f"line {first.lineno}: {log}"
    return marshal.dumps(("memory" if isinstance(first, MemoryError) else "syntax", log))


def _compiled(source: str, index: int) -> CodeType:
    return compile(source, f"{ANSWER}{index or ''}", "exec", dont_inherit=True)

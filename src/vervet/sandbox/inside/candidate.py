"""The process that holds one answer: load it, then answer calls until killed.

It reads its answer, already compiled, from a pipe that only it reads at that time, so that no other process that could
pass it on ever holds it. Nothing that this process says is believed beyond "the function returned this plain value".
"""

from __future__ import annotations

import json
import marshal
import os
import sys
from typing import Any

from vervet.sandbox.inside import codec, wire
from vervet.sandbox.inside.checks import FunctionTests, run_tests
from vervet.sandbox.inside.compiler import ANSWER

_IMMUTABLE = frozenset({int, float, str, bool, bytes, complex, type(None)})
_MAX_LOG = 2000
_MODULE = type(sys)


def main(calls: int, code: int) -> None:
    """Load the answer that comes through `code` and serve calls on `calls`. Returns when the tester is gone."""
    reader = wire.Reader(calls, wire.MAX_FRAME)
    try:
        sources, function = load(code)
    except NotLoaded as error:
        wire.write(calls, codec.dumps(error.message))
        return
    wire.write(calls, b'["ready"]')
    while True:
        try:
            message = reader.next()
        except wire.Closed:
            return
        beside = message[:1] == b"S"
        wire.write(calls, same_process(message[1:], function) if beside else call(message, function, sources))


class NotLoaded(Exception):
    """The answer could not be compiled or executed, or has no entry point."""

    def __init__(self, *message: Any) -> None:
        super().__init__(*message)
        self.message = message


def load(pipe: int) -> tuple[list[str], Any]:
    """Read and execute the answer. Returns its sources and its entry point. Raises: NotLoaded."""
    try:
        message = marshal.loads(wire.read(pipe))  # noqa: S302  from the compiler; nothing here needs protection
    except wire.Closed:
        raise NotLoaded("uncompiled", "") from None
    os.close(pipe)
    if message[0] != "code":
        raise NotLoaded(*message)
    _, entry, codes, sources = message
    module = _MODULE("answer")
    sys.modules["answer"] = module
    try:
        for code in codes:
            exec(code, module.__dict__)  # noqa: S102  that is what this process is for
    except BaseException as error:
        raise NotLoaded(*describe(error, sources)) from None
    function = module.__dict__.get(entry)
    if not callable(function):
        raise NotLoaded("missing", f"{entry} is not defined" if function is None else f"{entry} cannot be called")
    return sources, function


def call(message: bytes, function: Any, sources: list[str]) -> bytes:
    """Run one call and encode what came of it, with the arguments where the call changed them."""
    token, args, kwargs = marshal.loads(message[1:]) if message[:1] == b"M" else codec.loads(message[1:])  # noqa: S302
    before = _snapshot(args, kwargs)
    try:
        result = function(*args, **kwargs)
        reply = [token, "r", codec.encode(result)]
    except BaseException as error:
        reply = [token, *describe(error, sources)]
    if before is not None:
        try:
            changed = _snapshot(args, kwargs) != before
        except ValueError:  # what is in there now is not plain data
            changed = True
        if changed:
            reply.append(codec.encode([args, kwargs]))
    return codec.dumps(reply)


def _snapshot(args: Any, kwargs: Any) -> bytes | None:
    """Bytes that differ if the arguments do; None where they cannot change."""
    if _IMMUTABLE.issuperset(map(type, args)) and not kwargs:
        return None
    try:
        return marshal.dumps((list(args), kwargs), 2)
    except ValueError:
        return codec.dumps(codec.encode([args, kwargs]))


def describe(error: BaseException, sources: list[str]) -> list[Any]:
    """An exception as data: ["x", name of its nearest built-in class, its arguments, log], or how the process ended."""
    if isinstance(error, SystemExit):
        return ["exit", f"SystemExit({error.code!r})"[:200]]
    log = f"{_where(error, sources)}{type(error).__name__}: {_text(error)}"[-_MAX_LOG:]
    if isinstance(error, MemoryError):
        return ["memory", log]
    base = next(c for c in type(error).__mro__ if c.__module__ == "builtins")
    return ["x", base.__name__, codec.encode(list(error.args)), log]


def _text(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except BaseException:
        return ""


def _where(error: BaseException, sources: list[str]) -> str:
    """The answer's own frames of the traceback, last five; each with its line."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith(ANSWER):
            lines.append(_line(trace.tb_lineno, sources[int(name[len(ANSWER) :] or 0)]))
        trace = trace.tb_next
    return "".join(lines[-5:])


def _line(number: int, source: str) -> str:
    text = source.split("\n", number)[number - 1 : number]
    return f"line {number}: {text[0].strip()[:200] if text else ''}\n"


def same_process(message: bytes, function: Any) -> bytes:
    """Run the tests here, beside the answer: what a PASS then rests on is weaker, and the verdict says so."""
    status, log, _ = run_tests(FunctionTests(**json.loads(message)).compiled(), function)
    return codec.dumps(["same", status, log])

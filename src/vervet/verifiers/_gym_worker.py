"""Runs as a program in the sandbox: scores answers with reasoning-gym's own functions, each in a process of its own.

    python -P gym_worker.py CPU_SECONDS WALL_SECONDS

First a line {"ready": true} or {"missing": why}. Then one JSON line in, {"dataset", "config", "entry", "answer"}, and one
out: {"score"}, or {"ended", "log", "sound"} where scoring came to no end; `sound` says whether the same function takes
the problem's own reference (or, where there is none, any text) without trouble, so that it was the answer's doing.

Several of the library's functions hand an answer to `eval`, by themselves or by way of sympy. Here `eval` takes, when
one of them calls it, texts of the problem and expressions of numbers, lists and sympy's elementary functions; all else is
refused before it runs. This file stands alone: it is copied into the sandbox.
"""

from __future__ import annotations

import ast
import builtins
import json
import math
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

_READERS = ("reasoning_gym.", "sympy.parsing.")
# modules whose `eval` meets answers
_ELEMENTARY = """
abs max min Abs Max Min Add Mul Pow sign sqrt cbrt factorial factorial2 exp log ln sin cos tan sec csc cot asin acos atan
acot asec acsc sinh cosh tanh coth sech csch asinh acosh atanh acoth erf gamma Ei Si Ci li
"""
_CALLS = frozenset(("Symbol", "Integer", "Float", "Rational", "Function", *_ELEMENTARY.split()))
_NODES = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Constant, ast.Name, ast.Call, ast.Load),
    *(ast.List, ast.Tuple, ast.Set, ast.Dict, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_WARM = "x**2/2 + sin(x)*exp(-x) + sqrt(2)"


def main() -> None:
    cpu_s, wall_s = float(sys.argv[1]), float(sys.argv[2])
    replies = os.fdopen(os.dup(1), "wb")
    # whatever the library prints is no reply
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)

    def say(reply: dict[str, Any]) -> None:
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()

    try:
        import reasoning_gym  # noqa: F401, PLC0415  an extra
        import sympy  # noqa: PLC0415

        sympy.simplify(sympy.diff(sympy.parse_expr(_WARM)))
    except ImportError as error:
        say({"missing": str(error)})
        return
    say({"ready": True})
    for line in sys.stdin.buffer:
        say(judged(json.loads(line), Limits(cpu_s, wall_s, replies.fileno())))


class Limits:
    """Of one scoring, and what it must not touch."""

    def __init__(self, cpu_s: float, wall_s: float, private_fd: int) -> None:
        self.cpu_s, self.wall_s, self.private_fd = cpu_s, wall_s, private_fd


def judged(request: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """The reply to one request."""
    found = forked(request, request["answer"], limits)
    if "score" not in found:
        reference = request["entry"].get("answer")
        plain = forked(request, "0" if reference is None else reference, limits)
        found["sound"] = "score" in plain and (reference is None or plain["score"] >= 1)
    return found


def forked(request: dict[str, Any], answer: str, limits: Limits) -> dict[str, Any]:
    """Score in a child, so that neither an answer's death nor what it leaves behind meets another."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(limits.private_fd)
            os.close(receive)
            soft = math.ceil(limits.cpu_s)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (soft, soft + 5))
            os.write(send, json.dumps(scored(request, answer)).encode())
        finally:
            os._exit(0)
    os.close(send)
    said, late = b"", False
    while not late:
        ready, _, _ = select.select([receive], [], [], limits.wall_s)
        part = os.read(receive, 1 << 16) if ready else b""
        late = not ready
        if not part:
            break
        said += part
    os.close(receive)
    if late:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s": used, **_reply(said, status, late)}


def _reply(said: bytes, status: int, late: bool) -> dict[str, Any]:
    if late:
        return {"ended": "wall", "log": ""}
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number:
        return {"ended": "cpu" if number == signal.SIGXCPU else f"signal {number}", "log": ""}
    try:
        reply: dict[str, Any] = json.loads(said)
    except ValueError:
        return {"ended": "exit", "log": ""}
    return reply


def scored(request: dict[str, Any], answer: str) -> dict[str, Any]:
    """In the child."""
    from reasoning_gym.factory import create_dataset  # noqa: PLC0415  an extra

    guard = Guard(request["entry"])
    try:
        made, entry = create_dataset(request["dataset"], **request["config"]), restored(request["entry"])
        builtins.eval = guard
        score = float(made.score_answer(answer, entry))
    except MemoryError:
        return {"ended": "memory", "log": ""}
    except BaseException as error:
        return {"ended": "error", "log": f"{type(error).__name__}: {error}"[:300], "refused": guard.refused}
    return {"score": score, "refused": guard.refused}


def restored(value: Any) -> Any:
    """An entry as the library made it; the inverse of what the task keeps of it."""
    if isinstance(value, list):
        return [restored(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "!" not in value:
        return {k: restored(v) for k, v in value.items()}
    kinds: dict[str, Callable[[Any], Any]] = {"tuple": tuple, "set": set, "dict": dict}
    return kinds[value["!"]]([restored(v) for v in value["v"]])


class Guard:
    """What stands in for `eval` while an answer is scored."""

    def __init__(self, entry: Any) -> None:
        self._real = eval
        self._own = set(_texts(entry))
        self.refused = ""

    def __call__(self, source: Any, *scopes: Any) -> Any:
        frame = sys._getframe(1)
        outer, inner = (*scopes, *scopes)[:2] if scopes else (frame.f_globals, frame.f_locals)
        reads = str(frame.f_globals.get("__name__", "")).startswith(_READERS)
        if reads and source not in self._own and not _harmless(source):
            self.refused = str(source)[:200]
            raise ValueError("only numbers, lists and elementary functions are evaluated")
        return self._real(source, outer, inner)


def _harmless(source: Any) -> bool:
    """Whether it is an expression that can only compute. Raises: SyntaxError as `eval` does."""
    if not isinstance(source, str):
        return False
    for node in ast.walk(ast.parse(source.strip(), mode="eval")):
        if not isinstance(node, _NODES):
            return False
        if isinstance(node, ast.Name) and node.id.startswith("_"):
            return False
        if isinstance(node, ast.Call) and not _known(node.func):
            return False
    return True


def _known(called: ast.expr) -> bool:
    """A function of the list, or one that Function('f') has just made."""
    if isinstance(called, ast.Call):
        return isinstance(called.func, ast.Name) and called.func.id == "Function"
    return isinstance(called, ast.Name) and called.id in _CALLS


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


if __name__ == "__main__":
    main()

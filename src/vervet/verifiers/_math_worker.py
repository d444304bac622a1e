"""Runs as a process of its own: compares two expressions with math-verify, killable, within limits of time and memory.

    python -P _math_worker.py CPU_SECONDS MEMORY_MB WALL_SECONDS

One JSON line in, {"gold", "answer"}; one out: {"equal": bool} or {"stage", "ended", "log", "cpu_s"}. The process that is
started loads sympy once and forks a child that does the work: where the child dies, another takes its place in
milliseconds. math-verify's own time limits are off: they are alarms, which C code does not notice.
"""

from __future__ import annotations

import cmath
import json
import logging
import os
import resource
import select
import signal
import sys
from typing import Any

REQUESTS = 2000
# that a child serves before another takes its place: sympy's caches grow
RELATIVE = 1e-10
# difference of two numbers that are still equal: what binary floats of 15 digits lose
_WARM = ("\\frac{1}{2}+\\sqrt{3}", "2x^2-3x+1", "\\left(1,2\\right]", "\\pi", "x<3", "3", "1.5", "a\\cdot b^{n+1}")


def main() -> None:
    cpu_s, memory_mb, wall_s = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    logging.disable(logging.CRITICAL)
    sys.setrecursionlimit(3000)
    for text in _WARM:
        compare(text, text, lambda _stage: None)
    child: Child | None = None
    for line in sys.stdin.buffer:
        if child is None or child.served >= REQUESTS:
            if child is not None:
                child.end()
            child = Child(cpu_s, memory_mb)
        reply = child.ask(line, wall_s)
        if "ended" in reply:
            child.end()
            child = None
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
    if child is not None:
        child.end()


class Child:
    """A forked process that compares one pair after another."""

    def __init__(self, cpu_s: float, memory_mb: int) -> None:
        self.served = 0
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._requests)
                os.close(self._replies)
                _serve(requests, replies, cpu_s, memory_mb)
            finally:
                os._exit(0)
        os.close(requests)
        os.close(replies)

    def ask(self, line: bytes, wall_s: float) -> dict[str, Any]:
        """The child's reply, or how it ended."""
        self.served += 1
        os.write(self._requests, len(line).to_bytes(8, "big") + line)
        said = b""
        while not said.endswith(b"\n"):
            ready, _, _ = select.select([self._replies], [], [], wall_s)
            part = os.read(self._replies, 1 << 16) if ready else b""
            if not part:
                return self._ending(said.decode(), "" if ready else "wall")
            said += part
        # stages, then the reply: "gac{...}"
        text = said.decode()
        return {"cpu_s": None, **json.loads(text[text.index("{") :])}

    def _ending(self, stages: str, limit: str) -> dict[str, Any]:
        os.kill(self._pid, signal.SIGKILL)
        _, status, used = os.wait4(self._pid, 0)
        self._pid = 0
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        ended = limit or ("cpu" if number == signal.SIGXCPU else f"signal {number}")
        return {"ended": ended, "stage": stages[-1:] or "g", "cpu_s": used.ru_utime + used.ru_stime}

    def end(self) -> None:
        os.close(self._requests)
        os.close(self._replies)
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def _serve(requests: int, replies: int, cpu_s: float, memory_mb: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    while True:
        head = _read(requests, 8)
        pair = json.loads(_read(requests, int.from_bytes(head, "big")))
        used = resource.getrusage(resource.RUSAGE_SELF)
        soft = int(used.ru_utime + used.ru_stime + cpu_s) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
        said = {"stage": "g"}

        def stage(name: str, said: dict[str, str] = said) -> None:
            said["stage"] = name
            os.write(replies, name.encode())

        try:
            reply: dict[str, Any] = {"equal": compare(pair["gold"], pair["answer"], stage)}
        except MemoryError:
            reply = {"ended": "memory", "stage": said["stage"]}
        except RecursionError:
            reply = {"ended": "recursion", "stage": said["stage"]}
        except Exception as error:
            reply = {"ended": "error", "stage": said["stage"], "log": f"{type(error).__name__}: {error}"[:500]}
        os.write(replies, json.dumps(reply).encode() + b"\n")


def _read(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(fd, size - len(data))
        if not part:
            os._exit(0)
        data += part
    return data


def compare(gold: str, answer: str, stage: Any) -> bool:
    """Whether two expressions are equal. Says what it is at: "g" reads the gold, "a" the answer, "c" compares."""
    from math_verify import verify  # noqa: PLC0415  an extra

    stage("g")
    golds = _parse(gold)
    stage("a")
    answers = _parse(answer)
    stage("c")
    if not golds or not answers:
        return False
    if _numbers_differ(golds[0], answers[0]):
        return False
    return bool(verify(golds, answers, timeout_seconds=0))


def _parse(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse  # noqa: PLC0415  an extra

    return list(
        parse(
            f"${text}$",
            [LatexExtractionConfig()],
            fallback_mode="no_fallback",
            extraction_mode="first_match",
            parsing_timeout=0,
        )
    )


def _numbers_differ(gold: Any, answer: Any) -> bool:
    """Whether both are numbers and plainly not the same: math-verify rounds to six decimals, which is not equality."""
    import sympy  # noqa: PLC0415  an extra

    if not (isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr)):
        return False
    if gold.free_symbols or answer.free_symbols:
        return False
    try:
        a, b = (complex(x.doit().evalf(30, maxn=200)) for x in (gold, answer))
    except (TypeError, ValueError, OverflowError, AttributeError):
        return False
    if cmath.isnan(a) or cmath.isnan(b):
        return False
    return abs(a - b) > RELATIVE * max(abs(a), abs(b))


if __name__ == "__main__":
    main()

"""The process that holds the tests. It never executes an answer's code and never holds its text.

The entry point is a proxy: arguments go to the candidate, plain data comes back. One tester serves one slot, one
candidate after the other; the random module is seeded afresh for each, so that a repeat asks the same questions.
"""

from __future__ import annotations

import builtins
import json
import marshal
import os
import socket
import sys
from typing import Any

from vervet.sandbox.inside import codec, wire
from vervet.sandbox.inside.checks import Abort, Compiled, FunctionTests, run_tests

_SCALARS = frozenset({int, float, str, bool, type(None), bytes, complex})
_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
_SAME_PROCESS_STATUSES = frozenset({"pass", "wrong"})
_READ_ONLY = 30
# errno EROFS
_MAX_LOG = 3000
DONE, EOF, EOF_EARLY, UNCOMPILED = b"D", b"E", b"N", b"U"
# to the zygote: there is a verdict; the candidate closed its channel, having read its answer or not; it had none to read


def main(zygote: socket.socket, driver: socket.socket) -> None:
    """Serve until the zygote is gone: one candidate's socket in, one verdict out."""
    known: dict[int, Compiled | str] = {}
    # by the driver's number; where they do not compile, why. The driver says which to forget
    last = -1
    # its socket stays open until it is dead: the end of it would wake a candidate up to die by itself
    while True:
        received = _receive_descriptor(zygote)
        if last >= 0:
            os.close(last)
        if received is None:
            return
        last = received
        job = json.loads(wire.receive_whole(driver))
        if "tests" in job:
            known[job["id"]] = _compile(job["tests"])
        known.pop(job.get("forget"), None)
        compiled = known[job["id"]]
        if isinstance(compiled, str):
            verdict, byte = {"status": "verifier", "log": compiled}, DONE
        else:
            verdict, byte = _judge(compiled, received, bool(job.get("same")))
        wire.send(driver, json.dumps(verdict).encode())
        zygote.send(byte)


def _receive_descriptor(zygote: socket.socket) -> int | None:
    data, ancillary, _, _ = zygote.recvmsg(1, socket.CMSG_SPACE(4))
    if not data:
        return None
    return int.from_bytes(ancillary[0][2][:4], sys.byteorder)


def _compile(tests: dict[str, str]) -> Compiled | str:
    try:
        return FunctionTests(**tests).compiled()
    except (SyntaxError, ValueError) as error:
        return f"the tests do not compile: {error}"


def _judge(compiled: Compiled, calls: int, same: bool) -> tuple[dict[str, Any], bytes]:
    """The verdict for the driver, and the byte for the zygote."""
    proxy = Proxy(calls)
    try:
        proxy.load()
        if same:
            return proxy.same_process(compiled.source), DONE
        _seed()
        status, log, remote = run_tests(compiled, proxy.function(compiled.source.entry), lambda: proxy.calls > 0)
    except Abort as error:
        status, log, remote = error.status, error.log, False
    if proxy.ended is not None:  # the tests may have caught the Abort
        status, log = proxy.ended.status, proxy.ended.log
    elif status == "pass" and proxy.calls == 0:
        status, log = "no_tests", "the tests never called the function"
    elif remote:
        status, log = "exception", proxy.last_log
    elif status == "wrong" and proxy.last:
        log = f"{log}\n{_brief(*proxy.last)}"
    byte = {"eof": EOF if proxy.loaded else EOF_EARLY, "uncompiled": UNCOMPILED}.get(status, DONE)
    return {"status": status, "log": log[:_MAX_LOG], "opaque": proxy.opaque}, byte


def _seed() -> None:
    import random  # here, not above: candidates inherit what is imported before they are made

    random.seed(0)


class Proxy:
    """The candidate's function as the tests see it."""

    def __init__(self, calls: int) -> None:
        self._fd = calls
        self._reader = wire.Reader(calls, wire.MAX_REPLY)
        self.calls = 0
        self.loaded = False
        # it has read all of its answer
        self.ended: Abort | None = None
        self.opaque = ""
        # what came back that is no data
        self.last: tuple[Any, ...] = ()
        # arguments, keyword arguments and result of the last call that returned
        self.last_log = ""

    def load(self) -> None:
        """Wait until the answer is loaded. Raises: Abort."""
        message = self._next()
        self.loaded = True
        kind = message[0] if isinstance(message, list) and message else None
        if kind == "ready":
            return
        if kind == "x" and len(message) == 4:
            raise self._end("forbidden" if _is_refusal(message[1], message[2]) else "exception", str(message[3]))
        if kind in {"syntax", "missing", "exit", "memory", "uncompiled"} and len(message) == 2:
            raise self._end("exited" if kind == "exit" else kind, str(message[1]))
        raise self._end("forbidden", "the answer's process wrote to the result channel")

    def function(self, name: str) -> Any:
        """The proxy to hand to the tests."""

        def candidate(*args: Any, **kwargs: Any) -> Any:
            return self._call(args, kwargs)

        candidate.__name__ = candidate.__qualname__ = name
        return candidate

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.ended is not None:
            raise self.ended
        self.calls += 1
        token = int.from_bytes(os.urandom(6), "little")
        wire_message = self._encode(token, args, kwargs)
        try:
            wire.write(self._fd, wire_message)
        except wire.Closed:
            raise self._end("eof") from None
        reply = self._next()
        if not isinstance(reply, list) or len(reply) < 3 or reply[0] != token:
            raise self._end("forbidden", "the answer's process forged a result")
        return self._deliver(reply, args, kwargs)

    def _deliver(self, reply: list[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kind = reply[1]
        expected = {"r": 3, "x": 5, "exit": 3, "memory": 3}.get(kind, -1) if isinstance(kind, str) else -1
        if len(reply) not in {expected, expected + 1}:
            raise self._end("forbidden", "the answer's process forged a result")
        if len(reply) > expected:
            self._reflect(reply[expected], args, kwargs)
        if kind == "r":
            if isinstance(reply[2], codec.Opaque):
                self.opaque = reply[2].description
            self.last = (args, kwargs, reply[2])
            return reply[2]
        if kind == "x":
            raise self._remote(reply[2], reply[3], str(reply[4]))
        raise self._end("exited" if kind == "exit" else "memory", str(reply[2]))

    def _reflect(self, changed: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            new_args, new_kwargs = changed
            for old, new in zip(args, new_args, strict=True):
                codec.reflect(old, new)
            for key, old in kwargs.items():
                codec.reflect(old, new_kwargs[key])
        except (TypeError, ValueError, KeyError, RecursionError):
            raise self._end("forbidden", "the answer's process forged its arguments") from None

    def _remote(self, name: Any, args: Any, log: str) -> BaseException:
        """The candidate's exception, as the nearest built-in class and plain arguments."""
        kind = getattr(builtins, name, None) if isinstance(name, str) else None
        if not (isinstance(kind, type) and issubclass(kind, BaseException) and isinstance(args, list)):
            return self._end("forbidden", "the answer's process forged an exception")
        if _is_refusal(name, args):
            return self._end("forbidden", log)
        try:
            error: BaseException = kind(*args)
        except Exception:  # UnicodeError and its like want arguments of their own kinds
            error = Exception(log)
        error._vervet_remote = True  # type: ignore[attr-defined]
        self.last_log = log
        return error

    def _encode(self, token: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        try:
            if not kwargs and _marshals(args):
                return b"M" + marshal.dumps((token, args, kwargs))
            document = [token, codec.encode_strictly(list(args)), codec.encode_strictly(kwargs)]
            return b"J" + codec.dumps(document)
        except codec.OpaqueArgument as error:
            raise self._end("wrong", f"the tests pass on what the answer returned, an {error}") from None
        except codec.Unencodable as error:
            raise self._end("unencodable", f"the tests pass an {error}") from None
        except (RecursionError, ValueError) as error:
            raise self._end("unencodable", f"the tests pass something too deep: {error}") from None

    def _next(self) -> Any:
        try:
            return codec.loads(self._reader.next())
        except wire.Closed:
            raise self._end("eof") from None
        except wire.TooLong:
            raise self._end("output", f"a result of more than {wire.MAX_REPLY >> 20} MB") from None
        except MemoryError:
            raise self._end("output", "a result that does not fit the tester's memory") from None
        except ValueError:
            raise self._end("forbidden", "the answer's process wrote to the result channel") from None

    def _end(self, status: str, log: str = "") -> Abort:
        self.ended = Abort(status, log)
        return self.ended

    def same_process(self, tests: FunctionTests) -> dict[str, Any]:
        """Let the candidate run the tests itself. Its word is all there is."""
        try:
            wire.write(self._fd, b"S" + json.dumps(tests._asdict()).encode())
        except wire.Closed:
            raise self._end("eof") from None
        message = self._next()
        if not (isinstance(message, list) and len(message) == 3 and message[0] == "same"):
            raise self._end("forbidden", "the answer's process forged a result")
        if message[1] not in _SAME_PROCESS_STATUSES:
            raise self._end("forbidden", "the answer's process forged a result")
        return {"status": message[1], "log": str(message[2])[:_MAX_LOG], "opaque": ""}


def _marshals(values: Any) -> bool:
    """Whether marshal keeps the types of all values; it would make bytes of a bytearray or an array."""
    kinds = set(map(type, values))
    if kinds <= _SCALARS:
        return True
    if not kinds <= _SCALARS | _CONTAINERS:
        return False
    inner = (v for v in values if type(v) in _CONTAINERS)
    return all(_marshals(v) and (type(v) is not dict or _marshals(v.values())) for v in inner)


def _is_refusal(name: Any, args: Any) -> bool:
    """Whether an exception of the answer says that the sandbox refused something."""
    return name == "PermissionError" or (name == "OSError" and isinstance(args, list) and args[:1] == [_READ_ONLY])


def _brief(args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> str:
    parts = [_clip(a) for a in args] + [f"{k}={_clip(v)}" for k, v in kwargs.items()]
    return f"the call ({', '.join(parts)}) returned {_clip(result)}"


def _clip(value: Any) -> str:
    try:
        text = repr(value) if not isinstance(value, (int, str, list, tuple, dict, set)) or _small(value) else "..."
    except (ValueError, RecursionError):
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 200 else f"{text[:200]}..."


def _small(value: Any) -> bool:
    return value.bit_length() < 10000 if isinstance(value, int) else len(value) < 100

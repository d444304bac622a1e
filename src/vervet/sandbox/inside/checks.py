"""Tests as text, how they are compiled once and run against a function, real or proxy."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any, NamedTuple

TESTS = "<tests>"
_MAX_LOG = 2000


class FunctionTests(NamedTuple):
    """What decides an answer."""

    entry: str
    # the function's name
    prelude: str
    # trusted code that the tests may use: imports and helper functions
    test: str
    # defines check(candidate), or is a list of statements that call the entry point by its name
    mode: str = "check"
    # "check" or "statements"

    def compiled(self) -> Compiled:
        """Compile. Raises: SyntaxError."""
        return Compiled(self, compile(self.prelude, "<prelude>", "exec"), compile(self.test, TESTS, "exec"))


class Compiled(NamedTuple):
    """FunctionTests ready to run."""

    source: FunctionTests
    prelude: CodeType
    test: CodeType


class Abort(BaseException):
    """Ends the tests whatever they catch: the answer can give no further result."""

    def __init__(self, status: str, log: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.log = log


def run_tests(compiled: Compiled, function: Any, started: Callable[[], bool] = lambda: True) -> tuple[str, str, bool]:
    """Run tests against a function.

    Args: started: whether the function has been called yet; an error before that is the tests' own.
    Returns: status ("pass", "wrong", "verifier" or an Abort's), log, whether the tests raised what the function did.
    """
    source = compiled.source
    space: dict[str, Any] = {"__name__": "tests"}
    try:
        exec(compiled.prelude, space)  # noqa: S102  the data set's code
        space[source.entry] = function
        exec(compiled.test, space)  # noqa: S102
        if source.mode == "check":
            space["check"](function)
    except Abort as error:
        return error.status, error.log, False
    except BaseException as error:
        log = f"{_failing_line(error, source.test)}{type(error).__name__}: {error}"[:_MAX_LOG]
        if not started():
            return "verifier", log, False
        return "wrong", log, getattr(error, "_vervet_remote", False)
    return "pass", "", False


def _failing_line(error: BaseException, test: str) -> str:
    trace, number = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == TESTS:
            number = trace.tb_lineno
        trace = trace.tb_next
    return f"{test.splitlines()[number - 1].strip()[:300]}\n" if number else ""

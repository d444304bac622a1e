"""Reading a problem's check: one place for the messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from vervet.errors import BadData
from vervet.records import Problem


def bad(problem: Problem, message: str) -> NoReturn:
    """Raise BadData that names the problem."""
    raise BadData(f"problem {problem.id!r}: {message}")


def only(problem: Problem, allowed: frozenset[str]) -> Mapping[str, Any]:
    """The check, if it has no field but the allowed ones: a misspelt field must not change a verdict in silence."""
    unknown = sorted(set(problem.check) - allowed)
    if unknown:
        bad(problem, f"its check has a field {unknown[0]!r}; known are {', '.join(sorted(allowed))}")
    return problem.check


def text(problem: Problem, name: str, default: str | None = None) -> str:
    """A text field."""
    value = problem.check.get(name, default)
    if not isinstance(value, str):
        bad(problem, f"its check needs a text field {name!r}")
    return value


def texts(problem: Problem, name: str) -> tuple[str, ...]:
    """A field that is a text or a list of at least one."""
    value = problem.check.get(name)
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, (list, tuple)) or not values or not all(isinstance(v, str) for v in values):
        bad(problem, f"its check needs a field {name!r}: a text or a list of texts")
    return tuple(values)

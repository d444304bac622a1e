"""Negative controls: parts that break one promise each, and the check that has to say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType

import pytest

from vervet.testing import _suite, samplers, sandboxes, scorers, verifiers

Control = tuple[Callable[[], None], str]
# runs the check on the broken part; words of the promise that the check's message holds


def assert_caught(control: Control) -> None:
    """The check fails with a sentence that names the promise.

    The suites' patience is cut short: it is for parts that keep their promises on a busy machine.
    """
    run, words = control
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_suite, "_GRACE_S", 0.3)
        for module in (samplers, sandboxes, scorers, verifiers):
            patch.setattr(module, "_HELD_S", 0.15)
        patch.setattr(samplers, "_TRAITS_S", 0.15)
        with pytest.raises(AssertionError, match=words):
            run()


def assert_every_check_is_controlled(module: ModuleType, controls: Mapping[str, Control], other: set[str]) -> None:
    """Each `check_...` of a suite is the one that a control's name begins with, or is named in `other`."""
    checks = {name for name in vars(module) if name.startswith("check_")} - other
    controlled = {name.partition(":")[0] for name in controls}
    assert controlled == checks, "name a control 'check_x: what is broken'"


def broken(conform: Callable[[], None]) -> set[str]:
    """Names of the checks that a whole suite says are broken."""
    try:
        conform()
    except AssertionError as error:
        return {line[2:].partition(":")[0] for line in str(error).splitlines() if line.startswith("- check_")}
    return set()

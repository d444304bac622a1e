"""Vervet: repeated sampling for language models.

Draw many independent attempts at each problem, verify every one, and read off coverage with honest error bars::

    run = vervet.run("humaneval", model="local/smollm2-135m", n=100, out="runs/he")
    curve = vervet.coverage(run.counts(), k=[1, 10, 100])

Names are imported when they are first used, so that `import vervet` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Counts": "vervet.records",
    "Outcome": "vervet.records",
    "Problem": "vervet.records",
    "Sample": "vervet.records",
    "Verdict": "vervet.records",
    "VervetError": "vervet.errors",
    "TooFewSamples": "vervet.errors",
    "run": "vervet.api",
    "arun": "vervet.api",
    "open_run": "vervet.api",
    "Run": "vervet.api",
}
"""Public name -> the module that defines it."""

if TYPE_CHECKING:
    from vervet.api import Run, arun, open_run, run
    from vervet.errors import TooFewSamples, VervetError
    from vervet.records import Counts, Outcome, Problem, Sample, Verdict

__all__ = [
    "Counts",
    "Outcome",
    "Problem",
    "Run",
    "Sample",
    "TooFewSamples",
    "Verdict",
    "VervetError",
    "arun",
    "open_run",
    "run",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'vervet' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

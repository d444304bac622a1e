"""Vervet: repeated sampling for language models.

Draw many independent attempts at each problem, verify every one, and read off coverage with honest error bars::

    run = vervet.run("humaneval", model="local/smollm2-135m", n=100, out="runs/he")
    curve = vervet.coverage(run.counts(), k=[1, 10, 100])

Names are imported when they are first used, so that `import vervet` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vervet.version import __version__

_HOME = {
    "Counts": "vervet.records",
    "Curve": "vervet.records",
    "Outcome": "vervet.records",
    "Problem": "vervet.records",
    "Run": "vervet.api",
    "Sample": "vervet.records",
    "TooFewSamples": "vervet.errors",
    "Verdict": "vervet.records",
    "VervetError": "vervet.errors",
    "arun": "vervet.api",
    "assert_pass_rate": "vervet.api",
    "compare": "vervet.api",
    "cost": "vervet.api",
    "coverage": "vervet.api",
    "export": "vervet.api",
    "family": "vervet.api",
    "fit": "vervet.api",
    "forecast": "vervet.api",
    "import_samples": "vervet.api",
    "open_run": "vervet.api",
    "pass_at_k": "vervet.estimate.coverage",
    "plan": "vervet.api",
    "read_counts": "vervet.analysis.counts",
    "report": "vervet.api",
    "resume": "vervet.api",
    "run": "vervet.api",
    "sample": "vervet.api",
    "score": "vervet.api",
    "select": "vervet.api",
    "solve": "vervet.api",
    "verifier_noise": "vervet.api",
    "verify": "vervet.api",
}
"""Public name -> the module that defines it."""

if TYPE_CHECKING:
    from vervet.analysis.counts import read_counts
    from vervet.api import (
        Run,
        arun,
        assert_pass_rate,
        compare,
        cost,
        coverage,
        export,
        family,
        fit,
        forecast,
        import_samples,
        open_run,
        plan,
        report,
        resume,
        run,
        sample,
        score,
        select,
        solve,
        verifier_noise,
        verify,
    )
    from vervet.errors import TooFewSamples, VervetError
    from vervet.estimate.coverage import pass_at_k
    from vervet.records import Counts, Curve, Outcome, Problem, Sample, Verdict

__all__ = [
    "Counts",
    "Curve",
    "Outcome",
    "Problem",
    "Run",
    "Sample",
    "TooFewSamples",
    "Verdict",
    "VervetError",
    "__version__",
    "arun",
    "assert_pass_rate",
    "compare",
    "cost",
    "coverage",
    "export",
    "family",
    "fit",
    "forecast",
    "import_samples",
    "open_run",
    "pass_at_k",
    "plan",
    "read_counts",
    "report",
    "resume",
    "run",
    "sample",
    "score",
    "select",
    "solve",
    "verifier_noise",
    "verify",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'vervet' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

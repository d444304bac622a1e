"""A single attempt of another model as a line to cross: `--baseline "GPT-4o=0.24@0.13usd"`.

The name, the share of problems that one attempt solves, and, after "@", what one attempt costs: `0.13usd`, or `2e14flops`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.errors import BadOption
from vervet.estimate.coverage import pass_curve
from vervet.records import Counts

_FORM = re.compile(r"(?P<name>.+)=(?P<success>[^=@]+)(?:@(?P<cost>[^@]+))?")
_COST = re.compile(r"(?P<number>[0-9.eE+-]+)\s*(?P<unit>usd|flops)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What one attempt of another model reaches, and costs."""

    name: str
    success: float
    # share of problems solved by one attempt, in [0, 1]
    usd: float | None = None
    # of one attempt at one problem; None: not said
    flops: float | None = None
    # of one attempt at one problem; None: not said


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where a run's coverage first reaches a baseline's success."""

    baseline: Baseline
    k: int | None
    # samples a problem; None: not within the samples that every problem has
    coverage: float | None
    # of the run at that k
    k_max: int
    # the largest k at which all problems can be estimated: what "not yet" refers to
    usd: float | None = None
    # of k samples of one problem; None: no price
    flops: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """One entry of `baselines`."""
        base = self.baseline
        return {
            "name": base.name,
            "success": base.success,
            "usd_per_attempt": base.usd,
            "flops_per_attempt": base.flops,
            "k": self.k,
            "k_max": self.k_max,
            "coverage": self.coverage,
            "usd": self.usd,
            "flops": self.flops,
        }


def parse_baseline(text: str) -> Baseline:
    """ "NAME=SHARE[@COSTusd|@COSTflops]" as a Baseline; the share as 0.24 or 24%.

    Raises: BadOption that shows how to write it.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise BadOption(f'--baseline {text!r}: write NAME=SHARE@COST, such as "GPT-4o=0.24@0.13usd"')
    name, cost = found["name"].strip(), found["cost"]
    success = _share(text, found["success"].strip())
    if not name or not name.isprintable():
        raise BadOption(f"--baseline {text!r}: begin with the model's name")
    if cost is None:
        return Baseline(name, success)
    price = _COST.fullmatch(cost.strip())
    number = _number(price["number"]) if price else None
    if price is None or number is None or number <= 0:
        raise BadOption(f"--baseline {text!r}: write the cost of one attempt as 0.13usd or 2e14flops, above 0")
    return Baseline(name, success, **{price["unit"].lower(): number})


def _share(text: str, given: str) -> float:
    value = _number(given.removesuffix("%"))
    if value is not None and given.endswith("%"):
        value /= 100
    if value is None or not 0 <= value <= 1:
        raise BadOption(f"--baseline {text!r}: the share of problems solved must be in 0 to 1, or 0% to 100%")
    return value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def crossing(
    counts: Counts,
    baseline: Baseline,
    usd_per_sample: float | None = None,
    flops_per_sample: float | None = None,
    flops_per_prompt: float = 0.0,
) -> Crossing:
    """The smallest k at which the run's coverage reaches the baseline's success, and what so many samples cost.

    Args: usd_per_sample, flops_per_sample: of one sample.  flops_per_prompt: paid once a problem, whatever k.
    Coverage never falls as k rises, so that the k is found by halving; k goes up to the smallest n.
    """
    top = int(counts.n.min())
    if top < 1 or _coverage(counts, top) < baseline.success:
        return Crossing(baseline, None, None, top)
    low, high = 0, top
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _coverage(counts, middle) >= baseline.success else (middle, high)
    return Crossing(
        baseline,
        high,
        _coverage(counts, high),
        top,
        usd=None if usd_per_sample is None else usd_per_sample * high,
        flops=None if flops_per_sample is None else flops_per_prompt + flops_per_sample * high,
    )


def _coverage(counts: Counts, k: int) -> float:
    return float(pass_curve(counts.n, counts.c, [k])[0].mean())

"""Gates: "pass@10>=0.8 @95%" as a yes or no that chance does not decide.

With a level a gate holds where the data show it: the one-sided lower confidence limit, for these very problems sampled again,
reaches the threshold. Prompts and models at the threshold pass it with a probability of 5 % at most, at 95 %. Without a level
the estimate itself is compared, which such a prompt passes every other time. What is UNKNOWN or pending counts as not passed.

At k = 1 with the same n for every problem the limit is exact: the number of PASSes is a sum of independent trials with
different chances, whose upper tail is no heavier than the binomial's with the mean chance (Hoeffding 1956), so Clopper and
Pearson's limit holds for the mean. Elsewhere it is the lower end of the interval for these very problems at level 2L - 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from vervet.analysis.curve import coverage
from vervet.errors import BadOption
from vervet.records import Counts

_TEXT = re.compile(
    r"\s*(?:pass|coverage)@(?P<k>\d+)\s*>=\s*(?P<least>[0-9.]+)(?P<share>%?)\s*(?:@\s*(?P<level>[0-9.]+)(?P<percent>%?))?\s*"
)


@dataclass(frozen=True, slots=True)
class Gate:
    """Coverage at k of at least `least`, shown at `level`; None: by the estimate alone."""

    k: int
    least: float
    level: float | None = None

    def __post_init__(self) -> None:
        if self.k < 1 or not 0 <= self.least <= 1:
            raise BadOption(f"gate {self}: k is 1 or more, the threshold a share between 0 and 1")
        if self.level is not None and not 0.5 < self.level < 1:
            raise BadOption(f"gate {self}: the level is above 50% and below 100%")

    def __str__(self) -> str:
        return f"pass@{self.k}>={self.least:g}" + ("" if self.level is None else f" @{100 * self.level:g}%")


def parse(text: str) -> Gate:
    """ "pass@10>=0.8 @95%". Raises: BadOption."""
    found = _TEXT.fullmatch(text)
    try:
        assert found is not None
        least = float(found["least"]) / (100 if found["share"] else 1)
        level = None if found["level"] is None else float(found["level"]) / (100 if found["percent"] else 1)
        return Gate(int(found["k"]), least, level)
    except (AssertionError, ValueError):
        raise BadOption(
            f"gate {text!r}: write it as 'pass@10>=0.8 @95%', or without a level as 'pass@10>=0.8'"
        ) from None


@dataclass(frozen=True, slots=True)
class Judged:
    """What a gate says of counts."""

    gate: Gate
    source: str
    holds: bool
    estimate: float | None
    low: float | None
    # the limit that was compared; without a level the estimate
    samples: int

    def __str__(self) -> str:
        word = "holds" if self.holds else "does not hold"
        shown = "no estimate" if self.estimate is None else f"estimate {self.estimate:.4f}"
        limit = (
            ""
            if self.gate.level is None or self.low is None
            else f", at least {self.low:.4f} at {100 * self.gate.level:g}%"
        )
        return f"{self.source or 'counts'}: {self.gate} {word}: {shown}{limit}, {self.samples:,} samples"


def judge(counts: Counts, gate: Gate, design: str | None = None) -> Judged:
    """Whether the counts show it. Raises: BadOption for counts whose design no estimator fits."""
    # what could not be decided was not passed
    strict = Counts(counts.problem_ids, counts.n + counts.unknown, counts.c, None, counts.design, counts.source)
    level = 0.95 if gate.level is None else 2 * gate.level - 1
    point = coverage(strict, gate.k, level, design).points[0]
    estimate = None if point.coverage is None or point.censored else point.coverage
    low = estimate
    if gate.level is not None and estimate is not None:
        low = point.draws_low
        if gate.k == 1 and strict.design == "fixed" and design in (None, "fixed") and np.ptp(strict.n) == 0:
            low = lower_limit(int(strict.c.sum()), int(strict.n.sum()), gate.level)
    holds = low is not None and low >= gate.least
    return Judged(gate, counts.source, holds, estimate, low, int(strict.n.sum()))


def lower_limit(passes: int, trials: int, level: float) -> float:
    """Clopper and Pearson's one-sided lower limit for the success probability; 0 without a PASS."""
    from scipy.special import betaincinv  # noqa: PLC0415  slow to import

    return float(betaincinv(passes, trials - passes + 1, 1 - level)) if passes else 0.0


def least_passes(trials: int, least: float, level: float) -> int | None:
    """PASSes among so many trials that show a rate of `least`; None where even all of them do not."""
    low, high = 0, trials + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if lower_limit(middle, trials, level) >= least else (middle + 1, high)
    return low if low <= trials else None

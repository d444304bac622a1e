"""Selectors that look at samples one by one: the first, the best scored, any that is right."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vervet.records import Outcome, Sample
from vervet.selectors._votes import ballot, key, mark


class First:
    """The first sample that has an answer"""

    def choose(self, samples: Sequence[Sample]) -> int | None:
        return next(iter(ballot(samples)), None)


class BestOfK:
    """The sample with the highest score; samples without a score come last"""

    def choose(self, samples: Sequence[Sample]) -> int | None:
        voters = ballot(samples)
        best = max((_score(samples[i]) for i in voters), default=None)
        tied = [i for i in voters if _score(samples[i]) == best]
        return min(tied, key=lambda i: (mark(key(samples[i])), samples[i].index), default=None)


class Oracle:
    """A sample that PASSes, else the first with an answer: what no selector can beat"""

    def choose(self, samples: Sequence[Sample]) -> int | None:
        voters = ballot(samples)
        return next((i for i in voters if samples[i].outcome is Outcome.PASS), next(iter(voters), None))


def _score(sample: Sample) -> float:
    return -math.inf if sample.score is None else sample.score

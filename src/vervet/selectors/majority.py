"""The most frequent answer, by count or by the sum of scores, among all samples or among those that a verifier accepts."""

from __future__ import annotations

from collections.abc import Sequence

from vervet.records import Outcome, Sample
from vervet.selectors._votes import ballot, winner


class Majority:
    """The answer given most often (self-consistency, Wang et al. 2022)"""

    def choose(self, samples: Sequence[Sample]) -> int | None:
        return winner(samples, ballot(samples), lambda _: 1.0)


class WeightedMajority:
    """The answer with the largest sum of scores; without any score the one given most often"""

    def choose(self, samples: Sequence[Sample]) -> int | None:
        voters = ballot(samples)
        scored = [i for i in voters if samples[i].score is not None]
        return winner(samples, scored, lambda s: s.score or 0.0) if scored else winner(samples, voters, lambda _: 1.0)


class Verified:
    """The answer given most often among those that PASS; among all where none does"""

    def choose(self, samples: Sequence[Sample]) -> int | None:
        voters = ballot(samples)
        accepted = [i for i in voters if samples[i].outcome is Outcome.PASS]
        return winner(samples, accepted or voters, lambda _: 1.0)

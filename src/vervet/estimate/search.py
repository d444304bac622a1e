"""The search for one right answer: how long it pays to go on, when a dearer model pays, and what it costs on average.

A sample of a model is right with an unknown probability p; before the first sample, p has a Beta(a, b) distribution. After
n failures the next sample is right with probability a / (a + b + n). That falls in n, so looking one sample ahead is enough:
where the next sample is not worth its price, no later one is (the monotone case of optimal stopping, Chow & Robbins 1961).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

GROWTH = 4
# a wave is a quarter of what is there


def waves(first: int, most: int) -> Iterator[int]:
    """Samples there are after each wave: `first`, then a quarter more each time (at least `first`), `most` at the end."""
    have = 0
    while have < most:
        have = min(most, have + max(first, have // GROWTH))
        yield have


@dataclass(frozen=True, slots=True)
class PassPrior:
    """Beta(a, b), a and b above 0."""

    a: float = 0.5
    b: float = 0.5

    def next_pass(self, failures: int) -> float:
        """Probability that the next sample passes after so many failures and no PASS."""
        return self.a / (self.a + self.b + failures)

    def worth_it(self, worth: float) -> int:
        """Samples that are worth drawing, the first in any case, where an answer is worth as much as `worth` samples cost."""
        return max(1, math.floor(self.a * worth - self.a - self.b) + 1)

    def switch(self, cheap: float, dear: float) -> int:
        """Samples of the cheap model after which a sample of the dear one promises more for its money.

        Both models have this prior, as nothing is known of them but their prices: with a + b = 1, failures of the cheap
        model may cost as much as one sample of the dear one. At least 1.
        """
        if cheap <= 0:
            return 1 << 30 if dear > 0 else 1
        return max(1, math.floor((self.a + self.b) * (dear - cheap) / cheap) + 1)


def expected_samples(p: float, most: int, first: int = 1) -> float:
    """Samples that a search draws on average when each passes with probability p and every wave is drawn to its end.

    With first = 1 and small n the waves are single samples, and this is (1 - (1-p)^most) / p.
    """
    total, before = 0.0, 0
    for have in waves(first, most):
        total += (have - before) * (1 - p) ** before
        before = have
    return total


def expected_cost(
    p: Sequence[float], price: Sequence[float], most: Sequence[int], first: int = 1
) -> tuple[float, float]:
    """What a cascade costs on average on a problem, and the chance that it solves it.

    Args: p, price, most: of each model in order: success probability, price of a sample, samples at most.
    """
    cost, left = 0.0, 1.0
    for chance, usd, cap in zip(p, price, most, strict=True):
        cost += left * usd * expected_samples(chance, cap, first)
        left *= (1 - chance) ** cap
    return cost, 1 - left

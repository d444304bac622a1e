"""What the votes share: samples by answer, and a winner that does not depend on their order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from vervet.records import Sample


def ballot(samples: Sequence[Sample]) -> list[int]:
    """Positions of the samples that have an answer."""
    return [i for i, sample in enumerate(samples) if sample.answer is not None]


def key(sample: Sample) -> str:
    """Under which equal answers meet."""
    return sample.key if sample.key is not None else sample.answer or ""


def winner(samples: Sequence[Sample], voters: Sequence[int], weight: Callable[[Sample], float]) -> int | None:
    """Position of a sample with the answer of the largest total weight; of its samples the one with the lowest index.

    Expectations split a tie; one pick cannot. It goes to the answer whose hash is lowest: arbitrary, but always the same, and
    neither the first drawn nor the first in the alphabet.
    """
    totals: dict[str, float] = {}
    for i in voters:
        totals[key(samples[i])] = totals.get(key(samples[i]), 0.0) + weight(samples[i])
    if not totals:
        return None
    top = max(totals.values())
    slack = 1e-9 * max(abs(top), 1.0)
    chosen = min((answer for answer, total in totals.items() if total >= top - slack), key=mark)
    return min((i for i in voters if key(samples[i]) == chosen), key=lambda i: samples[i].index)


def mark(text: str) -> bytes:
    """An order of texts that nobody can have in mind."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

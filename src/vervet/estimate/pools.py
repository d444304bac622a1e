"""A problem's samples as a selector sees them, and the chance that what it picks out of k of them is right.

The k samples are a random subset of the n that are stored: every expectation is over subsets, so that neither the order of
the file nor that of the draws matters. A tie is split: the selector picks each of the tied with equal chance. A sample without
an answer is a draw like any other, casts no vote and is never picked; where nothing can be picked, that is a failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.records import FloatArray, IntArray

METHODS = ("majority", "weighted-majority", "best-of-k", "verified", "first", "oracle")
"""The names of selection methods, listed once and shared by Python, the command line and JSON."""

VOTES = ("majority", "weighted-majority", "verified")
"""Methods that converge as k grows: their limit is what they pick out of all samples."""

NEEDS_SCORES = ("weighted-majority", "best-of-k")

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Pool:
    """One problem's decided samples. The order carries no meaning."""

    classes: IntArray
    # answers that are equal share a number >= 0; -1: no answer found. Shape (n,)
    right: BoolArray
    # PASS, shape (n,)
    scores: FloatArray | None = None
    # higher is better; NaN: no score. Shape (n,)
    accepted: BoolArray | None = None
    # by the verifier that may be asked before the vote; None: by the one that also decides what is right

    @property
    def n(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, slots=True)
class Table:
    """A pool by classes: what votes are a function of."""

    counts: IntArray
    # samples of each class, shape (classes,)
    value: FloatArray
    # share of a class that is right: 0 or 1 unless a verifier judges equal answers differently
    silent: int
    # samples that cast no vote

    @property
    def n(self) -> int:
        return int(self.counts.sum()) + self.silent


def table(classes: IntArray, right: BoolArray) -> Table:
    """Counts by class of a pool or of a part of it."""
    votes = classes >= 0
    _, which, counts = np.unique(classes[votes], return_inverse=True, return_counts=True)
    passed = np.bincount(which, weights=right[votes], minlength=len(counts))
    return Table(counts.astype(np.int64), passed / np.maximum(counts, 1), int((~votes).sum()))

"""Difficulty on a grid: p = 0, then cells over logit p from -30 to 9, fine where n from 10 to 1e5 can tell p apart."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vervet.records import FloatArray, IntArray

LOGITS = np.concatenate([np.arange(-30, -14, 0.5), np.arange(-14, -11, 0.25), np.linspace(-11, 9, 201)])
"""Edges of the cells; what lies below the first counts as p = 0, what lies above the last is one more cell."""


@lru_cache(maxsize=1)
def middles() -> FloatArray:
    """p of each cell, 0 first; shape (len(LOGITS) + 1,)."""
    middle = np.concatenate([(LOGITS[:-1] + LOGITS[1:]) / 2, [LOGITS[-1] + 1]])
    return np.concatenate([[0.0], 1 / (1 + np.exp(-middle))])


def groups(n: IntArray, c: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Distinct (n, c) and the number of problems that have them."""
    pairs, size = np.unique(np.stack([n, c]), axis=1, return_counts=True)
    return pairs[0], pairs[1], size


def likelihoods(n: IntArray, c: IntArray) -> FloatArray:
    """Of each pair of counts in each cell, scaled so that the largest is 1: shape (pairs, cells)."""
    p = middles()
    right, wrong = c.astype(float)[:, None], (n - c).astype(float)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.where(right > 0, right * np.log(p), 0.0) + wrong * np.log1p(-p)
    return np.asarray(np.exp(log - log.max(axis=1, keepdims=True)))

"""Coverage behind an imperfect verifier, with known rates of false acceptance and false rejection.

A sample is right with chance r, is accepted with chance A = r (1 - miss) + (1 - r) slip. What a verifier shows is
coverage of acceptance. Three numbers stand behind it:

* true coverage at k: 1 - (1 - r)^k, the chance that k draws hold a right sample at all;
* reward at k: r (1 - miss) / A (1 - (1 - A)^k), the chance that the first accepted of k samples is right;
* the ceiling of the reward as k grows: r (1 - miss) / A. No number of samples gets past it.

Source: Stroebl, Kapoor and Narayanan 2024 (arXiv:2411.17501). The distribution of r is non-parametric, fitted to
counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vervet.estimate.cells import groups, middles
from vervet.records import FloatArray, IntArray

_STEPS = 300


class Corrected(NamedTuple):
    """Means over these problems, one entry a k; the ceiling is one number."""

    true_coverage: FloatArray
    reward: FloatArray
    ceiling: float


def correct(n: IntArray, c: IntArray, k: IntArray, slip: float, miss: float) -> Corrected:
    """Coverage corrected for a verifier that accepts wrong samples at rate `slip` and rejects right ones at rate
    `miss`.

    Domain: 0 <= slip, 0 <= miss, slip + miss < 1 (else acceptance says nothing), unchecked.
    """
    right = middles()
    accept = np.clip(right * (1 - miss) + (1 - right) * slip, 1e-300, 1 - 1e-16)
    total, passed, size = groups(n, c)
    log = passed[:, None] * np.log(accept) + (total - passed)[:, None] * np.log1p(-accept)
    table = np.exp(log - log.max(axis=1, keepdims=True))
    mass = np.full(table.shape[1], 1 / table.shape[1])
    for _ in range(_STEPS):
        mass = mass * ((size / np.maximum(table @ mass, 1e-300)) @ table) / size.sum()
    belief = table * mass
    weight = size @ (belief / belief.sum(axis=1, keepdims=True)) / size.sum()
    draws = np.asarray(k, dtype=float)[:, None]
    sound = np.where(accept > 1e-200, right * (1 - miss) / accept, 0.0)
    covered = -np.expm1(draws * np.log1p(-np.minimum(right, 1 - 1e-16)))
    accepted = -np.expm1(draws * np.log1p(-accept))
    return Corrected(covered @ weight, (sound * accepted) @ weight, float(sound @ weight))

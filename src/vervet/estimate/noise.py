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
_MORE = 60
# steps from a fit to another one nearby


class Corrected(NamedTuple):
    """Means over these problems, one entry a k; the ceiling is one number."""

    true_coverage: FloatArray
    reward: FloatArray
    ceiling: float


class Corrector:
    """A verifier's rates and counts, ready to be asked for coverage, also of problems drawn again."""

    def __init__(self, n: IntArray, c: IntArray, slip: float, miss: float) -> None:
        """Domain: 0 <= slip, 0 <= miss, slip + miss < 1 (else acceptance says nothing), unchecked."""
        self._right = middles()
        self._accept = np.clip(self._right * (1 - miss) + (1 - self._right) * slip, 1e-300, 1 - 1e-16)
        self._sound = np.where(self._accept > 1e-200, self._right * (1 - miss) / self._accept, 0.0)
        total, passed, self.size = groups(n, c)
        log = passed[:, None] * np.log(self._accept) + (total - passed)[:, None] * np.log1p(-self._accept)
        self._table = np.exp(log - log.max(axis=1, keepdims=True))
        flat = np.full(self._table.shape[1], 1 / self._table.shape[1])
        self._mass = self._fitted(flat, self.size / self.size.sum(), _STEPS)

    def _fitted(self, mass: FloatArray, share: FloatArray, steps: int) -> FloatArray:
        """Distribution of difficulty that makes the counts most likely, by expectation and maximisation."""
        for _ in range(steps):
            mass = mass * ((share / np.maximum(self._table @ mass, 1e-300)) @ self._table)
        return mass

    def at(self, k: IntArray, size: IntArray | None = None) -> Corrected:
        """Corrected coverage; size: how many problems have each distinct pair of counts, if not as they were given."""
        mass, weights = self._mass, self.size if size is None else size
        share = weights / weights.sum()
        if size is not None:
            mass = self._fitted(mass, share, _MORE)
        belief = self._table * mass
        weight = share @ (belief / np.maximum(belief.sum(axis=1, keepdims=True), 1e-300))
        draws = np.asarray(k, dtype=float)[:, None]
        covered = -np.expm1(draws * np.log1p(-np.minimum(self._right, 1 - 1e-16)))
        accepted = -np.expm1(draws * np.log1p(-self._accept))
        return Corrected(covered @ weight, (self._sound * accepted) @ weight, float(self._sound @ weight))

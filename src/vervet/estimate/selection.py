"""Success of selection methods against k, over a set of problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from vervet.estimate import ranking, voting
from vervet.estimate.pools import Pool
from vervet.estimate.subsets import Expectation
from vervet.records import FloatArray, IntArray

_CLOSED: dict[str, Callable[[Pool, IntArray], FloatArray]] = {
    "best-of-k": ranking.best_of_k,
    "first": ranking.first,
    "oracle": ranking.oracle,
}
_VOTES: dict[str, Callable[[Pool, IntArray], Expectation]] = {
    "majority": voting.majority,
    "weighted-majority": voting.weighted_majority,
    "verified": voting.verified,
}


class Success(NamedTuple):
    """Per-problem chances that a method's pick is right."""

    values: FloatArray
    # at min(k, n), shape (ks, problems); 0 for a problem without a sample
    noise: FloatArray
    # variance left in them by simulating subsets, shape (ks, problems); 0 where they are exact
    limits: FloatArray
    # at k = n, shape (problems,)
    n: IntArray
    # samples of each problem, shape (problems,)


def success_of(pool: Pool, method: str, ks: IntArray) -> Expectation:
    """The method's success at each k of one problem; ks rising, in 1 to n. KeyError for another name than METHODS."""
    if method in _CLOSED:
        return Expectation(_CLOSED[method](pool, ks), np.zeros(len(ks)))
    return _VOTES[method](pool, ks)


def success(pools: Iterable[Pool], methods: Sequence[str], ks: IntArray) -> dict[str, Success]:
    """Every method's success on every problem; one pool at a time is held. Costs nothing for k beyond n."""
    rows: dict[str, list[tuple[FloatArray, FloatArray, float]]] = {method: [] for method in methods}
    sizes = []
    for pool in pools:
        sizes.append(pool.n)
        grid = np.unique(np.append(ks[ks < pool.n], pool.n))
        at = np.searchsorted(grid, np.minimum(ks, pool.n))
        for method in methods:
            if not pool.n:
                nothing = np.zeros(len(ks))
                rows[method].append((nothing, nothing, 0.0))
                continue
            found = success_of(pool, method, grid)
            rows[method].append((found.values[at], found.noise[at], float(found.values[-1])))
    n = np.array(sizes, dtype=np.int64)
    return {method: _stack(found, n, len(ks)) for method, found in rows.items()}


def _stack(rows: list[tuple[FloatArray, FloatArray, float]], n: IntArray, ks: int) -> Success:
    values, noise = (np.array([row[i] for row in rows]).reshape(len(rows), ks).T for i in (0, 1))
    return Success(values, noise, np.array([row[2] for row in rows]), n)

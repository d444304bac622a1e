"""How many samples, and how much money, a target coverage takes; and where the next samples do most good."""

from __future__ import annotations

import dataclasses
import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np

from vervet.analysis.curve import settle_design
from vervet.errors import BadData, BadOption
from vervet.estimate import hierarchy
from vervet.estimate.coverage import check_level
from vervet.estimate.forecasting import Forecaster
from vervet.records import Counts, FloatArray, IntArray

_FARTHEST = 1000
# times the samples at hand: nothing is said about k beyond
_BLOCKS = 500
# pieces in which a budget is given out


@dataclass(frozen=True, slots=True)
class Share:
    """Samples that one problem should get next."""

    problem_id: str
    samples: int
    chance: float
    # that they hold its first PASS


@dataclass(frozen=True, slots=True)
class Plan:
    """What a target coverage takes. None: not within 1,000 times the samples at hand."""

    source: str
    target: float
    level: float
    k: int | None
    # samples a problem at which the forecast reaches the target
    k_low: int | None
    k_high: int | None
    # where the interval's upper and lower bound reach it
    samples: int | None
    # to draw still, if every problem gets k
    samples_first_pass: float | None
    # expected, if each problem stops at its first PASS
    usd: float | None
    usd_first_pass: float | None
    allocation: tuple[Share, ...]
    # of the given budget
    expected_solved: float | None
    # problems that the allocation is expected to solve for the first time
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document vervet.plan/1."""
        plain = dataclasses.asdict(self)
        lists = {"allocation": list(plain["allocation"]), "warnings": list(self.warnings)}
        return {"schema": "vervet.plan/1"} | plain | lists


def plan(
    counts: Counts,
    target: float = 0.9,
    level: float = 0.95,
    usd_per_sample: float | None = None,
    budget: int | None = None,
    design: str | None = None,
) -> Plan:
    """What it takes to bring coverage of these problems to `target`.

    Args: usd_per_sample: price of one sample, for money.  budget: samples to give out now over the problems never
    solved: the allocation that is expected to solve most of them.  design: how the samples were collected.
    Raises: BadOption for a target or level outside (0, 1), a price or a budget below 0; BadData without decided
    samples.
    """
    check_level(level)
    if not 0 < target < 1:
        raise BadOption(f"target must lie between 0 and 1, such as 0.9, not {target!r}")
    if usd_per_sample is not None and not (np.isfinite(usd_per_sample) and usd_per_sample >= 0):
        raise BadOption(f"usd_per_sample must be 0 or more, not {usd_per_sample!r}")
    if budget is not None and budget < 0:
        raise BadOption(f"budget must be 0 or more samples, not {budget!r}")
    if not np.any(counts.n > 0):
        raise BadData(f"{counts.source or 'counts'}: no problem has a decided sample: nothing to plan from")
    rule, remarks = settle_design(counts, design)
    model = Forecaster.fitted(counts.n, counts.c, design=rule)
    reach = _FARTHEST * int(counts.n.max())
    k = _first(model.point, target, reach)
    k_low = _first(lambda one: model.interval(one, level)[1], target, reach)
    k_high = _first(lambda one: model.interval(one, level)[0], target, reach)
    samples = None if k is None else int(np.maximum(k - counts.n, 0).sum())
    first_pass = None if k is None else _expected_draws(model.base, k)
    if k is None:
        remarks.append(f"the forecast stays below {target:g} up to k = {reach}, {_FARTHEST} times the samples at hand")
    allocation: tuple[Share, ...] = ()
    solved = None
    if budget is not None:
        allocation, solved = _allocate(counts, model.base, budget)
    price = usd_per_sample
    return Plan(
        source=counts.source,
        target=target,
        level=level,
        k=k,
        k_low=k_low,
        k_high=k_high,
        samples=samples,
        samples_first_pass=first_pass,
        usd=None if samples is None or price is None else samples * price,
        usd_first_pass=None if first_pass is None or price is None else first_pass * price,
        allocation=allocation,
        expected_solved=solved,
        warnings=tuple(remarks),
    )


def _first(value: Any, target: float, reach: int) -> int | None:
    """The smallest k at which value(k), which rises with k, reaches the target."""
    if value(reach) < target:
        return None
    low, high = 1, reach
    while low < high:
        middle = int(np.sqrt(float(low) * high)) if high > 2 * low else (low + high) // 2
        middle = min(max(middle, low), high - 1)
        if value(middle) >= target:
            high = middle
        else:
            low = middle + 1
    return low


def _expected_draws(fit: hierarchy.Posterior, k: int) -> float:
    """Samples still to draw if each unsolved problem is sampled to its first PASS, or to k in all."""
    left = np.where(fit.c > 0, 0, np.maximum(k - fit.n, 0))
    belief = hierarchy.belief(fit)
    p = hierarchy.difficulties()
    fail = left[:, None] * np.log1p(-p)
    draws = np.where(p > 1e-12, -np.expm1(fail) / np.maximum(p, 1e-12), left[:, None])
    return float(fit.problems @ (belief * draws).sum(axis=1))


def _allocate(counts: Counts, fit: hierarchy.Posterior, budget: int) -> tuple[tuple[Share, ...], float]:
    """Give out the budget in small blocks, each to the problem where it most likely brings the first PASS."""
    belief, p = hierarchy.belief(fit), hierarchy.difficulties()
    group = {(int(n), int(c)): i for i, (n, c) in enumerate(zip(fit.n, fit.c, strict=True))}
    open_ = [i for i in range(len(counts)) if counts.c[i] == 0]
    if not open_ or budget == 0:
        return (), 0.0
    block = max(1, budget // _BLOCKS)
    given = dict.fromkeys(open_, 0)
    chances = {i: belief[group[int(counts.n[i]), 0]] for i in open_}
    heap = [(-_gain(chances[i], p, 0, block), i) for i in open_]
    heapq.heapify(heap)
    left = budget
    while left > 0:
        _, i = heapq.heappop(heap)
        step = min(block, left)
        given[i] += step
        left -= step
        heapq.heappush(heap, (-_gain(chances[i], p, given[i], block), i))
    shares = [Share(counts.problem_ids[i], m, _gain(chances[i], p, 0, m)) for i, m in given.items() if m]
    shares.sort(key=lambda share: -share.samples)
    return tuple(shares), float(sum(share.chance for share in shares))


def _gain(belief: FloatArray, p: FloatArray, drawn: int | IntArray, more: int) -> float:
    """Chance that the first PASS comes in `more` draws after `drawn` that bring none."""
    log_fail = np.log1p(-p)
    return float(belief @ (np.exp(drawn * log_fail) - np.exp((drawn + more) * log_fail)))

"""What a run's verifier gets wrong, seen from a stronger one: rates of false acceptance and rejection, and their price in
coverage. The stronger verdict is taken for the truth; where it errs itself, the rates are of disagreement."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vervet.errors import BadData
from vervet.estimate.coverage import check_grid, check_level, default_grid, pass_curve
from vervet.estimate.intervals import wilson
from vervet.records import FloatArray, IntArray

Codes = NDArray[np.integer[Any]]

_FAIL, _PASS = 0, 1
# codes of decided samples, as in `Policy.want`


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of samples, with an interval that knows that samples of a problem stand or fall together."""

    hits: int
    trials: int
    rate: float | None
    # None without trials
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class AgreementPoint:
    """Coverage at one k, of these problems."""

    k: int
    coverage: float
    # k draws hold a sample that the run's verifier accepts
    stronger: float
    # one that the stronger verifier accepts
    first_accepted: float
    # one that the run's verifier accepts, and the first such is right by the stronger one


@dataclass(frozen=True, slots=True)
class Agreement:
    """What `agreement` found."""

    source: str
    verifier: str
    stronger: str
    level: float
    problems: int
    samples: int
    # decided by both
    undecided: int
    # left out: UNKNOWN or pending for either
    false_positive: Rate
    # of the samples that the stronger verifier refuses, those accepted
    false_negative: Rate
    # of the samples that it accepts, those refused
    ceiling: float
    # of `first_accepted`, however many samples are drawn of these problems
    problems_accepting: tuple[str, ...]
    # with a false acceptance
    problems_refusing: tuple[str, ...]
    points: tuple[AgreementPoint, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document vervet.agreement/1."""
        plain = dataclasses.asdict(self)
        for name in ("problems_accepting", "problems_refusing", "points", "warnings"):
            plain[name] = list(plain[name])
        return {"schema": "vervet.agreement/1"} | plain


@dataclass(frozen=True, slots=True)
class Compared:
    """Whose verdicts they are."""

    source: str
    verifier: str
    stronger: str
    design: str = "fixed"


def agreement(who: Compared, own: Mapping[str, Codes], stronger: Mapping[str, Codes], level: float = 0.95) -> Agreement:
    """Rates, and coverage by both.

    Args: own, stronger: problem id -> codes of the same samples in index order (1 PASS, 0 FAIL, else undecided).
    Coverage is of the samples that both decided, up to the smallest number of them that a problem has.
    Raises: BadData where no sample is decided by both.
    """
    check_level(level)
    names, rows, undecided = [], [], 0
    for name, codes in own.items():
        a, b = np.asarray(codes), np.asarray(stronger[name])
        both = np.isin(a, (_FAIL, _PASS)) & np.isin(b, (_FAIL, _PASS))
        undecided += int((~both).sum())
        if both.any():
            names.append(name)
            rows.append([int((both & (a == x) & (b == y)).sum()) for x in (_FAIL, _PASS) for y in (_FAIL, _PASS)])
    if not rows:
        raise BadData(f"{who.source}: no sample is decided by both verifiers: `vervet verify` judges what is pending")
    refused, missed, slipped, sound = np.array(rows, dtype=np.int64).T
    accepted, right, n = slipped + sound, missed + sound, refused + missed + slipped + sound
    share = np.where(accepted > 0, sound / np.maximum(accepted, 1), 0.0)
    warnings = []
    if undecided:
        warnings.append(f"{undecided} samples are undecided by one of the two and left out")
    if who.design != "fixed":
        warnings.append(
            f"samples were collected by the policy {who.design}, which looks at verdicts: coverage is not shown"
        )
    grid = check_grid([int(k) for k in default_grid(n) if k <= n.min()]) if who.design == "fixed" else ()
    return Agreement(
        source=who.source,
        verifier=who.verifier,
        stronger=who.stronger,
        level=level,
        problems=len(names),
        samples=int(n.sum()),
        undecided=undecided,
        false_positive=rate(slipped, refused + slipped, level),
        false_negative=rate(missed, missed + sound, level),
        ceiling=float(share.mean()),
        problems_accepting=tuple(name for name, x in zip(names, slipped, strict=True) if x),
        problems_refusing=tuple(name for name, x in zip(names, missed, strict=True) if x),
        points=tuple(_point(int(k), n, accepted, right, share) for k in grid),
        warnings=tuple(warnings),
    )


def _point(k: int, n: IntArray, accepted: IntArray, right: IntArray, share: FloatArray) -> AgreementPoint:
    # the first accepted of k draws is any accepted sample of the problem with equal chance
    own, other = pass_curve(n, accepted, [k])[0], pass_curve(n, right, [k])[0]
    return AgreementPoint(k, float(own.mean()), float(other.mean()), float((own * share).mean()))


def rate(hits: IntArray, trials: IntArray, level: float = 0.95) -> Rate:
    """A share over problems' samples, and Wilson's interval at the number of independent samples that they are worth.

    Args: hits, trials: per problem. Samples of one problem tend to fail together (often they are one answer many times), so
    trials are divided by the design effect, the variance of the share between problems over that of independent
    samples, at least 1. Where no or every sample hits, it cannot be estimated: then each problem counts as one trial.
    Source: Korn and Graubard 1998 (Survey Methodology 24), with Wilson's interval.
    """
    x, m = int(hits.sum()), int(trials.sum())
    if not m:
        return Rate(0, 0, None, None, None)
    share, some = x / m, trials > 0
    clusters = int(some.sum())
    worth = float(clusters)
    if 0 < x < m and clusters > 1:
        residual = (hits - share * trials)[some].astype(np.float64)
        variance = clusters / (clusters - 1) * float((residual**2).sum()) / m**2
        worth = min(float(m), max(1.0, share * (1 - share) / variance)) if variance > 0 else float(m)
    low, high = wilson(share * worth, worth, level)
    return Rate(x, m, share, float(low), float(high))

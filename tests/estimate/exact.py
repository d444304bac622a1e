"""Exact rational arithmetic that the estimators are held against."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb


def pass_at_k(n: int, c: int, k: int) -> Fraction:
    """1 - C(n-c, k) / C(n, k), exactly."""
    few, many = min(c, k), max(c, k)
    if n - c < k:
        return Fraction(1)
    top = bottom = 1
    for i in range(few):
        top *= n - many - i
        bottom *= n - i
    return 1 - Fraction(top, bottom)


def at_least(n: int, c: int, k: int, j: int) -> Fraction:
    """Chance that k of n samples hold at least j of the c right ones."""
    return Fraction(sum(comb(c, x) * comb(n - c, k - x) for x in range(j, min(c, k) + 1) if k - x <= n - c), comb(n, k))


def enumerated(n: int, c: int, k: int, j: int = 1) -> Fraction:
    """The same by looking at every subset."""
    subsets = list(combinations([True] * c + [False] * (n - c), k))
    return Fraction(sum(sum(s) >= j for s in subsets), len(subsets))

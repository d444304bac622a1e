"""The policies' suite: what we ship conforms, and each broken policy is caught by the check made for it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from tests.testing.controls import Control, assert_caught, assert_every_check_is_controlled
from vervet.policies.fixed import Fixed
from vervet.testing import policies

Rows = Mapping[str, Sequence[int]]


@pytest.mark.parametrize("n", [1, 10, 1000])
def test_fixed_conforms(n: int) -> None:
    policies.conform_to_policy(lambda: Fixed(n))


class Base:
    """A sequential policy that conforms: until the first PASS, 64 at most, in whole blocks of eight."""

    design = "first-pass"

    def want(self, rows: Rows) -> dict[str, int]:
        return {p: self.one(p, row) for p, row in rows.items()}

    def one(self, problem: str, row: Sequence[int]) -> int:
        done = 1 in row or len(row) >= 64
        return -(-(len(row) + (not done)) // 8) * 8


class FirstPass(Base):
    """Wants what the first PASS in index order needed, and no more."""

    def one(self, problem: str, row: Sequence[int]) -> int:
        return list(row).index(1) + 1 if 1 in row else super().one(problem, row)


def test_a_sequential_policy_conforms() -> None:
    policies.conform_to_policy(Base)
    policies.conform_to_policy(FirstPass, monotone=False)


class Leaves(Base):
    def want(self, rows: Rows) -> dict[str, int]:
        return {p: n for p, n in super().want(rows).items() if 1 not in rows[p]}


class Invents(Base):
    def want(self, rows: Rows) -> dict[str, int]:
        return {**super().want(rows), "p0": 1}


class Fractions(Base):
    def one(self, problem: str, row: Sequence[int]) -> int:
        return 10.0  # type: ignore[return-value]


class Chancy(Base):
    def one(self, problem: str, row: Sequence[int]) -> int:
        return random.randrange(1000)


class Remembers(Base):
    def __init__(self) -> None:
        self._seen: set[str] = set()

    def one(self, problem: str, row: Sequence[int]) -> int:
        self._seen.add(problem)
        return len(self._seen)


class Mutates(Base):
    def one(self, problem: str, row: Sequence[int]) -> int:
        row.sort()  # type: ignore[attr-defined]
        return 1


class MutatesLists(Base):
    def one(self, problem: str, row: Sequence[int]) -> int:
        if isinstance(row, list):
            row.append(1)
        return 1


class Endless(Base):
    def one(self, problem: str, row: Sequence[int]) -> int:
        return len(row) if 1 in row else 2 * len(row) + 1


class Peeks(Base):
    design = "fixed"


class Uneven(Base):
    design = "fixed"

    def one(self, problem: str, row: Sequence[int]) -> int:
        return 10 + (problem == "p1")


CONTROLS: dict[str, Control] = {
    "check_answer: leaves problems out": (lambda: policies.check_answer(Leaves), "covers every problem"),
    "check_answer: invents one": (lambda: policies.check_answer(Invents), "invents"),
    "check_answer: no whole numbers": (lambda: policies.check_answer(Fractions), "whole numbers"),
    "check_answer: no list needed": (lambda: policies.check_answer(Mutates), "only reads its rows"),
    "check_pure: throws dice": (lambda: policies.check_pure(Chancy), "another answer"),
    "check_pure: remembers": (lambda: policies.check_pure(Remembers), "another answer"),
    "check_pure: changes rows": (lambda: policies.check_pure(MutatesLists), "changed its rows"),
    "check_monotone: falls": (lambda: policies.check_monotone(FirstPass), "fewer are wanted"),
    "check_ends: endless": (lambda: policies.check_ends(Endless, most=5000), "when does it end"),
    "check_fixed_is_blind: looks": (lambda: policies.check_fixed_is_blind(Peeks), "depends on outcomes"),
    "check_fixed_is_blind: uneven": (lambda: policies.check_fixed_is_blind(Uneven), "same n everywhere"),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_broken_policy_is_caught(name: str) -> None:
    assert_caught(CONTROLS[name])


def test_every_check_has_a_control() -> None:
    assert_every_check_is_controlled(policies, CONTROLS, set())

"""The scorers' and selectors' suites: the references conform, and each broken part is caught by the check made for it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.testing.controls import Control, assert_caught, assert_every_check_is_controlled
from vervet.protocols import Scorer, Selector
from vervet.records import Problem, Sample
from vervet.testing import scorers, selectors
from vervet.testing.scorers import LengthScorer, conform_to_scorer
from vervet.testing.selectors import FirstSelector, conform_to_selector

PROBLEM = Problem("p", {})
SAMPLES = [Sample("p", i, "x" * (i % 5), "stop", 1, i, answer="abab-"[i % 5]) for i in range(7)]


# ------------------------------------------------------------------------------------------------------ scorers


def test_the_reference_scorer_conforms() -> None:
    assert isinstance(LengthScorer(), Scorer)
    conform_to_scorer(LengthScorer, PROBLEM, SAMPLES)


class Changing(LengthScorer):
    count = 0

    def settings(self) -> Mapping[str, Any]:
        Changing.count += 1
        return {"n": Changing.count}


class Unplain(LengthScorer):
    def settings(self) -> Mapping[str, Any]:
        return {"f": print}


class NotANumber(LengthScorer):
    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        return [float("nan") for _ in samples]


class Drops(LengthScorer):
    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        return [s for s in await super().score(problem, samples) if s is not None]


class Sorts(LengthScorer):
    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        if isinstance(samples, list):
            samples.sort(key=lambda s: -s.index)
        return await super().score(problem, samples)


class Ranks(LengthScorer):
    """A score that depends on the company."""

    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        return [float(i) for i, _ in enumerate(samples)]


class Dices(LengthScorer):
    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        return [random.random() for _ in samples]


class Frail(LengthScorer):
    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        return [float(len(s.text.encode())) for s in samples]


class Holds(LengthScorer):
    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        time.sleep(0.3)  # noqa: ASYNC251  that is what is broken
        return await super().score(problem, samples)


class ClosesOnce(LengthScorer):
    closed = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


SCORERS: dict[str, Control] = {
    "check_identity: settings change": (lambda: scorers.check_identity(Changing), "same fingerprint"),
    "check_identity: settings are not plain": (lambda: scorers.check_identity(Unplain), "plain JSON"),
    "check_shape: nan": (lambda: scorers.check_shape(NotANumber, PROBLEM, SAMPLES), "finite"),
    "check_shape: drops": (lambda: scorers.check_shape(Drops, PROBLEM, SAMPLES), "one score a sample"),
    "check_shape: sorts its input": (lambda: scorers.check_shape(Sorts, PROBLEM, SAMPLES), "changed the list"),
    "check_order: ranks": (lambda: scorers.check_order(Ranks, PROBLEM, SAMPLES), "among others or alone"),
    "check_order: throws dice": (lambda: scorers.check_order(Dices, PROBLEM, SAMPLES), "among others or alone"),
    "check_hostile: encodes": (lambda: scorers.check_hostile(Frail, PROBLEM, SAMPLES), "lone surrogates"),
    "check_loop_is_free: sleeps": (lambda: scorers.check_loop_is_free(Holds, PROBLEM, SAMPLES), "held the event loop"),
    "check_close: not twice": (lambda: scorers.check_close(ClosesOnce), "second time"),
}


@pytest.mark.parametrize("name", SCORERS)
def test_a_broken_scorer_is_caught(name: str) -> None:
    assert_caught(SCORERS[name])


def test_every_check_of_scorers_has_a_control() -> None:
    assert_every_check_is_controlled(scorers, SCORERS, set())


# ------------------------------------------------------------------------------------------------------ selectors


class Majority:
    """The most frequent answer, ties to the smallest: a selector that does not look at the order."""

    def choose(self, samples: Sequence[Sample]) -> int | None:
        counts = Counter(s.answer for s in samples if s.answer is not None)
        if not counts:
            return None
        best = min(counts, key=lambda a: (-counts[a], a))
        return [s.answer for s in samples].index(best)


def test_reference_selectors_conform() -> None:
    assert isinstance(FirstSelector(), Selector)
    conform_to_selector(FirstSelector, SAMPLES)
    conform_to_selector(Majority, SAMPLES, order_free=True)


class Last(FirstSelector):
    """An index from the end: -1."""

    def choose(self, samples: Sequence[Sample]) -> int | None:
        return -1 if samples else None


class Crashes(FirstSelector):
    def choose(self, samples: Sequence[Sample]) -> int | None:
        return max(range(len(samples)), key=lambda i: samples[i].answer or "")


class Unanswered(FirstSelector):
    def choose(self, samples: Sequence[Sample]) -> int | None:
        return 0 if samples else None


class Random(FirstSelector):
    def choose(self, samples: Sequence[Sample]) -> int | None:
        return random.choice([i for i, s in enumerate(samples) if s.answer is not None] or [None])  # type: ignore[list-item]


class SortsSamples(FirstSelector):
    def choose(self, samples: Sequence[Sample]) -> int | None:
        if isinstance(samples, list):
            samples.reverse()
            return None
        return None


SELECTORS: dict[str, Control] = {
    "check_choice: from the end": (lambda: selectors.check_choice(Last, SAMPLES), "a position in 0 to"),
    "check_choice: raises": (lambda: selectors.check_choice(Crashes, SAMPLES), "None means no choice"),
    "check_choice: no answer": (lambda: selectors.check_choice(Unanswered, SAMPLES), "no answer to hand back"),
    # False alarm of the control: each of about seven cases repeats by chance, below 1e-3 together.
    "check_pure: throws dice": (lambda: [selectors.check_pure(Random, SAMPLES) for _ in range(3)], "another choice"),
    "check_pure: reverses its input": (lambda: selectors.check_pure(SortsSamples, SAMPLES), "changed the list"),
    "check_order: first": (lambda: selectors.check_order(FirstSelector, SAMPLES), "in another order"),
}


@pytest.mark.parametrize("name", SELECTORS)
def test_a_broken_selector_is_caught(name: str) -> None:
    assert_caught(SELECTORS[name])


def test_every_check_of_selectors_has_a_control() -> None:
    assert_every_check_is_controlled(selectors, SELECTORS, set())

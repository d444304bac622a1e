"""What every selector promises, as checks, and `FirstSelector`, the reference: see `vervet.protocols.Selector`.

`build` makes a new selector each time it is called; `samples` are two or more samples of one problem with what the
selector looks at: answers, outcomes, scores.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from vervet.protocols import Selector
from vervet.records import Sample
from vervet.testing._suite import call, require, rotations, run_all, short

Build = Callable[[], Selector]


class FirstSelector:
    """The first sample with an answer; None where there is none. It depends on the samples' order, as it says."""

    def choose(self, samples: Sequence[Sample]) -> int | None:
        return next((i for i, s in enumerate(samples) if s.answer is not None), None)


def conform_to_selector(build: Build, samples: Sequence[Sample], *, order_free: bool = False) -> None:
    """Run every check of a selector.

    Args: order_free: the answer picked does not depend on the samples' order.
    Raises: AssertionError that lists the broken promises.
    """
    checks = [call(check_choice, build, samples), call(check_pure, build, samples)]
    if order_free:
        checks.append(call(check_order, build, samples))
    run_all("selector", *checks)


def _cases(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Beginnings of the samples, all of one kind, and samples that have lost their answers, all or some."""
    without = [dataclasses.replace(s, answer=None) for s in samples]
    mixed = [*without[:1], *samples[1:]]
    return [*(list(samples[:n]) for n in range(len(samples) + 1)), [samples[0]] * 3, without, mixed]


def check_choice(build: Build, samples: Sequence[Sample]) -> None:
    """It picks a position among the samples that has an answer, or None; None where no sample has an answer."""
    selector = build()
    for case in _cases(samples):
        try:
            choice = selector.choose(case)
        except Exception as error:
            raise AssertionError(f"choose() on {len(case)} samples raised {error!r}: None means no choice") from error
        if choice is None:
            continue
        require(type(choice) is int, f"choose() gives a position or None, not {short(choice)}")
        require(case, "out of no samples nothing can be chosen: None")
        require(0 <= choice < len(case), f"choose() gives a position in 0 to {len(case) - 1}, not {choice}")
        require(case[choice].answer is not None, f"sample {choice} has no answer to hand back, and was chosen")


def check_pure(build: Build, samples: Sequence[Sample]) -> None:
    """The same samples give the same choice, from a new selector too, and are not changed."""
    selector = build()
    for case in _cases(samples):
        given, first = list(case), selector.choose(tuple(case))
        require(selector.choose(given) == first, "the same samples get another choice the second time, or as a list")
        require(given == case, "choose() changed the list of samples")
        require(build().choose(case) == first, "the same samples get another choice from a new selector")


def check_order(build: Build, samples: Sequence[Sample]) -> None:
    """The answer picked does not depend on the samples' order."""
    selector = build()
    for case in _cases(samples):
        answers = {_picked(selector, order) for order in rotations(case)} if case else set()
        require(len(answers) <= 1, f"in another order another answer is picked: {sorted(map(short, answers))}")


def _picked(selector: Selector, samples: Sequence[Sample]) -> str | None:
    choice = selector.choose(samples)
    return None if choice is None else samples[choice].answer

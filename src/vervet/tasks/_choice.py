"""Which problems, and which examples before them: seeded choices that do not depend on anything but their seed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

from vervet.errors import BadData, BadOption
from vervet.records import Problem

T = TypeVar("T")


def subset(problems: Sequence[Problem], size: int | None, seed: int) -> tuple[Problem, ...]:
    """`size` problems drawn without replacement, in the data set's order; all where `size` is None. Raises: BadOption."""
    if size is None:
        return tuple(problems)
    if not 1 <= size <= len(problems):
        raise BadOption(f"-T subset={size}: there are {len(problems)} problems")
    kept = set(random.Random(seed).sample(range(len(problems)), size))  # noqa: S311  a choice, not a secret
    return tuple(p for i, p in enumerate(problems) if i in kept)


def drawn(pool: Sequence[T], size: int, seed: int, problem_id: str) -> tuple[T, ...]:
    """`size` examples for one problem. Raises: BadOption where the pool is too small."""
    if size > len(pool):
        raise BadOption(f"-T shots={size}: there are only {len(pool)} examples to draw from")
    return tuple(random.Random(f"{seed} {problem_id}").sample(pool, size))  # noqa: S311  a choice, not a secret


def paper_draw(pool: Sequence[T], shots: int, problems: int) -> tuple[list[int], list[tuple[T, ...]]]:
    """The order of problems and each one's examples, drawn as the code of "Large Language Monkeys" does.

    One generator, seed 0: examples for every problem first, then the shuffle. Raises: BadOption where the pool is too small.
    """
    if shots > len(pool):
        raise BadOption(f"-T shots={shots}: there are only {len(pool)} examples to draw from")
    generator = random.Random(0)  # noqa: S311  a choice, not a secret
    examples = [tuple(generator.sample(pool, shots)) for _ in range(problems)]
    order = list(range(problems))
    generator.shuffle(order)
    return order, examples


def refuse_leaks(problem_id: str, question: str, shown: Iterable[str]) -> None:
    """Raise BadData where an example shown before a problem is that problem: blanks and case do not hide it."""
    key = _key(question)
    if any(_key(example) == key for example in shown):
        raise BadData(
            f"problem {problem_id!r} is also one of the examples in its own prompt: take it out of the examples (-T train=FILE)"
        )


def _key(text: str) -> str:
    return " ".join(text.split()).casefold()

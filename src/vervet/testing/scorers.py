"""What every scorer promises, as checks, and `LengthScorer`, the reference: see `vervet.protocols.Scorer`.

`build` makes a new scorer each time it is called; `samples` are two or more samples of `problem`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vervet.protocols import Scorer
from vervet.records import Problem, Sample, fingerprint
from vervet.testing import hostile
from vervet.testing._suite import (
    LIMIT_S,
    Ticker,
    call,
    check_close,
    is_plain_json,
    opened,
    require,
    rotations,
    run,
    run_all,
    short,
)

Build = Callable[[], Scorer]
_HELD_S = 1.0
_TOLERANCE = 1e-6
# relative: a batch on an accelerator adds up in another order


class LengthScorer:
    """Shorter is better: minus the number of characters; None for an empty text."""

    name = "length"
    version = "1"

    def settings(self) -> Mapping[str, Any]:
        return {}

    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:  # noqa: ARG002  the seam's
        return [-float(len(s.text)) if s.text else None for s in samples]

    async def aclose(self) -> None:
        """Nothing to close."""


def conform_to_scorer(
    build: Build,
    problem: Problem,
    samples: Sequence[Sample],
    *,
    repeats: bool = True,
    size: int = 1 << 16,
    limit_s: float = LIMIT_S,
) -> None:
    """Run every check of a scorer.

    Args: repeats: the same sample gets the same score again, alone or among others (False for a judge that samples).
        size: of the hostile texts, characters.  limit_s: for one check.
    Raises: AssertionError that lists the broken promises.
    """
    checks = [
        call(check_identity, build),
        call(check_shape, build, problem, samples, limit_s=limit_s),
        call(check_hostile, build, problem, samples, size=size, limit_s=limit_s),
        call(check_loop_is_free, build, problem, samples, limit_s=limit_s),
        call(check_close, build, lambda scorer: scorer.score(problem, samples)),
    ]
    if repeats:
        checks.append(call(check_order, build, problem, samples, limit_s=limit_s))
    run_all("scorer", *checks)


def check_identity(build: Build) -> None:
    """Name, version and settings are plain and the same each time: hashed, they name its scores."""
    scorer = build()
    require(isinstance(scorer.name, str) and scorer.name, "a scorer has a name")
    require(isinstance(scorer.version, str) and scorer.version, "version is text that is not empty")
    require(is_plain_json(scorer.settings()), f"settings() is plain JSON, not {short(scorer.settings())}")
    marks = {fingerprint(s.name, s.version, s.settings()) for s in (scorer, build())}
    require(len(marks) == 1, "two scorers built alike have the same fingerprint")


def check_shape(build: Build, problem: Problem, samples: Sequence[Sample], *, limit_s: float = LIMIT_S) -> None:
    """One score a sample, finite or None; no samples, no scores; the samples stay as they were."""

    async def work() -> None:
        async with opened(build) as scorer:
            require(await _score(scorer, problem, []) == [], "no samples give no scores")
            given = list(samples)
            for some in (given[:1], given[:2], given):
                await _score(scorer, problem, some)
            await _score(scorer, problem, tuple(given))
            require(given == list(samples), "score() changed the list of samples")

    run(work, limit_s)


async def _score(scorer: Scorer, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
    scores = await scorer.score(problem, samples)
    require(
        isinstance(scores, list) and len(scores) == len(samples),
        f"score() gives a list of one score a sample: {len(samples)} samples, {short(scores)}",
    )
    for score in scores:
        number = isinstance(score, (int, float)) and not isinstance(score, bool)
        require(score is None or number, f"a score is a number or None, not {short(score)}")
        require(score is None or math.isfinite(score), f"a score is finite, or None where there is none; not {score!r}")
    return scores


def check_order(build: Build, problem: Problem, samples: Sequence[Sample], *, limit_s: float = LIMIT_S) -> None:
    """A sample's score does not depend on its company, its place, the instance or what else is scored meanwhile."""

    async def work() -> None:
        async with opened(build) as scorer, opened(build) as other:
            by_sample = dict(zip(map(_key, samples), await _score(scorer, problem, list(samples)), strict=True))
            groups = [*rotations(list(samples)), *([s] for s in samples)]
            found = await asyncio.gather(*(_score(scorer, problem, g) for g in groups), _score(other, problem, samples))
            for group, scores in zip([*groups, samples], found, strict=True):
                for sample, score in zip(group, scores, strict=True):
                    before = by_sample[_key(sample)]
                    require(
                        _close(score, before),
                        f"sample {sample.index} is scored {before} and, among others or alone, {score} (repeats=False "
                        "allows it)",
                    )

    run(work, limit_s)


def _key(sample: Sample) -> tuple[str, int]:
    return sample.problem_id, sample.index


def _close(one: float | None, two: float | None) -> bool:
    if one is None or two is None:
        return one is two
    return math.isclose(one, two, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def check_hostile(
    build: Build, problem: Problem, samples: Sequence[Sample], *, size: int = 1 << 16, limit_s: float = LIMIT_S
) -> None:
    """Any text gets a finite score or None, and so does a sample without an answer."""

    async def work() -> None:
        async with opened(build) as scorer:
            for name, text in hostile.texts(size).items():
                odd = dataclasses.replace(samples[0], text=text, answer=None)
                try:
                    await _score(scorer, problem, [odd, samples[1]])
                except AssertionError:
                    raise
                except Exception as error:
                    raise AssertionError(f"score() never raises; on a text of {name} it raised {error!r}") from error

    run(work, limit_s)


def check_loop_is_free(build: Build, problem: Problem, samples: Sequence[Sample], *, limit_s: float = LIMIT_S) -> None:
    """While samples are scored, other work in the event loop goes on."""

    async def work() -> None:
        async with opened(build) as scorer, Ticker() as ticker:
            await scorer.score(problem, samples)
        require(ticker.longest_s < _HELD_S, f"score() held the event loop for {ticker.longest_s:.2f} s")

    run(work, limit_s)

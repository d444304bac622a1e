"""What every verifier promises, as checks: see `vervet.protocols.Verifier`.

`build` makes a new verifier each time it is called; `problem` is one that it can judge, `right` and `wrong` are answers to
it that PASS and FAIL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vervet.errors import BadData, MissingPart
from vervet.protocols import Verifier
from vervet.records import Outcome, Problem, Reason, Strength, Verdict, fingerprint
from vervet.testing import hostile
from vervet.testing._suite import (
    LIMIT_S,
    Ticker,
    call,
    check_close,
    discard,
    is_plain_json,
    opened,
    require,
    rotations,
    run,
    run_all,
    short,
)

Build = Callable[[], Verifier]
_LOG_CHARS = 16_384
# "a few kB"
_HELD_S = 1.0
_AT_ONCE = 8
_UNKNOWN_REASONS = {
    Reason.SANDBOX,
    Reason.STARVED,
    Reason.VERIFIER,
    Reason.UNAVAILABLE,
    Reason.NO_TESTS,
    Reason.NO_VERDICT,
}


def conform_to_verifier(
    build: Build,
    problem: Problem,
    *,
    right: str,
    wrong: str,
    malformed: Sequence[Mapping[str, Any]] = (),
    variants: Sequence[Build] = (),
    unavailable: Build | None = None,
    size: int = hostile.MEGABYTE,
    limit_s: float = LIMIT_S,
) -> None:
    """Run every check of a verifier.

    Args: malformed: checks that `load` has to refuse.  variants: build verifiers whose settings can change a verdict.
        unavailable: builds one whose service or program is not there.  size: of the hostile answers, characters.
        limit_s: for one check.
    Raises: AssertionError that lists the broken promises.
    """
    checks = [
        call(check_identity, build),
        call(check_settings, build, variants),
        call(check_load, build, problem, malformed),
        call(check_outcomes, build, problem, right=right, wrong=wrong, limit_s=limit_s),
        call(check_batch, build, problem, right=right, wrong=wrong, limit_s=limit_s),
        call(check_repeat, build, problem, right=right, wrong=wrong, limit_s=limit_s),
        call(check_hostile, build, problem, right=right, size=size, limit_s=limit_s),
        call(check_concurrent, build, problem, right=right, wrong=wrong, limit_s=limit_s),
        call(check_loop_is_free, build, problem, right=right, wrong=wrong, limit_s=limit_s),
        call(check_close, build, lambda verifier: verifier.verify(problem, [right])),
    ]
    if unavailable is not None:
        checks.append(call(check_unavailable, unavailable, problem, right=right, wrong=wrong, limit_s=limit_s))
    run_all("verifier", *checks)


# ------------------------------------------------------------------------------------------------------ who it is


def check_identity(build: Build) -> None:
    """Name, version, needs and settings are plain and the same each time: hashed, they name its verdicts."""
    verifier = build()
    require(isinstance(verifier.name, str) and verifier.name, "a verifier has a name")
    require(isinstance(verifier.version, str) and verifier.version, "version is text that is not empty")
    require(isinstance(verifier.needs, frozenset), f"needs is a frozenset of names, not {short(verifier.needs)}")
    settings = verifier.settings()
    require(is_plain_json(settings), f"settings() is plain JSON, not {short(settings)}")
    require(_mark(build()) == _mark(verifier), "two verifiers built alike have the same fingerprint")


def check_settings(build: Build, variants: Sequence[Build] = ()) -> None:
    """The class takes its own settings back, and a setting that can change a verdict changes the fingerprint."""
    verifier = build()
    kind: Any = type(verifier)
    try:
        again = kind(**verifier.settings())
    except TypeError as error:
        raise AssertionError(f"the class takes what settings() gives: Class(**settings()) raised {error}") from error
    require(_mark(again) == _mark(verifier), "Class(**settings()) has the same fingerprint")
    marks = [_mark(b()) for b in (build, *variants)]
    require(
        len(set(marks)) == len(marks),
        "verifiers whose settings can change a verdict differ in their fingerprint (settings() must hold the setting)",
    )


def _mark(verifier: Verifier) -> str:
    """Its fingerprint; it is closed after that."""
    mark = fingerprint(verifier.name, verifier.version, verifier.settings())
    discard(verifier)
    return mark


# ------------------------------------------------------------------------------------------------------ what it reads


def check_load(build: Build, problem: Problem, malformed: Sequence[Mapping[str, Any]] = ()) -> None:
    """`load` takes a good check and refuses a malformed one with BadData that names the problem."""
    verifier = build()
    verifier.load(problem)
    for check in malformed:
        bad = Problem("the-malformed-one", check, problem.data, problem.reference)
        try:
            verifier.load(bad)
        except BadData as error:
            require(
                "the-malformed-one" in str(error), f"BadData names the problem whose check is malformed, not: {error}"
            )
        except Exception as error:
            raise AssertionError(f"load() refuses the check {short(check)} with BadData, not {error!r}") from error
        else:
            raise AssertionError(f"load() refuses a malformed check; it took {short(check)}")
    discard(verifier)


# ------------------------------------------------------------------------------------------------------ verdicts


def check_outcomes(build: Build, problem: Problem, *, right: str, wrong: str, limit_s: float = LIMIT_S) -> None:
    """The right answer PASSes, the wrong one FAILs, in whatever order they come; no answers give no verdicts.

    `load` is not called before: a worker builds a verifier and verifies.
    """

    async def work() -> None:
        async with opened(build) as verifier:
            require(await verifier.verify(problem, []) == [], "no answers give no verdicts")
            for answers in rotations([right, wrong, right, right, wrong]):
                verdicts = await _verify(verifier, problem, answers)
                for answer, verdict in zip(answers, verdicts, strict=True):
                    wanted = Outcome.PASS if answer == right else Outcome.FAIL
                    require(
                        verdict.outcome is wanted,
                        f"{short(answer)} is {wanted}; among {len(answers)} answers it was judged {verdict.outcome} "
                        f"({verdict.reason}) {verdict.log[:200]}: one verdict an answer, in the answers' order",
                    )

    run(work, limit_s)


def check_batch(build: Build, problem: Problem, *, right: str, wrong: str, limit_s: float = LIMIT_S) -> None:
    """A batch gets the verdicts that its answers get one by one."""
    answers = [wrong, right, "", "no such answer", right + " ", wrong]

    async def work() -> None:
        async with opened(build) as verifier:
            batch = await _verify(verifier, problem, answers)
            single = [(await _verify(verifier, problem, [a]))[0] for a in answers]
            for answer, one, other in zip(answers, batch, single, strict=True):
                require(
                    _gist(one) == _gist(other),
                    f"{short(answer)} is judged {_gist(one)} in a batch and {_gist(other)} alone",
                )

    run(work, limit_s)


def check_repeat(build: Build, problem: Problem, *, right: str, wrong: str, limit_s: float = LIMIT_S) -> None:
    """The same answer gets the same verdict again, from another verifier built alike too."""
    answers = [right, wrong, "no such answer"]

    async def work() -> None:
        async with opened(build) as first, opened(build) as second:
            verdicts = [_gist(v) for v in await _verify(first, problem, answers)]
            for again in (first, second, first):
                found = [_gist(v) for v in await _verify(again, problem, answers)]
                require(found == verdicts, f"the same answers are judged {verdicts} and then {found}")

    run(work, limit_s)


def check_hostile(
    build: Build, problem: Problem, *, right: str, size: int = hostile.MEGABYTE, limit_s: float = LIMIT_S
) -> None:
    """No answer makes it raise, none of the hostile ones PASSes, and after them it still knows the right one."""

    async def work() -> None:
        async with opened(build) as verifier:
            for name, text in hostile.texts(size).items():
                try:
                    [verdict] = await _verify(verifier, problem, [text])
                except AssertionError:
                    raise
                except Exception as error:
                    raise AssertionError(
                        f"verify() never raises; on an answer of {name} it raised {error!r}"
                    ) from error
                require(verdict.outcome is not Outcome.PASS, f"an answer of {name} PASSed")
            [verdict] = await _verify(verifier, problem, [right])
            require(verdict.outcome is Outcome.PASS, f"after hostile answers the right one was judged {_gist(verdict)}")

    run(work, limit_s)


def check_concurrent(build: Build, problem: Problem, *, right: str, wrong: str, limit_s: float = LIMIT_S) -> None:
    """Several calls at once get the verdicts that they get one after another."""

    async def work() -> None:
        async with opened(build) as verifier:
            batches = [[right, wrong][: 1 + i % 2] if i % 3 else [wrong] for i in range(_AT_ONCE)]
            found = await asyncio.gather(*(_verify(verifier, problem, b) for b in batches))
            for batch, verdicts in zip(batches, found, strict=True):
                wanted = [Outcome.PASS if a == right else Outcome.FAIL for a in batch]
                got = [v.outcome for v in verdicts]
                require(got == wanted, f"{_AT_ONCE} calls at once: {got} instead of {wanted}: verdicts are mixed up")

    run(work, limit_s)


def check_loop_is_free(build: Build, problem: Problem, *, right: str, wrong: str, limit_s: float = LIMIT_S) -> None:
    """While answers are judged, other work in the event loop goes on: sampling shares it."""

    async def work() -> None:
        async with opened(build) as verifier, Ticker() as ticker:
            await verifier.verify(problem, [right, wrong] * 4)
        require(ticker.longest_s < _HELD_S, f"verify() held the event loop for {ticker.longest_s:.2f} s")

    run(work, limit_s)


def check_unavailable(build: Build, problem: Problem, *, right: str, wrong: str, limit_s: float = LIMIT_S) -> None:
    """Where the service or program that it needs is not there, answers are UNKNOWN, never FAIL or PASS.

    ConnectionError and MissingPart may be raised instead: whoever calls makes UNKNOWN of them.
    """

    async def work() -> None:
        async with opened(build) as verifier:
            try:
                verdicts = await _verify(verifier, problem, [right, wrong])
            except (ConnectionError, MissingPart):
                return
            for verdict in verdicts:
                require(
                    verdict.outcome is Outcome.UNKNOWN,
                    f"without its service a verifier knows nothing; it said {_gist(verdict)}: FAIL is about the answer",
                )

    run(work, limit_s)


async def _verify(verifier: Verifier, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
    """Verdicts that are well formed."""
    verdicts = await verifier.verify(problem, answers)
    require(
        isinstance(verdicts, list) and len(verdicts) == len(answers),
        f"verify() gives a list of one verdict an answer: {len(answers)} answers, {short(verdicts)}",
    )
    for verdict in verdicts:
        require_verdict(verdict)
    return verdicts


def require_verdict(verdict: Verdict) -> None:
    """Raises: AssertionError where a verdict is not well formed."""
    require(isinstance(verdict, Verdict), f"verify() gives Verdict records, not {short(verdict)}")
    require(isinstance(verdict.outcome, Outcome), f"outcome is PASS, FAIL or UNKNOWN, not {verdict.outcome!r}")
    require(isinstance(verdict.reason, Reason), f"reason is out of the closed list, not {verdict.reason!r}")
    require(isinstance(verdict.strength, Strength), f"strength is out of the closed list, not {verdict.strength!r}")
    about_us = verdict.reason in _UNKNOWN_REASONS
    require(
        about_us == (verdict.outcome is Outcome.UNKNOWN) and (verdict.reason is Reason.ACCEPTED) == _passed(verdict),
        f"the reason {verdict.reason} does not go with {verdict.outcome}",
    )
    require(isinstance(verdict.log, str), f"log is text, not {short(verdict.log)}")
    require(len(verdict.log) <= _LOG_CHARS, f"a log has a few kB at most, not {len(verdict.log):,} characters")
    require(verdict.cpu_s is None or verdict.cpu_s >= 0, f"cpu_s is a time or None, not {verdict.cpu_s!r}")


def _passed(verdict: Verdict) -> bool:
    return verdict.outcome is Outcome.PASS


def _gist(verdict: Verdict) -> tuple[str, str]:
    return str(verdict.outcome), str(verdict.reason)

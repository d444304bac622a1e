"""Gates for tests and continuous integration: a pass rate that is shown, not hoped for.

def test_the_prompt_still_works():
    vervet.assert_pass_rate(lambda: check(ask(PROMPT)), at_least=0.8, n=50)
    vervet.assert_pass_rate("runs/he", at_least=0.6, k=10)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vervet.analysis.gate import Gate, Judged, judge, least_passes, lower_limit, parse
from vervet.api.existing import Run
from vervet.api.statistics import sources
from vervet.errors import BadOption, CheckFailed
from vervet.records import Counts

_MOST = 1_000_000


class PassRateTooLow(CheckFailed, AssertionError):
    """A gate did not hold; pytest reports it as a failed assertion."""


def gate(source: Counts | Run | Path | str, text: str | Gate, design: str | None = None) -> list[Judged]:
    """What a gate such as "pass@10>=0.8 @95%" says of each source. Raises: UserError."""
    wanted = parse(text) if isinstance(text, str) else text
    return [judge(counts, wanted, design) for counts in sources(source, None)]


def assert_pass_rate(
    source: Counts | Run | Path | str | Callable[[], bool],
    at_least: float,
    *,
    k: int = 1,
    level: float = 0.95,
    n: int | None = None,
) -> None:
    """Passes where the data show, at this level, that the pass rate (pass@k) is `at_least` or more.

    Args: source: counts, a run, or a path to either; or a function that tries once and says whether it passed, which is called
        up to `n` times, independently, and no more often than the decision takes.  n: for a function only.
    A prompt whose rate is exactly `at_least` passes with a probability of 1 - level at most.
    Raises: PassRateTooLow (an AssertionError) where they do not show it; BadOption where n tries cannot show it at all;
        whatever the function raises.
    """
    wanted = Gate(k, at_least, level)
    if callable(source):
        _assert_tries(source, wanted, n)
        return
    if n is not None:
        raise BadOption("assert_pass_rate: n is for a function; a run and counts have their own")
    missed = [str(found) for found in gate(source, wanted) if not found.holds]
    if missed:
        raise PassRateTooLow("; ".join(missed))


def _assert_tries(attempt: Callable[[], bool], wanted: Gate, n: int | None) -> None:
    if wanted.k != 1 or n is None or n < 1 or wanted.level is None:
        raise BadOption("assert_pass_rate: a function is tried n times, at k = 1: say n")
    need = least_passes(n, wanted.least, wanted.level)
    if need is None:
        enough = next(m for m in _doubling(n) if least_passes(m, wanted.least, wanted.level) is not None)
        raise BadOption(
            f"assert_pass_rate: {n} of {n} passes would not show {wanted.least:g} at {100 * wanted.level:g}%: "
            f"take n = {enough} or more"
        )
    passed = 0
    for tried in range(1, n + 1):
        passed += bool(attempt())
        # what n tries would say is certain: going on changes nothing
        if passed >= need:
            return
        if passed + n - tried < need:
            low = lower_limit(passed, tried, wanted.level)
            raise PassRateTooLow(
                f"{wanted} is not shown: {passed} of {tried} tries passed (rate {passed / tried:.3f}, at least {low:.3f} at "
                f"{100 * wanted.level:g}%); {need} of {n} would show it"
            )


def _doubling(n: int) -> list[int]:
    """Numbers of tries to look at: each up to a thousand, then in steps."""
    return [*range(n + 1, 1001), *(2**i for i in range(10, 40) if n < 2**i <= _MOST), _MOST]

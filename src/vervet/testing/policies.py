"""What every policy promises, as checks: see `vervet.protocols.Policy`.

`build` makes a new policy each time it is called. Rows are random, the same in every run of the checks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from vervet.protocols import Policy
from vervet.testing._suite import call, require, run_all, short

Build = Callable[[], Policy]
Rows = Mapping[str, Sequence[int]]
FAIL, PASS, UNKNOWN, MISSING = range(4)
_CASES = 60


def conform_to_policy(build: Build, *, monotone: bool = True, most: int = 100_000) -> None:
    """Run every check of a policy.

    Args: monotone: further samples never lower what a problem should get.  most: samples of one problem after which a
        run is taken to be endless.
    Raises: AssertionError that lists the broken promises.
    """
    checks = [
        call(check_answer, build),
        call(check_pure, build),
        call(check_ends, build, most=most),
        call(check_fixed_is_blind, build),
    ]
    if monotone:
        checks.append(call(check_monotone, build))
    run_all("policy", *checks)


def cases() -> list[dict[str, tuple[int, ...]]]:
    """Rows to try: none at all, empty ones, all of one outcome, and random ones of uneven length."""
    chance = random.Random(20240731)  # noqa: S311  the same rows each time
    fixed: list[dict[str, tuple[int, ...]]] = [{}, {"a": ()}, {f"p{code}": (code,) * 40 for code in range(4)}]
    for _ in range(_CASES):
        p = chance.random()
        weights = (1 - p, p, chance.choice((0.0, 0.2)), chance.choice((0.0, 0.1)))
        lengths = [chance.choice((0, 1, 5, 16, 100)) for _ in range(chance.randint(1, 8))]
        fixed.append({f"p{i}": tuple(chance.choices(range(4), weights, k=k)) for i, k in enumerate(lengths)})
    return fixed


def _want(policy: Policy, rows: Rows) -> dict[str, int]:
    """The policy's answer to rows that nobody can change."""
    frozen = MappingProxyType({p: tuple(row) for p, row in rows.items()})
    try:
        return dict(policy.want(frozen))
    except (TypeError, AttributeError) as error:
        raise AssertionError(
            f"want() only reads its rows; on rows that cannot be changed it raised {error!r}"
        ) from error


def check_answer(build: Build) -> None:
    """`want` names every problem in its rows and no other, with a whole number of samples; `design` has a name."""
    policy = build()
    require(isinstance(policy.design, str) and policy.design, "a policy names its design for the estimators")
    for rows in cases():
        want = _want(policy, rows)
        require(not set(rows) - set(want), f"want() covers every problem; it left out {sorted(set(rows) - set(want))}")
        require(not set(want) - set(rows), f"want() invents problems: {sorted(set(want) - set(rows))}")
        for problem, n in want.items():
            require(type(n) is int and n >= 0, f"want() gives whole numbers, not {short(n)} for {problem!r}")


def check_pure(build: Build) -> None:
    """The same rows give the same answer, from a new policy and after other rows too, and are not changed."""
    old = build()
    for rows in cases():
        first = _want(old, rows)
        for other in cases()[:5]:
            _want(old, other)
        require(_want(old, rows) == first, f"the same rows get another answer later: {short(rows)}")
        require(_want(build(), rows) == first, f"the same rows get another answer from a new policy: {short(rows)}")
        lists = {p: list(row) for p, row in rows.items()}
        require(dict(old.want(lists)) == first, "lists get another answer than tuples")
        require(lists == {p: list(row) for p, row in rows.items()}, f"want() changed its rows: {short(lists)}")


def check_monotone(build: Build) -> None:
    """Further samples never lower what a problem should get: what was wanted once stays wanted."""
    policy = build()
    for rows in cases():
        want = _want(policy, rows)
        for share in (0.0, 0.5):
            fewer = _want(policy, {p: row[: int(len(row) * share)] for p, row in rows.items()})
            fell = [p for p in rows if want[p] < fewer[p]]
            require(
                not fell,
                f"with more samples fewer are wanted: {fell and (fewer[fell[0]], want[fell[0]], rows[fell[0]])} "
                "(monotone=False allows it)",
            )


def check_ends(build: Build, *, most: int = 100_000) -> None:
    """Drawing what is wanted comes to an end, whatever the draws: always, never, sometimes and undecidable."""
    policy = build()
    chance = random.Random(1)  # noqa: S311  the same draws each time
    rows: dict[str, list[int]] = {name: [] for name in ("always", "never", "sometimes", "unknown")}
    draw = {
        "always": lambda: PASS,
        "never": lambda: FAIL,
        "sometimes": lambda: int(chance.random() < 0.1),
        "unknown": lambda: UNKNOWN,
    }
    while True:
        want = _want(policy, rows)
        short_of = {p: n - len(rows[p]) for p, n in want.items() if n > len(rows[p])}
        if not short_of:
            return
        for problem, n in short_of.items():
            require(
                len(rows[problem]) + n <= most,
                f"a problem that is solved {problem} wants {len(rows[problem]) + n} samples: when does it end? (most={most})",
            )
            rows[problem] += [draw[problem]() for _ in range(n)]


def check_fixed_is_blind(build: Build) -> None:
    """A design called "fixed" looks at no outcome: the estimators for it are unbiased only then."""
    policy = build()
    if policy.design != "fixed":
        return
    for rows in cases():
        want = _want(policy, rows)
        flipped = {p: tuple({PASS: FAIL, FAIL: PASS}.get(code, code) for code in row) for p, row in rows.items()}
        require(_want(policy, flipped) == want, 'a "fixed" design depends on outcomes: name another design')
        require(len(set(want.values())) <= 1, f'a "fixed" design wants the same n everywhere, not {short(want)}')

"""The plan: wanted minus stored, each index once, in rounds."""

from __future__ import annotations

from hypothesis import given, strategies as st

from vervet.engine.plan import Span, missing, plan, total
from vervet.ledger import Stored


@st.composite
def stored_rows(draw: st.DrawFn) -> tuple[Stored, set[int]]:
    have = draw(st.sets(st.integers(0, 80)))
    top = max(have, default=-1) + 1
    return Stored(len(have), tuple(sorted(set(range(top)) - have))), have


@given(rows=st.lists(stored_rows(), min_size=1, max_size=5), want=st.integers(0, 120), max_n=st.integers(1, 40))
def test_the_plan_asks_for_every_missing_index_exactly_once(
    rows: list[tuple[Stored, set[int]]], want: int, max_n: int
) -> None:
    stored = {f"p{i}": row for i, (row, _) in enumerate(rows)}
    asked: list[tuple[str, int]] = []
    for span in plan(stored, dict.fromkeys(stored, want), max_n):
        assert 1 <= span.n <= max_n
        asked += [(span.problem_id, i) for i in range(span.first, span.first + span.n)]
    expected = {(f"p{i}", j) for i, (_, have) in enumerate(rows) for j in range(want) if j not in have}
    assert len(asked) == len(set(asked))
    assert set(asked) == expected
    assert total(stored, dict.fromkeys(stored, want)) == len(expected)


@given(want=st.integers(1, 2000), stop=st.integers(0, 400), max_n=st.integers(1, 64), problems=st.integers(1, 9))
def test_wherever_a_plan_stops_the_problems_have_nearly_equal_n(
    want: int, stop: int, max_n: int, problems: int
) -> None:
    """After any number of requests no problem has more than twice the samples of another, beyond the first round."""
    n = {f"p{i}": 0 for i in range(problems)}
    for count, span in enumerate(plan({p: Stored(0) for p in n}, dict.fromkeys(n, want), max_n)):
        if count == stop:
            break
        n[span.problem_id] += span.n
    first_round = max(16, max_n)
    assert max(n.values()) <= max(first_round, 2 * min(n.values()))


def test_missing_is_the_gaps_and_the_tail() -> None:
    assert missing(Stored(3, (1, 2, 4)), 9) == [(1, 3), (4, 5), (6, 9)]
    assert missing(Stored(3, (1, 2, 4)), 5) == [(1, 3), (4, 5)]
    assert missing(Stored(0), 3) == [(0, 3)]
    assert missing(Stored(5), 3) == []
    assert missing(Stored(2, (0, 1)), 6) == [(0, 2), (4, 6)]


def test_a_request_never_spans_rounds_or_gaps() -> None:
    spans = list(plan({"p": Stored(1, (0, 1))}, {"p": 40}, 16))
    assert spans == [Span("p", 0, 2), Span("p", 3, 13), Span("p", 16, 16), Span("p", 32, 8)]

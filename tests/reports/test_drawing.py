"""Axes, bins and the geometry of curves."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from tests.reports.pages import counts
from vervet.records import Counts
from vervet.reports import page as pages
from vervet.reports.chart import coverage_chart
from vervet.reports.format import percent, short
from vervet.reports.histogram import bins, count, draw
from vervet.reports.scale import LogAxis, round_top
from vervet.reports.subject import Subject, labels


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (1, ["1"]),
        (3, ["1", "2", "3"]),
        (100, ["1", "2", "5", "10", "20", "50", "100"]),
        (10_000, ["1", "10", "100", "1k", "10k"]),
        (2_500_000, ["1", "10", "100", "1k", "10k", "100k", "1M"]),
    ],
)
def test_tick_labels_are_clean(top: int, expected: list[str]) -> None:
    assert [t.label for t in LogAxis(top, 0, 100).ticks() if t.label] == expected


@given(st.floats(0, 1))
def test_the_top_of_the_axis_holds_every_share(share: float) -> None:
    assert share <= round_top(share) + 1e-12
    assert round_top(share) <= 1


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=30))
def test_every_problem_with_a_sample_is_in_one_bin(rows: list[tuple[int, int]]) -> None:
    table = counts([max(r) for r in rows], [min(r) for r in rows])
    kinds = bins([table])
    drawing = draw(table, kinds, 380, 190)
    assert sum(count(table, kinds)) + drawing.left_out == len(rows)
    assert all(b.x >= 0 and b.x + b.width <= 380 and b.y >= 0 for b in drawing.bars)


def test_bins_stand_where_their_labels_say() -> None:
    table = counts([1000] * 6, [0, 1, 3, 4, 999, 1000])
    found = dict(zip([b.label.replace("\u202f", " ") for b in bins([table])], count(table, bins([table])), strict=True))
    assert found["never"] == 1
    assert found["up to 0.3 %"] == 2
    assert found["above 0.3 %, up to 1 %"] == 1
    assert found["above 30 %"] == 1
    assert found["always"] == 1


def chart_of(*tables: Counts, width: int = 960) -> list[str]:
    page = pages.build([Subject(t) for t in tables], 0.95, "0")
    assert page.made.tzinfo is datetime.UTC
    chart = coverage_chart(page, width, 480)
    return [s.line + s.band + s.draws + s.undecided + s.thinner + s.whiskers for s in chart.shapes]


@settings(deadline=None, max_examples=25)  # intervals of few problems are simulated
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 5)), min_size=1, max_size=8))
def test_every_path_is_inside_its_drawing(rows: list[tuple[int, int, int]]) -> None:
    table = counts([max(r[:2]) for r in rows], [min(r[:2]) for r in rows], [r[2] for r in rows])
    for path in chart_of(table, width=380):
        assert "nan" not in path
        places = np.array([[float(v) for v in pair] for pair in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)])
        if len(places):
            assert places.min() >= 0
            assert places[:, 0].max() <= 380
            assert places[:, 1].max() <= 480


def test_one_sample_a_problem_is_a_point_with_whiskers() -> None:
    page = pages.build([Subject(counts([1] * 40, [0, 1] * 20))], 0.95, "0")
    shape = coverage_chart(page, 960, 480).shapes[0]
    assert shape.whiskers
    assert not shape.line
    assert len(shape.marks) == 1


def test_beyond_the_smallest_n_the_line_is_another_one() -> None:
    page = pages.build([Subject(counts([5, 50] * 20, [1, 9] * 20))], 0.95, "0")
    shape = coverage_chart(page, 960, 480).shapes[0]
    assert shape.line
    assert shape.thinner


def test_a_curve_is_drawn_as_far_as_half_of_the_problems_go() -> None:
    page = pages.build([Subject(counts([5] * 3 + [50] * 30 + [1000] * 3, [i % 4 for i in range(36)]))], 0.95, "0")
    assert page.top == 50
    assert page.entries[0].cut
    assert page.entries[0].curve.points[-1].k == 1000
    chart = coverage_chart(page, 960, 480)
    assert max(x for x, _ in chart.shapes[0].marks) <= chart.right, "no mark stands beyond the line"


def test_names_at_the_ends_keep_apart() -> None:
    tables = [counts([10] * 30, [3] * 30, source=f"{i}.csv") for i in range(5)]
    page = pages.build([Subject(t) for t in tables], 0.95, "0")
    places = sorted(s.name_at[1] for s in coverage_chart(page, 960, 480).shapes if s.name_at)
    assert len(places) == 5
    assert min(np.diff(places)) >= 15


def test_labels_are_short_and_different() -> None:
    same = [Subject(counts([1], [0], source=f"{d}/counts.csv")) for d in "ab"]
    assert labels([Subject(counts([1], [0], source="x/one.csv"))]) == ["one"]
    assert len(set(labels(same))) == 2


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.1234, "12.3 %"),
        (0.001234, "0.12 %"),
        (0.99999, "99.999 %"),
        (1e-7, "0.000010 %"),
        (1e-9, "<0.000001 %"),
    ],
)
def test_percentages_never_round_to_what_they_are_not(share: float, text: str) -> None:
    assert percent(share).replace("\u202f", " ") == text


@given(st.integers(1, 10**9))
def test_short_labels_keep_the_number(k: int) -> None:
    factor = {"k": 1e3, "M": 1e6, "G": 1e9}
    text = short(k)
    value = float(text[:-1]) * factor[text[-1]] if text[-1] in factor else float(text)
    assert value == pytest.approx(k, rel=1e-5)

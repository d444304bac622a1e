"""The special cases are said in words."""

from __future__ import annotations

import pytest

pytest.importorskip("jinja2")

from tests.reports.pages import Page, counts
from vervet.analysis.baseline import parse_baseline
from vervet.analysis.curve import coverage
from vervet.records import Counts
from vervet.reports.format import percent
from vervet.reports.html import Subject, render


def words(table: Counts) -> str:
    return Page.of(render([Subject(table)])).words


def said(share: float | None) -> str:
    return percent(share).replace("\u202f", " ")


def test_the_rise_is_said_with_its_intervals() -> None:
    table = counts([32] * 40, [0] * 20 + [4] * 20)
    one, _, _, _, _, last = coverage(table).points
    assert last.k == 32
    rise = (
        f"With one attempt it solves {said(one.coverage)} of problems (95 % interval {said(one.low)} to "
        f"{said(one.high)}); with 32 attempts {said(last.coverage)} ({said(last.low)} to {said(last.high)})"
    )
    assert rise + ", 8.0 times as many." in words(table)
    assert "20 of 40 problems were solved at least once; 20 never, in 32 attempts each." in words(table)


def test_nothing_solved_gives_an_upper_bound() -> None:
    table = counts([50] * 100, [0] * 100)
    high = coverage(table).points[-1].high
    assert high is not None
    assert 0.02 < high < 0.05, "near the rule of three: 3 / 100"
    text = words(table)
    assert "Nothing was solved: not one of 5,000 decided samples of 100 problems passed." in text
    assert f"with 50 attempts it could still be up to {said(high)}" in text


def test_everything_solved_gives_a_lower_bound() -> None:
    table = counts([20] * 50, [20] * 50)
    text = words(table)
    assert "Everything was solved: each decided sample of 50 problems passed." in text
    assert f"could still be as low as {said(coverage(table).points[0].low)}" in text


def test_undecided_samples_show_floor_and_ceiling() -> None:
    table = counts([8] * 40, [2] * 40, [2] * 40)
    last = [p for p in coverage(table).points if not p.censored][-1]
    text = words(table)
    assert "80 of 400 samples (20.0 %) are undecided." in text
    assert f"coverage at k = 8 would be {said(last.floor)}; had all passed, {said(last.ceiling)}" in text
    assert "undecided" in Page.of(render([Subject(table)])).blocks["style"]
    assert [a for a in Page.of(render([Subject(table)])).named("path") if a.get("class") == "undecided"]
    without = Page.of(render([Subject(counts([8] * 40, [2] * 40))]))
    assert not [a for a in without.named("path") if a.get("class") == "undecided"]


def test_a_warning_about_some_k_is_a_sentence() -> None:
    text = words(counts([100] * 40, [60] * 38 + [0, 0]))
    assert "At k = " in text
    assert "K = " not in text


def test_undecided_samples_of_many_runs_are_one_note() -> None:
    tables = [counts([8] * 40, [2] * 40, [i] * 40, source=f"{i}.csv") for i in (0, 1, 2, 3, 4)]
    page = Page.of(render([Subject(table) for table in tables]))
    text = page.words
    assert "4 of 5 runs have undecided samples, at most 33.3 % of a run's (4). They count neither" in text
    assert len([a for a in page.named("div") if a.get("class") == "note warn"]) == 1
    assert all(f"{40 * i} of {40 * (8 + i)} samples" in text for i in (1, 2, 3, 4))
    few = Page.of(render([Subject(table) for table in tables[:4]]))
    assert "runs have undecided samples" not in few.words


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (counts([5] * 4, [1, 0, 2, 5]), "Few problems (4)"),
        (counts([5], [1]), "One problem says nothing about others"),
        (counts([1] * 40, [0, 1] * 20), "the curve is a single point"),
        (counts([0] * 3, [0] * 3, [4] * 3), "None of 12 samples is decided yet"),
        (counts([0] * 3, [0] * 3), "There is no sample yet"),
        (counts([3, 9] * 20, [1, 2] * 20), "beyond k = 3 some problems have fewer than k samples"),
    ],
    ids=["few", "one", "single-sample", "pending", "empty", "ragged"],
)
def test_other_special_cases(table: Counts, expected: str) -> None:
    assert expected.lower() in words(table).lower()


def test_runs_are_compared_at_a_k_that_all_have() -> None:
    subjects = [
        Subject(counts([10] * 30, [1] * 30, source="a.csv")),
        Subject(counts([40] * 30, [8] * 30, source="b.csv")),
    ]
    text = Page.of(render(subjects)).words
    assert "At k = 10, which every run has on all its problems, coverage goes from" in text


# ------------------------------------------------------------------------------- whole pages of the three special runs


def words_of(n: list[int], c: list[int], unknown: list[int] | None = None) -> str:
    return Page.of(render([Subject(counts(n, c, unknown))], baselines=(parse_baseline("GPT-4o=0.5@0.13usd"),))).words


def test_a_page_with_nothing_solved_promises_nothing() -> None:
    page = words_of([20] * 12, [0] * 12)
    assert "Nothing was solved: not one of 240 decided samples of 12 problems passed" in page
    assert "That does not make coverage zero" in page
    assert "does not reach one attempt of GPT-4o" in page
    assert "forecast" not in page


def test_a_page_with_everything_solved_says_that_more_attempts_show_nothing() -> None:
    page = words_of([20] * 12, [20] * 12)
    assert "Everything was solved" in page
    assert "More attempts cannot show more here: harder problems can" in page
    assert "It reaches one attempt of GPT-4o (50.0 %) with 1 attempt (100 %)" in page
    assert "forecast" not in page


def test_a_page_with_unknowns_gives_both_ends_and_never_calls_them_failures() -> None:
    page = words_of([20] * 12, [i % 7 for i in range(12)], [4] * 12)
    assert "48 of 288 samples (16.7 %) are undecided" in page
    assert "They count neither as PASS nor as FAIL" in page
    assert "Had all of them failed, coverage at k = 20 would be" in page
    assert "Beyond 20 attempts nothing was sampled. The dashed line is a forecast" in page

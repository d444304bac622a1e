"""Coverage of counts: the paper's released outcomes to the last digit, ragged and degenerate input, honest warnings."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest

from tests.data import COUNTS, shared
from tests.estimate import exact
from vervet.analysis.counts import read_counts
from vervet.analysis.curve import CoverageResult, coverage
from vervet.errors import BadOption
from vervet.records import Counts

FILES = sorted(path.stem for path in COUNTS.glob("*.csv"))
FIELDS = ["k", "coverage", "low", "high", "draws_low", "draws_high", "se", "problems", "censored", "floor", "ceiling"]
BANDS = ["band_low", "band_high"]


def counts_of(n: list[int], c: list[int], unknown: list[int] | None = None) -> Counts:
    return Counts([f"p{i}" for i in range(len(n))], n, c, unknown)


@pytest.mark.parametrize("name", FILES)
def test_the_papers_outcomes_equal_exact_fractions(name: str) -> None:
    counts = read_counts(COUNTS / f"{name}.csv")
    for point in coverage(counts, k=[1, 10, 100, 1000, 10_000]).points:
        total = sum(exact.pass_at_k(int(n), int(c), point.k) for n, c in zip(counts.n, counts.c, strict=True))
        assert point.coverage is not None
        assert abs(point.coverage - float(Fraction(total) / len(counts))) < 1e-12


@pytest.mark.needs_data
@pytest.mark.parametrize("name", FILES)
def test_published_coverage_to_the_last_printed_digit(name: str) -> None:
    published = json.loads(shared("published.json").read_text())["coverage"]
    curve = coverage(read_counts(shared(f"counts/{name}.csv")), k=published["k"])
    assert [f"{p.coverage:.4f}" for p in curve.points] == [f"{x:.4f}" for x in published[name]]


@pytest.mark.needs_data
def test_ragged_counts_stand_on_the_problems_that_have_k_samples() -> None:
    counts = read_counts(shared("counts/ragged-gsm8k-pythia-1b-2m.csv"))
    for point in coverage(counts, k=[100, 10_112, 50_000, 2_000_000]).points:
        usable = counts.n >= point.k
        assert (point.problems, point.censored) == (usable.sum(), (~usable).sum())
        if not usable.any():
            assert point.coverage is point.low is point.draws_high is point.se is None
            continue
        rows = zip(counts.n[usable], counts.c[usable], strict=True)
        mean = sum(exact.pass_at_k(int(n), int(c), point.k) for n, c in rows) / int(usable.sum())
        assert point.coverage == pytest.approx(float(mean), abs=1e-12)
        assert point.floor <= point.ceiling


def test_the_document_has_the_contracts_fields() -> None:
    curve = coverage(counts_of([10] * 40, list(range(10)) * 4))
    document = json.loads(json.dumps(CoverageResult((curve, curve)).to_dict()))
    assert document["schema"] == "vervet.coverage/1"
    source = document["sources"][1]
    wanted = {"source", "problems", "n_min", "n_max", "samples", "unknown", "never_solved", "design", "level"}
    assert set(source) == wanted | {"warnings", "points", "tau"}
    assert list(source["points"][0]) == FIELDS + BANDS
    assert curve.to_dict()["sources"] == [source]


def test_intervals_are_ordered_and_hold_the_estimate() -> None:
    rng = np.random.default_rng(3)
    c = rng.binomial(50, rng.beta(0.4, 2, 60))
    for point in coverage(counts_of([50] * 60, c.tolist())).points:
        assert 0 <= point.low <= point.draws_low <= point.coverage <= point.draws_high <= point.high <= 1


def test_a_wider_level_gives_wider_intervals() -> None:
    counts = counts_of([20] * 40, ([0] * 20) + list(range(20)))
    narrow, wide = (coverage(counts, k=5, level=level).points[0] for level in (0.8, 0.99))
    assert wide.low < narrow.low
    assert wide.high > narrow.high
    assert wide.draws_low < narrow.draws_low


@pytest.mark.parametrize(
    ("n", "c", "unknown", "said"),
    [
        (
            [5] * 3,
            [1, 2, 0],
            [0, 0, 1],
            ["few problems", "1 samples are undecided", "1 of 3 problems"],
        ),
        ([5, 10], [1, 2], None, ["beyond k = 5 some problems", "every problem was solved"]),
        ([5] * 30, [0] * 30, None, ["no problem was solved"]),
        ([5] * 30, [5] * 30, None, ["every sample passed"]),
        ([5, 0], [5, 0], [0, 5], ["no decided sample"]),
    ],
)
def test_warnings_say_what_a_reader_must_know(
    n: list[int], c: list[int], unknown: list[int] | None, said: list[str]
) -> None:
    text = " | ".join(coverage(counts_of(n, c, unknown)).warnings)
    for words in said:
        assert words in text


def test_full_information_gives_no_warning_but_never_solved() -> None:
    warnings = coverage(counts_of([100] * 40, [0] * 5 + [50] * 35)).warnings
    assert warnings == ("5 of 40 problems were never solved",)


@pytest.mark.parametrize(
    ("n", "c"),
    [([1], [0]), ([1], [1]), ([7], [3]), ([0], [0]), ([1, 1], [0, 1]), ([5] * 40, [0] * 40), ([5] * 40, [5] * 40)],
)
def test_degenerate_counts_give_a_curve_of_numbers_or_none(n: list[int], c: list[int]) -> None:
    for point in coverage(counts_of(n, c)).points:
        values = (point.coverage, point.low, point.high, point.draws_low, point.draws_high, point.se)
        assert all(v is None for v in values) or all(v is not None and np.isfinite(v) for v in values)
        assert 0 <= point.floor <= point.ceiling <= 1


@pytest.mark.parametrize("k", [0, [], [1, 0], 1.5])
def test_refuses_a_bad_k(k: object) -> None:
    with pytest.raises(BadOption):
        coverage(counts_of([5], [1]), k=k)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", [0, 1, 95])
def test_refuses_a_bad_level(level: float) -> None:
    with pytest.raises(BadOption, match="level"):
        coverage(counts_of([5], [1]), level=level)


def test_repeats_and_order_of_k_do_not_matter() -> None:
    assert [p.k for p in coverage(counts_of([9], [1]), k=[5, 1, 5]).points] == [1, 5]


def test_a_curve_near_an_end_says_that_few_problems_decide() -> None:
    high = coverage(counts_of([20] * 40, [20] * 39 + [0]), k=[1, 20]).warnings
    assert any("k = 1 to 20: fewer than 3 problems' worth is unsolved" in w for w in high)
    low = coverage(counts_of([20] * 40, [1] * 4 + [0] * 36), k=[1, 20]).warnings
    assert any("k = 1: fewer than 3 problems' worth is solved" in w for w in low)
    middle = coverage(counts_of([20] * 40, [10] * 40), k=[1]).warnings
    assert not any("worth" in w for w in middle)

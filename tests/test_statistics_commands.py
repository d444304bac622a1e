"""The commands about counts on tables: options that change the outcome, and input with hardly anything in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vervet.cli.main import execute

Table = Callable[..., Path]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Writes counts: (n, c) for each problem."""

    def write(name: str, *rows: tuple[int, int]) -> Path:
        file = tmp_path / f"{name}.csv"
        file.write_text("problem_id,n,c\n" + "".join(f"p{i},{n},{c}\n" for i, (n, c) in enumerate(rows)))
        return file

    return write


def document(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert execute([*map(str, arguments), "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


MIXED = [(20, i % 5) for i in range(40)]
DEGENERATE = {
    "one problem": [(50, 7)],
    "all solved": [(20, 20)] * 40,
    "none solved": [(20, 0)] * 40,
    "n = 1": [(1, i % 2) for i in range(40)],
    "one problem, one sample": [(1, 1)],
    "no sample": [(0, 0)] * 3,
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_hardly_any_data_gives_an_answer_or_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], table: Table, name: str
) -> None:
    """Every command: a document whose intervals hold its estimates, or one line and exit 1; never nan, never a trace."""
    source, other = table("a", *DEGENERATE[name]), table("b", *MIXED)
    for line in (
        ["coverage", source],
        ["coverage", source, "--tau", "1"],
        ["fit", source, "--model", "all"],
        ["forecast", source, "--no-backtest"],
        ["plan", source, "--budget", "10"],
        ["compare", source, other],
        ["family", source, other],
        ["noise", source, "--false-positive", "0.05"],
    ):
        capsys.readouterr()
        code = execute([*map(str, line), "--json"])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert code in (0, 1), line
        assert "NaN" not in out
        found = json.loads(out)
        if code == 1:
            assert found["schema"] == "vervet.error/1"
            assert len(found["message"]) > 20
        for point in [p for s in found.get("sources", [found]) for p in s.get("points", [])]:
            if point.get("coverage") is not None:
                assert point["low"] <= point["coverage"] <= point["high"]
        for fitted in [f for s in found.get("sources", []) for f in s.get("fits", [])]:
            assert fitted["a"] is not None or fitted["reason"] or fitted["model"] == "non-parametric"


def test_one_k_is_no_line_to_fit_and_a_fine_point_elsewhere(capsys: pytest.CaptureFixture[str], table: Table) -> None:
    source = table("a", *DEGENERATE["n = 1"])
    (fit,) = document(capsys, "fit", source)["sources"][0]["fits"]
    assert (fit["a"], fit["reason"][:5]) == (None, "one k")
    assert len(document(capsys, "coverage", source, "--k", 1)["sources"][0]["points"]) == 1
    assert len(document(capsys, "compare", source, table("b", *MIXED), "--k", 1)["points"]) == 1


def test_fail_under_exits_5_and_still_prints_the_document(capsys: pytest.CaptureFixture[str], table: Table) -> None:
    source = table("a", *MIXED)  # 32 of 40 are solved
    assert document(capsys, "coverage", source, "--fail-under", "0.8")["sources"]
    assert document(capsys, "coverage", source, "--fail-under", "0.81", code=5)["sources"]
    assert document(capsys, "coverage", source, "--k", "1", "--fail-under", "0.8", code=5)
    assert document(capsys, "coverage", source, "--k", "21", "--fail-under", "0.1", code=5), "nothing shows it"
    assert document(capsys, "coverage", source, "--fail-under", "80", code=1)["error"]


def test_design_and_tau_change_what_is_estimated(capsys: pytest.CaptureFixture[str], table: Table) -> None:
    source = table("a", *[(n, 1) for n in (1, 2, 3, 4, 5, 6, 7)], (8, 0))

    def at_1(*options: str) -> float:
        return float(document(capsys, "coverage", source, "--k", "1", *options)["sources"][0]["points"][0]["coverage"])

    assert at_1("--design", "fixed") > at_1("--design", "first-pass") == at_1()
    mixed = table("b", *MIXED)
    passes = [
        document(capsys, "coverage", mixed, "--k", "3", *tau)["sources"][0]["points"][0]["coverage"]
        for tau in ((), ("--tau", "0.5"), ("--tau", "1"))
    ]
    assert passes == sorted(passes, reverse=True)
    assert passes[0] > passes[1] > passes[2]


def test_noise_and_family_are_documents(capsys: pytest.CaptureFixture[str], table: Table) -> None:
    weak, strong = table("weak", *MIXED), table("strong", *[(20, min(20, 3 * c)) for _, c in MIXED])
    clean = document(capsys, "noise", weak, "--false-positive", "0", "--k", "20")
    noisy = document(capsys, "noise", weak, "--false-positive", "0.05", "--k", "20")
    assert noisy["points"][0]["true_coverage"] < clean["points"][0]["true_coverage"]
    assert noisy["ceiling"] < clean["ceiling"] <= 1
    found = document(capsys, "family", weak, strong)
    assert found["schema"] == "vervet.family/1"
    assert [m["k_star"] for m in found["members"]][1] == 1
    assert found["rms_gap"] >= 0


def test_tables_hold_both_intervals_and_the_bounds_where_they_differ(
    capsys: pytest.CaptureFixture[str], table: Table
) -> None:
    execute(["coverage", str(table("a", *MIXED))])
    plain = capsys.readouterr().out
    assert "these problems" in plain
    assert "floor" not in plain
    execute(["coverage", str(table("b", *MIXED, (5, 1)))])
    assert "floor to ceiling" in capsys.readouterr().out

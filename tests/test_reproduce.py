"""The paper from its released outcomes: every published number beside ours, from counts, runs and files of the data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from vervet.analysis.paper import key_of, published
from vervet.api import import_samples, reproduce_paper
from vervet.cli.main import execute
from vervet.errors import BadData, ServiceError, UserError


@pytest.fixture(scope="module")
def shipped() -> Any:
    return reproduce_paper()


def test_coverage_agrees_to_the_last_printed_digit(shipped: Any) -> None:
    """Six sets, five k each; published numbers are rounded to four digits."""
    lines = [line for line in shipped.lines if line.table == "coverage"]
    assert len(lines) == 30
    assert all(abs(line.difference) <= 5.1e-5 for line in lines)


def test_fits_agree_within_two_percent_and_errors_as_printed(shipped: Any) -> None:
    lines = {(line.what, line.quantity): line for line in shipped.lines if line.table == "fit"}
    assert len(lines) == 11
    for (_, quantity), line in lines.items():
        limit = 0.0005 if quantity.startswith("error") else max(0.02 * abs(line.published), 0.005)
        assert abs(line.difference) <= limit, line


def test_table_one_comes_out_to_the_cent_and_the_familys_anchor_too(shipped: Any) -> None:
    assert [line.difference for line in shipped.lines if line.table == "cost"] == [0.0, 0.0, 0.0]
    (anchor,) = (line for line in shipped.lines if line.table == "family")
    assert round(anchor.reproduced, 2) == anchor.published == 0.02


def test_what_the_data_cannot_say_is_left_out_and_said(shipped: Any) -> None:
    selection = [line for line in shipped.lines if line.table == "selection"]
    assert selection
    assert all(line.reproduced is None and line.difference is None for line in selection)
    assert any("16 of the paper's 22 sets" in w for w in shipped.warnings)
    assert any("selection needs samples" in w for w in shipped.warnings)


@pytest.mark.parametrize("name", ["math-pythia-2_8b", "MATH_Pythia-2.8B", "math pythia 2.8b"])
def test_names_of_sets(name: str) -> None:
    assert key_of(name) == "math-pythia-2-8b"
    assert key_of(name) in published()["coverage"]


# ----------------------------------------------------------------------------------------------------- other sources


def released(path: Path, n: int = 40) -> Path:
    """A small file as the data set has them: 3 problems, the answer is the last word."""
    rows = [
        {
            "question": f"q{i}",
            "samples": [f"so #### {j % (i + 2)}" for j in range(n)],
            "is_corrects": [j % (i + 2) == 0 for j in range(n)],
            "gt_answer": "0",
            "orig_dset_split": "test",
            "orig_dset_idx": i,
        }
        for i in range(3)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_folder_may_hold_counts_released_files_and_runs(tmp_path: Path, project_root: Path) -> None:
    counts = project_root / "src" / "vervet" / "data" / "counts" / "math-pythia-70m.csv"
    shutil.copy(counts, tmp_path / "MATH_Pythia-70M.csv")
    released(tmp_path / "CodeContests_Gemma-7B.jsonl")
    source = released(tmp_path / "somewhere-else.jsonl")
    import_samples(source, tmp_path / "gsm8k-llama-3-8b-instruct")
    found = reproduce_paper(tmp_path)
    assert set(found.sets) == {"math-pythia-70m", "codecontests-gemma-7b", "gsm8k-llama-3-8b-instruct"}
    one = {line.what: line for line in found.lines if line.table == "coverage" and line.quantity == "k = 1"}
    expected = (1 / 2 + 14 / 40 + 1 / 4) / 3
    assert one["CodeContests, Gemma-7B"].reproduced == pytest.approx(expected)
    assert one["GSM8K, Llama-3-8B-Instruct"].reproduced == pytest.approx(expected)
    majority = [
        line
        for line in found.lines
        if line.table == "selection" and line.reproduced is not None and "GSM8K" in line.what
    ]
    assert [line.quantity for line in majority] == ["majority, k = 1", "majority, k = 10"]


@pytest.mark.slow
def test_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    reproduce_paper(figures=tmp_path / "figures")
    names = {p.name for p in (tmp_path / "figures").iterdir()}
    assert names == {
        f"{n}.{k}" for n in ("coverage", "fits", "families", "selection", "cost") for k in ("svg", "png", "pdf")
    }
    drawing = (tmp_path / "figures" / "coverage.svg").read_text()
    assert "Pythia-12B" in drawing


# --------------------------------------------------------------------------------------------------------- mistakes


def test_a_folder_without_any_of_it_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="none of the paper's sets"):
        reproduce_paper(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        reproduce_paper(tmp_path / "nothing")


def test_no_way_to_the_hub_says_what_else_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="needs the extra hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ServiceError, match="--data DIR"):
        reproduce_paper("hub")


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["reproduce", "paper", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "vervet.reproduce/1"
    assert {"table", "what", "quantity", "published", "reproduced", "difference"} <= set(document["lines"][0])
    assert execute(["reproduce", "novel"]) == 1
    assert "paper" in capsys.readouterr().err

"""Other people's libraries read what we write: Hugging Face datasets, DuckDB, Polars. In `make test-all`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import vervet
from tests.helpers import write_problems
from vervet import export

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interoperation")
    vervet.run(write_problems(folder / "q.jsonl", 5), model="fake/p=0.4", n=30, seed=1, out=folder / "run").close()
    return folder / "run"


def truth(run: Path) -> list[tuple[str, int, bool]]:
    with vervet.open_run(run) as opened:
        return [(p, s.index, s.outcome == "PASS") for p in opened.problem_ids() for s in opened.samples(p)]


def test_datasets_opens_the_exported_folder(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets: Any = pytest.importorskip("datasets", reason="needs datasets")
    folder = export(run, format="dataset", out=tmp_path / "set").path
    loaded = datasets.load_dataset(folder, split="samples", cache_dir=str(tmp_path / "cache"))
    assert list(zip(loaded["problem_id"], loaded["sample_index"], loaded["correct"], strict=True)) == truth(run)
    assert loaded.features["text"].dtype in ("string", "large_string")


def test_datasets_reads_the_fine_tuning_data(run: Path, tmp_path: Path) -> None:
    datasets: Any = pytest.importorskip("datasets", reason="needs datasets")
    path = export(run, format="sft", out=tmp_path / "sft.jsonl").path
    loaded = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path / "cache"))
    assert [m["role"] for m in loaded[0]["messages"]] == ["user", "assistant"]


def test_duckdb_and_polars_read_the_parquet(run: Path, tmp_path: Path) -> None:
    duckdb: Any = pytest.importorskip("duckdb", reason="needs duckdb")
    polars: Any = pytest.importorskip("polars", reason="needs polars")
    path = export(run, format="parquet", out=tmp_path / "samples.parquet").path
    passes = sum(right for _, _, right in truth(run))
    query = f"SELECT count(*), count(*) FILTER (outcome = 'PASS'), count(DISTINCT problem_id) FROM '{path}'"
    assert duckdb.sql(query).fetchall() == [(150, passes, 5)]
    frame = polars.read_parquet(path)
    assert frame.height == 150
    assert frame["correct"].sum() == passes

"""What others build on: fine-tuning data, preference pairs, data set folders, shared records of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import vervet
from vervet import export, import_samples
from vervet.errors import BadOption


def fine_tuning_run(tmp_path: Path) -> Path:
    """Two problems: one with 3 distinct right and 2 distinct wrong texts, repeats and an undecided one; one all wrong."""
    rows = [
        *({"problem_id": "a", "text": t, "correct": True} for t in ("r0", "r1", "r0", "r2")),
        *({"problem_id": "a", "text": t, "correct": False} for t in ("w0", "w1", "w0", "")),
        {"problem_id": "a", "text": "nobody knows"},
        {"problem_id": "b", "text": "w", "correct": False},
    ]
    source = tmp_path / "samples.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    import_samples(source, tmp_path / "run")
    return tmp_path / "run"


def exported(run: Path, format: str, **options: Any) -> list[dict[str, Any]]:
    path = Path(export(run, format=format, out=run.parent / f"out.{format}", **options).path)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_fine_tuning_data_is_what_passed_each_text_once(tmp_path: Path) -> None:
    run = fine_tuning_run(tmp_path)
    assert [row["completion"] for row in exported(run, "sft")] == ["r0", "r1", "r2"]
    assert [row["completion"] for row in exported(run, "sft", per_problem=2)] == ["r0", "r1"]


def test_preferences_pair_right_with_wrong_and_use_every_sample_before_one_twice(tmp_path: Path) -> None:
    run = fine_tuning_run(tmp_path)
    pairs = [(row["chosen"], row["rejected"]) for row in exported(run, "preferences", per_problem=99)]
    assert sorted(pairs) == [(r, w) for r in ("r0", "r1", "r2") for w in ("w0", "w1")]
    assert {p[1] for p in pairs[:2]} == {"w0", "w1"}
    assert len({p[0] for p in pairs[:2]}) == 2
    assert len(exported(run, "preferences", per_problem=1)) == 1


def test_chat_prompts_give_messages(tmp_path: Path) -> None:
    task = tmp_path / "q.jsonl"
    task.write_text(json.dumps({"id": "a", "prompt": "1 + 1?", "answer": "2"}) + "\n")
    vervet.run(task, model="fake/p=0.5", n=20, seed=1, out=tmp_path / "run").close()
    (row,) = exported(tmp_path / "run", "sft")
    assert [m["role"] for m in row["messages"]] == ["user", "assistant"]
    (pair,) = exported(tmp_path / "run", "preferences")
    assert (pair["prompt"][0]["content"], pair["chosen"][0]["role"]) == ("1 + 1?", "assistant")


def test_per_problem_is_refused_where_nothing_is_chosen(tmp_path: Path) -> None:
    run = fine_tuning_run(tmp_path)
    for name, wanted in (("jsonl", 3), ("sft", 0)):
        with pytest.raises(BadOption, match="--per-problem"):
            export(run, format=name, per_problem=wanted)


def test_a_dataset_folder_holds_every_sample_and_says_what_they_are(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    run = fine_tuning_run(tmp_path)
    done = export(run, format="dataset", out=tmp_path / "set")
    assert done.rows == 10
    assert parquet.read_table(tmp_path / "set" / "data" / "samples.parquet").num_rows == 10
    card = (tmp_path / "set" / "README.md").read_text()
    assert card.startswith("---\n")
    assert "10 independent samples of 2 problems" in card
    with pytest.raises(BadOption, match="is there already"):
        export(run, format="dataset", out=tmp_path / "set")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "samples.jsonl", "set"]


def test_every_eval_ever_holds_pass_at_k_with_its_interval(tmp_path: Path) -> None:
    """Fields by the published schema, version 0.2.1; the numbers are those of `vervet coverage`."""
    run = fine_tuning_run(tmp_path)
    document = json.loads(Path(export(run, format="every_eval_ever", out=tmp_path / "e.json").path).read_text())
    assert {
        "schema_version",
        "evaluation_id",
        "retrieved_timestamp",
        "source_metadata",
        "model_info",
        "eval_library",
    } < set(document)
    first = document["evaluation_results"][0]
    with vervet.open_run(run) as opened:
        point = vervet.coverage(opened.counts(), k=1).points[0]
    assert first["score_details"]["score"] == pytest.approx(point.coverage, abs=1e-12)
    interval = first["score_details"]["uncertainty"]["confidence_interval"]
    assert 0 <= interval["lower"] <= first["score_details"]["score"] <= interval["upper"] <= 1
    assert all(isinstance(v, str) for v in first["score_details"]["details"].values())

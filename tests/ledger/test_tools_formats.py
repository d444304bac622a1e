"""What other tools write: files made by the tools themselves (`files/make.py`), and damaged and hostile ones."""

from __future__ import annotations

import gzip
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from vervet.api import import_samples
from vervet.errors import BadData
from vervet.ledger.formats import Row, Skipped, choose_reader
from vervet.ledger.formats.rows import Entry

FILES = Path(__file__).parent / "files"


def lines(path: Path, *values: Any) -> Path:
    path.write_text("".join(json.dumps(v) + "\n" for v in values))
    return path


def read(path: Path, name: str | None = None) -> tuple[str, list[Entry]]:
    found = choose_reader(path, name)
    assert found.read is not None
    return found.name, list(found.read(path))


def rows(entries: list[Entry]) -> list[Row]:
    return [e for e in entries if isinstance(e, Row)]


def whys(entries: list[Entry]) -> list[str]:
    return [str(e) for e in entries if isinstance(e, Skipped)]


# --------------------------------------------------------------------------------------------------------- real files


def test_inspects_archive_counts_what_inspect_counted() -> None:
    """Its own numbers: 3 problems, 4 epochs, accuracy .5; long texts are whole, tokens and prompts are kept."""
    name, entries = read(FILES / "inspect.eval")
    found = rows(entries)
    assert name == "inspect"
    assert sorted((r.problem_id, r.sample_index) for r in found) == [(f"q{i}", j) for i in range(3) for j in range(4)]
    assert sum(r.correct is True for r in found) / len(found) == 0.5
    assert all(r.correct is not None for r in found)
    assert {r.prompt for r in found} == {"2 + 2?"}
    assert {r.reference for r in found} == {"4"}
    assert {len(r.text) for r in found} == {len(t) for t in ("The answer is " * 30 + "4", "I think 5", "", "4")}
    assert all(r.completion_tokens == len(r.text.split()) for r in found)


def test_inspects_archive_becomes_a_run_with_its_curve(tmp_path: Path) -> None:
    done = import_samples(FILES / "inspect.eval", tmp_path / "run")
    assert (done.problems, done.samples, done.judged, done.skipped_total) == (3, 12, 12, 0)


def test_lm_evals_samples_count_what_it_counted() -> None:
    """Its own number for the first filter: exact match 4/6. The second filter's rows are the same texts again."""
    name, entries = read(FILES / "lm_eval.jsonl")
    found = rows(entries)
    assert name == "lm_eval"
    assert whys(entries) == []
    assert [r.problem_id for r in found] == [str(i) for i in range(6)]
    assert [r.correct for r in found] == [True] * 4 + [False] * 2
    assert {(r.text, r.answer) for r in found} == {("lol", "lol")}
    assert found[5].reference == "10"
    assert found[5].prompt == "Q: 5 + 5? A:"


# --------------------------------------------------------------------------------------------------------- lm-eval


def test_a_number_for_several_responses_is_no_verdict_on_any(tmp_path: Path) -> None:
    row = {
        "doc_id": 0,
        "target": "a",
        "resps": [["a", "b"]],
        "filtered_resps": ["a"],
        "filter": "f",
        "exact_match": 1.0,
    }
    likelihoods = row | {"doc_id": 1, "resps": [[-1.0, True]], "filtered_resps": [[-1.0, True]]}
    _, entries = read(lines(tmp_path / "samples.jsonl", row, likelihoods))
    assert [(r.text, r.sample_index, r.correct) for r in rows(entries)] == [("a", 0, None), ("b", 1, None)]
    assert "log-likelihoods" in whys(entries)[0]


# ------------------------------------------------------------------------------------------------------ NeMo-Skills


def nemo(answer: str | None, **cells: Any) -> dict[str, Any]:
    return {
        "problem": "1 + 1?",
        "expected_answer": "2",
        "generation": f"it is {answer}",
        "predicted_answer": answer,
    } | cells


def test_a_folder_of_seeds_is_one_run(tmp_path: Path) -> None:
    lines(tmp_path / "output-rs0.jsonl", nemo("2", symbolic_correct=True), nemo(None, symbolic_correct=False))
    lines(
        tmp_path / "output-rs10.jsonl", nemo("3", is_correct=False), nemo("2", judgement="Reasoning: x\nJudgement: Yes")
    )
    lines(tmp_path / "output-rs2.jsonl", nemo("2", judgement="Judgment: **No**"), nemo("2"))
    (tmp_path / "output-rs2.jsonl.done").touch()
    name, entries = read(tmp_path)
    assert name == "nemo_skills"
    assert [(r.problem_id, r.sample_index, r.answer, r.unanswered, r.correct) for r in rows(entries)] == [
        ("0", 0, "2", False, True),
        ("1", 0, None, True, False),
        ("0", 2, "2", False, False),
        ("1", 2, "2", False, None),
        ("0", 10, "3", False, False),
        ("1", 10, "2", False, True),
    ]
    alone, _ = read(tmp_path / "output-rs0.jsonl")
    assert alone == "nemo_skills"


# ------------------------------------------------------------------------------------------------------ OpenAI batch


def batch(custom_id: str, *texts: str | None, status: int = 200, **cells: Any) -> dict[str, Any]:
    choices = [
        {"index": i, "message": {"role": "assistant", "content": t}, "finish_reason": "stop"}
        for i, t in enumerate(texts)
    ]
    body = {"choices": choices, "usage": {"completion_tokens": 7}}
    return {"id": "b", "custom_id": custom_id, "response": {"status_code": status, "body": body}, "error": None} | cells


def test_batch_output(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "batch.jsonl",
        batch("p#0", "a", "b"),
        batch("p#1", "c"),
        batch("q", None),
        batch("q", "late", status=429),
        batch("q", "x", error={"message": "expired"}, response=None),
    )
    name, entries = read(path)
    assert name == "openai_batch"
    assert [(r.problem_id, r.text, r.completion_tokens) for r in rows(entries)] == [
        ("p", "a", None),
        ("p", "b", None),
        ("p", "c", 7),
        ("q", "", 7),
    ]
    assert whys(entries) == ["line 4: the request failed (status 429)", "line 5: the request failed (status None)"]


# ------------------------------------------------------------------------------------------------- the paper's YAML


def test_the_papers_yaml_and_nothing_in_it_is_executed(tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="needs PyYAML")
    mark = tmp_path / "executed"
    (tmp_path / "10.yaml").write_text(
        "question: '1 + 1?'\nsamples: ['2', '3']\nis_corrects: [true, false]\ngt_answer: '2'\n"
    )
    (tmp_path / "9.yaml").write_text("question: q\nsamples: ['4']\ngt_answer: '4'\n")
    (tmp_path / "evil.yaml").write_text(f"samples: !!python/object/apply:os.mknod ['{mark}']\n")
    (tmp_path / "list.yaml").write_text("- 1\n- 2\n")
    (tmp_path / "broken.yaml").write_text("samples: ['a\n")
    name, entries = read(tmp_path)
    assert name == "llmonk"
    assert not mark.exists()
    assert [(r.problem_id, r.sample_index, r.text, r.correct, r.prompt) for r in rows(entries)] == [
        ("9", 0, "4", None, "q"),
        ("10", 0, "2", True, "1 + 1?"),
        ("10", 1, "3", False, "1 + 1?"),
    ]
    said = whys(entries)
    assert [line.split(":")[0] for line in said] == ["broken.yaml", "evil.yaml", "list.yaml"]
    assert "not plain YAML" in said[1]


# ------------------------------------------------------------------------------------------------ damaged and hostile


def archive(path: Path, samples: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as made:
        made.writestr("header.json", "{}")
        for name, body in samples.items():
            made.writestr(f"samples/{name}.json", body)
    return path


def test_an_archive_that_unpacks_to_more_than_memory_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bomb of 64 MB of zeros in 64 kB; the limit is lowered so that the test is quick."""
    monkeypatch.setattr("vervet.ledger.formats.inspect.LONGEST_LINE", 1 << 20)
    good = json.dumps({"id": "q", "epoch": 1, "output": {"choices": [{"message": {"content": "x"}}]}}).encode()
    path = archive(tmp_path / "bomb.eval", {"bomb": bytes(64 << 20), "good": good})
    assert path.stat().st_size < 1 << 18
    _, entries = read(path)
    assert [r.text for r in rows(entries)] == ["x"]
    assert whys(entries) == ["samples/bomb.json: cannot be read: longer than 1 MiB"]


def test_samples_that_are_none_are_listed(tmp_path: Path) -> None:
    bodies = {
        "list": b"[1]",
        "text": b"{",
        "failed": json.dumps({"id": "q", "epoch": 1, "error": {"message": "timeout"}}).encode(),
        "nameless": json.dumps({"epoch": 1, "output": {"choices": []}}).encode(),
        "odd": json.dumps({"id": "q", "epoch": "x", "output": [], "scores": [], "attachments": 3, "input": 7}).encode(),
    }
    _, entries = read(archive(tmp_path / "odd.eval", bodies))
    assert [line.split(":")[0] for line in whys(entries)] == [
        f"samples/{n}.json" for n in ("list", "text", "failed", "nameless")
    ]
    assert [(r.problem_id, r.text, r.correct) for r in rows(entries)] == [("q", "", None)]


def test_bytes_changed_at_random_end_in_a_listed_skip_or_one_line(tmp_path: Path) -> None:
    dice, ends, path = random.Random(1), set(), tmp_path / "damaged.eval"
    whole = (FILES / "inspect.eval").read_bytes()
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 40)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data[: len(data) - dice.choice((0, 0, 1, 5000))])
        error, entries = attempt(path)
        assert "\n" not in error
        ends.add("error" if error else "skips" if whys(entries) else "whole")
    assert {"error", "skips"} <= ends


def attempt(path: Path) -> tuple[str, list[Entry]]:
    try:
        return "", read(path, "inspect")[1]
    except BadData as error:
        return str(error), []


def test_a_folder_of_something_else_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for name in (None, "llmonk", "nemo_skills", "jsonl"):
        with pytest.raises(BadData, match="is a folder") as caught:
            choose_reader(tmp_path, name)
        assert "\n" not in str(caught.value)


def test_gzipped_tool_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl.gz"
    path.write_bytes(gzip.compress((FILES / "lm_eval.jsonl").read_bytes()))
    name, entries = read(path)
    assert name == "lm_eval"
    assert len(rows(entries)) == 6

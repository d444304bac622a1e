"""A folder that `datasets.load_dataset` opens and the Hugging Face hub takes: Parquet, and a card that says what it is."""

from __future__ import annotations

from pathlib import Path

from vervet.ledger.formats import parquet
from vervet.ledger.formats.rows import Run

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)

CARD = """---
pretty_name: {title}
size_categories:
- {size}
tags:
- repeated-sampling
- vervet
configs:
- config_name: default
  data_files:
  - split: samples
    path: data/samples.parquet
---

# {title}

{samples:,} independent samples of {problems:,} problems ({n}), drawn from `{model}`{task}.

| column | meaning |
|---|---|
| `problem_id`, `sample_index` | which attempt at which problem; indexes count from 0 |
| `text`, `reasoning` | what the model wrote |
| `answer` | what was extracted from the text, null where nothing was found |
| `outcome` | `PASS`, `FAIL`, `UNKNOWN` (could not be decided) or null (not judged yet) |
| `correct` | true for PASS, false for FAIL, else null |
| `finish_reason`, `completion_tokens`, `seed` | how the draw ended, its length, its seed |
{more}
{passed:,} samples passed, {unknown:,} are undecided. Verdicts are those of `{verifier}`.

```python
from datasets import load_dataset

samples = load_dataset("PATH_OR_HUB_ID", split="samples")
```
"""


def write(folder: Path, run: Run) -> int:
    """Fill an empty folder; returns the rows written. Raises: MissingPart without pyarrow."""
    (folder / "data").mkdir()
    with (folder / "data" / "samples.parquet").open("wb") as out:
        written = parquet.write(out, run)
    (folder / "README.md").write_text(_card(run, written), encoding="utf-8")
    return written


def _card(run: Run, written: int) -> str:
    counts = run.counts()
    n = counts.n + counts.unknown
    extra = [(name, "a score") for name in run.score_columns]
    extra += (
        [("check", "what decides an answer"), ("reference", "an answer known to be right")] if run.with_checks else []
    )
    return CARD.format(
        title=f"{run.task} sampled from {run.model}" if run.task else f"Samples of {run.model}",
        size=next((name for top, name in _SIZES if written < top), "n>10M"),
        samples=written,
        problems=len(counts),
        n=f"n = {n.min():,}" if n.min() == n.max() else f"n = {n.min():,} to {n.max():,}",
        model=run.model,
        task=f" for the task `{run.task}`" if run.task else "",
        more="".join(f"| `{name}` | {meaning} |\n" for name, meaning in extra),
        passed=int(counts.c.sum()),
        unknown=int(counts.unknown.sum()),
        verifier=run.verifier,
    )

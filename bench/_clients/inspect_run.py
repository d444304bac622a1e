"""inspect_ai: a task with an exact match for every sample and its log on disk, which is what Vervet does too.

Its epochs are Vervet's n; it asks for one text at a time.
"""

from __future__ import annotations

import os
import tempfile

from _measure import IN_FLIGHT, MAX_TOKENS, PROBLEMS, SAMPLES, URL, Meter

os.environ.update(OPENAI_API_KEY="none", OPENAI_BASE_URL=URL, INSPECT_DISPLAY="none")

from inspect_ai import Epochs, Task, __version__, eval as evaluate
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import pattern
from inspect_ai.solver import generate

rows = [Sample(input=f"What is {i} + 1?", target=str(i + 1), id=i + 1) for i in range(PROBLEMS)]
task = Task(
    dataset=MemoryDataset(rows),
    solver=generate(),
    scorer=pattern(r"Answer: (\d+)\s*$"),
    epochs=Epochs(max(1, SAMPLES // PROBLEMS), "mean"),
    config=GenerateConfig(temperature=1.0, max_tokens=MAX_TOKENS, max_connections=IN_FLIGHT),
)
with tempfile.TemporaryDirectory() as folder:
    meter = Meter()
    (log,) = evaluate(
        task,
        model="openai/m",
        log_dir=folder,
        max_samples=IN_FLIGHT,
        log_samples=True,
        model_args={"responses_api": False},
    )
    if log.status != "success":
        raise SystemExit(f"inspect_ai: {log.status} {log.error}")
    meter.done(log.results.total_samples if log.results else 0, version=__version__)

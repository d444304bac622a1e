"""Vervet end to end: a durable ledger with every sample, and an exact-match verdict for each of them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from _measure import IN_FLIGHT, MAX_TOKENS, PROBLEMS, SAMPLES, URL, Meter, N

import vervet
from vervet.version import __version__


def draw(folder: Path, problems: int, n: int) -> vervet.Run:
    rows = [{"id": f"q{i}", "prompt": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(problems)]
    folder.mkdir()
    task = folder / "task.jsonl"
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return vervet.run(
        task,
        model="openai/m",
        n=n,
        out=folder / "run",
        base_url=(URL,),
        max_in_flight=IN_FLIGHT,
        max_tokens=MAX_TOKENS,
        temperature=1.0,
        verifier="exact",
        model_options={"max_n": N, "probe": False},
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder, "first"), 1, 1).close()
        meter = Meter()
        run = draw(Path(folder, "measured"), PROBLEMS, SAMPLES // PROBLEMS)
        facts = run.to_dict()
        size = sum(path.stat().st_size for path in Path(folder, "measured", "run").iterdir())
        if facts["missing"] or facts["pending"] or facts["unknown"]:
            raise SystemExit(f"vervet: {facts}")
        more = {"pass": facts["pass"], "kept_bytes_per_sample": round(size / facts["samples"], 1)}
        meter.done(facts["samples"], **more, version=__version__)


main()

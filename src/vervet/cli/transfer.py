"""`vervet import` and `vervet export`: samples in and out of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vervet.cli import output
from vervet.cli.output import AsJson


def register(app: typer.Typer) -> None:
    app.command("import")(import_)
    app.command("export")(export)


def import_(
    path: Annotated[
        Path,
        typer.Argument(
            help="JSONL or Parquet: problem_id, sample_index, text[, answer, correct]; or HumanEval's task_id, completion."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The new run's folder.")],
    format: Annotated[
        str | None, typer.Option("--format", help="jsonl, parquet or humaneval. Default: detected.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="The task the samples answer, so that they can be verified.")
    ] = None,
    model: Annotated[
        str, typer.Option("-m", "--model", help="The model that wrote them, for the record.")
    ] = "imported/unknown",
    as_json: AsJson = False,
) -> int:
    """Make a run out of samples you already have; verdicts in the file are kept under the verifier `imported`."""
    from vervet import api

    done = api.import_samples(path, out, format=format, task=task, model=model)
    if as_json:
        output.document(done.to_dict())
    else:
        output.say(f"{out}: {done.samples:,} samples of {done.problems} problems, {done.judged:,} with a verdict")
        for line in done.skipped[:20]:
            output.warn(f"skipped: {output.printable(line)}")
        if len(done.skipped) > 20:
            output.warn(f"skipped: {len(done.skipped) - 20:,} more")
    return 4 if done.skipped else 0


def export(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    format: Annotated[str, typer.Option("--format", help="jsonl, parquet, humaneval or counts.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write. Default: beside the run.")
    ] = None,
    checks: Annotated[bool, typer.Option("--with-checks", help="Also write tests and references.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's samples, or its counts, to a file that other tools read."""
    from vervet import api

    written, rows = api.export(run, format=format, out=out, checks=checks)
    if as_json:
        output.document({"schema": "vervet.export/1", "path": str(written), "rows": rows, "format": format})
    else:
        output.say(f"wrote {rows:,} rows to {written}")

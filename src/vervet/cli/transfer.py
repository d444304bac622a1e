"""`vervet import` and `vervet export`: samples in and out of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.output import AsJson

_SHOWN = 20
# skipped rows that are printed


def register(app: typer.Typer) -> None:
    app.command("import")(import_)
    app.command("export")(export)


def import_(
    path: Annotated[
        Path,
        typer.Argument(
            help="JSONL, Parquet or a JSON array with problem_id, sample_index, text[, answer, correct, score], or what "
            "other tools write, files and folders: see --format."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The new run's folder.")],
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="parquet, jsonl, humaneval, evalplus, swebench, monkey_business, llmonk, inspect, lm_eval, nemo_skills, "
            "openai_batch or lists (one row a problem). Default: found out.",
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="The task the samples answer, so that `vervet verify` can judge them.")
    ] = None,
    task_option: Annotated[list[str] | None, typer.Option("-T", help="An option of the task, name=value.")] = None,
    model: Annotated[
        str, typer.Option("-m", "--model", help="The model that wrote them, for the record.")
    ] = "imported/unknown",
    as_json: AsJson = False,
) -> int:
    """Make a run of samples you already have; verdicts in the file are kept under the verifier `imported`.

    Exit code 4 when rows were skipped; the run's log.txt lists them all.
    """
    from vervet import api
    from vervet.plugins import parse_options

    options = parse_options(task_option or [], "-T")
    done = api.import_samples(path, out, format=format, task=task, task_options=options, model=model)
    if as_json:
        output.document(done.to_dict())
    else:
        _print(done, task)
    return 4 if done.skipped_total else 0


def _print(done: Any, task: str | None) -> None:
    output.say(f"{done.run}: {done.samples:,} samples of {done.problems:,} problems, {done.judged:,} with a verdict")
    for line in done.skipped[:_SHOWN]:
        output.warn(f"skipped: {output.printable(line)}")
    if done.skipped_total > _SHOWN:
        output.warn(f"skipped: {done.skipped_total - _SHOWN:,} more, all of them in {done.run}/log.txt")
    if done.contradictions:
        output.warn(
            f"note: {done.contradictions:,} answers are right in one sample and wrong in another: each keeps its verdict"
        )
    if done.absent:
        output.warn(f"note: {done.absent:,} problems of {task} have no sample")
    if task is not None:
        own = f"  ·  vervet coverage {done.run} --verifier imported" if done.judged else ""
        output.say(f"next: vervet verify {done.run}{own}")
    elif done.judged:
        output.say(f"next: vervet coverage {done.run}")


def export(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="parquet, jsonl, humaneval, evalplus, swebench, dataset (a Hugging Face folder), sft, preferences, "
            "every_eval_ever or counts.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write, - for stdout. Default: beside the run.")
    ] = None,
    checks: Annotated[bool, typer.Option("--with-checks", help="Also write tests and references.")] = False,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Verdicts by this verifier.")] = None,
    per_problem: Annotated[
        int | None, typer.Option("--per-problem", help="Rows a problem at most (sft and preferences).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's samples, or its counts, to a file that other tools read; a file that is there is replaced."""
    from vervet import api
    from vervet.errors import BadOption

    if as_json and str(out) == "-":
        raise BadOption("--json and -o -: both want standard output; name a file")
    done = api.export(run, format=format, out=out, checks=checks, verifier=verifier, per_problem=per_problem)
    if as_json:
        output.document(done.to_dict())
    elif done.path != "-":
        output.say(f"wrote {done.rows:,} rows to {done.path}")
    for notice in done.notices:
        output.warn(f"note: {notice}")

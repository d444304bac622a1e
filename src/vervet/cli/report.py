"""`vervet report`: one offline page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vervet.cli import output
from vervet.cli.output import AsJson


def register(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Run folders, or counts as CSV, JSONL, Parquet.")
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="Where the page goes.")] = Path("report.html"),
    level: Annotated[float, typer.Option("--level", help="Confidence level of the intervals.")] = 0.95,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page: curve, problems, run facts, how to reproduce."""
    from vervet import api

    written = api.report(sources, out, level=level)
    if as_json:
        output.document({"schema": "vervet.report/1", "path": str(written), "bytes": written.stat().st_size})
    else:
        output.say(f"wrote {written} ({written.stat().st_size / 1024:.0f} kB): open it in any browser, offline too")

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
        list[Path],
        typer.Argument(
            metavar="SOURCE...", help="Run folders, parents of run folders, or counts as CSV, JSONL, Parquet."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--output", help="Where the page goes.")] = Path("report.html"),
    level: Annotated[float, typer.Option("--level", help="Confidence level of the intervals.")] = 0.95,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Count verdicts by this verifier.")] = None,
    title: Annotated[str | None, typer.Option("--title", help="The page's heading. Default: model and task.")] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Also write the curve as SVG, PNG and PDF into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page: curve, problems, verifier health, run facts, how to reproduce."""
    from vervet import api

    written = api.report(sources, out, level=level, verifier=verifier, title=title, figures=figures)
    size = written.stat().st_size
    if as_json:
        drawn = sorted(str(p) for p in figures.glob("coverage.*")) if figures else []
        output.document({"schema": "vervet.report/1", "path": str(written), "bytes": size, "figures": drawn})
        return
    output.say(f"wrote {output.printable(str(written))} ({size / 1024:.0f} kB): open it in any browser, offline too")
    if figures:
        output.say(f"wrote {output.printable(str(figures))}/coverage.svg, .png and .pdf")

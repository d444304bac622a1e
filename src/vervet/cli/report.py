"""`vervet report`: one offline page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vervet.cli import output
from vervet.cli.cost import Baselines
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
        Path | None, typer.Option("--figures", help="Also write figures as SVG, PNG and PDF into this folder.")
    ] = None,
    baseline: Baselines = None,
    price_in: Annotated[float | None, typer.Option("--price-in", help="USD for a million prompt tokens.")] = None,
    price_out: Annotated[float | None, typer.Option("--price-out", help="USD for a million completion tokens.")] = None,
    usd_per_sample: Annotated[
        float | None, typer.Option("--usd-per-sample", help="USD for one sample, all in.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write one self-contained HTML page: curve and forecast, selection, cost, problems, verifier health, how to reproduce."""
    from vervet import api

    rates = api.Rates(price_in, price_out, None, usd_per_sample)
    written = api.report(
        sources,
        out,
        level=level,
        verifier=verifier,
        title=title,
        figures=figures,
        baseline=baseline or (),
        rates=rates,
    )
    size = written.stat().st_size
    if as_json:
        drawn = sorted(str(p) for p in figures.glob("*.*")) if figures else []
        output.document({"schema": "vervet.report/1", "path": str(written), "bytes": size, "figures": drawn})
        return
    output.say(f"wrote {output.printable(str(written))} ({size / 1024:.0f} kB): open it in any browser, offline too")
    if figures:
        output.say(
            f"wrote {output.printable(str(figures))}/: coverage, difficulty, selection and cost as .svg, .png and .pdf"
        )

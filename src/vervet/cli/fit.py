"""`vervet fit`: scaling laws."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.output import AsJson


def register(app: typer.Typer) -> None:
    app.command("fit")(fit)


def fit(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="Run folders, or counts.")],
    model: Annotated[list[str] | None, typer.Option("--model", help="A scaling law (repeat for more), or all.")] = None,
    space: Annotated[list[str] | None, typer.Option("--space", help="log-coverage (the paper's) or coverage.")] = None,
    level: Annotated[float, typer.Option("--level", help="Confidence level of the intervals.")] = 0.95,
    design: Annotated[str | None, typer.Option("--design", help="How the samples were collected.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fit scaling laws: coverage = exp(a k^b), log(-log c) against log k, distributions of difficulty."""
    from vervet import api

    names = "all" if model == ["all"] else model
    result = api.fit(sources, model=names, space=space, level=level, design=design)
    if as_json:
        output.document(result.to_dict())
        return
    for source in result.sources:
        _print(source)


def _print(source: Any) -> None:
    output.say(f"{output.printable(source.source)}:")
    rows = []
    for one in source.fits:
        name = one.model if one.space is None else f"{one.model} ({one.space})"
        if one.a is None and one.error_mean is None:
            rows.append((name, "-", "-", one.reason))
            continue
        error = "-" if one.error_mean is None else f"{one.error_mean:.4f} ± {one.error_sd:.4f}"
        rows.append((name, _number(one.a, one.a_low, one.a_high), _number(one.b, one.b_low, one.b_high), error))
    output.say(output.table(("model", "a", "b", "error (mean ± sd)"), rows, left=4))
    for one in source.fits:
        if one.reason and one.error_mean is not None:
            output.warn(f"note: {one.model}: no interval: {one.reason}")
    for warning in source.warnings:
        output.warn(f"note: {output.printable(warning)}")


def _number(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if low is None or high is None else f"{value:.4g} [{low:.4g}, {high:.4g}]"

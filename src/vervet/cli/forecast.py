"""`vervet forecast`: coverage at budgets not yet spent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.coverage import parse_k
from vervet.cli.output import AsJson, share


def register(app: typer.Typer) -> None:
    app.command("forecast")(forecast)


def forecast(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A run folder, or counts.")],
    k: Annotated[str | None, typer.Option("--k", help="Attempts. Default: 10 and 100 times what there is.")] = None,
    method: Annotated[str | None, typer.Option("--method", help="One method. Default: the combination.")] = None,
    level: Annotated[float, typer.Option("--level", help="Confidence level of the intervals.")] = 0.95,
    design: Annotated[str | None, typer.Option("--design", help="How the samples were collected.")] = None,
    backtest: Annotated[bool, typer.Option("--backtest/--no-backtest", help="Score the methods on your data.")] = True,
    as_json: AsJson = False,
) -> None:
    """Forecast coverage beyond the samples there are, with an interval, and a back-test on your own data."""
    from vervet import api

    result = api.forecast(source, k=parse_k(k), method=method, level=level, design=design, backtest=backtest)
    if as_json:
        output.document(result.to_dict())
    else:
        _print(result)


def _print(result: Any) -> None:
    output.say(f"{output.printable(result.source)}: forecast by {result.method}, for these very problems")
    percent = f"{100 * result.level:g}%"
    rows = [
        (
            f"{p.k:,}",
            share(p.coverage),
            f"{share(p.low)} to {share(p.high)}",
            f"{share(p.wide_low)} to {share(p.wide_high)}",
        )
        for p in result.points
    ]
    output.say(output.table(("k", "coverage", f"{percent} interval", "wide: if the tail ends early"), rows, left=0))
    if result.sensitivity:
        output.say("")
        output.say("if a share of the problems never solved so far can never be solved:")
        shares = sorted({s.share for s in result.sensitivity})
        found = {(s.k, s.share): share(s.coverage) for s in result.sensitivity}
        ks = sorted({s.k for s in result.sensitivity})
        left = [(f"{k:,}", *(found[k, one] for one in shares)) for k in ks]
        output.say(output.table(("k", *(share(one, 0) for one in shares)), left, left=0))
    if result.backtest:
        output.say("")
        output.say("back-test: fitted to a part of these samples, asked for what all of them show")
        tests = [(b.method, b.fit_n, b.k, f"{100 * b.error:.1f}", f"{100 * b.bias:+.1f}") for b in result.backtest]
        output.say(output.table(("method", "from n", "to k", "error (points)", "bias"), tests))
    for warning in result.warnings:
        output.warn(f"note: {output.printable(warning)}")

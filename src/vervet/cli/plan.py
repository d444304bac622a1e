"""`vervet plan`: what a target coverage takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.output import AsJson, share


def register(app: typer.Typer) -> None:
    app.command("plan")(plan)


def plan(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A run folder, or counts.")],
    target: Annotated[float, typer.Option("--target", help="The coverage wanted, between 0 and 1.")] = 0.9,
    usd_per_sample: Annotated[float | None, typer.Option("--usd-per-sample", help="Price of one sample.")] = None,
    budget: Annotated[int | None, typer.Option("--budget", help="Samples to give out over unsolved problems.")] = None,
    level: Annotated[float, typer.Option("--level", help="Confidence level of the range.")] = 0.95,
    design: Annotated[str | None, typer.Option("--design", help="How the samples were collected.")] = None,
    as_json: AsJson = False,
) -> None:
    """Samples, and money, for a target coverage; with --budget, the problems where the next samples do most good."""
    from vervet import api

    result = api.plan(source, target=target, usd_per_sample=usd_per_sample, budget=budget, level=level, design=design)
    if as_json:
        output.document(result.to_dict())
    else:
        _print(result)


def _print(result: Any) -> None:
    name = output.printable(result.source)
    if result.k is None:
        output.say(f"{name}: {share(result.target)} is out of reach of what can be said from these samples")
    else:
        reach = [f"{k:,}" if k is not None else "beyond reach" for k in (result.k_low, result.k_high)]
        output.say(
            f"{name}: {share(result.target)} at k = {result.k:,} ({100 * result.level:g}% range {reach[0]} to {reach[1]})"
        )
        output.say(f"still to draw: {result.samples:,} samples for every problem{_money(result.usd)}")
        first = f"{result.samples_first_pass:,.0f}"
        output.say(f"or about {first} if each problem stops at its first PASS{_money(result.usd_first_pass)}")
    if result.allocation:
        output.say(f"the budget, where it is expected to solve {result.expected_solved:.1f} more problems:")
        rows = [(output.printable(s.problem_id), f"{s.samples:,}", share(s.chance)) for s in result.allocation]
        output.say(output.table(("problem", "samples", "chance of a first PASS"), rows))
    for warning in result.warnings:
        output.warn(f"note: {output.printable(warning)}")


def _money(usd: float | None) -> str:
    return "" if usd is None else f", ${usd:,.2f}"

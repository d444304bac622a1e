"""`vervet noise`: coverage behind a verifier that errs at known rates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.coverage import parse_k
from vervet.cli.output import AsJson, share


def register(app: typer.Typer) -> None:
    app.command("noise")(noise)


def noise(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A run folder, or counts.")],
    false_positive: Annotated[float, typer.Option("--false-positive", help="Share of wrong samples that it accepts.")],
    false_negative: Annotated[
        float, typer.Option("--false-negative", help="Share of right samples that it rejects.")
    ] = 0.0,
    k: Annotated[str | None, typer.Option("--k", help="Numbers of attempts, separated by commas.")] = None,
    level: Annotated[float, typer.Option("--level", help="Confidence level of the intervals.")] = 0.95,
    as_json: AsJson = False,
) -> None:
    """Correct coverage for a verifier with known error rates, and show the ceiling that they impose.

    "first accepted is right" is the chance that the first accepted of k attempts is right: no k brings it above the
    ceiling.
    """
    from vervet import api

    result = api.verifier_noise(source, false_positive, false_negative, k=parse_k(k), level=level)
    if as_json:
        output.document(result.to_dict())
    else:
        _print(result)


def _print(result: Any) -> None:
    output.say(
        f"{output.printable(result.source)}: {share(result.false_positive)} of wrong samples accepted, "
        f"{share(result.false_negative)} of right ones rejected"
    )
    percent = f"{100 * result.level:g}%"
    rows = [
        (
            f"{p.k:,}",
            share(p.accepted),
            share(p.true_coverage),
            f"{share(p.true_low)} to {share(p.true_high)}",
            share(p.reward),
            f"{share(p.reward_low)} to {share(p.reward_high)}",
        )
        for p in result.points
    ]
    header = ("k", "seen", "true coverage", f"{percent} interval", "first accepted is right", f"{percent} interval")
    output.say(output.table(header, rows, left=0))
    output.say(f"ceiling of the first accepted sample being right, at any k: {share(result.ceiling)}")
    for warning in result.warnings:
        output.warn(f"note: {output.printable(warning)}")

"""`vervet family`: do models differ by a factor in samples only?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.output import AsJson, share


def register(app: typer.Typer) -> None:
    app.command("family")(family)


def family(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Two or more: run folders, parents of run folders, counts."),
    ],
    as_json: AsJson = False,
) -> None:
    """Slide the coverage curves of several models onto each other, and measure the gap that is left.

    Each curve is shifted by k*, the samples its model needs for the best model's pass@1. No gap: a factor in samples is
    all that differs.
    """
    from vervet import api

    result = api.family(sources)
    if as_json:
        output.document(result.to_dict())
    else:
        _print(result)


def _print(result: Any) -> None:
    output.say(f"anchor: the best model's pass@1, {share(result.anchor)}")
    rows = [
        (output.printable(m.source), share(m.pass_at_1), "never" if m.k_star is None else f"{m.k_star:,}")
        for m in result.members
    ]
    output.say(output.table(("model", "pass@1", "k*: samples to the anchor"), rows))
    if result.rms_gap is not None:
        output.say(
            f"gap after the slide: {100 * result.rms_gap:.1f} points (root mean square over log k), at most "
            f"{100 * result.largest_gap:.1f}, up to {result.reach:,.0f} times k*"
        )
    for warning in result.warnings:
        output.warn(f"note: {output.printable(warning)}")

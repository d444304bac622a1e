"""`vervet compare`: two sources on the same problems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.coverage import parse_k
from vervet.cli.output import AsJson, share


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run folder, or counts.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one, on the same problems.")],
    k: Annotated[str | None, typer.Option("--k", help="Attempts. Default: a grid up to the smaller n.")] = None,
    cost: Annotated[str | None, typer.Option("--cost", help="Of one sample of A and of B, such as 0.01,0.13.")] = None,
    level: Annotated[float, typer.Option("--level", help="Confidence level of the intervals.")] = 0.95,
    design: Annotated[str | None, typer.Option("--design", help="How the samples of both were collected.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare coverage problem by problem: at equal k, and with --cost at equal money or FLOPs."""
    from vervet import api

    result = api.compare(a, b, k=parse_k(k), level=level, cost=_cost(cost), design=design)
    if as_json:
        output.document(result.to_dict())
    else:
        _print(result)


def _cost(text: str | None) -> tuple[float, float] | None:
    from vervet.errors import BadOption

    if text is None:
        return None
    try:
        a, b = (float(part) for part in text.split(","))
    except ValueError:
        raise BadOption(f"--cost {text}: write two numbers above 0, such as 0.01,0.13") from None
    return a, b


def _print(result: Any) -> None:
    output.say(
        f"A = {output.printable(result.a)}, B = {output.printable(result.b)}, {result.problems} problems of both"
    )
    rows = [
        (
            f"equal {p.basis}",
            f"{p.k_a:,}",
            f"{p.k_b:,}",
            share(p.coverage_a),
            share(p.coverage_b),
            f"{100 * p.difference:+.1f}",
            f"{100 * p.low:+.1f} to {100 * p.high:+.1f}",
        )
        for p in result.points
    ]
    percent = f"{100 * result.level:g}%"
    output.say(output.table(("at", "k of A", "k of B", "A", "B", "A - B (points)", f"{percent} interval"), rows))
    for warning in result.warnings:
        output.warn(f"note: {output.printable(warning)}")

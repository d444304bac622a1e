"""`vervet select`: which answer would be handed back, and how often it is right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.coverage import parse_k
from vervet.cli.output import AsJson, share


def register(app: typer.Typer) -> None:
    app.command("select")(select)


def select(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A run's folder.")],
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="majority, weighted-majority, best-of-k, verified, first, oracle (repeat for more). Default: what has data.",
        ),
    ] = None,
    k: Annotated[
        str | None, typer.Option("--k", help="Numbers of samples, separated by commas. Default: a grid up to n.")
    ] = None,
    scorer: Annotated[str | None, typer.Option("--scorer", help="Whose scores. Default: the newest.")] = None,
    accepted_by: Annotated[
        str | None, typer.Option("--accepted-by", help="The verifier that `verified` asks before the vote.")
    ] = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Whose verdicts say what is right.")] = None,
    stopping: Annotated[
        bool, typer.Option("--stopping", help="Also: what stopping votes early saves, and what it loses.")
    ] = False,
    level: Annotated[float, typer.Option("--level", help="Confidence level of the intervals.")] = 0.95,
    as_json: AsJson = False,
) -> None:
    """Success rate of selecting without an oracle: k samples, one answer handed back, ties split, over random subsets."""
    from vervet import api

    result = api.select(
        source,
        method or None,
        parse_k(k),
        level,
        scorer=scorer,
        verifier=verifier,
        accepted_by=accepted_by,
        stopping=stopping,
    )
    if as_json:
        output.document(result.to_dict())
    else:
        _print(result)


def _print(result: Any) -> None:
    n = f"{result.n_min:,}" if result.n_min == result.n_max else f"{result.n_min:,} to {result.n_max:,}"
    by = f", scores by {output.printable(result.scorer)}" if result.scorer else ""
    output.say(f"{output.printable(result.source)}: {result.problems} problems, n = {n}{by}")
    percent = f"{100 * result.level:g}%"
    rows = [
        (
            p.method,
            f"{p.k:,}",
            share(p.success),
            f"{share(p.low)} to {share(p.high)}",
            share(p.coverage),
            share(p.precision),
            p.problems,
        )
        for p in result.points
    ]
    output.say(
        output.table(("method", "k", "success", f"{percent} interval", "coverage", "precision", "problems"), rows)
    )
    for plateau in result.plateaus:
        near = "at no k yet" if plateau.k_within_1pt is None else f"from k = {plateau.k_within_1pt:,} on"
        output.say(
            f"{plateau.method} levels off at {share(plateau.limit)} ({share(plateau.low)} to {share(plateau.high)}); "
            f"within one point of it {near}"
        )
    for s in result.stopping:
        output.say(
            f"{s.policy} draws {s.samples:.1f} of {s.cap} samples ({share(s.saved, 0)} saved): {share(s.success)} instead of "
            f"{share(s.full)} ({100 * s.low:+.1f} to {100 * s.high:+.1f} points)"
        )
    for warning in result.warnings:
        output.warn(f"note: {output.printable(warning)}")

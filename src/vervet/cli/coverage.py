"""`vervet coverage`: the share of problems solved against the number of attempts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.cost import Baselines, crossing_line
from vervet.cli.output import AsJson, share


def register(app: typer.Typer) -> None:
    app.command("coverage")(coverage)


def coverage(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...", help="Run folders, parents of run folders, or counts as CSV, JSONL, Parquet."
        ),
    ],
    k: Annotated[
        str | None, typer.Option("--k", help="Numbers of attempts, separated by commas. Default: a grid up to n.")
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Confidence level of the intervals.")] = 0.95,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Count verdicts by this verifier.")] = None,
    baseline: Baselines = None,
    as_json: AsJson = False,
) -> None:
    """Coverage (pass@k) with intervals: the chance that k attempts contain at least one PASS, averaged over problems."""
    from vervet import api

    result = api.coverage(sources, k=parse_k(k), level=level, verifier=verifier)
    crossings = api.cost(sources, baseline=baseline, verifier=verifier).crossings if baseline else ()
    if as_json:
        lines = [{"source": source} | found.to_dict() for source, found in crossings]
        output.document(result.to_dict() | ({"baselines": lines} if baseline else {}))
        return
    for curve in result.sources:
        _print(curve)
    for source, found in crossings:
        output.say(crossing_line(source, found))


def parse_k(text: str | None) -> list[int] | None:
    """ "1,10,1e4" -> [1, 10, 10000]. Raises: BadOption."""
    from vervet.errors import BadOption

    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        values = []
    if not values or any(v != int(v) or v < 1 for v in values):
        raise BadOption(f"--k {text}: write whole numbers of at least 1, separated by commas")
    return [int(v) for v in values]


def _print(curve: Any) -> None:
    solved = curve.problems - curve.never_solved
    n = f"{curve.n_min:,}" if curve.n_min == curve.n_max else f"{curve.n_min:,} to {curve.n_max:,}"
    output.say(
        f"{curve.source}: {curve.problems} problems, n = {n}, {solved} solved at least once, design {curve.design}"
    )
    percent = f"{100 * curve.level:g}%"
    rows = []
    for p in curve.points:
        bar = "" if p.coverage is None else _bar(p.coverage, p.low, p.high)
        rows.append((f"{p.k:,}", share(p.coverage), f"{share(p.low)} to {share(p.high)}", p.problems, bar))
    output.say(output.table(("k", "coverage", f"{percent} interval", "problems", ""), rows, left=0))
    for warning in curve.warnings:
        output.warn(f"note: {output.printable(warning)}")


_WIDTH = 40


def _bar(value: float, low: float | None, high: float | None) -> str:
    """A bar with its interval: `█████████░░░─────`."""
    at, a, b = (round(_WIDTH * v) for v in (value, low or 0.0, high or 0.0))
    return "".join("█" if i < min(at, a) else "▓" if i < at else "░" if i < b else "·" for i in range(_WIDTH))

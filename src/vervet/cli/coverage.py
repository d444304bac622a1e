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
    design: Annotated[
        str | None,
        typer.Option(
            "--design",
            help="How samples were collected: fixed, first-pass, m-passes=M, blocks=B. Default: as recorded.",
        ),
    ] = None,
    tau: Annotated[
        float | None,
        typer.Option("--tau", help="Share of the k attempts that must PASS, instead of one; 1: all of them (pass^k)."),
    ] = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Count verdicts by this verifier.")] = None,
    baseline: Baselines = None,
    fail_under: Annotated[
        str | None,
        typer.Option(
            "--fail-under",
            help="Exit with 5 unless it holds: 'pass@10>=0.8 @95%' (the data show it at that level), 'pass@10>=0.8' (the "
            "estimate), or a share that coverage at the largest k has to reach.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Coverage (pass@k) with intervals: the chance that k attempts contain at least one PASS, averaged over problems.

    The interval is for the population that the problems are drawn from; "these problems" is the one for these very
    problems, sampled again.
    """
    from vervet import api

    least = _share(fail_under)
    result = api.coverage(sources, k=parse_k(k), level=level, verifier=verifier, design=design, tau=tau)
    crossings = api.cost(sources, baseline=baseline, verifier=verifier).crossings if baseline else ()
    if as_json:
        lines = [{"source": source} | found.to_dict() for source, found in crossings]
        output.document(result.to_dict() | ({"baselines": lines} if baseline else {}))
    else:
        for curve in result.sources:
            _print(curve)
        for source, found in crossings:
            output.say(crossing_line(source, found))
    short = [line for c in result.sources if least is not None and (line := _short_of(c, least))]
    if fail_under is not None and least is None:
        judged = [found for source in sources for found in api.gate(source, fail_under, design)]
        short = [str(found) for found in judged if not found.holds]
    if short:
        for line in short:
            output.warn(f"vervet: {line}")
        raise typer.Exit(CHECK_FAILED)


CHECK_FAILED = 5


def _share(fail_under: str | None) -> float | None:
    """A plain share; None where there is none, or a whole gate. Raises: BadOption."""
    from vervet.analysis.gate import parse
    from vervet.errors import BadOption

    if fail_under is None:
        return None
    try:
        least = float(fail_under)
    except ValueError:
        parse(fail_under)
        return None
    if not 0 <= least <= 1:
        raise BadOption(f"--fail-under {fail_under}: write a share between 0 and 1, such as 0.8")
    return least


def _short_of(curve: Any, least: float) -> str:
    """Why a source fails --fail-under, "" where it does not. No estimate at the largest k fails: nothing shows it."""
    last = curve.points[-1]
    if last.coverage is not None and last.coverage >= least:
        return ""
    return (
        f"{output.printable(curve.source)}: coverage at k = {last.k:,} is {share(last.coverage)}, under {share(least)}"
    )


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
    name = output.printable(curve.source)
    output.say(f"{name}: {curve.problems} problems, n = {n}, {solved} solved at least once, design {curve.design}")
    if curve.tau is not None:
        needed = "all k attempts pass" if curve.tau == 1 else f"at least {curve.tau:g} k of k attempts pass"
        output.say(f"coverage here: the chance that {needed}")
    percent = f"{100 * curve.level:g}%"
    bounds = any(p.floor < (p.coverage or 0.0) - 1e-9 or p.ceiling > (p.coverage or 0.0) + 1e-9 for p in curve.points)
    rows = []
    for p in curve.points:
        bar = "" if p.coverage is None else _bar(p.coverage, p.low, p.high)
        row = [f"{p.k:,}", share(p.coverage), _range(p.low, p.high), _range(p.draws_low, p.draws_high)]
        rows.append([*row, *([_range(p.floor, p.ceiling)] if bounds else []), p.problems, bar])
    header = ["k", "coverage", f"{percent} interval", "these problems", *(["floor to ceiling"] if bounds else [])]
    output.say(output.table([*header, "problems", ""], rows, left=0))
    for warning in curve.warnings:
        output.warn(f"note: {output.printable(warning)}")


def _range(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{share(low)} to {share(high)}"


_WIDTH = 30
# of the bar: the table stays within 100 columns


def _bar(value: float, low: float | None, high: float | None) -> str:
    """A bar with its interval: `█████████░░░─────`."""
    at, a, b = (round(_WIDTH * v) for v in (value, low or 0.0, high or 0.0))
    return "".join("█" if i < min(at, a) else "▓" if i < at else "░" if i < b else "·" for i in range(_WIDTH))

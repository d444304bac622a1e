"""`vervet cost`: tokens, FLOPs, money and time, and what a level of success costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.output import AsJson, share

Baselines = Annotated[
    list[str] | None,
    typer.Option("--baseline", help='A single attempt of another model, "GPT-4o=0.24@0.13usd" (repeat for more).'),
]


def register(app: typer.Typer) -> None:
    app.command("cost")(cost)


def cost(
    sources: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, parents of them, or counts.")],
    k: Annotated[int | None, typer.Option("--k", help="Also: so many samples a problem, and what they solve.")] = None,
    baseline: Baselines = None,
    price_in: Annotated[float | None, typer.Option("--price-in", help="USD for a million prompt tokens.")] = None,
    price_out: Annotated[float | None, typer.Option("--price-out", help="USD for a million completion tokens.")] = None,
    price_cached: Annotated[
        float | None, typer.Option("--price-cached", help="USD for a million prompt tokens out of a cache.")
    ] = None,
    usd_per_sample: Annotated[
        float | None, typer.Option("--usd-per-sample", help="USD for one sample, all in.")
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option("--shape", help="For FLOPs: PARAMETERS,LAYERS,WIDTH, a known model, config.json or .gguf."),
    ] = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Count verdicts by this verifier.")] = None,
    level: Annotated[float, typer.Option("--level", help="Confidence level of the intervals.")] = 0.95,
    as_json: AsJson = False,
) -> None:
    """What runs cost, and how many of their samples it takes to reach one attempt of a stronger model."""
    from vervet import api

    rates = api.Rates(price_in, price_out, price_cached, usd_per_sample, shape)
    result = api.cost(sources, k, baseline or (), rates, level, verifier)
    if as_json:
        output.document(result.to_dict())
    else:
        _print(result)


def _print(result: Any) -> None:
    rows: list[tuple[str, ...]] = [
        (
            output.printable(r.run),
            f"{r.samples:,}",
            f"{r.requests:,}",
            f"{r.prompt_tokens:,}",
            f"{r.cached_tokens:,}",
            f"{r.completion_tokens:,}",
            flops(r.flops),
            usd(r.usd),
            usd(r.usd_per_solved, 4),
            "-" if r.seconds is None else f"{r.seconds:,.0f} s",
        )
        for r in result.runs
    ]
    head = (
        "run",
        "samples",
        "requests",
        "prompt tok",
        "cached",
        "completion tok",
        "FLOPs",
        "USD",
        "USD/solved",
        "time",
    )
    output.say(output.table(head, rows))
    if result.attempts:
        output.say("")
        output.say(output.table(*attempt_table(result)))
    for run, found in result.crossings:
        output.say(crossing_line(run, found))
    for warning in result.warnings:
        output.warn(f"note: {output.printable(warning)}")


def attempt_table(result: Any) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows in the form of the paper's table 1."""
    rows: list[tuple[str, ...]] = [
        (
            output.printable(a.model),
            usd(a.usd_per_attempt, 4),
            f"{a.k:,}",
            share(a.success, 2),
            "-" if a.low is None else f"{share(a.low)} to {share(a.high)}",
            usd(a.usd),
            _times(a.relative_usd),
            flops(a.flops),
            _times(a.relative_flops),
        )
        for a in result.attempts
    ]
    head = ("model", "USD/attempt", "attempts", "solved", "interval", "USD", "relative", "FLOPs", "relative")
    return head, list(rows)


def crossing_line(run: str, found: Any) -> str:
    """Where a run reaches a baseline, in one sentence."""
    base, where = found.baseline, output.printable(run)
    name = f"{output.printable(base.name)} ({share(base.success)})"
    if found.k is None:
        return f"{where} does not reach {name} within k = {found.k_max:,}"
    text = f"{where} reaches {name} at k = {found.k:,}, with {share(found.coverage)}"
    if found.usd is not None:
        text += f", for {usd(found.usd, 4)} a problem"
        text += "" if base.usd is None else f" (one attempt of it: {usd(base.usd, 4)})"
    if found.flops is not None:
        text += f", with {flops(found.flops)} FLOPs a problem"
        text += "" if base.flops is None else f" (one attempt of it: {flops(base.flops)})"
    return text


def usd(value: float | None, digits: int = 2) -> str:
    """10.8 -> "$10.80"."""
    return "-" if value is None else f"${value:,.{digits}f}"


def flops(value: float | None) -> str:
    """1.2e15 -> "1.20e+15"."""
    return "-" if value is None else f"{value:.2e}"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"

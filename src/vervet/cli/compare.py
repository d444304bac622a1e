"""`vervet compare`: two sources on the same problems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.cost import Baselines, crossing_line, flops, usd
from vervet.cli.coverage import parse_k
from vervet.cli.output import AsJson, share

if TYPE_CHECKING:
    from vervet.api import Rates


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run folder, or counts.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one, on the same problems.")],
    k: Annotated[str | None, typer.Option("--k", help="Attempts. Default: a grid up to the smaller n.")] = None,
    cost: Annotated[str | None, typer.Option("--cost", help="Of one sample of A and of B, such as 0.01,0.13.")] = None,
    usd_per_sample: Annotated[
        str | None,
        typer.Option("--usd-per-sample", help="USD of one sample of A and of B, where the runs do not know."),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option("--shape", help="Models of A and of B for FLOPs, as in `vervet cost`, split by a colon."),
    ] = None,
    baseline: Baselines = None,
    level: Annotated[float, typer.Option("--level", help="Confidence level of the intervals.")] = 0.95,
    design: Annotated[str | None, typer.Option("--design", help="How the samples of both were collected.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare coverage problem by problem: at equal k, and at equal money and FLOPs where the runs know them."""
    from vervet import api

    result = api.compare(a, b, k=parse_k(k), level=level, cost=_cost(cost), design=design)
    rates = _rates(usd_per_sample, shape)
    more = api.exchange(a, b, parse_k(k), rates, level)
    crossings = api.cost([a, b], baseline=baseline, rates=rates, level=level).crossings if baseline else ()
    if as_json:
        own, extra = result.to_dict(), more.to_dict()
        joined = {name: [*own[name], *extra[name]] for name in ("points", "warnings")}
        lines = {"baselines": [{"run": run} | found.to_dict() for run, found in crossings]} if baseline else {}
        output.document(own | extra | joined | lines)
        return
    _print(result)
    _print_exchange(more)
    for run, found in crossings:
        output.say(crossing_line(run, found))


def _rates(usd: str | None, shape: str | None) -> tuple[Rates, Rates]:
    """Prices and shapes of A and of B. Raises: BadOption."""
    from vervet.api import Rates
    from vervet.errors import BadOption

    prices: Sequence[float | None] = (None, None) if usd is None else _two(usd, "--usd-per-sample", "0.0072,0.13")
    shapes: Sequence[str | None] = (None, None) if shape is None else shape.split(":")
    if len(shapes) != 2:
        raise BadOption(f"--shape {shape}: write two models, such as llama-3-8b:llama-3-70b")
    left, right = (Rates(usd_per_sample=p, shape=s or None) for p, s in zip(prices, shapes, strict=True))
    return left, right


def _print_exchange(found: Any) -> None:
    """Equal money and equal FLOPs, where the lead changes, and the front."""
    if found.points:
        output.say("")
        output.say(output.table(_HEAD, [_row(p, f"equal {p.basis}") for p in found.points]))
    for even in found.break_even:
        name = found.a if even.leader == "a" else found.b
        spent = usd(even.cost, 4) if even.unit == "usd" else f"{flops(even.cost)} FLOPs"
        output.say(
            f"from {spent} a problem on (k = {even.k_a:,} of A, {even.k_b:,} of B) {output.printable(name)} is ahead, "
            f"at {share(even.coverage)}"
        )
    if found.front:
        rows = [
            (
                "A" if p.run == "a" else "B",
                f"{p.k:,}",
                share(p.coverage),
                usd(p.cost, 4) if p.unit == "usd" else flops(p.cost),
                usd(p.cost_per_solved, 4) if p.unit == "usd" else flops(p.cost_per_solved),
            )
            for p in found.front
        ]
        output.say("")
        output.say(output.table(("front", "k", "coverage", "cost a problem", "cost a solved one"), rows))


def _cost(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    return _two(text, "--cost", "0.01,0.13")


def _two(text: str, option: str, example: str) -> tuple[float, float]:
    from vervet.errors import BadOption

    try:
        a, b = (float(part) for part in text.split(","))
    except ValueError:
        raise BadOption(f"{option} {text}: write two numbers above 0, such as {example}") from None
    return a, b


def _print(result: Any) -> None:
    output.say(
        f"A = {output.printable(result.a)}, B = {output.printable(result.b)}, {result.problems} problems of both"
    )
    percent = f"{100 * result.level:g}%"
    head = (*_HEAD[:-1], f"{percent} interval")
    output.say(output.table(head, [_row(p, f"equal {p.basis}") for p in result.points]))
    for warning in result.warnings:
        output.warn(f"note: {output.printable(warning)}")


_HEAD = ("at", "k of A", "k of B", "A", "B", "A - B (points)", "interval")


def _row(p: Any, name: str) -> tuple[str, ...]:
    return (
        name,
        f"{p.k_a:,}",
        f"{p.k_b:,}",
        share(p.coverage_a),
        share(p.coverage_b),
        f"{100 * p.difference:+.1f}",
        f"{100 * p.low:+.1f} to {100 * p.high:+.1f}",
    )

"""`vervet reproduce paper`: published numbers beside our own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vervet.cli import output
from vervet.cli.output import AsJson

_TITLES = {
    "coverage": "Coverage",
    "fit": "Exponentiated power law, log c = a k^b",
    "family": "Families",
    "selection": "Selection, success rate",
    "cost": "Cost (table 1)",
}


def register(app: typer.Typer) -> None:
    app.command("reproduce")(reproduce)


def reproduce(
    what: Annotated[  # noqa: ARG001  there is one paper so far, and its name makes the command read well
        Literal["paper"], typer.Argument(help='"paper": Large Language Monkeys, arXiv 2407.21787.')
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="A folder of counts, runs or files of the released data set, named like math-pythia-70m; or hub, to fetch "
            "them. Default: the six sets of counts that ship with Vervet.",
        ),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Also draw the paper's figures into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The paper's published numbers beside those that come out of its released outcomes, with their difference."""
    from vervet import api

    result = api.reproduce_paper(data, figures=figures)
    if as_json:
        output.document(result.to_dict())
        return
    for table, title in _TITLES.items():
        lines = [line for line in result.lines if line.table == table and line.reproduced is not None]
        if lines:
            output.say(f"{title}\n")
            output.say(
                output.table(("", "", "published", "reproduced", "difference"), map(_cells, lines), left=2) + "\n"
            )
    for name, found in result.families:
        if found.rms_gap is not None:
            output.say(
                f"{name}: slid onto each other, the curves of {len(found.members)} models are {found.rms_gap:.3f} apart "
                f"(root mean square), at most {found.largest_gap:.3f}"
            )
    if figures is not None:
        output.say(f"figures are in {figures}")
    for warning in result.warnings:
        output.warn(f"note: {warning}")


def _cells(line: Any) -> tuple[str, ...]:
    digits = 2 if line.table in ("cost", "family") or line.quantity in ("a", "b") else 4
    difference = f"{line.difference:+.{digits}f}"
    return (
        line.what,
        line.quantity,
        f"{line.published:.{digits}f}",
        f"{line.reproduced:.{digits}f}",
        difference.replace("-0." + "0" * digits, "+0." + "0" * digits) if float(difference) == 0 else difference,
    )

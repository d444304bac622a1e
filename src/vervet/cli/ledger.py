"""`vervet ledger check`: re-derive what a run's ledger claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vervet.cli import output
from vervet.cli.output import AsJson


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Look after a run's ledger.", no_args_is_help=True)
    group.command("check")(check)
    app.add_typer(group, name="ledger")


def check(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    as_json: AsJson = False,
) -> int:
    """Re-derive every hash, reference and count of a ledger, and name what is damaged."""
    from vervet import api

    found = api.check_ledger(run)
    if as_json:
        output.document(found)
    else:
        for fault in found["faults"]:
            output.say(f"fault: {output.printable(fault)}")
        output.say(f"{run}: {found['checked']:,} rows checked, {len(found['faults'])} faults")
    return 5 if found["faults"] else 0

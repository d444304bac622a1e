"""`vervet ledger check` and `vervet ledger merge`: re-derive what a run's ledger claims, and put shards of a run together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vervet.cli import output
from vervet.cli.output import AsJson


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Look after a run's ledger.", no_args_is_help=True)
    group.command("check")(check)
    group.command("merge")(merge)
    app.add_typer(group, name="ledger")


def check(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    migrate: Annotated[
        bool, typer.Option("--migrate", help="First bring a ledger that an older Vervet wrote up to date.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Re-derive every hash, reference and count of a ledger, and name what is damaged."""
    from vervet import api

    found = api.check_ledger(run, migrate=migrate)
    if as_json:
        output.document(found)
    else:
        for fault in found["faults"]:
            output.say(f"fault: {output.printable(fault)}")
        output.say(f"{run}: {found['checked']:,} rows checked, {len(found['faults'])} faults")
    return 5 if found["faults"] else 0


def merge(
    shards: Annotated[list[Path], typer.Argument(help="The shards' folders: runs of one config and one --seed.")],
    out: Annotated[Path, typer.Option("--out", help="The whole: a new folder, or that of an earlier merge.")],
    durability: Annotated[str, typer.Option("--durability", help="fast or full.")] = "fast",
    as_json: AsJson = False,
) -> int:
    """Put shards of one run together, each sample and each verdict once; a repeat adds only what is new.

    Shards cover other problems (--problems) or other samples of a run. Every shard is checked when it has arrived.
    """
    from vervet import api

    done = api.merge_ledgers(shards, out, durability=durability, progress=None if as_json else output.warn)
    if as_json:
        output.document(done.to_dict())
    else:
        output.say(
            f"{done.run}: {done.samples:,} samples in {done.shards} shards, {done.added:,} of them new, "
            f"{done.verdicts:,} verdicts added; every one is there"
        )
    return 0

"""`vervet doctor`: what this machine can isolate, and why not more."""

from __future__ import annotations

import typer

from vervet.cli import output
from vervet.cli.output import AsJson


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(as_json: AsJson = False) -> int:
    """Say what works on this machine: sandbox layers, optional parts, caches."""
    from vervet import api

    found = api.doctor()
    if as_json:
        output.document(found)
    else:
        rows = [("yes" if row["ok"] else "no", row["name"], row["detail"]) for row in found["parts"]]
        output.say(output.table(("", "part", "detail"), rows, left=3))
    return 0 if found["sandbox"] else 5

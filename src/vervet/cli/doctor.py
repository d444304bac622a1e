"""`vervet doctor`: what this machine can isolate, and why not more."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.output import AsJson


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address", help="Ask the nodes of this Ray cluster instead: HOST:PORT, or auto for this machine's."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Say what works on this machine: sandbox layers, optional parts, caches.

    Exit code 5: untrusted code cannot be isolated.
    """
    from vervet import api

    found = api.doctor() if ray_address is None else api.doctor_of_cluster(ray_address)
    if as_json:
        output.document(found)
    elif ray_address is None:
        rows = [("yes" if row["ok"] else "no", row["name"], row["detail"]) for row in found["parts"]]
        output.say(output.table(("", "part", "detail"), rows, left=3))
    else:
        output.say(output.table(("", "node", "offers", "CPUs", "GPUs", "sandbox"), _nodes(found["nodes"]), left=3))
    return 0 if found["sandbox"] else 5


def _nodes(nodes: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            "yes" if node["ok"] else "no",
            f"{node['address']} ({node['node'][:8]})",
            ", ".join(sorted(node["offers"])) or "-",
            f"{node['cpus']:g}",
            f"{node['gpus']:g}",
            output.printable(node["detail"]),
        )
        for node in nodes
    ]

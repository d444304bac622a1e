"""`vervet view`: a local web page over runs, also while they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vervet.cli import output


def register(app: typer.Typer) -> None:
    app.command("view")(view)


def view(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, or parents of run folders; several to compare.")
    ],
    port: Annotated[int, typer.Option("--port", help="Default: any free one.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = False,
) -> None:
    """Look into runs in the browser, also while they are written: curve, problems, answers, samples, search, comparison.

    It answers on this machine only, to who has the token in the printed address, and changes nothing. Ctrl-C ends it.
    """
    from vervet.api.statistics import run_folders
    from vervet.errors import UserError
    from vervet.viewer.serve import serve

    folders: list[Path] = []
    for path in runs:
        if not path.is_dir():
            raise UserError(f"{path} is no folder: name a run folder, or a parent of run folders")
        folders += run_folders(path)

    def ready(address: str) -> None:
        output.say(address)
        output.warn("open this address in a browser on this machine; Ctrl-C ends the viewer")
        typer.get_text_stream("stdout").flush()
        if browser:
            import webbrowser

            webbrowser.open(address)

    serve(folders, port, ready)

"""`vervet score`: a number per sample, by a reward model, a judge or a function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vervet.cli import output
from vervet.cli.output import AsJson, Verbose


def register(app: typer.Typer) -> None:
    app.command("score")(score)


def score(
    run: Annotated[Path, typer.Argument(help="The run's folder; needs no data set.")],
    scorer: Annotated[
        str,
        typer.Option(
            "-m", "--model", help="judge/PROVIDER/NAME, served/NAME, hf/NAME, logprob, or module:callable of your own."
        ),
    ],
    base_url: Annotated[
        list[str] | None, typer.Option("--base-url", help="The scorer's server, http://host:port.")
    ] = None,
    model_option: Annotated[
        list[str] | None, typer.Option("-M", help="An option of the scorer, name=value, such as api=classify.")
    ] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Score a run's samples, each distinct text once; the same command again scores what is new. Then: vervet select."""
    from vervet import api
    from vervet.cli.display import Display
    from vervet.plugins import parse_options

    options = parse_options(model_option or [], "-M")
    with Display(quiet=as_json, verbose=verbose) as display:
        done = api.score(run, model=scorer, base_url=base_url or (), options=options, watch=display.watch)
    if as_json:
        output.document(done.to_dict())
        return
    output.say(
        f"{run}: {done.scored:,} distinct texts scored by {output.printable(done.scorer)}, {done.reused:,} known already"
    )
    if done.without:
        output.warn(f"note: {done.without:,} texts have no score: the scorer gives none")
    output.say(f"next: vervet select {run}")

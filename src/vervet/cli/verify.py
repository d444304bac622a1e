"""`vervet verify`: judge a run's answers again, or by another verifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vervet.cli import output
from vervet.cli.output import AsJson, Verbose
from vervet.cli.run import Executor, RayAddress, VerifierOptions


def register(app: typer.Typer) -> None:
    app.command("verify")(verify)


def verify(
    run: Annotated[Path, typer.Argument(help="The run's folder; needs no model and no data set.")],
    verifier: Annotated[str | None, typer.Option("--verifier", help="Default: the run's own.")] = None,
    verifier_option: VerifierOptions = None,
    sandbox: Annotated[str | None, typer.Option("--sandbox", help="auto, namespaces, docker[:IMAGE] or none.")] = None,
    executor: Executor = None,
    ray_address: RayAddress = None,
    durability: Annotated[str | None, typer.Option("--durability", help="fast or full.")] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Judge what is pending or UNKNOWN; with --verifier, judge all answers by another verifier and print what changed."""
    from vervet import api
    from vervet.cli.display import Display
    from vervet.plugins import parse_options

    with Display(quiet=as_json, verbose=verbose) as display:
        done = api.verify(
            run,
            verifier=verifier,
            verifier_options=parse_options(verifier_option or [], "-V"),
            sandbox=sandbox,
            executor=executor,
            ray_address=ray_address,
            durability=durability,
            watch=display.watch,
        )
    if as_json:
        output.document(done.to_dict())
    else:
        output.say(
            f"{run}: {done.verified:,} distinct answers verified by {done.verifier}, {done.reused:,} known already: "
            f"{done.passed:,} PASS, {done.failed:,} FAIL, {done.unknown:,} UNKNOWN"
        )
        for problem, before, now, count in done.changes:
            output.say(f"changed: {output.printable(problem)}: {count:,} samples {before} -> {now}")
    return 4 if done.unknown else 0

"""`vervet serve`: an OpenAI-compatible endpoint whose model names choose a strategy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.run import BaseUrl, ModelOptions, PriceIn, PriceOut


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)


def serve(
    model: Annotated[
        list[str] | None, typer.Option("-m", "--model", help="A model that requests may name (repeat for more).")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="A TOML file: models, verifiers, clients, limits.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Where to listen. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Default: 8000; 0 takes any free one.")] = None,
    store: Annotated[
        Path | None, typer.Option("--store", help="Folder of the exchanges' ledgers. Default: exchanges.")
    ] = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="Keep no exchange.")] = False,
    key_env: Annotated[
        str | None, typer.Option("--key-env", help="The variable that holds the key which every request has to send.")
    ] = None,
    open_to_anyone: Annotated[
        bool | None,
        typer.Option("--open-to-anyone", help="Without keys, on a network: everybody there may use it."),
    ] = None,
    scorer: Annotated[
        str | None, typer.Option("--scorer", help="What best-of-k picks by, as `vervet score -m`.")
    ] = None,
    base_url: BaseUrl = None,
    model_option: ModelOptions = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
) -> None:
    """Serve models under an OpenAI-compatible address: verified-64:MODEL, best-of-16:MODEL, majority-32:MODEL, or MODEL.

    SIGTERM and Ctrl-C end it when everybody has been answered, a second one at once. Every exchange is kept in a ledger.
    """
    from vervet.errors import BadOption
    from vervet.plugins import parse_options
    from vervet.serve.server import serve as run_server
    from vervet.serve.settings import from_file

    if store is not None and no_store:
        raise BadOption("--store and --no-store: give one of the two")
    said: dict[str, Any] = {"host": host, "port": port, "scorer": scorer, "open_to_anyone": open_to_anyone or None}
    said["store"] = False if no_store else None if store is None else str(store)
    if model:
        shared = {"base_url": base_url or (), "options": parse_options(model_option or [], "-M")}
        said["models"] = [{"name": m, **shared, "price_in": price_in, "price_out": price_out} for m in model]
    if key_env is not None:
        said["clients"] = {"key": {"key_env": key_env}}

    def ready(address: str) -> None:
        output.say(address)
        typer.get_text_stream("stdout").flush()
        output.warn("serving; Ctrl-C ends it when everybody has been answered")

    unanswered = run_server(from_file(config).over(said), ready)
    if unanswered:
        output.warn(f"ended at the second signal: {unanswered} request{'s were' if unanswered > 1 else ' was'} refused")
        raise typer.Exit(130)

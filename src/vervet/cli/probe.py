"""`vervet probe`: what a server really does."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.output import AsJson

_MEANING = {
    "n_honoured": "several samples in one request",
    "max_n": "samples in one request, of up to 128 tried",
    "usage": "token counts",
    "draws_differ": "equal requests give different texts",
    "replays": "a repeated request gets a stored answer",
    "seed": "seeds",
    "silent": "it answers with nothing",
    "left_out": "parameters that it refuses",
}


def register(app: typer.Typer) -> None:
    app.command("probe")(probe)


def probe(
    model: Annotated[str, typer.Argument(help="provider/name, such as openai/gpt-4.1-mini or vllm/NAME.")],
    base_url: Annotated[list[str] | None, typer.Option("--base-url", help="A server, http://host:port/v1.")] = None,
    prompt_form: Annotated[str, typer.Option("--prompt-form", help="chat or completion.")] = "chat",
    model_option: Annotated[list[str] | None, typer.Option("-M", help="An option of the model, name=value.")] = None,
    as_json: AsJson = False,
) -> int:
    """Ask a server about a dozen short questions: is n honoured, do seeds work, is usage right, does it draw at all?

    Exit code 5 where its answers are no independent draws.
    """
    from vervet import api
    from vervet.errors import BadOption
    from vervet.plugins import parse_options

    if prompt_form not in ("chat", "completion"):
        raise BadOption(f"--prompt-form {prompt_form}: choose chat or completion")
    options = parse_options(model_option or [], "-M")
    form: Any = prompt_form
    found = api.probe(model, base_url=base_url or (), prompt_form=form, model_options=options)
    if as_json:
        output.document(found)
    else:
        for server in found["servers"]:
            _print(server)
    bad = {"replays": "yes", "draws_differ": "no", "silent": "yes"}
    return 5 if any(server[key] == value for server in found["servers"] for key, value in bad.items()) else 0


def _print(server: dict[str, Any]) -> None:
    output.say(f"{server['server']} ({server['requests']} requests, {server['seconds']:.1f} s)")
    rows = [(_MEANING[key], _plain(server[key])) for key in _MEANING]
    output.say(output.table(("question", "answer"), rows, left=2))
    for notice in server["notices"]:
        output.warn(f"note: {output.printable(notice)}")


def _plain(value: Any) -> str:
    return ", ".join(value) or "none" if isinstance(value, list) else str(value)

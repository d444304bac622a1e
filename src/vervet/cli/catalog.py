"""`vervet tasks` and `vervet models`: what there is to choose from."""

from __future__ import annotations

from typing import Annotated

import typer

from vervet.cli import output
from vervet.cli.output import AsJson


def register(app: typer.Typer) -> None:
    app.command("tasks")(tasks)
    app.command("models")(models)


def tasks(
    name: Annotated[str | None, typer.Argument(help="A task, to see its options and one rendered prompt.")] = None,
    prompt_form: Annotated[str, typer.Option("--prompt-form", help="chat or completion.")] = "chat",
    task_option: Annotated[list[str] | None, typer.Option("-T", help="An option of the task, name=value.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the tasks, or show one with its options and a rendered prompt."""
    from vervet import api
    from vervet.plugins import parse_options

    if name is None:
        rows = api.list_tasks()
        if as_json:
            output.document({"schema": "vervet.tasks/1", "tasks": rows})
        else:
            output.say(output.table(("task", "what it is"), [(r["name"], r["summary"]) for r in rows], left=2))
        return
    shown = api.show_task(name, prompt_form, parse_options(task_option or [], "-T"))
    if as_json:
        output.document(shown)
        return
    output.say(f"{shown['name']}: {shown['summary']}")
    output.say(f"{shown['problems']} problems, verified by {shown['verifier']}, data {shown['data']}")
    for option, text in shown["options"].items():
        output.say(f"  -T {option}={text}")
    params = ", ".join(f"{k} {v}" for k, v in shown["params"].items() if v not in (None, (), [], {}))
    output.say(output.printable(f"parameters: {params}"))
    if shown["recipe"]:
        recipe = shown["recipe"]
        output.say(
            f"protocol of {recipe['source']}: {recipe['n']:,} samples a problem, {recipe['form']} prompts; guessed:"
        )
        for guess in recipe["guesses"]:
            output.say(f"  - {guess}")
    prompt = shown["prompt"]
    text = prompt if isinstance(prompt, str) else "\n".join(f"[{m['role']}] {m['content']}" for m in prompt)
    output.say(f"--- prompt of {shown['first_problem']} ({prompt_form})")
    output.say(output.printable(text))


def models(as_json: AsJson = False) -> None:
    """List what can be sampled."""
    from vervet import api

    rows = api.list_models()
    if as_json:
        output.document({"schema": "vervet.models/1", "models": rows})
        return
    output.say(output.table(("model", "what it is"), [(r["name"], r["summary"]) for r in rows], left=2))

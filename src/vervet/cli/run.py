"""`vervet run`, `vervet sample`, `vervet resume`: draw what is missing, and verify it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.output import AsJson, Verbose

_RUN, _PROMPT, _WORK = "What to draw", "How to sample", "How to work"

Task = Annotated[str, typer.Argument(help="A name of `vervet tasks`, a .jsonl or .parquet file, or module:Class.")]
Model = Annotated[
    list[str], typer.Option("-m", "--model", help="provider/name, such as local/smollm2-135m or fake/p=0.03.")
]
N = Annotated[int | None, typer.Option("-n", help="Stored samples a problem.", rich_help_panel=_RUN)]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="The run's folder. Default: runs/TASK--MODEL--CONFIG8.", rich_help_panel=_RUN),
]
New = Annotated[
    bool, typer.Option("--new", help="Start another run beside one of the same config.", rich_help_panel=_RUN)
]
Limit = Annotated[int | None, typer.Option("--limit", help="The first so many problems.", rich_help_panel=_RUN)]
Problems = Annotated[
    list[str] | None,
    typer.Option("--problems", help="These problems, by id, separated by commas.", rich_help_panel=_RUN),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", help="The run's seed. Default: drawn, and kept with the run.", rich_help_panel=_RUN),
]
Temperature = Annotated[float | None, typer.Option("--temperature", rich_help_panel=_PROMPT)]
TopP = Annotated[float | None, typer.Option("--top-p", rich_help_panel=_PROMPT)]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", help="Completion tokens a sample at most.", rich_help_panel=_PROMPT)
]
StopTexts = Annotated[
    list[str] | None,
    typer.Option("--stop", help="End a sample at this text (repeat for more).", rich_help_panel=_PROMPT),
]
Greedy = Annotated[
    bool | None, typer.Option("--greedy", help="Temperature 0, and repeats of it are meant.", rich_help_panel=_PROMPT)
]
PromptForm = Annotated[
    str | None, typer.Option("--prompt-form", help="auto, chat or completion.", rich_help_panel=_PROMPT)
]
TaskOptions = Annotated[
    list[str] | None, typer.Option("-T", help="An option of the task, name=value.", rich_help_panel=_PROMPT)
]
ModelOptions = Annotated[
    list[str] | None, typer.Option("-M", help="An option of the model, name=value.", rich_help_panel=_PROMPT)
]
Config = Annotated[Path | None, typer.Option("-c", "--config", help="A TOML file of settings.", rich_help_panel=_WORK)]
MaxInFlight = Annotated[
    int | None, typer.Option("--max-in-flight", help="Requests at once at most.", rich_help_panel=_WORK)
]
BaseUrl = Annotated[
    list[str] | None,
    typer.Option(
        "--base-url", help="A server of the model, http://host:port/v1 (repeat for replicas).", rich_help_panel=_WORK
    ),
]
Verifier = Annotated[
    str | None, typer.Option("--verifier", help="Judge answers by this verifier.", rich_help_panel=_WORK)
]
VerifierOptions = Annotated[
    list[str] | None, typer.Option("-V", help="A setting of the verifier, name=value.", rich_help_panel=_WORK)
]
Sandbox = Annotated[
    str | None,
    typer.Option(
        "--sandbox",
        help="auto, namespaces, docker[:IMAGE], or none (no isolation: say it only if you mean it).",
        rich_help_panel=_WORK,
    ),
]
Durability = Annotated[
    str | None,
    typer.Option("--durability", help="fast survives a killed process, full a power loss.", rich_help_panel=_WORK),
]


def register(app: typer.Typer) -> None:
    app.command("run")(run)
    app.command("sample")(sample)
    app.command("resume")(resume)


def run(
    task: Task,
    model: Model,
    n: N = None,
    out: Out = None,
    new: New = False,
    limit: Limit = None,
    problems: Problems = None,
    seed: Seed = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    stop: StopTexts = None,
    greedy: Greedy = None,
    prompt_form: PromptForm = None,
    task_option: TaskOptions = None,
    model_option: ModelOptions = None,
    config: Config = None,
    base_url: BaseUrl = None,
    max_in_flight: MaxInFlight = None,
    verifier: Verifier = None,
    verifier_option: VerifierOptions = None,
    sandbox: Sandbox = None,
    durability: Durability = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Draw samples and verify them, until every problem has N stored samples and a verdict.

    The same command again resumes; a larger -n or --limit adds only what is missing. Ctrl-C saves and stops.
    """
    values = {**locals()}
    return _several(values, "run")


def sample(
    task: Task,
    model: Model,
    n: N = None,
    out: Out = None,
    new: New = False,
    limit: Limit = None,
    problems: Problems = None,
    seed: Seed = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    max_tokens: MaxTokens = None,
    stop: StopTexts = None,
    greedy: Greedy = None,
    prompt_form: PromptForm = None,
    task_option: TaskOptions = None,
    model_option: ModelOptions = None,
    config: Config = None,
    base_url: BaseUrl = None,
    max_in_flight: MaxInFlight = None,
    durability: Durability = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Draw samples without verifying them; `vervet verify` does that later, on another machine if you like."""
    values = {**locals()}
    return _several(values, "sample")


def resume(
    run: Annotated[Path, typer.Argument(help="The run's folder: nothing else is needed.")],
    n: N = None,
    base_url: BaseUrl = None,
    max_in_flight: MaxInFlight = None,
    sandbox: Sandbox = None,
    durability: Durability = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Go on with a run that was stopped, or add samples to it with a larger -n."""
    from vervet import api
    from vervet.cli.display import Display

    with Display(quiet=as_json, verbose=verbose) as display:
        done = api.resume(
            run,
            n=n,
            base_url=base_url,
            max_in_flight=max_in_flight,
            sandbox=sandbox,
            durability=durability,
            watch=display.watch,
        )
    return _finish([done], as_json)


def _several(values: dict[str, Any], door: str) -> int:
    """One run folder for each -m."""
    from vervet import api
    from vervet.cli.display import Display
    from vervet.errors import BadOption
    from vervet.plugins import parse_options

    as_json, verbose, models, out = (values.pop(k) for k in ("as_json", "verbose", "model", "out"))
    values["config_file"] = values.pop("config")
    values["problems"] = _list(values["problems"])
    values["task_options"] = parse_options(values.pop("task_option") or [], "-T")
    values["model_options"] = parse_options(values.pop("model_option") or [], "-M")
    values["verifier_options"] = parse_options(values.pop("verifier_option", None) or [], "-V")
    if out is not None and len(set(models)) != len(models):
        raise BadOption("the same -m twice: each model has one run")
    done = []
    for model in models:
        folder = out if out is None or len(models) == 1 else out / model.replace("/", "--")
        with Display(quiet=as_json, verbose=verbose) as display:
            done.append(getattr(api, door)(model=model, out=folder, watch=display.watch, **values))
        if done[-1].stopped == "interrupted":
            break
    return _finish(done, as_json, judged=door == "run")


def _list(values: list[str] | None) -> list[str] | None:
    return None if values is None else [v.strip() for value in values for v in value.split(",") if v.strip()]


def _finish(runs: list[Any], as_json: bool, *, judged: bool = True) -> int:
    documents = [run.to_dict() for run in runs]
    if as_json:
        output.document(documents[0] if len(documents) == 1 else {"schema": "vervet.runs/1", "runs": documents})
    else:
        for run, facts in zip(runs, documents, strict=True):
            _print(run, facts)
    if any(d["stopped"] == "interrupted" for d in documents):
        return 130
    undone = any(d["missing"] or (judged and (d["unknown"] or d["pending"])) for d in documents)
    return 4 if undone else 0


def _print(run: Any, facts: dict[str, Any]) -> None:
    for notice in run.notices:
        output.warn(f"note: {output.printable(notice)}")
    parts = [
        f"{facts['samples']:,} samples of {facts['problems']} problems",
        f"{facts['pass']:,} PASS",
        f"{facts['fail']:,} FAIL",
    ]
    parts += [f"{facts[k]:,} {k}" for k in ("unknown", "pending", "missing") if facts[k]]
    output.say(f"{run.folder}: " + ", ".join(parts))
    if facts["stopped"] == "interrupted":
        output.warn(f"stopped; go on with: vervet resume {run.folder}")
    elif not facts["pending"]:
        output.say(f"next: vervet coverage {run.folder}  ·  vervet report {run.folder} -o report.html")

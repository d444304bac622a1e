"""`vervet run`, `vervet sample`, `vervet resume`: draw what is missing, and verify it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.output import AsJson, Verbose

_RUN, _PROMPT, _BUDGET, _WORK = "What to draw", "How to sample", "What it may cost", "How to work"

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

Policy = Annotated[
    str | None,
    typer.Option(
        "--policy",
        help="Who gets how many samples: fixed, first-pass, solve, m-passes=M, adaptive, adaptive-consistency or "
        "early-stopping; -n is the most, for adaptive the mean.",
        rich_help_panel=_RUN,
    ),
]
BudgetUsd = Annotated[
    float | None,
    typer.Option(
        "--budget-usd", help="Spend no more than so many US dollars, all models together.", rich_help_panel=_BUDGET
    ),
]
BudgetTokens = Annotated[
    int | None,
    typer.Option("--budget-tokens", help="Use no more tokens, prompts and completions.", rich_help_panel=_BUDGET),
]
BudgetSamples = Annotated[
    int | None, typer.Option("--budget-samples", help="Store no more samples.", rich_help_panel=_BUDGET)
]
BudgetMinutes = Annotated[
    float | None,
    typer.Option(
        "--budget-minutes",
        help="Send nothing after so many minutes of work, over all invocations; what is in flight is awaited.",
        rich_help_panel=_BUDGET,
    ),
]
PriceIn = Annotated[
    float | None,
    typer.Option("--price-in", help="US dollars per million prompt tokens.", rich_help_panel=_BUDGET),
]
PriceOut = Annotated[
    float | None,
    typer.Option("--price-out", help="US dollars per million completion tokens.", rich_help_panel=_BUDGET),
]
PriceCached = Annotated[
    float | None,
    typer.Option(
        "--price-cached",
        help="US dollars per million prompt tokens that a prefix cache served. Default: as --price-in.",
        rich_help_panel=_BUDGET,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Show the plan, one prompt and what it would cost; sample nothing.", rich_help_panel=_BUDGET
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any setting by its name in a config file: temperature=0.2, task.NAME=V, model.NAME=V (repeat for more).",
        rich_help_panel=_WORK,
    ),
]
Executor = Annotated[
    str | None, typer.Option("--executor", help="Where answers are verified: local or ray.", rich_help_panel=_WORK)
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="The cluster of --executor ray: HOST:PORT, auto (this machine's, the default) or local (of this process's own).",
        rich_help_panel=_WORK,
    ),
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
    policy: Policy = None,
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    budget_samples: BudgetSamples = None,
    budget_minutes: BudgetMinutes = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    price_cached: PriceCached = None,
    dry_run: DryRun = False,
    config: Config = None,
    assignments: Set = None,
    base_url: BaseUrl = None,
    max_in_flight: MaxInFlight = None,
    verifier: Verifier = None,
    verifier_option: VerifierOptions = None,
    sandbox: Sandbox = None,
    executor: Executor = None,
    ray_address: RayAddress = None,
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
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    budget_samples: BudgetSamples = None,
    budget_minutes: BudgetMinutes = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    price_cached: PriceCached = None,
    dry_run: DryRun = False,
    config: Config = None,
    assignments: Set = None,
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
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    budget_samples: BudgetSamples = None,
    budget_minutes: BudgetMinutes = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    price_cached: PriceCached = None,
    base_url: BaseUrl = None,
    max_in_flight: MaxInFlight = None,
    sandbox: Sandbox = None,
    executor: Executor = None,
    ray_address: RayAddress = None,
    durability: Durability = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Go on with a run that was stopped, or add samples to it with a larger -n or budget."""
    values = {**locals()}
    from vervet import api
    from vervet.cli.display import Display

    for name in ("run", "as_json", "verbose"):
        del values[name]
    with Display(quiet=as_json, verbose=verbose) as display:
        done = api.resume(run, watch=display.watch, **values)
    return _finish([done], as_json)


def _several(values: dict[str, Any], door: str) -> int:
    """One run folder for each -m, one budget over all."""
    from vervet import api
    from vervet.cli.display import Display
    from vervet.plugins import parse_options

    as_json, verbose, models, dry = (values.pop(k) for k in ("as_json", "verbose", "model", "dry_run"))
    values["config_file"] = values.pop("config")
    values["problems"] = _list(values["problems"])
    values["task_options"] = parse_options(values.pop("task_option") or [], "-T")
    values["model_options"] = parse_options(values.pop("model_option") or [], "-M")
    values["verifier_options"] = parse_options(values.pop("verifier_option", None) or [], "-V")

    @contextlib.contextmanager
    def show() -> Iterator[Any]:
        with Display(quiet=as_json, verbose=verbose) as display:
            yield display.watch

    if dry:
        return _show_plans(api.dry_run(values.pop("task"), models, **values), as_json)
    with show() as watch:
        done = api.run_all(values.pop("task"), models, verify=door == "run", show=show, watch=watch, **values)
    return _finish(done, as_json, judged=door == "run")


def _show_plans(plans: list[Any], as_json: bool) -> int:
    documents = [plan.to_dict() for plan in plans]
    if as_json:
        output.document(documents[0] if len(documents) == 1 else {"schema": "vervet.dry-runs/1", "runs": documents})
        return 0
    for facts in documents:
        _show_plan(facts)
    output.say("dry run: nothing was sampled and nothing was written")
    return 0


def _show_plan(facts: dict[str, Any]) -> None:
    def between(span: dict[str, Any], unit: str = "") -> str:
        form = "{:,.4f}" if unit else "{:,.0f}"
        text = f"{unit}{form.format(span['low'])} to {unit}{form.format(span['high'])}"
        return text if span["expected"] is None else f"{text}, about {unit}{form.format(span['expected'])} expected"

    prompt = facts["prompt"]
    shown = prompt if isinstance(prompt, str) else "\n".join(f"[{m['role']}] {m['content']}" for m in prompt)
    exists = " (exists, goes on)" if facts["exists"] else ""
    output.say(f"run: {facts['run']}{exists}")
    output.say(
        f"plan: {facts['problems']} problems, n = {facts['n']}, policy {facts['policy']}: {facts['samples']:,} samples in "
        f"{facts['requests']:,} requests, then verifier {facts['verifier']}"
    )
    params = ", ".join(f"{k} {v}" for k, v in facts["params"].items() if v not in (None, [], (), {}))
    output.say(f"sampling: {facts['prompt_form']} prompts, {output.printable(params)}")
    if facts["recipe"]:
        output.say(f"protocol: {facts['recipe']['source']}; guessed:")
        for guess in facts["recipe"]["guesses"]:
            output.say(f"  - {guess}")
    output.say(f"tokens: prompts {between(facts['prompt_tokens'])}; completions {between(facts['completion_tokens'])}")
    if facts["usd"] is None:
        output.say("money: no price is known (--price-in and --price-out give one)")
    else:
        output.say(f"money: {between(facts['usd'], '$')} (price: {facts['price']['source']})")
    caps = ", ".join(f"{value:g} {name}" for name, value in facts["budget"].items() if value is not None)
    if caps:
        output.say(f"budget: {caps}")
    output.say(f"prompt of {output.printable(facts['problem'])}:")
    output.say("\n".join(f"  {output.printable(line)}" for line in shown.splitlines()))


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
    if any(d["stopped"] == "budget" for d in documents):
        return 3
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
    if facts["overshoot"]:
        output.say(
            f"  {facts['overshoot']:,} of them lie beyond the stop of policy {facts['policy']}: kept, not counted"
        )
    if facts["usd"] is not None:
        lost = f", {facts['lost_requests']} requests at their worst case" if facts["lost_requests"] else ""
        output.say(f"  ${facts['usd']:.4f} for {facts['requests']:,} requests{lost}")
    if facts["stopped"] == "interrupted":
        output.warn(f"stopped; go on with: vervet resume {run.folder}")
    elif facts["stopped"] == "budget":
        output.warn(f"stopped by the budget; go on with a larger one: vervet resume {run.folder} --budget-...")
    elif not facts["pending"]:
        output.say(f"next: vervet coverage {run.folder}  ·  vervet report {run.folder} -o report.html")

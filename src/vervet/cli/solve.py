"""`vervet solve`: sample until a verifier accepts, and certify it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output, run
from vervet.cli.output import AsJson, Verbose

_WHAT, _SEARCH, _PROOF = "What to solve", "How to search", "Certificates"

TaskName = Annotated[
    str | None,
    typer.Argument(metavar="[TASK]", help="A name of `vervet tasks`, a .jsonl or .parquet file, or module:Class."),
]
ProblemId = Annotated[str | None, typer.Option("--problem", help="The problem's id.", rich_help_panel=_WHAT)]
PromptFile = Annotated[
    Path | None,
    typer.Option("--prompt", help="A file with your own prompt, instead of a task.", rich_help_panel=_WHAT),
]
Check = Annotated[
    str | None,
    typer.Option(
        "--check",
        help="A command that decides: './check.sh {answer}'. It runs in the sandbox, without a shell; exit 0 is PASS, 1 FAIL.",
        rich_help_panel=_WHAT,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option("-m", "--model", help="provider/name; repeat for a cascade from cheap to dear."),
]
N = Annotated[
    int | None, typer.Option("-n", help="Samples of each model at most (64).", min=1, rich_help_panel=_SEARCH)
]
Batch = Annotated[
    int,
    typer.Option(
        "--batch",
        help="Samples in the first batch; later ones are larger by a quarter.",
        rich_help_panel=_SEARCH,
    ),
]
Worth = Annotated[
    float | None,
    typer.Option(
        "--worth",
        help="A verified answer is worth what so many samples cost: stop when the next one promises less.",
        rich_help_panel=_SEARCH,
    ),
]
Prior = Annotated[
    str,
    typer.Option(
        "--prior", help="Beta(A,B): what is thought of a sample's chance before the first.", rich_help_panel=_SEARCH
    ),
]
SwitchAfter = Annotated[
    int | None,
    typer.Option(
        "--switch-after",
        help="Samples of each model before the next, dearer one is asked. Default: as many as the prices justify.",
        rich_help_panel=_SEARCH,
    ),
]
Fallback = Annotated[
    str,
    typer.Option(
        "--fallback", help="What picks an unverified answer: majority, first or none.", rich_help_panel=_SEARCH
    ),
]
Hidden = Annotated[
    list[str] | None,
    typer.Option(
        "--hidden",
        help="Task option under which the task has its hidden tests, name=value: they judge the accepted answer, once.",
        rich_help_panel=_PROOF,
    ),
]
Certificate = Annotated[
    Path | None, typer.Option("--certificate", help="Write the certificate to this file too.", rich_help_panel=_PROOF)
]
Replay = Annotated[
    Path | None,
    typer.Option(
        "--replay",
        metavar="CERT",
        help="Judge a certificate's answer again, without a model; with a TASK, its tests have to be the task's.",
        rich_help_panel=_PROOF,
    ),
]


def register(app: typer.Typer) -> None:
    app.command("solve")(solve)


def solve(
    task: TaskName = None,
    problem: ProblemId = None,
    model: Models = None,
    prompt: PromptFile = None,
    check: Check = None,
    n: N = None,
    batch: Batch = 4,
    worth: Worth = None,
    prior: Prior = "0.5,0.5",
    switch_after: SwitchAfter = None,
    fallback: Fallback = "majority",
    hidden: Hidden = None,
    certificate: Certificate = None,
    replay: Replay = None,
    out: run.Out = None,
    new: run.New = False,
    seed: run.Seed = None,
    temperature: run.Temperature = None,
    top_p: run.TopP = None,
    max_tokens: run.MaxTokens = None,
    stop: run.StopTexts = None,
    prompt_form: run.PromptForm = None,
    task_option: run.TaskOptions = None,
    model_option: run.ModelOptions = None,
    budget_usd: run.BudgetUsd = None,
    budget_tokens: run.BudgetTokens = None,
    budget_samples: run.BudgetSamples = None,
    budget_minutes: run.BudgetMinutes = None,
    price_in: run.PriceIn = None,
    price_out: run.PriceOut = None,
    config: run.Config = None,
    assignments: run.Set = None,
    base_url: run.BaseUrl = None,
    max_in_flight: run.MaxInFlight = None,
    verifier: run.Verifier = None,
    verifier_option: run.VerifierOptions = None,
    sandbox: run.Sandbox = None,
    executor: run.Executor = None,
    durability: run.Durability = None,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> int:
    """Sample one problem until a verifier accepts an answer, and certify it; what is in flight then is cancelled.

    Exit code 0: verified. 5: nothing passed. 3: the budget ended it. 4: the verifier could not decide. 6: no model could be
    reached. What is handed back without a PASS is a guess, and is called one.
    """
    values = {**locals()}
    from vervet.plugins import parse_options

    for name, flag in (("task_option", "-T"), ("model_option", "-M"), ("verifier_option", "-V")):
        values[f"{name}s"] = parse_options(values.pop(name) or [], flag)
    if check is not None:
        _refuse_two_checks(values)
        values["verifier"], values["verifier_options"]["command"] = "command", check
    if replay is not None:
        return _replay(values)
    return _search(values)


def _refuse_two_checks(values: dict[str, Any]) -> None:
    from vervet.errors import BadOption

    if values["verifier"] not in (None, "command") or "command" in values["verifier_options"]:
        raise BadOption("--check names the verifier `command`: leave --verifier and -V command out")


def _search(values: dict[str, Any]) -> int:
    from vervet import api
    from vervet.cli.display import Display
    from vervet.errors import UserError
    from vervet.plugins import parse_options

    as_json, verbose, certificate = (values.pop(k) for k in ("as_json", "verbose", "certificate"))
    task, problem, prompt = (values.pop(k) for k in ("task", "problem", "prompt"))
    for name in ("check", "replay"):
        del values[name]
    models = values.pop("model")
    if not models:
        raise UserError("name a model: -m local/smollm2-135m (repeat it for a cascade, from cheap to dear)")
    if (task is None) == (prompt is None):
        raise UserError(
            "say what to solve: a TASK with --problem ID, or --prompt FILE with --check './check.sh {answer}'"
        )
    if task is not None and problem is None:
        raise UserError(f"--problem: say which problem of {task} (`vervet tasks {task}` shows the first)")
    if prompt is not None:
        values["task_options"] |= {"path": str(prompt)} | ({"id": problem} if problem else {})
    hunt = api.Hunt(
        batch=values.pop("batch"),
        worth=values.pop("worth"),
        prior=_prior(values.pop("prior")),
        switch_after=values.pop("switch_after"),
        fallback=values.pop("fallback"),
        hidden=parse_options(found, "--hidden") if (found := values.pop("hidden")) else None,
    )
    values["config_file"] = values.pop("config")
    with Display(quiet=as_json, verbose=verbose) as display:
        done = api.solve(
            problem or "prompt",
            task=task,
            model=models,
            max_samples=values.pop("n"),
            hunt=hunt,
            watch=display.watch,
            **values,
        )
    if certificate is not None and done.certificate is not None:
        _write(certificate, done.certificate)
    if as_json:
        output.document(done.to_dict())
    else:
        _print(done)
    return done.exit_code


def _prior(text: str) -> tuple[float, float]:
    from vervet.errors import BadOption

    try:
        a, b = (float(part) for part in text.split(","))
    except ValueError:
        raise BadOption(f"--prior {text}: write two numbers above 0, such as 0.5,0.5") from None
    return a, b


def _write(path: Path, certificate: dict[str, Any]) -> None:
    import orjson

    from vervet.errors import StorageError

    try:
        path.write_bytes(orjson.dumps(certificate, option=orjson.OPT_INDENT_2))
    except OSError as error:
        raise StorageError(f"--certificate {path} cannot be written: {error.strerror}") from error


def _print(done: Any) -> None:
    for notice in done.notices:
        output.warn(f"note: {output.printable(notice)}")
    for one in done.asked:
        money = "" if one.usd is None else f", ${one.usd:.4f}"
        cut = f", {one.cancelled} requests cancelled" if one.cancelled else ""
        said = f"could not be reached: {one.error}" if one.error else f"{one.samples:,} samples{money}{cut}"
        output.warn(f"{output.printable(one.model)}: {output.printable(said)}  ({one.run})")
    output.warn(f"{output.printable(done.problem)}: {_verdict(done)}")
    if done.answer is not None:
        output.say(output.printable(done.answer.rstrip("\n")))


def _verdict(done: Any) -> str:
    if done.stopped == "solved":
        proof = done.certificate
        strength = f"{proof['verdict']['strength']}, {proof['verdict']['isolation'] or 'nothing was executed'}"
        where = f"verified by {proof['verifier']['name']} ({strength}), sample {proof['sample']['id']}"
        if done.hidden is None:
            return f"PASS, {where}"
        return f"{done.outcome} by the hidden tests; PASS by those it was sampled against, {where}"
    why = {
        "samples": "no sample passed",
        "budget": "the budget ended it before a sample passed",
        "undecided": "the verifier could not decide every answer, and accepted none",
        "interrupted": "interrupted before a sample passed",
    }[done.stopped]
    refused = ", which the verifier refused" if str(done.outcome) == "FAIL" else ""
    guess = f"NOT VERIFIED: below is a guess ({done.fallback}){refused}"
    rest = "nothing is handed back" if done.answer is None else guess
    return f"{done.outcome}, {why} (of {done.samples:,}); {rest}"


def _replay(values: dict[str, Any]) -> int:
    from vervet import api

    found = api.replay(
        values["replay"],
        task=values["task"],
        task_options=values["task_options"],
        verifier_options=values["verifier_options"],
        sandbox=values["sandbox"],
    )
    if values["as_json"]:
        output.document(found.to_dict())
    else:
        for finding in found.findings:
            output.warn(f"differs: {output.printable(finding)}")
        output.say(
            f"{output.printable(found.problem)}: {found.outcome} by {found.verifier} here, {output.printable(found.claimed)} "
            f"in the certificate: it {'holds' if found.holds else 'does NOT hold'}"
        )
    if found.holds:
        return 0
    return 4 if str(found.outcome) == "UNKNOWN" and len(found.findings) == 1 else 5

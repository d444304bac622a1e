"""`vervet audit`: the verifier itself is judged."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.output import AsJson
from vervet.cli.run import Limit, Problems, Sandbox, Task, TaskOptions, Verifier, VerifierOptions

NOT_HELD = 5


def register(app: typer.Typer) -> None:
    app.command("audit")(audit)


def audit(
    task: Task,
    limit: Limit = None,
    problems: Problems = None,
    task_option: TaskOptions = None,
    verifier: Verifier = None,
    verifier_option: VerifierOptions = None,
    sandbox: Sandbox = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Judge each known answer so often.")] = 3,
    solutions: Annotated[
        int, typer.Option("--solutions", help="Right and wrong answers of the data set a problem.")
    ] = 5,
    stronger: Annotated[
        str | None,
        typer.Option(
            "--stronger", help="TASK is a run: its verdicts against those of this verifier, which judged it too."
        ),
    ] = None,
    stronger_task: Annotated[
        str | None,
        typer.Option(
            "--stronger-task", help="TASK is a run: against this task's tests (-T is its), run on its answers."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Audit a task's verifier: references must PASS, stubs must FAIL, repeats must agree. Exit code 5 where they do not.

    With a run's folder instead of a task, and --stronger or --stronger-task: how often the run's verifier accepts what is
    wrong and refuses what is right, and what that does to coverage.
    """
    from vervet import api
    from vervet.cli.run import _list
    from vervet.plugins import parse_options

    if stronger is not None or stronger_task is not None:
        agreed = api.audit_run(
            task,
            stronger=stronger,
            stronger_task=stronger_task,
            task_options=parse_options(task_option or [], "-T"),
            verifier=verifier,
            verifier_options=parse_options(verifier_option or [], "-V"),
            sandbox=sandbox,
        )
        output.document(agreed.to_dict()) if as_json else _print_agreement(agreed)
        return 0

    found = api.audit(
        task,
        limit=limit,
        problems=_list(problems),
        task_options=parse_options(task_option or [], "-T"),
        verifier=verifier,
        verifier_options=parse_options(verifier_option or [], "-V"),
        sandbox=sandbox,
        repeats=repeats,
        solutions=solutions,
        say=None if as_json else output.warn,
    ).to_dict()
    if as_json:
        output.document(found)
    else:
        _print(found)
    return 0 if found["holds"] else NOT_HELD


def _print(found: dict[str, Any]) -> None:
    output.say(f"{found['task']}: {found['problems']} problems, judged by {found['verifier']}")
    missing = f", {found['without_reference']} problems have none" if found["without_reference"] else ""
    output.say(f"references: {found['references_passed']} of {found['references']} PASS{missing}")
    rows = [(s["stub"], f"{s['failed']} of {s['judged']}") for s in found["stubs"]]
    output.say(output.table(("stub", "FAIL"), rows))
    if found["repeated"]:
        share = f"{output.share(found['flake_low'])} to {output.share(found['flake_high'], 2)}"
        output.say(
            f"repeats: {len(found['flaky'])} of {found['repeated']} answers flaky in {found['repeats']} rounds ({share})"
        )
    if found["no_tests"] != "not asked":
        output.say(f"without tests: {found['no_tests']}")
    if found["margin"]:
        output.say(f"time: the limit is {found['margin']:,.0f} times the slowest reference ({found['slowest']})")
    if found["solutions"]:
        _print_solutions(found["solutions"])
    if found["unknown"]:
        output.say(f"{found['unknown']} verdicts were UNKNOWN")
    for finding in found["findings"]:
        line = f"{finding['problem']}: {finding['answer']} is {finding['outcome']} ({finding['reason']}) {finding['log'][:120]}"
        output.say(output.printable(" ".join(line.split())))
    for line in [*(f"flaky: {name}" for name in found["flaky"]), *found["warnings"]]:
        output.say(output.printable(line))
    output.say("it holds" if found["holds"] else "it does NOT hold")


def _print_agreement(found: Any) -> None:
    output.say(
        f"{output.printable(found.source)}: {found.verifier} against {output.printable(found.stronger)}, "
        f"{found.samples:,} samples of {found.problems} problems"
    )
    for what, rate, names in (
        ("wrong samples accepted", found.false_positive, found.problems_accepting),
        ("right samples refused", found.false_negative, found.problems_refusing),
    ):
        if rate.rate is None:
            output.say(f"{what}: there are none to judge by")
            continue
        output.say(
            f"{what}: {rate.hits:,} of {rate.trials:,}, {output.share(rate.rate, 2)} "
            f"({output.share(rate.low, 2)} to {output.share(rate.high, 2)})"
        )
        if names:
            shown = output.printable(", ".join(names[:12])) + " ..." * (len(names) > 12)
            output.say(f"  on {len(names)} problem{'s' * (len(names) > 1)}: {shown}")
    rows = [
        (f"{p.k:,}", output.share(p.coverage), output.share(p.stronger), output.share(p.first_accepted))
        for p in found.points
    ]
    if rows:
        output.say(output.table(("k", "coverage", "by the stronger", "first accepted is right"), rows, left=0))
    output.say(f"ceiling of the first accepted sample being right: {output.share(found.ceiling)}")
    for warning in found.warnings:
        output.warn(f"note: {output.printable(warning)}")


def _print_solutions(s: dict[str, Any]) -> None:
    for what, count, total, low, high in (
        ("right solutions refused", s["refused"], s["right"], s["false_negative_low"], s["false_negative_high"]),
        ("wrong solutions accepted", s["accepted"], s["wrong"], s["false_positive_low"], s["false_positive_high"]),
    ):
        if total:
            output.say(f"{what}: {count} of {total} ({output.share(low)} to {output.share(high)})")
    if s["problems_refusing"]:
        output.say(f"problems that refuse a right solution: {', '.join(s['problems_refusing'])}")
        output.say("their coverage can only be too low: a model may write just such a solution")

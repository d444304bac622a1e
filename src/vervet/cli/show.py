"""`vervet show`: a run, a problem or a sample, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vervet.cli import output
from vervet.cli.output import AsJson, printable, share


def register(app: typer.Typer) -> None:
    app.command("show")(show)


def show(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    problem: Annotated[str | None, typer.Argument(help="A problem's id.")] = None,
    index: Annotated[int | None, typer.Argument(help="A sample's index.")] = None,
    verifier: Annotated[str | None, typer.Option("--verifier", help="Verdicts by this verifier.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a run's facts and problems, a problem's prompt and samples, or one sample with its verdicts."""
    from vervet import api

    with api.open_run(run) as opened:
        if problem is None:
            _show_run(opened, verifier, as_json)
        elif index is None:
            _show_problem(opened, problem, verifier, as_json)
        else:
            _show_sample(opened, problem, index, verifier, as_json)


def _show_run(run: Any, verifier: str | None, as_json: bool) -> None:
    counts, facts = run.counts(verifier), run.to_dict()
    rows = list(zip(counts.problem_ids, counts.n.tolist(), counts.c.tolist(), counts.unknown.tolist(), strict=True))
    if as_json:
        names = ("problem_id", "n", "c", "unknown")
        output.document(
            facts | {"config": run.config.to_dict(), "counts": [dict(zip(names, r, strict=True)) for r in rows]}
        )
        return
    config = run.config
    output.say(f"{run.folder}: {config.task} with {config.model}, {config.prompt_form} prompts")
    params = config.params
    drawn = f"temperature {params.temperature}, top-p {params.top_p}, at most {params.max_tokens} tokens"
    output.say(drawn if params.recorded else "imported: how the samples were drawn is not recorded")
    output.say(
        f"{facts['samples']:,} samples, {facts['distinct_answers']:,} distinct answers, {facts['completion_tokens']:,} tokens"
    )
    output.say("")
    shares = [(printable(p), n, c, u, share(c / n if n else None)) for p, n, c, u in rows]
    output.say(output.table(("problem", "n", "PASS", "unknown", "pass@1"), shares))


def _show_problem(run: Any, problem: str, verifier: str | None, as_json: bool) -> None:
    found, prompt = run.problem(problem)
    samples = run.samples(problem, verifier)
    if as_json:
        from vervet.records import prompt_to_json

        rows = [
            {"index": s.index, "outcome": s.outcome, "reason": s.reason, "finish_reason": s.finish_reason}
            for s in samples
        ]
        output.document(
            {"schema": "vervet.problem/1", "problem": problem, "prompt": prompt_to_json(prompt), "samples": rows}
        )
        return
    output.say(f"--- prompt of {printable(found.id)}")
    output.say(printable(_prompt_text(prompt)))
    output.say("--- samples")
    rows_ = [
        (s.index, s.outcome or "pending", s.reason, s.finish_reason, s.completion_tokens or "-", _first_line(s.answer))
        for s in samples
    ]
    output.say(output.table(("index", "outcome", "reason", "finish", "tokens", "answer"), rows_, left=6))


def _show_sample(run: Any, problem: str, index: int, verifier: str | None, as_json: bool) -> None:
    from vervet.errors import UserError

    sample = next((s for s in run.samples(problem, verifier) if s.index == index), None)
    if sample is None:
        raise UserError(f"{run.folder} has no sample {index} of {problem!r}")
    trials = run.trials(problem, index, verifier)
    if as_json:
        import dataclasses

        output.document({"schema": "vervet.sample/1", **dataclasses.asdict(sample), "verdicts": trials})
        return
    tokens = f", {sample.completion_tokens} tokens" if sample.completion_tokens is not None else ""
    verdict = f"{sample.outcome or 'pending'} ({sample.reason})"
    output.say(f"--- sample {index} of {printable(problem)}: {verdict}")
    output.say(f"--- ended by {sample.finish_reason}{tokens}, seed {sample.seed}")
    if sample.reasoning:
        output.say("--- reasoning\n" + printable(sample.reasoning))
    output.say(printable(sample.text))
    output.say("--- answer\n" + ("(none found)" if sample.answer is None else printable(sample.answer)))
    for number, trial in enumerate(trials):
        cpu = "" if trial["cpu_s"] is None else f", {trial['cpu_s']:.3f} s of CPU"
        output.say(
            f"--- verdict {number}: {trial['outcome']} ({trial['reason']}), {trial['strength']} {trial['isolation']}{cpu}"
        )
        if trial["log"]:
            output.say(printable(trial["log"]))


def _prompt_text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(f"[{m.role}] {m.content}" for m in prompt)


def _first_line(answer: str | None) -> str:
    if answer is None:
        return "-"
    line = printable(answer.strip().partition("\n")[0])
    return line if len(line) <= 60 else line[:57] + "..."

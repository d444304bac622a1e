"""`vervet audit RUN --stronger ...`: a run's verifier against a stronger one, on the run's own answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vervet.analysis.agreement import Agreement, Codes, Compared, agreement
from vervet.api.auditing import AT_ONCE
from vervet.api.door import door
from vervet.api.existing import Run
from vervet.api.parts import _verifier_spec as verifier_spec, build_verifier, resolve_task
from vervet.config import Settings, settings
from vervet.errors import BadOption, UserError, boundary
from vervet.ledger import read
from vervet.protocols import Verifier
from vervet.records import IntArray, Outcome, Problem

_CODES = {Outcome.FAIL: read.FAIL, Outcome.PASS: read.PASS, Outcome.UNKNOWN: read.UNKNOWN}


def audit_run(
    run: Run | Path | str,
    *,
    stronger: str | None = None,
    stronger_task: str | type[Any] | None = None,
    level: float = 0.95,
    **options: Any,
) -> Agreement:
    """How often a run's verifier is wrong, by the verdicts of a stronger one on the same answers.

    Args: stronger: a verifier that has judged the run (`vervet verify RUN --verifier NAME`), by name or fingerprint.
    stronger_task: a task with the run's problems and better tests, which are run now and not stored: "humaneval" with
    task_options={"plus": True}.  options: task_options, verifier, verifier_options, sandbox, of that task.
    Raises: UserError, BadOption, BadData.
    """
    if (stronger is None) == (stronger_task is None):
        raise BadOption("give one of the two: a stronger verifier that has judged the run, or a task with better tests")
    if isinstance(run, Run):
        return door(_audit(run, stronger, stronger_task, level, options))
    with Run(run) as opened:
        return door(_audit(opened, stronger, stronger_task, level, options))


async def _audit(
    run: Run, stronger: str | None, task: str | type[Any] | None, level: float, options: Mapping[str, Any]
) -> Agreement:
    which = read.view(run.ledger)
    own: Mapping[str, Codes] = read.outcomes(run.ledger, which)
    other: Mapping[str, Codes]
    known = {row["fingerprint"]: row["name"] for row in run.verifiers()}
    name = known.get(run.ledger.meta("verifier", ""), "its verifier")
    if stronger is not None:
        other_view = read.view(run.ledger, stronger)
        if other_view == which:
            raise BadOption(f"{stronger} is the run's own verifier: name another one")
        other, label = read.outcomes(run.ledger, other_view), known.get(stronger, stronger)
    else:
        given = settings(dict(options), "command line")
        built, task_name, _, _ = resolve_task(task or "", given.task_options)
        with boundary(f"task {task_name!r}"):
            problems = {p.id: p for p in built.problems()}
        shared = [p for p in own if p in problems]
        if not shared:
            raise UserError(
                f"{task_name} has none of the run's problems: ids look like {next(iter(problems))!r}, not {next(iter(own))!r}"
            )
        own = {p: own[p] for p in shared}
        other = await _judged(run, [problems[p] for p in shared], _verifier(built.verifier, given))
        label = f"{task_name} ({', '.join(f'{k}={v}' for k, v in given.task_options.items())})".replace(" ()", "")
    return agreement(Compared(str(run.folder), name, label, run.counts().design), own, other, level)


def _verifier(default: Any, given: Settings) -> Verifier:
    return build_verifier(verifier_spec(default, given))


async def _judged(run: Run, problems: list[Problem], verifier: Verifier) -> dict[str, IntArray]:
    """Codes of each problem's samples by another verifier's tests; each distinct answer once."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(problem: Problem) -> IntArray:
        async with slots:
            answers = [sample.answer for sample in run.samples(problem.id)]
            distinct = [a for a in dict.fromkeys(answers) if a is not None]
            verdicts = await verifier.verify(problem, distinct) if distinct else []
            codes = {a: _CODES[v.outcome] for a, v in zip(distinct, verdicts, strict=True)}
            return np.array([read.FAIL if a is None else codes[a] for a in answers], dtype=np.int64)

    with boundary(f"verifier {verifier.name!r}"):
        for problem in problems:
            verifier.load(problem)
    try:
        rows = await asyncio.gather(*(one(problem) for problem in problems))
    finally:
        await verifier.aclose()
    return {problem.id: row for problem, row in zip(problems, rows, strict=True)}

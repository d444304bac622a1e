"""Several models on one task: a run folder each, and one budget over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from vervet.api.door import door
from vervet.api.drawing import spent_in
from vervet.api.parts import Parts, Watch, caps_of
from vervet.api.runs import Finished, go, prepare, split
from vervet.errors import BadOption

_ROUNDS = 2
# what one model leaves of its share of the budget goes to the others, once

Show = Callable[[], AbstractContextManager[Watch]]
"""Makes the looker-on of one run."""


def run_all(
    task: str | Path | type[Any],
    models: Sequence[str],
    *,
    n: int | None = None,
    out: Path | str | None = None,
    verify: bool = True,
    show: Show | None = None,
    **options: Any,
) -> list[Finished]:
    """:func:`vervet.run` for each model in turn, within one budget.

    Each may use an equal share of what is left when its turn comes; what it leaves goes to those after it, and then once more
    to those that were stopped by their share. Every model is checked before the first one is asked anything.

    Args: out: parent of the run folders; each at its default where None.  verify: False: only sample.
    Returns: the runs, in the models' order; fewer after an interrupt.
    Raises: UserError, ServiceError, PluginError; what was drawn before is kept.
    """
    return door(arun_all(task, models, n=n, out=out, verify=verify, show=show, **options))


async def arun_all(
    task: str | Path | type[Any],
    models: Sequence[str],
    *,
    n: int | None = None,
    out: Path | str | None = None,
    verify: bool = True,
    show: Show | None = None,
    **options: Any,
) -> list[Finished]:
    """Async twin of :func:`run_all`."""
    if len(set(models)) != len(models):
        raise BadOption("the same -m twice: each model has one run")
    watch, config_file, new = split(options)
    show = show or (lambda: nullcontext(watch))
    prepared = [
        prepare(
            task,
            model,
            n,
            folder_of(out, model, len(models)),
            options,
            watch=watch,
            config_file=config_file,
            new=new,
        )
        for model in models
    ]
    return await _in_turn(prepared, show, verify=verify)


def folder_of(out: Path | str | None, model: str, models: int) -> Path | None:
    """A model's folder under `out`; `out` itself for the only model."""
    if out is None or models == 1:
        return None if out is None else Path(out)
    return Path(out) / model.replace("/", "--")


async def _in_turn(prepared: list[Parts], show: Show, *, verify: bool) -> list[Finished]:
    done: dict[Path, Finished] = {}
    todo = prepared
    for _ in range(_ROUNDS):
        again: list[Parts] = []
        for turn, parts in enumerate(todo):
            others = [p.folder for p in prepared if p is not parts]
            with show() as watch:
                run = await go(
                    parts,
                    watch,
                    draw=True,
                    judge=verify,
                    siblings=others if caps_of(parts.options) else (),
                    share=len(todo) - turn,
                )
            done[parts.folder] = _joined(done.get(parts.folder), run)
            if run.stopped == "interrupted":
                return _ordered(prepared, done)
            if run.stopped == "budget" and turn < len(todo) - 1:
                again.append(parts)
        todo = [parts for parts in again if _left(parts, prepared)]
        if not todo:
            break
    return _ordered(prepared, done)


def _left(parts: Parts, prepared: list[Parts]) -> bool:
    """Whether enough of the budget is left to begin once more: a twentieth of every cap."""
    caps = caps_of(parts.options)
    spent = [spent_in(p.folder) for p in prepared]
    pairs = (
        (caps.usd, sum(s.usd for s in spent)),
        (caps.tokens, sum(s.tokens for s in spent)),
        (caps.samples, sum(s.samples for s in spent)),
        (caps.minutes, sum(s.seconds for s in spent) / 60),
    )
    return all(cap is None or have < 0.95 * cap for cap, have in pairs)


def _joined(before: Finished | None, now: Finished) -> Finished:
    """What two turns of one run did together."""
    if before is not None:
        now.seconds += before.seconds
        now.drawn += before.drawn
        now.verified += before.verified
        now.notices = tuple(dict.fromkeys((*before.notices, *now.notices)))
        before.close()
    return now


def _ordered(prepared: list[Parts], done: dict[Path, Finished]) -> list[Finished]:
    return [done[p.folder] for p in prepared if p.folder in done]

"""Working on a run: draw what is missing, verify it, store it; from names to a finished folder."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vervet.api.door import door, signals
from vervet.api.drawing import drawing_of, probe_once, shared_with
from vervet.api.existing import Run
from vervet.api.parts import (
    BUILT_IN_N,
    Parts,
    Watch,
    build_executor,
    build_policy,
    build_verifier,
    from_ledger,
    refuse_imported,
    resolve,
    told,
    told_now,
    verifier_mark,
)
from vervet.config import from_assignments, from_environment, from_file, settings
from vervet.engine.progress import Progress
from vervet.engine.run import Engine, Judging, Stop, blind
from vervet.errors import BadOption, RunMismatch, StorageError, boundary
from vervet.ledger import Extracted, Ledger, read, unsafe_filesystem, verifier_id, view
from vervet.ledger.spending import lose_abandoned
from vervet.ledger.usage import WORKED
from vervet.protocols import Executor, Sampler, Task, Verifier
from vervet.records import Outcome, fingerprint
from vervet.version import __version__

T = TypeVar("T")
_GROWS = frozenset(
    {"n", "budget_usd", "budget_tokens", "budget_samples", "budget_minutes", "price_in", "price_out", "price_cached"}
)
# settings that a resume may change, and that stay changed


def run(
    task: str | Path | type[Any], *, model: str, n: int | None = None, out: Path | str | None = None, **options: Any
) -> Run:
    """Sample and verify until every problem has `n` stored samples and a verdict; a repeat resumes.

    Args: task: a name of `vervet tasks`, a path to JSONL or Parquet, or "module:Class".  model: "provider/name".
        n: stored samples a problem (1).  out: the run's folder (runs/TASK--MODEL--CONFIG8).
        options: see `vervet.config.Settings`, and `config_file`, `new`, `watch`.
    Returns: the finished (or stopped) Run; look at `.stopped`.
    Raises: UserError, ServiceError, PluginError; what was drawn before is kept.
    """
    return door(arun(task, model=model, n=n, out=out, **options))


async def arun(
    task: str | Path | type[Any], *, model: str, n: int | None = None, out: Path | str | None = None, **options: Any
) -> Run:
    """Async twin of :func:`run`."""
    return await _new_or_again(task, model, n, out, options, draw=True, judge=True)


def sample(
    task: str | Path | type[Any], *, model: str, n: int | None = None, out: Path | str | None = None, **options: Any
) -> Run:
    """The first half of :func:`run`: samples are stored and stay pending."""
    return door(_new_or_again(task, model, n, out, options, draw=True, judge=False))


def resume(folder: Path | str, *, n: int | None = None, **options: Any) -> Run:
    """Go on with a run; needs nothing but its folder. `n` may grow. Raises: UserError."""
    return door(aresume(folder, n=n, **options))


async def aresume(folder: Path | str, *, n: int | None = None, **options: Any) -> Run:
    """Async twin of :func:`resume`."""
    watch, _, _ = split(options)
    given = settings({"n": n, **options}, "command line")
    refuse_imported(Path(folder))
    parts = from_ledger(Path(folder), given)
    return await go(parts, watch, draw=True, judge=True, siblings=shared_with(parts))


def verify(folder: Path | str, *, verifier: str | None = None, **options: Any) -> Verified:
    """Judge a run's answers that are pending or UNKNOWN by its own verifier, or all of them by another one.

    Needs no model and no data set. Verdicts of different verifiers stand side by side. Raises: UserError.
    """
    return door(averify(folder, verifier=verifier, **options))


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification did. `changed`: samples whose outcome differs from the run's own verifier's."""

    run: str
    verifier: str
    verified: int
    reused: int
    passed: int
    failed: int
    unknown: int
    changed: int
    seconds: float
    changes: tuple[tuple[str, str, str, int], ...] = field(default=())
    # (problem, outcome before, outcome now, samples)

    def to_dict(self) -> dict[str, Any]:
        """vervet.verify/1."""
        return {
            "schema": "vervet.verify/1",
            "run": self.run,
            "verifier": self.verifier,
            "verified": self.verified,
            "reused": self.reused,
            "pass": self.passed,
            "fail": self.failed,
            "unknown": self.unknown,
            "changed": self.changed,
            "seconds": round(self.seconds, 3),
            "changes": [dict(zip(("problem", "before", "now", "samples"), c, strict=True)) for c in self.changes],
        }


async def averify(folder: Path | str, *, verifier: str | None = None, **options: Any) -> Verified:
    """Async twin of :func:`verify`."""
    watch, _, _ = split(options)
    given = settings({"verifier": verifier, **options}, "command line")
    parts = from_ledger(Path(folder), given)
    with Ledger.open(parts.folder) as before:
        own = view(before)
        old = read.outcomes(before, own)
    done = await go(parts, watch, draw=False, judge=True)
    with done:
        which = view(done.ledger, verifier_mark(parts))
        new = read.outcomes(done.ledger, which)
        facts = done.facts(verifier_mark(parts))
        changes = tuple(_changes(old, new))
        return Verified(
            run=str(parts.folder),
            verifier=parts.verifier.name,
            verified=done.verified,
            reused=facts.distinct_answers - done.verified,
            passed=facts.passed,
            failed=facts.failed,
            unknown=facts.unknown + facts.pending,
            changed=sum(change[3] for change in changes),
            seconds=done.seconds,
            changes=changes,
        )


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, str, str, int]]:
    names = (*(str(o) for o in (Outcome.FAIL, Outcome.PASS, Outcome.UNKNOWN)), "pending")
    for problem_id, now in new.items():
        before = old[problem_id]
        for b in range(3):  # pending before is no change
            for a in range(4):
                count = int(((before == b) & (now == a)).sum()) if a != b else 0
                if count:
                    yield problem_id, names[b], names[a], count


async def _new_or_again(
    task: str | Path | type[Any],
    model: str,
    n: int | None,
    out: Path | str | None,
    options: dict[str, Any],
    draw: bool,
    judge: bool,
) -> Run:
    watch, config_file, new = split(options)
    parts = prepare(task, model, n, out, options, watch=watch, config_file=config_file, new=new)
    return await go(parts, watch, draw=draw, judge=judge, siblings=shared_with(parts))


def prepare(
    task: str | Path | type[Any],
    model: str,
    n: int | None,
    out: Path | str | None,
    options: Mapping[str, Any],
    *,
    watch: Watch,
    config_file: Path | None,
    new: bool,
) -> Parts:
    """From what a caller says to parts: a new run's, or those of a run that is there. Writes nothing."""
    assignments = options.get("assignments") or ()
    said = {k: v for k, v in options.items() if k != "assignments"}
    given = settings({"n": n, **said}, "command line").over(from_assignments(assignments))
    folder = None if out is None else Path(out)
    if folder is not None and new:
        folder = _free(folder)
    if folder is not None and Ledger.exists(folder):
        given = given.over(told(folder, given))
    else:
        given = given.over(from_environment()).over(from_file(config_file))
    parts = resolve(task, model, given, folder, watch)
    if new and out is None:
        parts.folder = _free(parts.folder)
    if Ledger.exists(parts.folder):
        with Ledger.open(parts.folder) as ledger:
            ledger.require_config(parts.config)
    return parts


def split(options: dict[str, Any]) -> tuple[Watch, Path | None, bool]:
    """Take out of the options what is about this call and not about the run."""
    config_file = options.pop("config_file", None)
    return options.pop("watch", None) or Watch(), Path(config_file) if config_file else None, options.pop("new", False)


def _free(folder: Path) -> Path:
    """`folder`, or the first of folder-2, folder-3, ... that holds no run."""
    taken, number = folder, 1
    while Ledger.exists(taken):
        number += 1
        taken = folder.with_name(f"{folder.name}-{number}")
    return taken


class Finished(Run):
    """A run that was just worked on."""

    verified = 0
    drawn = 0
    cancelled = 0
    # requests that were cut short because another one's sample passed


async def go(
    parts: Parts,
    watch: Watch,
    *,
    draw: bool,
    judge: bool,
    siblings: Sequence[Path] = (),
    share: int = 1,
    until_pass: bool = False,
) -> Finished:
    """Open or make the ledger, run the engine over it, close everything.

    Args: siblings: runs with which the budget is shared.  share: this run may use one part in so many of what is left of it.
    """
    progress, stop = Progress(), Stop()
    if draw and not judge and not blind(build_policy(parts.options)):
        raise BadOption(f"--policy {parts.options.policy} follows from verdicts: use `vervet run`")
    verifier = build_verifier(parts.verifier)
    with boundary(f"verifier {verifier.name!r}"):
        for problem in parts.problems:
            verifier.load(problem)
    ledger = _open_ledger(parts, watch)
    with contextlib.ExitStack() as stack:
        stack.callback(ledger.close)
        stack.callback(_note_time, ledger, progress)
        key = _describe(ledger, parts, verifier, siblings)
        _diary(parts.folder, f"vervet {__version__} works on {len(parts.problems)} problems with {parts.config.model}")
        await verifier.aclose()
        stack.enter_context(signals(stop))
        engine = Engine(
            ledger=ledger,
            extractor=parts.task.extractor,
            extract=_extract(parts.task),
            drawing=None,
            judging=None,
            progress=progress,
            stop=stop,
            until_pass=until_pass,
        )
        closing: list[Sampler | Executor] = []
        try:
            if judge:
                # first: a cluster that is not there is said before anything is bought
                executor = build_executor(parts.options)
                closing.append(executor)
                engine.judging = Judging(executor, parts.verifier, key, {p.id: p for p in parts.problems})
            if draw:
                lose_abandoned(ledger)
                engine.drawing = drawing_of(parts, ledger, watch, progress, siblings, share)
                closing.append(engine.drawing.sampler)
                await probe_once(parts, ledger, engine.drawing, key)
            await _watched(engine, parts, watch)
        finally:
            if engine.drawing is not None and engine.drawing.purse is not None:
                with contextlib.suppress(StorageError):
                    await engine.drawing.purse.flush()
            for part in closing:
                await part.aclose()
            if engine.judging is not None:
                _note_nodes(ledger, engine.judging.executor, progress)
    return _finished(parts, engine)


async def _watched(engine: Engine, parts: Parts, watch: Watch) -> None:
    """The engine's work, while others look on."""
    progress = engine.progress
    refresh: asyncio.Task[None] | None = None
    if watch.start:
        watch.start(progress, str(parts.folder))
        refresh = asyncio.create_task(_refresh_coverage(parts.folder, len(parts.problems), progress))
    try:
        await engine.run()
    except BaseException as error:  # said in the log, raised again
        _diary(parts.folder, f"{type(error).__name__}: {error}")
        raise
    finally:
        if refresh is not None:
            refresh.cancel()
        if watch.end:
            watch.end()


def _finished(parts: Parts, engine: Engine) -> Finished:
    progress, reason = engine.progress, engine.stop.reason or ("budget" if engine.undone else "done")
    _diary(parts.folder, f"{reason}: {progress.stored} samples drawn, {progress.verified} answers verified")
    done = Finished(parts.folder)
    done.seconds, done.verified, done.drawn = progress.seconds, progress.verified, progress.stored
    done.cancelled = engine.cancelled
    done.stopped = "interrupted" if reason == "interrupted" else "budget" if engine.undone else "complete"
    done.notices = tuple(progress.notices)
    return done


def _note_nodes(ledger: Ledger, executor: Executor, progress: Progress) -> None:
    """Where answers were judged and under which isolation, for an executor that has other machines."""
    facts = getattr(executor, "facts", None)
    if facts is None:
        return
    progress.notices += executor.notices  # type: ignore[attr-defined]  # comes with `facts`
    with contextlib.suppress(StorageError):
        ledger.log_event("nodes", facts())


def _note_time(ledger: Ledger, progress: Progress) -> None:
    """How long this invocation took, for `vervet cost`. A full disk must not hide what the run has to say."""
    with contextlib.suppress(StorageError):
        ledger.log_event(WORKED, {"seconds": round(progress.seconds, 3)})


def _diary(folder: Path, line: str) -> None:
    """One line in the run's `log.txt`, for people. A full disk must not hide what the run has to say."""
    stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with contextlib.suppress(OSError), (folder / "log.txt").open("a", encoding="utf-8") as file:
        file.write(f"{stamp} pid {os.getpid()} {line}\n")


def _open_ledger(parts: Parts, watch: Watch) -> Ledger:
    durability = parts.options.durability or "fast"
    kind = unsafe_filesystem(parts.folder)
    if kind and watch.line:
        watch.line(f"warning: {parts.folder} is on {kind}, where a crash can damage the ledger: use a local disk")
    if Ledger.exists(parts.folder):
        ledger = Ledger.open(parts.folder, writer=True, durability=durability)
        ledger.require_config(parts.config)
        return ledger
    seed = parts.options.seed if parts.options.seed is not None else secrets.randbits(63)
    return Ledger.create(parts.folder, parts.config, parts.meta | {"run_seed": seed}, durability)


def _describe(ledger: Ledger, parts: Parts, verifier: Verifier, siblings: Sequence[Path]) -> int:
    """Keep what a resume needs; returns the verifier's key. Raises: RunMismatch where another policy drew samples already."""
    policy = build_policy(parts.options)
    _refuse_other_policy(ledger, parts)
    ledger.add_problems([(p, parts.prompts[p.id]) for p in parts.problems])
    mark = fingerprint(verifier.name, verifier.version, verifier.settings())
    with ledger.transaction():
        key = verifier_id(ledger, verifier.name, verifier.version, verifier.settings())
        if ledger.meta("verifier") is None or parts.meta:
            # `verify --verifier V` and `resume` leave the run's own verifier as it is
            ledger.set_meta("verifier", mark)
            spec = {k: v for k, v in parts.verifier.settings.items() if k != "sandbox"}
            ledger.set_meta("verifier_spec", {"name": parts.verifier.name, "settings": spec})
            ledger.set_meta("settings", told_now(parts.options) | {"n": parts.options.n or BUILT_IN_N})
            ledger.set_meta("chosen", [p.id for p in parts.problems])
            ledger.set_meta("vervet", __version__)
        else:
            kept = {k: v for k, v in told_now(parts.options).items() if k in _GROWS}
            ledger.set_meta("settings", ledger.meta("settings", {}) | kept)
        ledger.set_meta("extractor", parts.task.extractor)
        ledger.set_meta("design", policy.design)
        if siblings:
            ledger.set_meta("budget_shared", [s.name for s in siblings])
    return key


def _refuse_other_policy(ledger: Ledger, parts: Parts) -> None:
    before = ledger.meta("settings", {}).get("policy", "fixed")
    now = parts.options.policy or "fixed"
    if before != now and ledger.db.execute("SELECT 1 FROM samples LIMIT 1").fetchone():
        raise RunMismatch(
            f"{parts.folder} was sampled with --policy {before}, not {now}: mixed, no estimator would fit: use --new"
        )


def _extract(task: Task) -> Callable[[str], Extracted | None]:
    def extract(text: str) -> Extracted | None:
        answer = task.extract(text)
        return None if answer is None else Extracted(answer, task.canonical(answer))

    return extract


async def _refresh_coverage(folder: Path, problems: int, progress: Progress) -> None:
    """Coverage so far, from a reader of its own, never more than a twentieth of the time."""
    loop = asyncio.get_running_loop()
    pause = 1.0
    while True:
        await asyncio.sleep(pause)
        started = loop.time()
        solved = await asyncio.to_thread(_solved_now, folder)
        progress.coverage = ((progress.stored_before + progress.stored) // problems, solved / problems)
        pause = max(2.0, 20 * (loop.time() - started))


def _solved_now(folder: Path) -> int:
    with Ledger.open(folder) as ledger:
        return read.solved(ledger, view(ledger))

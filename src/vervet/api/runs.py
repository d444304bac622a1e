"""Working on a run: draw what is missing, verify it, store it; from names to a finished folder."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import secrets
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vervet import plugins
from vervet.api.existing import Run
from vervet.api.parts import (
    BUILT_IN_N,
    Parts,
    Watch,
    build_sampler,
    build_verifier,
    from_ledger,
    refuse_imported,
    resolve,
    told,
    told_now,
    verifier_mark,
)
from vervet.config import from_environment, from_file, settings
from vervet.engine.plan import total
from vervet.engine.progress import Progress
from vervet.engine.run import Drawing, Engine, Judging, Stop
from vervet.errors import ServiceError, StorageError, boundary
from vervet.executors.local import Local
from vervet.ledger import Extracted, Ledger, read, unsafe_filesystem, verifier_id, view
from vervet.ledger.history import History
from vervet.ledger.usage import WORKED
from vervet.policies.fixed import Fixed
from vervet.protocols import Executor, Sampler, SamplerSetup, SamplerTraits, Task, Verifier
from vervet.records import Outcome, fingerprint
from vervet.version import __version__

T = TypeVar("T")


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
    return _door(arun(task, model=model, n=n, out=out, **options))


async def arun(
    task: str | Path | type[Any], *, model: str, n: int | None = None, out: Path | str | None = None, **options: Any
) -> Run:
    """Async twin of :func:`run`."""
    return await _new_or_again(task, model, n, out, options, draw=True, judge=True)


def sample(
    task: str | Path | type[Any], *, model: str, n: int | None = None, out: Path | str | None = None, **options: Any
) -> Run:
    """The first half of :func:`run`: samples are stored and stay pending."""
    return _door(_new_or_again(task, model, n, out, options, draw=True, judge=False))


def resume(folder: Path | str, *, n: int | None = None, **options: Any) -> Run:
    """Go on with a run; needs nothing but its folder. `n` may grow. Raises: UserError."""
    return _door(aresume(folder, n=n, **options))


async def aresume(folder: Path | str, *, n: int | None = None, **options: Any) -> Run:
    """Async twin of :func:`resume`."""
    watch, _, _ = _split(options)
    given = settings({"n": n, **options}, "command line")
    refuse_imported(Path(folder))
    return await _go(from_ledger(Path(folder), given), watch, draw=True, judge=True)


def verify(folder: Path | str, *, verifier: str | None = None, **options: Any) -> Verified:
    """Judge a run's answers that are pending or UNKNOWN by its own verifier, or all of them by another one.

    Needs no model and no data set. Verdicts of different verifiers stand side by side. Raises: UserError.
    """
    return _door(averify(folder, verifier=verifier, **options))


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
    watch, _, _ = _split(options)
    given = settings({"verifier": verifier, **options}, "command line")
    parts = from_ledger(Path(folder), given)
    with Ledger.open(parts.folder) as before:
        own = view(before)
        old = read.outcomes(before, own)
    done = await _go(parts, watch, draw=False, judge=True)
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
    watch, config_file, new = _split(options)
    given = settings({"n": n, **options}, "command line")
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
    return await _go(parts, watch, draw=draw, judge=judge)


def _split(options: dict[str, Any]) -> tuple[Watch, Path | None, bool]:
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


class _Finished(Run):
    """A run that was just worked on."""

    verified = 0


async def _go(parts: Parts, watch: Watch, *, draw: bool, judge: bool) -> _Finished:
    """Open or make the ledger, run the engine over it, close everything."""
    progress, stop = Progress(), Stop()
    verifier = build_verifier(parts.verifier)
    with boundary(f"verifier {verifier.name!r}"):
        for problem in parts.problems:
            verifier.load(problem)
    ledger = _open_ledger(parts, watch)
    with contextlib.ExitStack() as stack:
        stack.callback(ledger.close)
        stack.callback(_note_time, ledger, progress)
        key = _describe(ledger, parts, verifier)
        _diary(parts.folder, f"vervet {__version__} works on {len(parts.problems)} problems with {parts.config.model}")
        await verifier.aclose()
        stack.enter_context(_signals(stop))
        engine = Engine(
            ledger=ledger,
            extractor=parts.task.extractor,
            extract=_extract(parts.task),
            drawing=None,
            judging=None,
            progress=progress,
            stop=stop,
        )
        closing: list[Sampler | Executor] = []
        try:
            if draw:
                engine.drawing, sampler = _drawing(parts, ledger, watch, progress)
                closing.append(sampler)
                await _probe(sampler, parts, ledger, engine.drawing)
            if judge:
                executor = Local(build_verifier)
                closing.append(executor)
                engine.judging = Judging(executor, parts.verifier, key, {p.id: p for p in parts.problems})
            if watch.start:
                watch.start(progress, str(parts.folder))
            refresh = asyncio.create_task(_refresh_coverage(parts.folder, len(parts.problems), progress))
            try:
                await engine.run()
            except BaseException as error:
                _diary(parts.folder, f"{type(error).__name__}: {error}")
                raise
            finally:
                refresh.cancel()
                if watch.end:
                    watch.end()
        finally:
            for part in closing:
                await part.aclose()
    done = _Finished(parts.folder)
    _diary(
        parts.folder, f"{stop.reason or 'done'}: {progress.stored} samples drawn, {progress.verified} answers verified"
    )
    done.seconds, done.verified = progress.seconds, progress.verified
    done.stopped = "interrupted" if stop.reason == "interrupted" else "complete"
    done.notices = tuple(progress.notices)
    return done


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


def _describe(ledger: Ledger, parts: Parts, verifier: Verifier) -> int:
    """Keep what a resume needs; returns the verifier's key."""
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
        elif parts.options.n:
            ledger.set_meta("settings", ledger.meta("settings", {}) | {"n": parts.options.n})
        ledger.set_meta("extractor", parts.task.extractor)
        ledger.set_meta("design", "fixed")
    return key


def _drawing(parts: Parts, ledger: Ledger, watch: Watch, progress: Progress) -> tuple[Drawing, Sampler]:
    provider, name = plugins.split_model(parts.config.model)
    by_id = {p.id: p for p in parts.problems}
    setup = SamplerSetup(
        run_dir=parts.folder,
        example=lambda problem_id, right: parts.task.example(by_id[problem_id], right),
        progress=watch.line,
        notice=progress.notices.append,
        base_urls=parts.options.base_url or (),
        send_seed=parts.config.seed is not None,
        max_in_flight=parts.options.max_in_flight,
        history=History,
    )
    sampler = build_sampler(provider, name, parts.options, setup)
    traits: SamplerTraits = sampler.traits()
    n = parts.options.n or BUILT_IN_N
    drawing = Drawing(
        sampler=sampler,
        policy=Fixed(n),
        prompts=parts.prompts,
        params=parts.config.params,
        run_seed=ledger.run_seed,
        max_n=min(traits.max_n, n),
        max_in_flight=min(
            parts.options.max_in_flight or traits.in_flight or traits.max_in_flight, traits.max_in_flight
        ),
    )
    return drawing, sampler


async def _probe(sampler: Sampler, parts: Parts, ledger: Ledger, drawing: Drawing) -> None:
    """Ask a server that is new to the run what it does, and sample accordingly. Nothing is asked where nothing is missing."""
    probe, adopt = getattr(sampler, "probe", None), getattr(sampler, "adopt", None)
    stored = {p: row for p, row in read.stored(ledger).items() if p in drawing.prompts}
    if probe is None or adopt is None or not total(stored, drawing.policy.want(dict.fromkeys(stored, ()))):
        return
    found = ledger.meta("probe")
    if found is None:
        with boundary("the model"):
            try:
                found = await probe(parts.config.prompt_form)
            except (ConnectionError, TimeoutError) as error:
                raise ServiceError(f"the model cannot be reached: {error}") from error
            except ValueError:
                # the question itself was refused: the run's own prompts may fare better
                found = {}
        if found:
            with ledger.transaction():
                ledger.set_meta("probe", found)
    with boundary("the model"):
        adopt(found)


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


@contextlib.contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    """Ctrl-C once drains and saves; twice aborts. Only where signals can be handled: the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()

    def interrupt() -> None:
        if stop.requested and main is not None:
            main.cancel()
        stop.request("interrupted")

    previous = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), previous, strict=True):
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _door(work: Coroutine[Any, Any, T]) -> T:
    """Run async work from sync code, also from inside a running event loop (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    result: list[T] = []
    failure: list[BaseException] = []

    def call() -> None:
        try:
            result.append(asyncio.run(work))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=call, name="vervet-door")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]

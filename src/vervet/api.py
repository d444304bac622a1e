"""The sync door: what the command line, notebooks and scripts call. Only here are real parts put together.

    run = vervet.run("humaneval", model="local/smollm2-135m", n=100, out="runs/he")
    run.counts(); run.samples("HumanEval/3")

`run` samples and verifies; `sample` and `verify` are its halves; `resume` needs nothing but the folder. Each has an async
twin (`arun`, ...). A repeat of the same call resumes: nothing that is stored is drawn again.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import vervet
from vervet import plugins
from vervet.config import Settings, from_environment, from_file, settings
from vervet.engine.progress import Progress
from vervet.engine.run import Drawing, Engine, Judging, Stop
from vervet.errors import BadOption, UserError, boundary
from vervet.executors.local import Local
from vervet.ledger import Extracted, Ledger, read, verifier_id, view
from vervet.policies.fixed import Fixed
from vervet.protocols import Executor, Sampler, SamplerSetup, SamplerTraits, Task, Verifier
from vervet.records import (
    Config,
    Counts,
    Outcome,
    Params,
    Problem,
    Prompt,
    PromptForm,
    Sample,
    VerifierSpec,
    fingerprint,
)

T = TypeVar("T")
Stopped = Literal["complete", "budget", "interrupted"]
BUILT_IN_N = 1
_LOCATION_OPTIONS = ("path",)
# task options that say where data is; what the data is, its fingerprint says


# ---------------------------------------------------------------------------------------------- an existing run


class Run:
    """A run folder: counts, samples and facts, read from its ledger whenever they are asked for."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._ledger = Ledger.open(self.folder)
        self.stopped: Stopped = "complete"
        self.seconds = 0.0
        self.wanted = 0
        # samples that the last command asked for, over its problems
        self.notices: tuple[str, ...] = ()

    @property
    def config(self) -> Config:
        """Everything that can change a sample's text."""
        return self._ledger.config

    @property
    def ledger(self) -> Ledger:
        """The open ledger, read-only."""
        return self._ledger

    def problem_ids(self) -> tuple[str, ...]:
        return tuple(self._ledger.problem_keys())

    def problem(self, problem_id: str) -> tuple[Problem, Prompt]:
        """A problem and its rendered prompt. Raises: UserError."""
        return self._ledger.problem(problem_id)

    def counts(self, verifier: str | None = None) -> Counts:
        """Per-problem counts by one verifier, the run's own by default. Raises: UserError where it never judged here."""
        return read.counts(self._ledger, verifier)

    def samples(self, problem_id: str, verifier: str | None = None) -> Iterator[Sample]:
        """A problem's samples in index order; texts are decompressed as they are asked for. Raises: UserError."""
        return read.samples(self._ledger, problem_id, view(self._ledger, verifier))

    def trials(self, problem_id: str, index: int, verifier: str | None = None) -> list[dict[str, Any]]:
        """Every verdict on a sample's answer, oldest first."""
        return read.trials_of_sample(self._ledger, view(self._ledger, verifier), problem_id, index)

    def facts(self, verifier: str | None = None) -> read.Facts:
        """Totals of the run."""
        return read.facts(self._ledger, view(self._ledger, verifier))[0]

    def settings(self) -> dict[str, Any]:
        """What the run was told when it was last run, plain JSON."""
        told: dict[str, Any] = self._ledger.meta("settings", {})
        return told

    def to_dict(self) -> dict[str, Any]:
        """vervet.run/1."""
        facts = self.facts()
        return {
            "schema": "vervet.run/1",
            "run": str(self.folder),
            "problems": facts.problems,
            "samples": facts.samples,
            "missing": self._missing(),
            "pending": facts.pending,
            "pass": facts.passed,
            "fail": facts.failed,
            "unknown": facts.unknown,
            "distinct_answers": facts.distinct_answers,
            "truncated": facts.truncated,
            "unparsed": facts.unparsed,
            "prompt_tokens": facts.prompt_tokens,
            "completion_tokens": facts.completion_tokens,
            "usd": facts.cost_usd,
            "seconds": round(self.seconds, 3),
            "stopped": self.stopped,
        }

    def _missing(self) -> int:
        """Samples that the run was last asked for and does not hold."""
        n = self.settings().get("n", 0)
        chosen = set(self._ledger.meta("chosen", []))
        rows = read.stored(self._ledger)
        return sum(max(0, n - row.count) for p, row in rows.items() if p in chosen)

    def close(self) -> None:
        self._ledger.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_run(folder: Path | str) -> Run:
    """An existing run, for reading; other processes may be writing it. Raises: UserError where there is none."""
    return Run(folder)


# ---------------------------------------------------------------------------------------------- the doors


@dataclass(frozen=True, slots=True)
class Watch:
    """How a caller looks on while a run goes: called with the live counters now and then."""

    start: Callable[[Progress, str], None] | None = None
    # with the counters and the run's folder
    end: Callable[[], None] | None = None
    line: Callable[[str], None] | None = None
    # one line about slow preparations


def run(
    task: str | type[Any], *, model: str, n: int | None = None, out: Path | str | None = None, **options: Any
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
    task: str | type[Any], *, model: str, n: int | None = None, out: Path | str | None = None, **options: Any
) -> Run:
    """Async twin of :func:`run`."""
    return await _new_or_again(task, model, n, out, options, draw=True, judge=True)


def sample(
    task: str | type[Any], *, model: str, n: int | None = None, out: Path | str | None = None, **options: Any
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
    return await _go(_from_ledger(Path(folder), given), watch, draw=True, judge=True)


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
    parts = _from_ledger(Path(folder), given)
    with Ledger.open(parts.folder) as before:
        own = view(before)
        old = read.outcomes(before, own)
    done = await _go(parts, watch, draw=False, judge=True)
    with done:
        which = view(done.ledger, _verifier_mark(parts))
        new = read.outcomes(done.ledger, which)
        facts = done.facts(_verifier_mark(parts))
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


# ---------------------------------------------------------------------------------------------- putting parts together


@dataclass(slots=True)
class _Parts:
    """One invocation, resolved: everything `_go` needs."""

    folder: Path
    config: Config
    options: Settings
    task: Task
    verifier: VerifierSpec
    problems: list[Problem]
    # chosen, in order
    prompts: dict[str, Prompt]
    run_seed: int | None
    # None: a new run
    meta: dict[str, Any] = field(default_factory=dict)
    model_name: str = ""


async def _new_or_again(  # noqa: PLR0917
    task: str | type[Any],
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
        given = given.over(_told(folder, given))
    else:
        given = given.over(from_environment()).over(from_file(config_file))
    parts = _resolve(task, model, given, folder, watch)
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


def _told(folder: Path, given: Settings) -> Settings:
    """What a run was told before, as far as it still applies: a new choice of problems replaces the old one."""
    with Ledger.open(folder) as ledger:
        told, config = dict(ledger.meta("settings", {})), ledger.config
    params = {k: v for k, v in dataclasses.asdict(config.params).items() if k != "extra"}
    told = params | {"prompt_form": config.prompt_form, "model": config.model_options} | told
    if given.limit is not None or given.problems is not None:
        told.pop("limit", None)
        told.pop("problems", None)
    return settings(told, str(folder))


def _resolve(task_name: str | type[Any], model: str, given: Settings, folder: Path | None, watch: Watch) -> _Parts:
    """From names and settings to parts, reading the data set."""
    options = _plain(given.task)
    task, name = _task(task_name, options)
    with boundary(f"task {name!r}"):
        source, everything = task.source(), list(task.problems())
    provider, model_name = plugins.split_model(model)
    # weights may have to be fetched to know their fingerprint; the sampler itself is built later
    traits = _sampler(provider, model_name, given, SamplerSetup(progress=watch.line)).traits()
    neutral: frozenset[str] = getattr(plugins.resolve("samplers", provider, dotted=True), "neutral_options", frozenset())
    form: PromptForm = traits.form if given.prompt_form in (None, "auto") else given.prompt_form  # type: ignore[assignment]
    chosen = _choose(everything, given)
    config = Config(
        task=name,
        task_options={k: v for k, v in options.items() if k not in _LOCATION_OPTIONS},
        data_fingerprint=source.fingerprint,
        model=model,
        model_options={k: v for k, v in _plain(given.model).items() if k not in neutral},
        model_fingerprint=traits.fingerprint,
        prompt_form=form,
        params=_params(task.params(form), given),
        seed=given.seed,
    )
    _refuse_repeats(config.params, given)
    with boundary(f"task {name!r}"):
        prompts = {p.id: task.prompt(p, form) for p in chosen}
    return _Parts(
        folder=folder or Path("runs") / _folder_name(config),
        config=config,
        options=given,
        task=task,
        verifier=_verifier_spec(task.verifier, given),
        problems=chosen,
        prompts=prompts,
        run_seed=None,
        meta={"task": name, "task_options": options, "data": dataclasses.asdict(source)},
    )


def _from_ledger(folder: Path, given: Settings) -> _Parts:
    """Everything out of the run's own folder: no data set, no environment, no names that are code."""
    with Ledger.open(folder) as ledger:
        given = given.over(_told(folder, given))
        config = ledger.config
        chosen = set(given.problems or ledger.meta("chosen", []))
        stored = [ledger.problem(p) for p in ledger.problem_keys() if p in chosen]
        own = VerifierSpec(**ledger.meta("verifier_spec"))
        # a name out of a ledger resolves to built-ins and entry points only
        plugins.resolve("verifiers", own.name)
        plugins.resolve("samplers", plugins.split_model(config.model)[0])
        meta, run_seed = ledger.meta("task_options", {}), ledger.run_seed
    target = plugins.resolve("tasks", config.task)
    task: Task = plugins.build(target, f"task {config.task!r}", options=meta)
    return _Parts(
        folder=folder,
        config=config,
        options=given,
        task=task,
        verifier=_verifier_spec(own, given),
        problems=[problem for problem, _ in stored],
        prompts={problem.id: prompt for problem, prompt in stored},
        run_seed=run_seed,
    )


def _task(name: str | type[Any], options: dict[str, Any]) -> tuple[Task, str]:
    """The task and its name; a data file as a name becomes the option `path`."""
    if not isinstance(name, str):
        target, label = name, f"{name.__module__}:{name.__qualname__}"
        return plugins.build(target, f"task {label!r}", options=options), label
    if name.endswith((".jsonl", ".parquet")):
        options.setdefault("path", name)
        name = "jsonl"
    task: Task = plugins.build(plugins.resolve("tasks", name, dotted=True), f"task {name!r}", options=options)
    return task, name


def _sampler(provider: str, name: str, given: Settings, setup: SamplerSetup) -> Sampler:
    target = plugins.resolve("samplers", provider, dotted=True)
    with boundary(f"model {provider}/{name}"):
        sampler: Sampler = plugins.build(target, f"model {provider}/{name}", name, setup, options=given.model)
    return sampler


def _choose(everything: Sequence[Problem], given: Settings) -> list[Problem]:
    chosen = list(everything)
    if given.problems is not None:
        by_id = {p.id: p for p in everything}
        by_tail = {p.id.rpartition("/")[2]: p for p in everything}
        chosen = []
        for wanted in given.problems:
            problem = by_id.get(wanted) or by_tail.get(wanted)
            if problem is None:
                raise UserError(
                    f"no problem {wanted!r}: ids look like {everything[0].id!r} ({len(everything)} problems)"
                )
            chosen.append(problem)
        chosen = list({p.id: p for p in chosen}.values())
    return chosen[: given.limit]


def _params(defaults: Params, given: Settings) -> Params:
    return Params(
        temperature=0.0 if given.greedy else defaults.temperature if given.temperature is None else given.temperature,
        top_p=defaults.top_p if given.top_p is None else given.top_p,
        max_tokens=defaults.max_tokens if given.max_tokens is None else given.max_tokens,
        stop=defaults.stop if given.stop is None else tuple(given.stop),
        extra=defaults.extra,
    )


def _refuse_repeats(params: Params, given: Settings) -> None:
    if params.temperature == 0 and (given.n or BUILT_IN_N) > 1 and not given.greedy:
        raise BadOption(
            "--temperature 0 gives the same sample again and again: raise it, or say --greedy if that is meant"
        )
    if given.greedy and given.temperature:
        raise BadOption(f"--greedy means temperature 0, not {given.temperature}: give one of the two")


def _verifier_spec(default: VerifierSpec, given: Settings) -> VerifierSpec:
    spec = default if given.verifier is None or given.verifier == default.name else VerifierSpec(given.verifier)
    target = plugins.resolve("verifiers", spec.name, dotted=True)
    if "sandbox" in plugins.parameters(target):
        return VerifierSpec(spec.name, {**spec.settings, "sandbox": given.sandbox or "auto"})
    if given.sandbox is not None:
        raise BadOption(f"--sandbox {given.sandbox}: the verifier {spec.name!r} runs no code and needs no sandbox")
    return spec


def _build_verifier(spec: VerifierSpec) -> Verifier:
    target = plugins.resolve("verifiers", spec.name, dotted=True)
    verifier: Verifier = plugins.build(target, f"verifier {spec.name!r}", options=spec.settings)
    return verifier


def _verifier_mark(parts: _Parts) -> str:
    verifier = _build_verifier(parts.verifier)
    return fingerprint(verifier.name, verifier.version, verifier.settings())


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in sorted(options.items())}


def _folder_name(config: Config) -> str:
    safe = "".join(c if c.isalnum() or c in "-_.=," else "-" for c in f"{config.task}--{config.model}")
    return f"{safe}--{config.digest[:8]}"


# ---------------------------------------------------------------------------------------------- going


class _Finished(Run):
    """A run that was just worked on."""

    verified = 0


async def _go(parts: _Parts, watch: Watch, *, draw: bool, judge: bool) -> _Finished:
    """Open or make the ledger, run the engine over it, close everything."""
    progress, stop = Progress(), Stop()
    verifier = _build_verifier(parts.verifier)
    with boundary(f"verifier {verifier.name!r}"):
        for problem in parts.problems:
            verifier.load(problem)
    ledger = _open_ledger(parts)
    with contextlib.ExitStack() as stack:
        stack.callback(ledger.close)
        key = _describe(ledger, parts, verifier)
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
                engine.drawing, sampler = _drawing(parts, ledger, watch)
                closing.append(sampler)
            if judge:
                executor = Local(_build_verifier)
                closing.append(executor)
                engine.judging = Judging(executor, parts.verifier, key, {p.id: p for p in parts.problems})
            if watch.start:
                watch.start(progress, str(parts.folder))
            refresh = asyncio.create_task(_refresh_coverage(parts.folder, progress))
            try:
                await engine.run()
            finally:
                refresh.cancel()
                if watch.end:
                    watch.end()
        finally:
            for part in closing:
                await part.aclose()
    done = _Finished(parts.folder)
    done.seconds, done.verified = progress.seconds, progress.verified
    done.stopped = "interrupted" if stop.reason == "interrupted" else "complete"
    done.notices = tuple(progress.notices)
    return done


def _open_ledger(parts: _Parts) -> Ledger:
    durability = parts.options.durability or "fast"
    if Ledger.exists(parts.folder):
        ledger = Ledger.open(parts.folder, writer=True, durability=durability)
        ledger.require_config(parts.config)
        return ledger
    seed = parts.options.seed if parts.options.seed is not None else secrets.randbits(63)
    return Ledger.create(parts.folder, parts.config, parts.meta | {"run_seed": seed}, durability)


def _describe(ledger: Ledger, parts: _Parts, verifier: Verifier) -> int:
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
            ledger.set_meta("settings", parts.options.given() | {"n": parts.options.n or BUILT_IN_N})
            ledger.set_meta("chosen", [p.id for p in parts.problems])
            ledger.set_meta("vervet", vervet.__version__)
        elif parts.options.n:
            ledger.set_meta("settings", ledger.meta("settings", {}) | {"n": parts.options.n})
        ledger.set_meta("extractor", parts.task.extractor)
        ledger.set_meta("design", "fixed")
    return key


def _drawing(parts: _Parts, ledger: Ledger, watch: Watch) -> tuple[Drawing, Sampler]:
    provider, name = plugins.split_model(parts.config.model)
    by_id = {p.id: p for p in parts.problems}
    setup = SamplerSetup(
        run_dir=parts.folder,
        example=lambda problem_id, right: parts.task.example(by_id[problem_id], right),
        progress=watch.line,
    )
    sampler = _sampler(provider, name, parts.options, setup)
    traits: SamplerTraits = sampler.traits()
    n = parts.options.n or BUILT_IN_N
    drawing = Drawing(
        sampler=sampler,
        policy=Fixed(n),
        prompts=parts.prompts,
        params=parts.config.params,
        run_seed=ledger.run_seed,
        max_n=min(traits.max_n, n),
        max_in_flight=min(parts.options.max_in_flight or traits.max_in_flight, traits.max_in_flight),
    )
    return drawing, sampler


def _extract(task: Task) -> Callable[[str], Extracted | None]:
    def extract(text: str) -> Extracted | None:
        answer = task.extract(text)
        return None if answer is None else Extracted(answer, task.canonical(answer))

    return extract


async def _refresh_coverage(folder: Path, progress: Progress) -> None:
    """Coverage so far, from a reader of its own, never more than a twentieth of the time."""
    loop = asyncio.get_running_loop()
    pause = 1.0
    while True:
        await asyncio.sleep(pause)
        started = loop.time()
        progress.coverage = await asyncio.to_thread(_coverage_now, folder)
        pause = max(2.0, 20 * (loop.time() - started))


def _coverage_now(folder: Path) -> tuple[int, float] | None:
    with Ledger.open(folder) as ledger:
        counts = read.counts(ledger)
    k = int(counts.n.max(initial=0))
    if not k:
        return None
    return k, float((counts.c > 0).sum()) / max(1, int((counts.n > 0).sum()))


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

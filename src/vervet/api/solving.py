"""Solve: sample until a verifier accepts, or the budget ends. The engine does the work; here are its order and its outcome.

Models are asked in the order given, from cheap to dear, each in a run folder of its own (so that a repeat of the command buys
nothing twice), with one budget over all. The policy is `solve`: growing batches, the first PASS ends it, and what is in flight
then is cancelled. Where nothing passes, a selector says what to hand back, and nothing calls that verified.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vervet import plugins
from vervet.api.certificates import about_problem, about_verdict, about_verifier, seal
from vervet.api.door import door
from vervet.api.existing import Run
from vervet.api.parts import Parts, Watch, build_verifier, caps_of, resolve_task
from vervet.api.runs import Finished, go, prepare
from vervet.errors import BadOption, ServiceError, UserError, boundary
from vervet.estimate.search import PassPrior
from vervet.protocols import Selector
from vervet.records import Outcome, Problem, Sample, Verdict, VerifierSpec, fingerprint

DEFAULT_SAMPLES = 64
FALLBACK = "majority"
_FALLBACKS = ("majority", "first", "none")
SOLVED, SAMPLES, BUDGET, UNDECIDED, INTERRUPTED = "solved", "samples", "budget", "undecided", "interrupted"
_CODES = {SOLVED: 0, SAMPLES: 5, BUDGET: 3, UNDECIDED: 4, INTERRUPTED: 130}


@dataclass(frozen=True, slots=True)
class Hunt:
    """How to look for an answer, beyond what a run can be told."""

    batch: int = 4
    # samples in the first batch; each further one is a quarter of what is there, at least so many
    worth: float | None = None
    # a verified answer is worth the cost of so many samples of its model; None: all samples are drawn
    prior: tuple[float, float] = (0.5, 0.5)
    # Beta prior of a sample's success probability
    switch_after: int | None = None
    # samples of every model but the last; None: as many as the prices justify
    fallback: str = FALLBACK
    hidden: Mapping[str, Any] | None = None
    # task options under which the task has the hidden tests; None: there are none


@dataclass(frozen=True, slots=True)
class Asked:
    """What one model did."""

    model: str
    run: str
    samples: int
    passed: int
    failed: int
    unknown: int
    usd: float | None
    cancelled: int
    seconds: float
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "run": self.run,
            "samples": self.samples,
            "pass": self.passed,
            "fail": self.failed,
            "unknown": self.unknown,
            "usd": self.usd,
            "cancelled_requests": self.cancelled,
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Solved:
    """What a search for one answer came to. Only `outcome` PASS is verified; an answer beside another outcome is a guess."""

    problem: str
    outcome: Outcome
    answer: str | None
    stopped: str
    # "solved", "samples" (all drawn, or no longer worth it), "budget", "undecided" (the verifier), "interrupted"
    asked: tuple[Asked, ...]
    certificate: dict[str, Any] | None = None
    fallback: str | None = None
    # the selector that chose an unverified answer
    text: str | None = None
    # the whole sample
    hidden: Verdict | None = None
    notices: tuple[str, ...] = field(default=())

    @property
    def verified(self) -> bool:
        """Whether a verifier accepted the answer, the hidden tests included where there are such."""
        return self.outcome is Outcome.PASS

    @property
    def samples(self) -> int:
        return sum(a.samples for a in self.asked)

    @property
    def usd(self) -> float | None:
        """Money, requests that were lost or cancelled at their worst case; None where no price is known."""
        known = [a.usd for a in self.asked if a.usd is not None]
        return sum(known) if known else None

    @property
    def exit_code(self) -> int:
        """0 verified · 5 not · 3 the budget ended it · 4 the verifier could not decide · 130 interrupted."""
        if self.stopped == SOLVED and not self.verified:
            # the hidden tests said no, or could not say
            return 5 if self.outcome is Outcome.FAIL else 4
        return _CODES[self.stopped]

    def to_dict(self) -> dict[str, Any]:
        """vervet.solve/1."""
        return {
            "schema": "vervet.solve/1",
            "problem": self.problem,
            "outcome": str(self.outcome),
            "verified": self.verified,
            "answer": self.answer,
            "samples": self.samples,
            "usd": self.usd,
            "stopped": self.stopped,
            "fallback": self.fallback,
            "models": [a.to_dict() for a in self.asked],
            "hidden": None if self.hidden is None else about_verdict(self.hidden),
            "notices": list(self.notices),
            "certificate": self.certificate,
        }


def solve(
    problem: str | Problem,
    *,
    model: str | Sequence[str],
    verifier: str | VerifierSpec | None = None,
    max_samples: int | None = None,
    task: str | Path | type[Any] | None = None,
    out: Path | str | None = None,
    hunt: Hunt | None = None,
    **options: Any,
) -> Solved:
    """Sample until a verifier accepts an answer, or `max_samples` of each model are drawn, or the budget ends.

    Args: problem: an id in `task`; without a task a prompt, or a Problem whose `data["prompt"]` is one.  model: one name, or
        several from cheap to dear.  verifier: a name or a spec; the task's own where it has one.  max_samples: of each model
        (64).  out: a run folder, with several models their parent.  options: see `vervet.config.Settings`, and `watch`.
    Returns: a Solved; only its outcome PASS means that the answer is verified.
    Raises: UserError, PluginError, ServiceError where no model could be reached; what was drawn before is kept.
    """
    return door(
        asolve(
            problem, model=model, verifier=verifier, max_samples=max_samples, task=task, out=out, hunt=hunt, **options
        )
    )


async def asolve(
    problem: str | Problem,
    *,
    model: str | Sequence[str],
    verifier: str | VerifierSpec | None = None,
    max_samples: int | None = None,
    task: str | Path | type[Any] | None = None,
    out: Path | str | None = None,
    hunt: Hunt | None = None,
    **options: Any,
) -> Solved:
    """Async twin of :func:`solve`."""
    hunt = hunt or Hunt()
    models = [model] if isinstance(model, str) else list(model)
    _refuse(models, hunt)
    watch: Watch = options.pop("watch", None) or Watch()
    config_file, new = options.pop("config_file", None), options.pop("new", False)
    if task is None:
        task, options = _as_task(problem, verifier, options)
    else:
        options["problems"] = (problem.id if isinstance(problem, Problem) else problem,)
    if isinstance(verifier, VerifierSpec):
        options["verifier_options"] = {**verifier.settings, **(options.get("verifier_options") or {})}
        verifier = verifier.name
    n = max_samples or DEFAULT_SAMPLES
    options |= {"verifier": verifier, "policy": f"solve={hunt.batch}"}
    prepared = [
        prepare(
            task,
            name,
            n,
            _folder(out, name, len(models)),
            options,
            watch=watch,
            config_file=Path(config_file) if config_file else None,
            new=new,
        )
        for name in models
    ]
    for parts in prepared:
        if out is None:
            parts.folder = _own_folder(parts, new)
    _cap(prepared, n, hunt)
    return await _in_order(prepared, hunt, watch)


def _refuse(models: Sequence[str], hunt: Hunt) -> None:
    """Raises: BadOption for what cannot be meant."""
    if not models or len(set(models)) != len(models):
        raise BadOption("-m: name at least one model, and none of them twice")
    if hunt.batch < 1 or (hunt.switch_after is not None and hunt.switch_after < 1):
        raise BadOption("--batch and --switch-after are samples: 1 or more")
    if hunt.worth is not None and not (hunt.worth >= 1 and math.isfinite(hunt.worth)):
        raise BadOption(f"--worth {hunt.worth:g}: write how many samples a verified answer is worth, 1 or more")
    if min(hunt.prior) <= 0:
        raise BadOption("--prior A,B: both parameters of the Beta distribution are above 0")
    if hunt.fallback not in _FALLBACKS:
        raise BadOption(f"--fallback {hunt.fallback}: choose from {', '.join(_FALLBACKS)}")


def _as_task(
    problem: str | Problem, verifier: str | VerifierSpec | None, options: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """A prompt, or a problem of the caller's own, as a task. Raises: UserError where nothing says what is right."""
    told = dict(options.get("task_options") or {})
    if isinstance(problem, Problem):
        if "prompt" not in problem.data:
            raise UserError(f"problem {problem.id!r}: its data needs a 'prompt', text or a list of messages")
        prompt = problem.data["prompt"]
        told |= {"text" if isinstance(prompt, str) else "messages": prompt, "id": problem.id}
        told |= {k: v for k, v in (("check", dict(problem.check)), ("reference", problem.reference)) if v}
    elif "path" not in told:
        told["text"] = problem
    if verifier is None and options.get("verifier") is None and not (told.get("check") or told.get("reference")):
        raise UserError("nothing says what is right: name a verifier (--check './check.sh {answer}', or --verifier)")
    return "prompt", {**options, "task_options": told}


def _folder(out: Path | str | None, model: str, models: int) -> Path | None:
    if out is None or models == 1:
        return None if out is None else Path(out)
    return Path(out) / model.replace("/", "--")


def _own_folder(parts: Parts, new: bool) -> Path:
    """A folder for this problem and this config: solving two problems at once needs no common ledger."""
    problem = "".join(c if c.isalnum() or c in "-_.=," else "-" for c in parts.problems[0].id)[:60]
    folder = parts.folder.parent / "solve" / f"{parts.folder.name}--{problem}--{fingerprint(parts.problems[0].id)[:6]}"
    number = 2
    taken = folder
    while new and taken.exists():
        taken, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return taken


def _cap(prepared: Sequence[Parts], n: int, hunt: Hunt) -> None:
    """How many samples each model may give: n, no more than are worth it, and for all but the last no more than pay."""
    prior = PassPrior(*hunt.prior)
    for i, parts in enumerate(prepared):
        most = n
        if hunt.worth is not None:
            most = min(most, prior.worth_it(hunt.worth))
        if i < len(prepared) - 1:
            most = min(most, hunt.switch_after or _until_dearer_pays(parts, prepared[i + 1], prior, n))
        parts.options = parts.options.model_copy(update={"n": max(1, most)})


def _until_dearer_pays(cheap: Parts, dear: Parts, prior: PassPrior, n: int) -> int:
    a, b = _price_of_sample(cheap), _price_of_sample(dear)
    return n if a is None or b is None else prior.switch(a, b)


def _price_of_sample(parts: Parts) -> float | None:
    """US dollars that a completion of full length costs; None where no price is known."""
    return None if parts.price is None else parts.price.cost(0, parts.config.params.max_tokens)


async def _in_order(prepared: Sequence[Parts], hunt: Hunt, watch: Watch) -> Solved:
    asked: list[Asked] = []
    notices: list[str] = []
    stopped, failure = SAMPLES, None
    for parts in prepared:
        others = [p.folder for p in prepared if p is not parts] if caps_of(parts.options) else []
        try:
            done = await go(parts, watch, draw=True, judge=True, siblings=others, until_pass=True)
        except ServiceError as error:
            failure = error
            asked.append(Asked(parts.config.model, str(parts.folder), 0, 0, 0, 0, None, 0, 0.0, str(error)))
            continue
        with done:
            asked.append(_asked(parts, done))
            notices += done.notices
            found = _first_pass(parts, done)
        if found is not None:
            return await _success(parts, found, asked, hunt, notices)
        stopped = done.stopped if done.stopped in (BUDGET, INTERRUPTED) else stopped
        if stopped == INTERRUPTED:
            break
    if failure is not None and all(a.error or not a.samples for a in asked):
        raise failure
    return _failure(prepared, asked, stopped, hunt, notices)


def _asked(parts: Parts, done: Finished) -> Asked:
    facts = done.facts()
    return Asked(
        model=parts.config.model,
        run=str(parts.folder),
        samples=facts.samples,
        passed=facts.passed,
        failed=facts.failed,
        unknown=facts.unknown + facts.pending,
        usd=facts.cost_usd,
        cancelled=done.cancelled,
        seconds=done.seconds,
    )


def _first_pass(parts: Parts, run: Run) -> Sample | None:
    """The accepted sample with the lowest index."""
    return next((s for s in run.samples(parts.problems[0].id) if s.outcome is Outcome.PASS), None)


async def _success(parts: Parts, found: Sample, asked: list[Asked], hunt: Hunt, notices: list[str]) -> Solved:
    problem = parts.problems[0]
    hidden = await _judge_hidden(parts, found.answer or "", hunt.hidden)
    with Run(parts.folder) as run:
        trials = run.trials(problem.id, found.index)
    certificate = _certificate(parts, found, asked, trials, hidden)
    _keep(parts.folder, certificate)
    outcome = Outcome.PASS if hidden is None else hidden[1].outcome
    return Solved(
        problem=problem.id,
        outcome=outcome,
        answer=found.answer,
        stopped=SOLVED,
        asked=tuple(asked),
        certificate=certificate,
        text=found.text,
        hidden=None if hidden is None else hidden[1],
        notices=tuple(notices),
    )


async def _judge_hidden(parts: Parts, answer: str, hidden: Mapping[str, Any] | None) -> tuple[Problem, Verdict] | None:
    """The verdict of tests that the search never saw: the same task under other options."""
    if hidden is None:
        return None
    name = parts.config.task
    task, _, _, spec = resolve_task(name, {**parts.meta.get("task_options", {}), **hidden})
    with boundary(f"task {name!r}"):
        problem = next((p for p in task.problems() if p.id == parts.problems[0].id), None)
    if problem is None:
        raise UserError(f"--hidden: under these options, task {name} has no problem {parts.problems[0].id!r}")
    if problem.check_fingerprint == parts.problems[0].check_fingerprint:
        raise UserError("--hidden: under these options the task has the same tests: they would hide nothing")
    settings = dict(spec.settings) | {k: v for k, v in parts.verifier.settings.items() if k == "sandbox"}
    verifier = build_verifier(VerifierSpec(spec.name, settings))
    try:
        with boundary(f"verifier {spec.name!r}"):
            verifier.load(problem)
            return problem, (await verifier.verify(problem, [answer]))[0]
    finally:
        await verifier.aclose()


def _certificate(
    parts: Parts,
    found: Sample,
    asked: Sequence[Asked],
    trials: Sequence[Mapping[str, Any]],
    hidden: tuple[Problem, Verdict] | None,
) -> dict[str, Any]:
    problem, config = parts.problems[0], parts.config
    passed = next(t for t in reversed(trials) if t["outcome"] is Outcome.PASS)
    answer = found.answer or ""
    return seal(
        {
            "task": config.task,
            "data": parts.meta.get("data"),
            "problem": about_problem(problem),
            "answer": answer,
            "answer_hash": fingerprint(answer),
            "verifier": about_verifier(parts.verifier),
            "verdict": {**passed, "outcome": str(passed["outcome"])},
            "trials": [{**t, "outcome": str(t["outcome"])} for t in trials],
            "sample": {
                "id": f"{config.digest[:8]}/{problem.id}/{found.index}",
                "index": found.index,
                "seed": found.seed,
                "model": config.model,
                "model_options": dict(config.model_options),
                "model_fingerprint": config.model_fingerprint,
                "prompt_form": config.prompt_form,
                "params": config.to_dict()["params"],
                "text_hash": fingerprint(found.text),
                "extractor": parts.task.extractor,
            },
            "search": {
                "samples": sum(a.samples for a in asked),
                "models": [{"model": a.model, "samples": a.samples, "pass": a.passed} for a in asked],
            },
            "hidden": None
            if hidden is None
            else {"check": hidden[0].check_fingerprint, "verdict": about_verdict(hidden[1])},
        }
    )


def _keep(folder: Path, certificate: Mapping[str, Any]) -> None:
    """Beside the ledger, for whoever looks there."""
    import orjson  # noqa: PLC0415

    (folder / "certificate.json").write_bytes(orjson.dumps(certificate, option=orjson.OPT_INDENT_2))


def _failure(prepared: Sequence[Parts], asked: list[Asked], stopped: str, hunt: Hunt, notices: list[str]) -> Solved:
    """Nothing was accepted. What is UNKNOWN is nobody's FAIL."""
    pool: list[Sample] = []
    for parts, one in zip(prepared, asked, strict=False):
        if one.samples:
            with Run(parts.folder) as run:
                pool += list(run.samples(parts.problems[0].id))
    open_ones = [s for s in pool if s.outcome is not Outcome.FAIL]
    unknown = sum(a.unknown for a in asked)
    if stopped == SAMPLES and unknown:
        stopped = UNDECIDED
    chosen = _fallback(open_ones or pool, hunt.fallback)
    return Solved(
        problem=prepared[0].problems[0].id,
        outcome=Outcome.UNKNOWN if unknown or not pool else Outcome.FAIL,
        answer=None if chosen is None else chosen.answer,
        stopped=stopped,
        asked=tuple(asked),
        fallback=None if chosen is None else hunt.fallback,
        text=None if chosen is None else chosen.text,
        notices=tuple(notices),
    )


def _fallback(pool: Sequence[Sample], name: str) -> Sample | None:
    """What to hand back unverified: of the answers that no verifier has refused, where there are such."""
    if name == "none" or not pool:
        return None
    selector: Selector = plugins.resolve("selectors", name)()
    at = selector.choose(pool)
    return None if at is None else pool[at]

"""From names and settings to parts: the only place that knows which class stands behind which name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from vervet import plugins, prices
from vervet.api import dressing
from vervet.config import Settings, settings
from vervet.engine.limits import Caps
from vervet.engine.progress import Progress
from vervet.errors import BadOption, UserError, boundary
from vervet.ledger import Ledger
from vervet.ledger.history import History
from vervet.prices import Price
from vervet.protocols import Executor, Policy, Sampler, SamplerSetup, SamplerTraits, Task, Verifier
from vervet.records import Config, Params, Problem, Prompt, PromptForm, Recipe, VerifierSpec, fingerprint
from vervet.samplers._secrets import public_url
from vervet.tasks.imported import Imported

BUILT_IN_N = 1
IMPORTED = "imported"
# stands for the model, the verifier, and where it is not known the task, of samples that were made elsewhere
_LOCATION_OPTIONS = ("path", "train", "examples")
# task options that say where data is; what the data is, its fingerprint says
_HERE = ("executor", "ray_address")
# settings of this machine and this user: a run folder from somebody else must not send work anywhere


@dataclass(frozen=True, slots=True)
class Watch:
    """How a caller looks on while a run goes: called with the live counters now and then."""

    start: Callable[[Progress, str], None] | None = None
    # with the counters and the run's folder
    end: Callable[[], None] | None = None
    line: Callable[[str], None] | None = None
    # one line about slow preparations


@dataclass(slots=True)
class Parts:
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
    price: Price | None = None
    traits: SamplerTraits | None = None
    # None: from a ledger


def told(folder: Path, given: Settings) -> Settings:
    """What a run was told before, as far as it still applies: a new choice of problems replaces the old one."""
    with Ledger.open(folder) as ledger:
        said, config = dict(ledger.meta("settings", {})), ledger.config
    if ":" in said.get("policy", "") and given.policy is None:
        # a name out of a ledger resolves to built-ins and entry points only
        raise UserError(f"{folder} was sampled with --policy {said['policy']}: give it again, it is code of yours")
    params = {k: v for k, v in dataclasses.asdict(config.params).items() if k != "extra"}
    said = params | {"prompt_form": config.prompt_form, "model_options": config.model_options} | said
    for name in _HERE:
        said.pop(name, None)
    if given.verifier is not None or given.verifier_options:
        said.pop("verifier_options", None)
    if given.limit is not None or given.problems is not None:
        said.pop("limit", None)
        said.pop("problems", None)
    return settings(said, str(folder))


def resolve(task_name: str | Path | type[Any], model: str, given: Settings, folder: Path | None, watch: Watch) -> Parts:
    """From names and settings to parts, reading the data set."""
    options = _plain(given.task_options)
    dress = dressing.take(_task_class(task_name), options)
    task, name = _task(task_name, options)
    with boundary(f"task {name!r}"):
        source, everything = task.source(), list(task.problems())
    provider, model_name = plugins.split_model(model)
    # weights may have to be fetched to know their fingerprint; the sampler itself is built later
    setup = SamplerSetup(progress=watch.line, history=History, base_urls=given.base_url or ())
    sampler = build_sampler(provider, model_name, given, setup)
    traits = sampler.traits()
    neutral: frozenset[str] = getattr(
        plugins.resolve("samplers", provider, dotted=True), "neutral_options", frozenset()
    )
    recipe: Recipe | None = getattr(task, "recipe", None)
    if recipe is not None and given.n is None:
        given = given.model_copy(update={"n": recipe.n})
    usual = traits.form if recipe is None else recipe.form
    form: PromptForm = usual if given.prompt_form in (None, "auto") else given.prompt_form  # type: ignore[assignment]
    chosen = _choose(everything, given)
    config = Config(
        task=name,
        task_options={k: v for k, v in options.items() if k not in _LOCATION_OPTIONS} | dress.config(),
        data_fingerprint=source.fingerprint,
        model=model,
        model_options={k: v for k, v in _plain(given.model_options).items() if k not in neutral},
        model_fingerprint=traits.fingerprint,
        prompt_form=form,
        params=_params(task.params(form), given),
        seed=given.seed,
    )
    _refuse_repeats(config.params, given)
    with boundary(f"task {name!r}"):
        prompts = {p.id: dress.on(task.prompt(p, form)) for p in chosen}
    return Parts(
        folder=folder or Path("runs") / _folder_name(config),
        config=config,
        options=given,
        task=task,
        verifier=_verifier_spec(task.verifier, given),
        problems=chosen,
        prompts=prompts,
        run_seed=None,
        price=price_of(provider, model_name, given, sampler),
        traits=traits,
        meta={"task": name, "task_options": options, "data": dataclasses.asdict(source)},
    )


def from_ledger(folder: Path, given: Settings) -> Parts:
    """Everything out of the run's own folder: no data set, no environment, no names that are code."""
    with Ledger.open(folder) as ledger:
        before = told(folder, given)
        named = given.limit is not None or given.problems is not None
        chosen = ledger.problem_keys() if named else set(ledger.meta("chosen", []))
        # what a run was told may be a tail, "7" of "HumanEval/7": `chosen` has the ids
        stored = {p: ledger.problem(p) for p in ledger.problem_keys() if p in chosen}
        problems = _choose([problem for problem, _ in stored.values()], given)
        given = given.over(before)
        config = ledger.config
        own = VerifierSpec(**ledger.meta("verifier_spec"))
        # a name out of a ledger resolves to built-ins and entry points only
        _resolve_names(folder, config, own, given)
        meta, run_seed, extractor = ledger.meta("task_options", {}), ledger.run_seed, ledger.meta("extractor", "")
    task = _task_of(config, meta, extractor)
    return Parts(
        folder=folder,
        config=config,
        options=given,
        task=task,
        verifier=_verifier_spec(own, given),
        problems=problems,
        prompts={problem.id: stored[problem.id][1] for problem in problems},
        run_seed=run_seed,
    )


def _resolve_names(folder: Path, config: Config, own: VerifierSpec, given: Settings) -> None:
    provider = plugins.split_model(config.model)[0]
    if provider != IMPORTED:
        plugins.resolve("samplers", provider)
    if own.name != IMPORTED:
        plugins.resolve("verifiers", own.name)
    elif given.verifier in (None, IMPORTED):
        raise UserError(f"{folder} was imported with its verdicts: to judge it anew, name a --verifier")


def _task_of(config: Config, options: Mapping[str, Any], extractor: str) -> Task:
    """The run's task; where the answers came with the samples, one that leaves them as they are."""
    if config.task == IMPORTED:
        return Imported()
    target = plugins.resolve("tasks", config.task)
    task: Task = plugins.build(target, f"task {config.task!r}", options=options)
    if extractor.startswith(f"{Imported.extractor}+"):
        return cast("Task", Answered(task, extractor))
    return task


class Answered:
    """A task whose run brought its answers along: under another extractor's name they would be looked for again."""

    def __init__(self, task: Task, extractor: str) -> None:
        self._task = task
        self.extractor = extractor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)


def refuse_imported(folder: Path) -> None:
    """Raises: UserError where there is no model to draw more from: samples that were made elsewhere, and a command, which
    a run folder from somebody else could name."""
    with Ledger.open(folder) as ledger:
        model = ledger.config.model
    provider = plugins.split_model(model)[0]
    if provider == IMPORTED:
        raise UserError(
            f"{folder} was imported and cannot be sampled further: `vervet verify` judges it, `vervet run` draws"
        )
    if getattr(plugins.resolve("samplers", provider), "runs_its_name", False):
        raise UserError(
            f"{folder} was drawn by a program, and none is started because a run folder says so: "
            f"repeat `vervet run TASK -m {model} --out {folder}`"
        )


def _task_class(name: str | Path | type[Any]) -> type[Any]:
    """The class behind a task's name."""
    if isinstance(name, type):
        return name
    known = "jsonl" if str(name).endswith((".jsonl", ".parquet")) else plugins.member("tasks", str(name))[0]
    return plugins.resolve("tasks", known, dotted=True)


def _task(name: str | Path | type[Any], options: dict[str, Any]) -> tuple[Task, str]:
    """The task and its name; a data file as a name becomes the option `path`, a family's member the option for it."""
    if isinstance(name, Path):
        name = str(name)
    if not isinstance(name, str):
        target, label = name, f"{name.__module__}:{name.__qualname__}"
        return plugins.build(target, f"task {label!r}", options=options), label
    if name.endswith((".jsonl", ".parquet")):
        options.setdefault("path", name)
        name = "jsonl"
    name, member = plugins.member("tasks", name)
    options.update(member)
    task: Task = plugins.build(plugins.resolve("tasks", name, dotted=True), f"task {name!r}", options=options)
    return task, name


def resolve_task(
    name: str | Path | type[Any], given: Mapping[str, Any]
) -> tuple[Task, str, dict[str, Any], VerifierSpec]:
    """The task behind a name, its name, its options as plain JSON, and its verifier: for samples that are there already."""
    options = _plain(given)
    task, known = _task(name, options)
    return task, known, options, _verifier_spec(task.verifier, Settings())


def build_sampler(provider: str, name: str, given: Settings, setup: SamplerSetup) -> Sampler:
    target = plugins.resolve("samplers", provider, dotted=True)
    if setup.base_urls and not getattr(target, "takes_base_urls", False):
        raise BadOption(f"--base-url: {provider}/{name} is not a server's model; leave it out")
    with boundary(f"model {provider}/{name}"):
        sampler: Sampler = plugins.build(target, f"model {provider}/{name}", name, setup, options=given.model_options)
    return sampler


def build_policy(given: Settings, *, dotted: bool = True) -> Policy:
    """The policy that the settings name. Raises: UnknownName, BadOption."""
    name, _, argument = (given.policy or "fixed").partition("=")
    target = plugins.resolve("policies", name, dotted=dotted)
    with boundary(f"policy {name!r}"):
        policy: Policy = target(given.n or BUILT_IN_N, argument)
    return policy


def caps_of(given: Settings) -> Caps:
    """The budget that the settings name."""
    return Caps(given.budget_usd, given.budget_tokens, given.budget_samples, given.budget_minutes)


def price_of(provider: str, name: str, given: Settings, sampler: Sampler) -> Price | None:
    """What tokens cost: as the user says, else as known. Raises: UserError for a cap on money where nothing is known."""
    if (given.price_in is None) != (given.price_out is None):
        raise BadOption("--price-in and --price-out belong together: US dollars per million tokens, 0 where it is free")
    if given.price_in is not None and given.price_out is not None:
        return prices.given(given.price_in, given.price_out, given.price_cached)
    if given.price_cached is not None:
        raise BadOption("--price-cached needs --price-in and --price-out")
    price = prices.known(provider, name, getattr(sampler, "own_urls", ()))
    if price is None and given.budget_usd is not None:
        install = prices.missing_part(provider)
        raise UserError(
            f"--budget-usd {given.budget_usd:g}: no price is known for {provider}/{name}, so the cap could not hold: "
            f"{install}{', or ' if install else ''}give --price-in and --price-out (US dollars per million tokens)"
        )
    return price


def _choose(everything: Sequence[Problem], given: Settings) -> list[Problem]:
    chosen = list(everything)
    if given.problems is not None:
        if not given.problems:
            raise UserError("--problems names none: give ids separated by commas, or leave it out for all")
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
    spec = VerifierSpec(spec.name, {**spec.settings, **given.verifier_options})
    target = plugins.resolve("verifiers", spec.name, dotted=True)
    if "sandbox" in plugins.parameters(target):
        return VerifierSpec(spec.name, {**spec.settings, "sandbox": given.sandbox or "auto"})
    if given.sandbox is not None:
        why = (
            "has containers of its own"
            if "container" in getattr(target, "needs", ())
            else "runs no code and needs no sandbox"
        )
        raise BadOption(f"--sandbox {given.sandbox}: the verifier {spec.name!r} {why}")
    return spec


def build_verifier(spec: VerifierSpec) -> Verifier:
    target = plugins.resolve("verifiers", spec.name, dotted=True)
    verifier: Verifier = plugins.build(target, f"verifier {spec.name!r}", options=spec.settings)
    connect = getattr(verifier, "connect", None)
    if connect is not None:
        connect(_sampler_for_verifier)
    return verifier


def build_executor(given: Settings) -> Executor:
    """Where verification runs, as the settings name it. Raises: UnknownName, BadOption, and what a cluster has to say."""
    name = given.executor or "local"
    target = plugins.resolve("executors", name, dotted=True)
    options = {"address": given.ray_address} if given.ray_address is not None else {}
    if options and "address" not in plugins.parameters(target):
        raise BadOption(f"--ray-address {given.ray_address}: the executor {name} has no cluster; say --executor ray")
    executor: Executor = plugins.build(target, f"executor {name!r}", build_verifier, options=options)
    return executor


def _sampler_for_verifier(model: str, base_urls: tuple[str, ...]) -> Sampler:
    """The model of a judge."""
    provider, name = plugins.split_model(model)
    return build_sampler(provider, name, Settings(), SamplerSetup(base_urls=base_urls))


def verifier_mark(parts: Parts) -> str:
    verifier = build_verifier(parts.verifier)
    return fingerprint(verifier.name, verifier.version, verifier.settings())


def told_now(given: Settings) -> dict[str, Any]:
    """What was said, as the run may keep it: of base URLs only the address, because the rest of a URL may hold a key."""
    plain = given.given()
    if given.base_url:
        plain["base_url"] = [public_url(url) for url in given.base_url]
    return plain


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in sorted(options.items())}


def _folder_name(config: Config) -> str:
    safe = "".join(c if c.isalnum() or c in "-_.=," else "-" for c in f"{config.task}--{config.model}")
    return f"{safe}--{config.digest[:8]}"

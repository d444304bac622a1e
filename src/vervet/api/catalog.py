"""What there is to choose from, and what this machine can do."""

from __future__ import annotations

import dataclasses
import importlib.util
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vervet import plugins
from vervet.errors import BadOption, MissingPart, VervetError, boundary
from vervet.ledger import Ledger
from vervet.ledger.check import check
from vervet.ledger.merge import Merged, merge
from vervet.ledger.store import Durability
from vervet.protocols import Task
from vervet.records import PromptForm, Recipe, prompt_to_json
from vervet.version import __version__

_EXTRAS = {
    "docker": "docker",
    "hf": "torch",
    "local": "xllamacpp",
    "parquet": "pyarrow",
    "reasoning-gym": "reasoning_gym",
    "report": "jinja2",
}
"""Extra -> a package that it installs."""


def list_tasks() -> list[dict[str, str]]:
    """Name and summary of every task."""
    rows = []
    for name in plugins.names("tasks"):
        family = getattr(plugins.resolve("tasks", name), "member_option", None) is not None
        rows.append({"name": f"{name}/NAME" if family else name, "summary": _summary("tasks", name)})
    return rows


def list_models() -> list[dict[str, str]]:
    """Provider patterns and named models, with a summary each."""
    rows = []
    for provider in plugins.names("samplers"):
        target = plugins.resolve("samplers", provider)
        catalogue = getattr(target, "catalogue", None)
        named = catalogue() if catalogue else {}
        rows += [{"name": f"{provider}/{name}", "summary": text} for name, text in named.items()]
        rows.append({"name": f"{provider}/...", "summary": _summary("samplers", provider)})
    return rows


def _summary(shelf: str, name: str) -> str:
    """First line of the docstring of the class, or of its module."""
    target = plugins.resolve(shelf, name)
    text = target.__doc__ or ""
    return text.strip().partition("\n")[0]


def show_task(name: str, form: str = "chat", options: dict[str, str] | None = None) -> dict[str, Any]:
    """A task's facts, options and first rendered prompt: vervet.task/1. Raises: UserError."""
    known, member = plugins.member("tasks", name)
    target = plugins.resolve("tasks", known, dotted=True)
    task: Task = plugins.build(target, f"task {name!r}", options={**(options or {}), **member})
    prompt_form: PromptForm = "completion" if form == "completion" else "chat"
    with boundary(f"task {name!r}"):
        problems, source = task.problems(), task.source()
        prompt = task.prompt(problems[0], prompt_form)
    recipe: Recipe | None = getattr(task, "recipe", None)
    return {
        "schema": "vervet.task/1",
        "name": name,
        "summary": _summary("tasks", known) if known in plugins.names("tasks") else "",
        "problems": len(problems),
        "verifier": task.verifier.name,
        "data": f"{source.id} {source.revision}".strip(),
        "options": {k: str(p.default) for k, p in plugins.parameters(target).items()},
        "first_problem": problems[0].id,
        "prompt": prompt_to_json(prompt),
        "params": dataclasses.asdict(task.params(prompt_form)),
        "recipe": None if recipe is None else dataclasses.asdict(recipe),
    }


def check_ledger(folder: Path | str, *, migrate: bool = False) -> dict[str, Any]:
    """Re-derive a ledger's hashes, references and counts: vervet.ledger-check/1.

    Args: migrate: bring a ledger of an older schema up to date first; one that is so already stays as it is.
    Raises: UserError where there is no run, or an older schema; RunInUse where a run writes and `migrate` is given.
    """
    if migrate:
        Ledger.open(Path(folder), writer=True).close()
    with Ledger.open(Path(folder)) as ledger:
        checked, faults = check(ledger)
    return {"schema": "vervet.ledger-check/1", "run": str(folder), "checked": checked, "faults": faults}


def merge_ledgers(
    shards: Sequence[Path | str],
    out: Path | str,
    *,
    durability: str = "fast",
    progress: Callable[[str], None] | None = None,
) -> Merged:
    """Put shards of one run together, everything by its key: see `vervet.ledger.merge`.

    Args: progress: gets a line a shard.  Raises: BadOption, RunMismatch, BadData, CheckFailed.
    """
    if durability not in ("fast", "full"):
        raise BadOption(f"--durability {durability!r}: should be 'fast' or 'full'")
    level: Durability = "full" if durability == "full" else "fast"
    return merge([Path(shard) for shard in shards], Path(out), durability=level, progress=progress)


def _engine() -> dict[str, Any]:
    """Whether `--sandbox docker` can work."""
    from vervet.sandbox import engine  # noqa: PLC0415

    try:
        return {"name": "sandbox: docker", "ok": True, "detail": engine()}
    except MissingPart as error:
        return {"name": "sandbox: docker", "ok": False, "detail": str(error)}


def doctor() -> dict[str, Any]:
    """What works on this machine and why not more: vervet.doctor/1. `sandbox` says whether untrusted code can be isolated."""
    from vervet.sandbox import capabilities  # noqa: PLC0415  looks at the kernel

    parts = [{"name": "vervet", "ok": True, "detail": __version__}]
    parts.append({"name": "python", "ok": True, "detail": f"{platform.python_version()} on {platform.platform()}"})
    found = capabilities()
    parts += [
        {"name": f"sandbox: {layer.name}", "ok": layer.available, "detail": layer.detail} for layer in found.layers
    ]
    parts.append(_engine())
    for extra, package in _EXTRAS.items():
        ok = importlib.util.find_spec(package) is not None
        detail = f"{package} is installed" if ok else f"pip install 'vervet[{extra}]'"
        parts.append({"name": f"extra: {extra}", "ok": ok, "detail": detail})
    try:
        from vervet.fetch import cache_dir  # noqa: PLC0415

        parts.append({"name": "cache", "ok": True, "detail": str(cache_dir())})
    except VervetError as error:
        parts.append({"name": "cache", "ok": False, "detail": str(error)})
    return {"schema": "vervet.doctor/1", "sandbox": found.namespaces, "parts": parts}

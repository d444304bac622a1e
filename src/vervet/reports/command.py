"""The command line that makes a run again, from its config and from what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vervet.records import Config
from vervet.reports.format import plain, shell_word
from vervet.reports.subject import Subject


def run_command(subject: Subject) -> str:
    """`vervet run ...` with everything that can change a sample said aloud; "" for a table of counts.

    The seed is the one that was used, drawn or given. Each word is quoted for a shell.
    """
    if subject.config is None:
        return ""
    return " ".join(shell_word(word) for word in _words(subject, subject.config))


def _words(subject: Subject, config: Config) -> Iterator[str]:
    told = subject.told
    options = {**config.task_options, **subject.meta.get("task_options", {})}
    task = config.task
    if task == "jsonl" and str(options.get("path", "")).endswith((".jsonl", ".parquet")):
        task = str(options.pop("path"))
    yield from ("vervet", "run", task, "-m", config.model, "-n", str(told.get("n", 1)))
    if told.get("limit"):
        yield from ("--limit", str(told["limit"]))
    if told.get("problems"):
        yield from ("--problems", ",".join(told["problems"]))
    seed = config.seed if config.seed is not None else subject.meta.get("run_seed")
    if seed is not None:
        yield from ("--seed", str(seed))
    yield from _sampling(config, bool(told.get("greedy")))
    for name, value in options.items():
        yield from ("-T", f"{name}={_text(value)}")
    for name, value in {**config.model_options, **told.get("model_options", {})}.items():
        yield from ("-M", f"{name}={_text(value)}")
    for name in ("verifier", "sandbox", "policy"):
        if told.get(name):
            yield from (f"--{name}", str(told[name]))


def _sampling(config: Config, greedy: bool) -> Iterator[str]:
    params = config.params
    yield from ["--greedy"] if greedy else ["--temperature", plain(params.temperature)]
    if params.top_p is not None:
        yield from ("--top-p", plain(params.top_p))
    yield from ("--max-tokens", str(params.max_tokens))
    for text in params.stop:
        yield from ("--stop", text)
    yield from ("--prompt-form", config.prompt_form)


def _text(value: Any) -> str:
    """As an option is written: booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)

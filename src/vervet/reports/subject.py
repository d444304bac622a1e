"""What a page is about: runs and tables of counts, and what to call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from vervet.analysis.cost import RunCost
from vervet.analysis.selection import Selection
from vervet.ledger.summary import Summary
from vervet.records import Config, Counts


@dataclass(frozen=True, slots=True)
class Subject:
    """One run, or one table of counts, where all but `counts` is unknown."""

    counts: Counts
    facts: Mapping[str, Any] | None = None
    # the ledger's Facts by name, and `missing`
    config: Config | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    # settings that the run was last given
    meta: Mapping[str, Any] = field(default_factory=dict)
    # run_seed, created (s since 1970), vervet (version), data (id, revision, fingerprint), task_options, extractor
    verifier: Mapping[str, Any] = field(default_factory=dict)
    # name, version, settings and fingerprint of the verifier behind the counts
    summary: Summary | None = None
    selection: Selection | None = None
    cost: RunCost | None = None

    @property
    def is_run(self) -> bool:
        return self.config is not None

    @property
    def source(self) -> str:
        """Where it lies, as the user named it."""
        return self.counts.source or "counts"


def labels(subjects: Sequence[Subject]) -> list[str]:
    """A short name for each, all different: the model if that is enough, else with the task, else the folder."""
    for name in (_model, _model_and_task, _stem, _model_and_stem):
        found = [name(s) for s in subjects]
        if len(set(found)) == len(found):
            return found
    return [f"{_stem(s)} ({i})" for i, s in enumerate(subjects, 1)]


def _stem(subject: Subject) -> str:
    path = PurePath(subject.source)
    return (path.name if subject.is_run else path.stem) or subject.source


def _model(subject: Subject) -> str:
    """Of imported samples without the word: it says nothing that tells one from another."""
    return subject.config.model.removeprefix("imported/") if subject.config else _stem(subject)


def _model_and_task(subject: Subject) -> str:
    return f"{_model(subject)} · {task_name(subject)}" if subject.config else _stem(subject)


def _model_and_stem(subject: Subject) -> str:
    return f"{_model(subject)} · {subject.source}"


def task_name(subject: Subject) -> str:
    """The task; a file of problems by the file's name."""
    if subject.config is None:
        return _stem(subject)
    data = subject.meta.get("data", {}).get("id", "")
    return PurePath(data).stem if subject.config.task == "jsonl" and data else subject.config.task

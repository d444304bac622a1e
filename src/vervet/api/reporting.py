"""What a page says about runs, read from their ledgers; and the report that is written from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vervet.analysis.baseline import Baseline, parse_baseline
from vervet.analysis.cost import cost as costs_of
from vervet.api.costing import Rates, priced
from vervet.api.existing import Run
from vervet.api.selecting import select
from vervet.api.statistics import Source, run_folders, sources
from vervet.errors import BadData, UserError
from vervet.ledger import Ledger, read, view
from vervet.ledger.summary import Summary, summary, verifier_of
from vervet.records import Counts
from vervet.reports.subject import Subject


def report(
    given: Source | Iterable[Source],
    out: Path | str,
    level: float = 0.95,
    *,
    verifier: str | None = None,
    title: str | None = None,
    figures: Path | str | None = None,
    baseline: str | Baseline | Sequence[str | Baseline] = (),
    rates: Rates | None = None,
) -> Path:
    """Write one self-contained HTML page about runs and tables of counts; returns its path.

    Args: given: one or several of what :func:`vervet.api.statistics.sources` takes.  verifier: count verdicts by this one.
    title: the page's heading.  figures: also write figures for papers into this folder, made if need be.
    baseline: single attempts of other models, "GPT-4o=0.24@0.13usd".  rates: prices and shapes that runs do not know.
    Raises: UserError, BadData, BadOption, StorageError where something cannot be written, MissingPart without the extra
    `report`.
    """
    from vervet.reports import html  # noqa: PLC0415  an extra

    every = [baseline] if isinstance(baseline, (str, Baseline)) else baseline
    lines = tuple(parse_baseline(line) if isinstance(line, str) else line for line in every)
    several = [given] if isinstance(given, (Counts, Run, Path, str)) else given
    subjects = [one for source in several for one in _subjects(source, verifier, level, rates or Rates())]
    if not subjects:
        raise BadData("nothing to report: name a run folder or a table of counts")
    written = html.write(subjects, Path(out), level=level, title=title, baselines=lines)
    if figures is not None:
        from vervet.reports.figures import write_figures  # noqa: PLC0415

        write_figures(subjects, Path(figures), level=level, baselines=lines)
    return written


def _subjects(source: Source, verifier: str | None, level: float, rates: Rates) -> Iterator[Subject]:
    if isinstance(source, Run):
        yield _whole(source, verifier, level, rates)
    elif not isinstance(source, Counts) and Path(source).is_dir():
        for folder in run_folders(Path(source)):
            with Run(folder) as run:
                yield _whole(run, verifier, level, rates)
    else:
        for counts in sources(source, verifier):
            yield Subject(counts=counts, cost=costs_of(priced(counts, rates)).runs[0])


def _whole(run: Run, verifier: str | None, level: float, rates: Rates) -> Subject:
    """A run with what takes longer: the selection methods, and what it cost."""
    found = subject(run, verifier)
    try:
        selection = select(run, level=level, verifier=verifier)
    except UserError:  # no decided sample, or no answers: nothing to select from
        selection = None
    return dataclasses.replace(found, selection=selection, cost=costs_of(priced(run, rates, verifier)).runs[0])


def subject(run: Run, verifier: str | None = None) -> Subject:
    """All that a page says about a run, from one pass over its ledger. Raises: UserError where that verifier never judged."""
    ledger = run.ledger
    which = view(ledger, verifier)
    found = summary(ledger, which)
    names = ("run_seed", "created", "vervet", "data", "task_options", "extractor")
    return Subject(
        counts=_counts_of(found, ledger),
        facts=_facts_of(found, ledger) | {"missing": _missing(run, found)},
        config=run.config,
        told=run.settings(),
        meta={name: value for name in names if (value := ledger.meta(name)) is not None},
        verifier=verifier_of(ledger, which),
        summary=found,
    )


def _counts_of(found: Summary, ledger: Ledger) -> Counts:
    rows = found.problems
    passed = np.array([p.passed for p in rows], np.int64)
    decided = passed + np.array([p.failed for p in rows], np.int64)
    unknown = np.array([p.undecided for p in rows], np.int64)
    names = [p.problem_id for p in rows]
    return Counts(names, decided, passed, unknown, ledger.meta("design", "fixed"), str(ledger.folder))


def _facts_of(found: Summary, ledger: Ledger) -> dict[str, Any]:
    """The ledger's Facts by name."""
    rows = found.problems
    unknown = sum(g.samples for g in found.verdicts if g.outcome == "UNKNOWN")
    undecided = sum(p.undecided for p in rows)
    return {
        "problems": len(rows),
        "samples": sum(p.samples for p in rows),
        "pending": undecided - unknown,
        "passed": sum(p.passed for p in rows),
        "failed": sum(p.failed for p in rows),
        "unknown": unknown,
        "distinct_answers": sum(p.distinct_answers for p in rows),
        "truncated": sum(p.truncated for p in rows),
        "unparsed": sum(p.unparsed for p in rows),
    } | read.spent(ledger)


def _missing(run: Run, found: Summary) -> int:
    """Samples that the run was last asked for and does not hold."""
    n, chosen = run.settings().get("n", 0), set(run.ledger.meta("chosen", []))
    return sum(max(0, n - p.samples) for p in found.problems if p.problem_id in chosen)

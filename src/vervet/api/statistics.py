"""Statistics over sources: run folders, parents of run folders, tables of counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from vervet.analysis.counts import read_counts
from vervet.analysis.curve import CoverageResult
from vervet.analysis.curve import coverage as curve_of
from vervet.api.existing import Run
from vervet.errors import BadData, UserError
from vervet.ledger import Ledger
from vervet.records import Counts

Source = Counts | Run | Path | str


def sources(given: Source | Iterable[Source], verifier: str | None = None) -> list[Counts]:
    """Counts of every source, in order; a folder that holds no run is searched for run folders one level down.

    Raises: UserError where a path is neither, BadData where a table does not say what it should.
    """
    if isinstance(given, (Counts, Run, Path, str)):
        return _counts(given, verifier)
    return [counts for source in given for counts in _counts(source, verifier)]


def _counts(source: Source, verifier: str | None) -> list[Counts]:
    if isinstance(source, Counts):
        return [source]
    if isinstance(source, Run):
        return [source.counts(verifier)]
    path = Path(source)
    if not path.exists():
        raise UserError(f"{path} does not exist: name a run folder, a parent of run folders, or a table of counts")
    if not path.is_dir():
        return [read_counts(path)]
    folders = [path] if Ledger.exists(path) else sorted(p for p in path.iterdir() if p.is_dir() and Ledger.exists(p))
    if not folders:
        raise UserError(f"{path} holds no run and no folder of one: name a run folder or a table of counts")
    out = []
    for folder in folders:
        with Run(folder) as run:
            out.append(run.counts(verifier))
    return out


def coverage(
    given: Source | Iterable[Source],
    k: int | Sequence[int] | None = None,
    level: float = 0.95,
    verifier: str | None = None,
    design: str | None = None,
) -> CoverageResult:
    """Coverage of each source, with intervals. See :func:`vervet.analysis.curve.coverage`."""
    return CoverageResult(tuple(curve_of(counts, k, level, design) for counts in sources(given, verifier)))


def report(given: Sequence[Path | str], out: Path | str, level: float = 0.95) -> Path:
    """Write one self-contained HTML page about run folders and tables of counts; returns its path.

    Raises: UserError, BadData, StorageError where the page cannot be written.
    """
    from vervet.reports.html import Subject, write  # noqa: PLC0415  an extra

    subjects = []
    for source in given:
        path = Path(source)
        if path.is_file():
            subjects.append(Subject(counts=read_counts(path)))
            continue
        for counts in sources(path):
            with Run(counts.source) as run:
                subjects.append(Subject(counts=counts, facts=run.to_dict(), config=run.config, told=run.settings()))
    if not subjects:
        raise BadData("nothing to report: name a run folder or a table of counts")
    return write(subjects, Path(out), level=level)

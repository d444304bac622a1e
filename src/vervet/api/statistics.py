"""Statistics over sources: run folders, parents of run folders, tables of counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

from vervet.analysis.counts import read_counts
from vervet.analysis.curve import CoverageResult
from vervet.analysis.curve import coverage as curve_of
from vervet.api.existing import Run
from vervet.errors import BadData, UserError
from vervet.ledger import Ledger
from vervet.records import Counts, Curve

Source = Counts | Run | Path | str
Ks = int | Sequence[int] | None


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


@overload
def coverage(
    given: Counts | Run, k: Ks = None, level: float = 0.95, verifier: str | None = None, design: str | None = None
) -> Curve: ...
@overload
def coverage(
    given: Path | str | Iterable[Source],
    k: Ks = None,
    level: float = 0.95,
    verifier: str | None = None,
    design: str | None = None,
) -> CoverageResult: ...
def coverage(
    given: Source | Iterable[Source],
    k: Ks = None,
    level: float = 0.95,
    verifier: str | None = None,
    design: str | None = None,
) -> Curve | CoverageResult:
    """Coverage with intervals: a Curve for counts or a run, a CoverageResult for paths, which may hold several.

    See :func:`vervet.analysis.curve.coverage` for k, level and design.
    """
    curves = tuple(curve_of(counts, k, level, design) for counts in sources(given, verifier))
    return curves[0] if isinstance(given, (Counts, Run)) else CoverageResult(curves)


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

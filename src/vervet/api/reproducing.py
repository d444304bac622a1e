"""The paper from its released samples: counts that ship, a folder of counts, runs or released files, or the hub."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator
from pathlib import Path

from vervet.analysis.counts import read_counts
from vervet.analysis.paper import Reproduction, key_of, published, reproduce
from vervet.analysis.selection import Selection
from vervet.api.existing import Run
from vervet.api.selecting import select
from vervet.errors import BadData, UserError
from vervet.ledger import Ledger
from vervet.ledger.formats import Row, choose_reader
from vervet.records import Counts
from vervet.tasks import _hub

HUB = "hub"
RELEASED = _hub.HubSet("ScalingIntelligence/monkey_business", ("*.json", "*/*.json", "*.parquet", "*/*.parquet"))
_TABLES = {".csv", ".tsv"}
_RELEASED = {".json", ".jsonl", ".parquet"}


def reproduce_paper(data: Path | str | None = None, *, figures: Path | str | None = None) -> Reproduction:
    """The paper's published numbers beside what comes out of its released outcomes.

    Args: data: a folder of counts (CSV), run folders or files of the released data set, each named for its set, such as
        math-pythia-70m; "hub": the released data set itself; None: the six sets of counts that ship with Vervet.
        figures: also draw the paper's figures into this folder.
    Raises: UserError, BadData where nothing of the paper's is there; ServiceError, MissingPart for "hub" and figures.
    """
    counts: dict[str, Counts] = {}
    selections: dict[str, Selection] = {}
    for name, found in _sets(data):
        if isinstance(found, Run):
            with found:
                counts[name] = found.counts()
                if name in published()["selection"]:
                    selections[name] = _selection(found)
        else:
            counts[name] = found
    result = reproduce(counts, selections)
    if figures is not None:
        from vervet.reports.paper import write_paper_figures  # noqa: PLC0415  an extra

        write_paper_figures(result, counts, Path(figures))
    return result


def _sets(data: Path | str | None) -> Iterator[tuple[str, Counts | Run]]:
    """(key, what is known of the set)"""
    if data is None:
        for entry in sorted(
            importlib.resources.files("vervet").joinpath("data", "counts").iterdir(), key=lambda e: e.name
        ):
            with importlib.resources.as_file(entry) as path:
                yield key_of(path.stem), read_counts(path)
    elif str(data) == HUB:
        for path in _hub.files(RELEASED, "main", "name a folder of its files with --data DIR")[0]:
            yield key_of(path.parent.name if path.stem in ("train", "test") else path.stem), _released(path)
    else:
        yield from _folder(Path(data))


def _folder(folder: Path) -> Iterator[tuple[str, Counts | Run]]:
    if not folder.is_dir():
        raise UserError(f"--data {folder} is no folder: name one with counts, runs or files of the released data set")
    known = published()["coverage"]
    for path in sorted(folder.iterdir()):
        key = key_of(path.name if path.is_dir() else path.name.partition(".")[0])
        if key not in known:
            continue
        if path.is_dir() and Ledger.exists(path):
            yield key, Run(path)
        elif path.suffix in _TABLES:
            yield key, read_counts(path)
        elif path.suffix in _RELEASED or path.name.endswith(".jsonl.gz"):
            yield key, _released(path)


def _released(path: Path) -> Counts:
    """Counts of a file of samples with their verdicts, row by row. Raises: BadData where some sample has none."""
    found = choose_reader(path, None)
    assert found.read is not None
    passes: dict[str, int] = {}
    draws: dict[str, int] = {}
    for entry in found.read(path):
        if not isinstance(entry, Row) or entry.correct is None:
            raise BadData(f"{path}, {entry.where}: no verdict that could be counted")
        draws[entry.problem_id] = draws.get(entry.problem_id, 0) + 1
        passes[entry.problem_id] = passes.get(entry.problem_id, 0) + entry.correct
    return Counts(list(draws), list(draws.values()), list(passes.values()), source=str(path))


def _selection(run: Run) -> Selection:
    n = run.counts().n
    ks = [k for k in published()["k"] if k <= int(n.max())]
    return select(run, ["majority"], ks)

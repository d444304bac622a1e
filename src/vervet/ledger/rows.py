"""Samples in index order as policies and designs see them: an outcome code an index, holes included.

0 FAIL, 1 PASS, 2 UNKNOWN or pending, 3 missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vervet.errors import BadOption
from vervet.estimate.designs import parse
from vervet.ledger import read
from vervet.ledger.store import Ledger, storage
from vervet.records import Counts, IntArray

FAIL, PASS, UNKNOWN, MISSING = range(4)
NO_ANSWER, NOT_KNOWN = -1, -2
# classes of samples without an answer, and of those that are missing or not extracted
Codes = np.ndarray[Any, np.dtype[np.int8]]


@dataclass(frozen=True, slots=True)
class Rows:
    """A run's samples by one verifier, problem by problem."""

    outcomes: dict[str, list[int]]
    classes: dict[str, list[int]] = field(default_factory=dict)
    # keys of the answers' classes; equal keys: equal answers. Only where asked for


def rows(ledger: Ledger, which: read.View, *, classes: bool = False) -> Rows:
    """All problems of the run, from one consistent state."""
    with storage(ledger.path), read._snapshot(ledger.db):
        arrays = read._Arrays(ledger, which)
        names = {key: name for name, key in ledger.problem_keys().items()}
        keys = _class_keys(ledger) if classes else {}
        outcomes: dict[str, list[int]] = {}
        found: dict[str, list[int]] = {}
        for key, texts, indexes in samples_by_problem(ledger):
            codes = np.minimum(arrays.outcomes(texts), UNKNOWN)
            outcomes[names[key]] = _spread(codes, indexes, MISSING)
            if classes:
                answers = arrays.answer_of_text[texts]
                labels = np.array([keys.get(int(a), int(a)) for a in answers], np.int64)
                found[names[key]] = _spread(labels, indexes, NOT_KNOWN)
    return Rows(outcomes, found)


def _spread(values: Any, indexes: IntArray, hole: int) -> list[int]:
    """Values at their indexes, `hole` elsewhere."""
    if not len(indexes):
        return []
    out = np.full(int(indexes[-1]) + 1, hole, np.int64)
    out[indexes] = values
    spread: list[int] = out.tolist()
    return spread


def _class_keys(ledger: Ledger) -> dict[int, int]:
    """Answer id -> the id of the first answer of its class."""
    first: dict[tuple[int, bytes], int] = {}
    query = "SELECT id, problem, ifnull(class, hash) FROM answers ORDER BY id"
    return {key: first.setdefault((problem, mark), key) for key, problem, mark in ledger.db.execute(query)}


def samples_by_problem(ledger: Ledger) -> Iterator[tuple[int, IntArray, IntArray]]:
    """(problem key, text ids, indexes), the indexes rising."""
    query = (
        "SELECT group_concat(text), group_concat(idx) FROM "
        "(SELECT text, idx FROM samples WHERE config = 0 AND problem = ? ORDER BY idx)"
    )
    nothing = np.zeros(0, np.int64)
    for (problem,) in ledger.db.execute("SELECT id FROM problems ORDER BY id").fetchall():
        texts, indexes = ledger.db.execute(query, (problem,)).fetchone()
        yield problem, *((nothing, nothing) if texts is None else (read._numbers(texts), read._numbers(indexes)))


# ---------------------------------------------------------------------------------------------- designs


def stop(design: str, row: list[int]) -> int:
    """How many of a problem's samples, in index order, belong to a design; what lies beyond is overshoot.

    With m-passes it ends with the M-th PASS, and in any case where a sample is missing: what came after it may have been
    known sooner because it was short. Other designs count everything.
    """
    try:
        rule = parse(design)
    except BadOption:
        return len(row)
    if rule.kind != "m-passes":
        return len(row)
    seen = 0
    for index, code in enumerate(row):
        if code == MISSING:
            return index
        seen += code == PASS
        if seen == rule.size:
            return index + 1
    return len(row)


def design_of(ledger: Ledger, which: read.View) -> str:
    """The design under which a verifier's counts stand: the run's own only for the verifier that ended the sampling."""
    design: str = ledger.meta("design", "fixed")
    own = read.view(ledger)
    return design if design == "fixed" or which.verifier == own.verifier else "adaptive"


def designed_counts(ledger: Ledger, which: read.View) -> Counts:
    """Counts of the samples that belong to the run's design: for a fixed one, of all."""
    design = design_of(ledger, which)
    table = read.tally(ledger, which)[0]
    if design in ("fixed", "adaptive"):
        return Counts(table.problem_ids, table.n, table.c, table.unknown, design, table.source)
    found = rows(ledger, which).outcomes
    kept = [found[p][: stop(design, found[p])] for p in table.problem_ids]
    codes = np.array([[row.count(code) for code in range(3)] for row in kept], np.int64).reshape(-1, 3)
    return Counts(
        table.problem_ids, codes[:, FAIL] + codes[:, PASS], codes[:, PASS], codes[:, UNKNOWN], design, table.source
    )


def overshoot(ledger: Ledger, which: read.View) -> dict[str, int]:
    """Problem id -> index from which on its samples lie beyond the design's stop; problems without any are left out."""
    design = design_of(ledger, which)
    if design == "fixed":
        return {}
    found = rows(ledger, which).outcomes
    ends = {p: stop(design, row) for p, row in found.items()}
    return {p: end for p, end in ends.items() if any(code != MISSING for code in found[p][end:])}

"""Selection over a run: which answer would have been handed back, and how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vervet.analysis import selection
from vervet.analysis.selection import Selection
from vervet.analysis.stopping import savings
from vervet.api.existing import Run
from vervet.errors import BadData, UserError
from vervet.ledger import Ledger, view
from vervet.ledger.ballots import Ballot, ballots, scorer_key, scorers
from vervet.records import IntArray


def select(
    given: Run | Path | str,
    method: str | Sequence[str] | None = None,
    k: int | Sequence[int] | None = None,
    level: float = 0.95,
    *,
    scorer: str | None = None,
    verifier: str | None = None,
    accepted_by: str | None = None,
    stopping: bool = False,
) -> Selection:
    """Success rate and precision of selection methods against k, and where votes level off.

    Args: given: a run, or its folder.  method, k, level: see :func:`vervet.analysis.selection.select`.
    scorer: whose scores, by name or fingerprint; None: the newest.  verifier: whose verdicts say what is right; None: the
    run's own.  accepted_by: the verifier that `verified` asks before the vote; None: the one that also says what is right,
    which makes it equal to coverage.  stopping: also replay the rules that stop a vote early.
    Raises: UserError where there is no run, or none of that scorer's scores, or a counts table is given.
    """
    if not isinstance(given, Run):
        path = Path(given)
        if path.is_file():
            raise UserError(f"{path} is a file: selection needs answers, so import it first and name the run's folder")
        with Run(path) as run:
            return _select(run.ledger, method, k, level, scorer, verifier, accepted_by, stopping)
    return _select(given.ledger, method, k, level, scorer, verifier, accepted_by, stopping)


def _select(
    ledger: Ledger,
    method: str | Sequence[str] | None,
    k: int | Sequence[int] | None,
    level: float,
    scorer: str | None,
    verifier: str | None,
    accepted_by: str | None,
    stopping: bool,
) -> Selection:
    which = view(ledger, verifier)
    key = scorer_key(ledger, scorer)
    other = None if accepted_by is None else view(ledger, accepted_by)
    found = list(ballots(ledger, which, key, other))
    sizes = np.array([ballot.pool.n for ballot in found], dtype=np.int64)
    kept = [ballot for ballot in found if ballot.pool.n]
    if not kept:
        raise BadData(f"{ledger.folder}: no decided sample: there is nothing to select from")
    return selection.select(
        (ballot.pool for ballot in kept),
        sizes[sizes > 0],
        method,
        k,
        level,
        source=str(ledger.folder),
        scorer=_label(ledger, key),
        accepted_by=accepted_by or "",
        stopping=savings((ballot.pool for ballot in kept), level=level) if stopping else (),
        remarks=_remarks(found, sizes),
    )


def _label(ledger: Ledger, key: int) -> str:
    """The scorer's name, "" for none."""
    if not key:
        return ""
    row = ledger.db.execute("SELECT lower(hex(fingerprint)) FROM scorers WHERE id = ?", (key,)).fetchone()
    return str(next(s["name"] for s in scorers(ledger) if s["fingerprint"] == row[0]))


def _remarks(found: Sequence[Ballot], sizes: IntArray) -> list[str]:
    out = []
    undecided = sum(ballot.undecided for ballot in found)
    if undecided:
        out.append(f"{undecided} samples are undecided (pending or UNKNOWN) and left out")
    empty = int((sizes == 0).sum())
    if empty:
        out.append(f"{empty} of {len(sizes)} problems have no decided sample and are left out")
    return out

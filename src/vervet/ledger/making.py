"""A run folder that is there whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from vervet.errors import StorageError, UserError
from vervet.ledger.lock import RunLock
from vervet.ledger.store import Ledger, storage


@contextlib.contextmanager
def making(out: Path) -> Iterator[Path]:
    """A folder to make a run in; it becomes `out` when the block ends well, and vanishes when it does not.

    What a killed process leaves is `.NAME.importing` beside `out`: it passes for no run, and the next attempt clears it away.
    Raises: UserError where `out` is there already, RunInUse where another process is making it,
        StorageError.
    """
    _refuse_what_is_there(out)
    work = out.parent / f".{out.name}.importing"
    with storage(work):
        work.mkdir(parents=True, exist_ok=True)
    lock = RunLock(work)
    try:
        # one folder further down, so that nobody who looks for runs beside `out` finds half a one
        folder = work / "run"
        with storage(work):
            shutil.rmtree(folder, ignore_errors=True)
        try:
            yield folder
        except StorageError as error:
            # what the ledger says of a full disk is not true here: nothing is kept
            raise StorageError(f"{out} cannot be made: {str(error).partition(';')[0]}; nothing was kept") from error
        _refuse_what_is_there(out)
        with storage(out):
            folder.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        lock.release()


def _refuse_what_is_there(out: Path) -> None:
    with storage(out):
        if not out.exists() and not out.is_symlink():
            return
        if not out.is_dir():
            raise UserError(f"{out} is a file: name a new folder for the run")
        if Ledger.exists(out):
            raise UserError(f"{out} already holds a run, and an import makes a new one: name another --out")
        if any(out.iterdir()):
            raise UserError(f"{out} is not empty: name a new folder for the run")

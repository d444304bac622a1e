"""The runs that are looked at: open connections, and what was counted last.

Counting a million samples takes about a second, so it is done beside the requests: a page shows the newest count there is,
and waits for one only shortly. A run is counted again when its ledger changed, and at most a tenth of the time.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError as Late
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from vervet.api.existing import Run
from vervet.api.reporting import subject
from vervet.errors import UserError
from vervet.ledger import Ledger, View, view
from vervet.reports import page as pages
from vervet.reports.chart import Chart, coverage_chart
from vervet.reports.subject import Subject
from vervet.version import __version__

PATIENCE_S = 0.6
# that a page waits for a first count
_REST = 10
# times as long as a count took, until the next
_CONNECTIONS = 3
# readers of one run at once; each keeps the run's dictionaries in memory
_STEPS = 20
# places along a curve: fewer than on a report, because a live curve is drawn again and again
_RATE_OVER_S = 60.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run as it was counted at one moment."""

    subject: Subject
    version: int
    # of the ledger, as SQLite counts changes
    at: float
    # s since 1970
    rate: float | None
    # samples per second lately; None where nothing is known yet

    @property
    def facts(self) -> dict[str, Any]:
        return dict(self.subject.facts or {})

    @property
    def wanted(self) -> int:
        """Samples that the run was last asked for, as far as they are known."""
        return int(self.facts.get("samples", 0) + self.facts.get("missing", 0))


@dataclass(frozen=True, slots=True)
class Drawing:
    """Curves of one or several runs, estimated and drawn."""

    page: pages.Page
    charts: tuple[tuple[str, Chart], ...]


class OpenRun:
    """One run folder. Safe to use from several threads."""

    def __init__(self, name: str, folder: Path, worker: ThreadPoolExecutor) -> None:
        self.name = name
        # in addresses
        self.folder = folder
        self._worker = worker
        self._idle: list[Ledger] = []
        self._free = threading.Semaphore(_CONNECTIONS)
        self._guard = threading.Lock()
        self._watch = Ledger.open(folder)
        self._last: Snapshot | None = None
        self._coming: Future[Snapshot] | None = None
        self._cost_s = 0.0
        self._seen: deque[tuple[float, int]] = deque(maxlen=50)
        self.drawing: Drawing | None = None
        self._drawn = -1
        # version of the snapshot behind it

    @contextlib.contextmanager
    def reader(self) -> Iterator[tuple[Ledger, View]]:
        """A read-only ledger of one's own, and the run's extractor and verifier."""
        with self._free:
            with self._guard:
                ledger = self._idle.pop() if self._idle else None
            ledger = ledger or Ledger.open(self.folder)
            try:
                yield ledger, view(ledger)
            finally:
                with self._guard:
                    self._idle.append(ledger)

    # ------------------------------------------------------------------------------------------------ counting

    def version(self) -> int:
        """Rises whenever another process has written."""
        with self._guard:
            return int(self._watch.db.execute("PRAGMA data_version").fetchone()[0])

    def snapshot(self, patience_s: float = PATIENCE_S) -> Snapshot | None:
        """The newest count; None where there is none yet after `patience_s`."""
        last, version = self._last, self.version()
        rested = last is None or time.time() - last.at >= _REST * self._cost_s
        if last is None or (version != last.version and rested):
            with self._guard:
                if self._coming is None or self._coming.done():
                    self._coming = self._worker.submit(self._count, version)
                coming = self._coming
            with contextlib.suppress(Late):
                return coming.result(patience_s)
        return self._last

    def _count(self, version: int) -> Snapshot:
        started = time.perf_counter()
        with Run(self.folder) as run:
            found = subject(run)
        now = time.time()
        self._seen.append((now, int((found.facts or {}).get("samples", 0))))
        self._last = Snapshot(found, version, now, self._rate())
        if self._drawn != version:
            self._worker.submit(self._draw, self._last)
        self._cost_s = time.perf_counter() - started
        return self._last

    def _draw(self, snapshot: Snapshot) -> None:
        self.drawing = draw([snapshot.subject])
        self._drawn = snapshot.version

    @property
    def counted(self) -> int:
        """Version of the newest count; -1 before the first."""
        return -1 if self._last is None else self._last.version

    @property
    def drawn(self) -> bool:
        """Whether the drawing is that of the newest count."""
        return self._last is not None and self._drawn == self._last.version

    def _rate(self) -> float | None:
        recent = [(at, many) for at, many in self._seen if self._seen[-1][0] - at <= _RATE_OVER_S]
        (first, before), (last, after) = recent[0], recent[-1]
        return (after - before) / (last - first) if last - first > 0.5 and after > before else None

    def writing(self) -> bool:
        """Whether a process on this machine holds the run's lock; asked of the kernel, the lock itself is not touched."""
        path = self.folder / "lock"
        try:
            inode, holder = path.stat().st_ino, orjson.loads(path.read_bytes() or b"{}").get("pid", -1)
            lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        except (OSError, ValueError, AttributeError):
            return False
        locks = (line.split() for line in lines if " FLOCK " in line)
        return any(f[4] == str(holder) and f[5].endswith(f":{inode}") for f in locks if len(f) > 5)

    def close(self) -> None:
        with self._guard:
            for ledger in (*self._idle, self._watch):
                ledger.close()
            self._idle.clear()


def draw(subjects: Sequence[Subject]) -> Drawing:
    """Curves with their bands. Raises what the estimators raise."""
    about = pages.build(subjects, 0.95, __version__, steps=_STEPS)
    return Drawing(about, (("wide", coverage_chart(about, 960, 480)), ("narrow", coverage_chart(about, 380, 360))))


class Shelf:
    """All runs of one viewer, by the names they have in addresses."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="vervet-count")
        self.runs = {name: OpenRun(name, folder, self._worker) for name, folder in _named(folders).items()}
        self._together: dict[tuple[tuple[str, int], ...], Future[Drawing]] = {}

    def __getitem__(self, name: str) -> OpenRun:
        found = self.runs.get(name)
        if found is None:
            raise UserError(f"this viewer shows no run {name!r}")
        return found

    def __iter__(self) -> Iterator[OpenRun]:
        return iter(self.runs.values())

    def __len__(self) -> int:
        return len(self.runs)

    def warm(self) -> None:
        """Begin to count, so that the first page finds it done."""
        for run in self:
            run.snapshot(0.0)

    def together(self, snapshots: Sequence[tuple[str, Snapshot]]) -> Drawing | None:
        """One drawing of several runs; None while it is being made."""
        key = tuple((name, snapshot.version) for name, snapshot in snapshots)
        if key not in self._together:
            while len(self._together) > 8:
                self._together.pop(next(iter(self._together)))
            self._together[key] = self._worker.submit(draw, [s.subject for _, s in snapshots])
        with contextlib.suppress(Late):
            return self._together[key].result(PATIENCE_S)
        return None

    def close(self) -> None:
        self._worker.shutdown(cancel_futures=True)
        for run in self:
            run.close()


def _named(folders: Sequence[Path]) -> dict[str, Path]:
    """A short different name for each folder: its own name, with a number where that is taken."""
    out: dict[str, Path] = {}
    for folder in dict.fromkeys(path.resolve() for path in folders):
        stem = (
            "".join(c if c.isascii() and (c.isalnum() or c in "-_.=,") else "-" for c in folder.name).strip(".")
            or "run"
        )
        name, number = stem, 1
        while name in out:
            number += 1
            name = f"{stem}-{number}"
        out[name] = folder
    return out

"""Live progress on stderr: one calm block on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from vervet.cli import output

if TYPE_CHECKING:
    from vervet.engine.progress import Progress

_PLAIN_EVERY_S = 10.0
_LIVE_EVERY_S = 0.25


class Display:
    """Shows a run's counters from a thread of its own, so that it moves while the run computes."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        from vervet.api import Watch

        self._quiet, self._verbose = quiet, verbose
        self._live = sys.stderr.isatty() and not quiet
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self.watch = Watch(start=self.start, end=self.end, line=self.line)

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def line(self, text: str) -> None:
        """One line about slow preparations."""
        if not self._quiet:
            output.warn(text)

    def start(self, progress: Progress, title: str) -> None:
        if self._quiet:
            return
        output.warn(f"run: {title}")
        self._thread = threading.Thread(target=self._show, args=(progress,), daemon=True, name="vervet-display")
        self._thread.start()

    def end(self) -> None:
        """Idempotent."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _show(self, progress: Progress) -> None:
        if self._live:
            self._show_live(progress)
            return
        while not self._done.wait(_PLAIN_EVERY_S):
            output.warn(describe(progress))
        if progress.seconds >= _PLAIN_EVERY_S or self._verbose:
            output.warn(describe(progress))

    def _show_live(self, progress: Progress) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        with Live(console=Console(stderr=True), refresh_per_second=4, transient=False) as live:
            while not self._done.wait(_LIVE_EVERY_S):
                live.update(Text(describe(progress)))
            live.update(Text(describe(progress)))


def describe(progress: Progress) -> str:
    """`412/960 samples  38.2/s  61 PASS of 388 verified  coverage 48% at k=32  cut off 3%  ...  2 min left`."""
    seconds = max(progress.seconds, 1e-9)
    rate = progress.stored / seconds
    parts = [f"{progress.stored:,}/{progress.wanted:,} samples", f"{rate:,.1f}/s"]
    if progress.verified or progress.to_verify:
        parts.append(f"{progress.passed:,} PASS of {progress.verified:,} distinct answers")
    if progress.to_verify:
        parts.append(f"{progress.to_verify:,} to verify")
    if progress.unknown:
        parts.append(f"{progress.unknown:,} UNKNOWN")
    if progress.coverage and progress.coverage[0]:
        parts.append(f"coverage so far {output.share(progress.coverage[1], 0)} at k={progress.coverage[0]:,}")
    if progress.stored:
        parts += [f"{output.share(progress.truncated / progress.stored, 0)} cut off"] if progress.truncated else []
        parts += [f"{output.share(progress.unparsed / progress.stored, 0)} without answer"] if progress.unparsed else []
    if progress.completion_tokens:
        parts.append(f"{progress.completion_tokens / seconds:,.0f} tok/s")
    if progress.cost_usd is not None:
        parts.append(f"${progress.cost_usd:.4f}")
    if rate and progress.wanted > progress.stored:
        parts.append(f"{_duration((progress.wanted - progress.stored) / rate)} left")
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return time.strftime("%H h %M min", time.gmtime(seconds)) if seconds < 86400 else f"{seconds / 86400:.1f} days"

"""Figures for papers: the coverage curve as SVG, PNG and PDF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import vervet
from vervet.errors import MissingPart, StorageError
from vervet.reports import page as pages
from vervet.reports.format import short, visible
from vervet.reports.subject import Subject

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# Okabe and Ito 2008, in an order that keeps neighbours apart
_MARKERS = "os^DvP"
_STYLE: Any = {
    "font.size": 8,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # a model's name is no formula
}


def write_figures(subjects: Sequence[Subject], folder: Path, level: float = 0.95) -> list[Path]:
    """coverage.svg, coverage.png (300 dpi) and coverage.pdf in `folder`, one column wide; returns their paths.

    Raises: StorageError, MissingPart without matplotlib.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415  an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise MissingPart("figures need matplotlib: pip install 'vervet[report]'") from None
    about = pages.build(subjects, level, vervet.__version__)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(3.4, 2.5))
        _draw(figure.subplots(), about)
        paths = [folder / f"coverage.{kind}" for kind in ("svg", "png", "pdf")]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in paths:
                figure.savefig(path, dpi=300)
        except OSError as error:
            raise StorageError(f"cannot write figures into {folder}: {error.strerror}") from error
    return paths


def _draw(axes: Any, about: pages.Page) -> None:
    for entry in about.entries:
        _curve(axes, entry, len(about.entries))
    axes.set_ylim(bottom=0)
    axes.set_xscale("log")
    ticks = [10**i for i in range(len(str(about.top)))]
    axes.set_xticks(ticks if len(ticks) > 1 else sorted({1, about.top}))
    axes.xaxis.set_major_formatter(lambda k, _: short(k))
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    axes.set_xlabel("attempts k")
    axes.set_ylabel("coverage (pass@k)")
    axes.grid(axis="y", linewidth=0.3, alpha=0.6)
    if not about.single:
        axes.legend(frameon=False, fontsize=6.5, handlelength=2.6)


def _curve(axes: Any, entry: pages.Entry, runs: int) -> None:
    points = [p for p in entry.path if p.coverage is not None]
    marked = {p.k for p in entry.curve.points}
    ks = [p.k for p in points]
    turn, colour = divmod(entry.number, len(_COLOURS))
    axes.plot(
        ks,
        [p.coverage for p in points],
        color=_COLOURS[colour],
        linestyle="--" if turn % 2 else "-",
        linewidth=1.1,
        marker=_MARKERS[colour],
        markersize=2.8,
        markevery=[i for i, p in enumerate(points) if p.k in marked],
        markerfacecolor="white" if turn % 2 else None,
        label=visible(entry.label, 40),
    )
    if runs <= pages.FEW_RUNS:
        for low, high, alpha in (("low", "high", 0.13), ("draws_low", "draws_high", 0.22)):
            bounds = [[getattr(p, name) for p in points] for name in (low, high)]
            axes.fill_between(ks, *bounds, color=_COLOURS[colour], alpha=alpha, linewidth=0)

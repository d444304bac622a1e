"""Figures for papers: coverage, difficulty, selection and cost as SVG, PNG and PDF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import vervet
from vervet.analysis.baseline import Baseline
from vervet.analysis.selection import SelectionPoint
from vervet.errors import MissingPart, StorageError
from vervet.reports import money, page as pages
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


def write_figures(
    subjects: Sequence[Subject], folder: Path, level: float = 0.95, baselines: tuple[Baseline, ...] = ()
) -> list[Path]:
    """coverage, difficulty and, where there is something to draw, selection and cost, each as .svg, .png (300 dpi) and .pdf
    in `folder`, one column wide; returns their paths.

    Raises: StorageError, MissingPart without matplotlib.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415  an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise MissingPart("figures need matplotlib: pip install 'vervet[report]'") from None
    about = pages.build(subjects, level, vervet.__version__, baselines=baselines, forecasts=True)
    paths = []
    with mpl.rc_context(_STYLE):
        for name, draw in _figures(about).items():
            figure = Figure(figsize=(3.4, 2.5))
            draw(figure.subplots())
            paths += [folder / f"{name}.{kind}" for kind in ("svg", "png", "pdf")]
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for path in paths[-3:]:
                    figure.savefig(path, dpi=300)
            except OSError as error:
                raise StorageError(f"cannot write figures into {folder}: {error.strerror}") from error
    return paths


def _figures(about: pages.Page) -> dict[str, Callable[[Any], None]]:
    """Name of a figure -> what draws it on axes."""
    out: dict[str, Callable[[Any], None]] = {"coverage": lambda axes: _draw(axes, about)}
    out["difficulty"] = lambda axes: _difficulty(axes, about)
    if any(e.subject.selection for e in about.entries):
        out["selection"] = lambda axes: _selection(axes, about)
    unit = money.unit_of(about)
    if unit is not None:
        out["cost"] = lambda axes: _cost(axes, about, unit)
    return out


def _shares(axes: Any) -> None:
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    axes.grid(axis="y", linewidth=0.3, alpha=0.6)


def _attempts(axes: Any, top: int) -> None:
    axes.set_xscale("log")
    ticks = [10**i for i in range(len(str(top)))]
    axes.set_xticks(ticks if len(ticks) > 1 else sorted({1, top}))
    axes.xaxis.set_major_formatter(lambda k, _: short(k))
    axes.minorticks_off()
    axes.set_xlabel("attempts k")


def _difficulty(axes: Any, about: pages.Page) -> None:
    """Problems, from the hardest to the easiest, by the share of samples that passed."""
    for entry in about.entries:
        counts = entry.subject.counts
        some = counts.n > 0
        shares = np.sort(counts.c[some] / counts.n[some])
        turn, colour = divmod(entry.number, len(_COLOURS))
        line = "--" if turn % 2 else "-"
        places = (np.arange(len(shares)) + 1) / max(len(shares), 1)
        axes.step(
            places, shares, where="pre", color=_COLOURS[colour], linestyle=line, linewidth=1.1, label=_label(entry)
        )
    axes.set_xlabel("problems, hardest first")
    axes.set_ylabel("samples that passed")
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    _shares(axes)
    if not about.single:
        axes.legend(frameon=False, fontsize=6.5, handlelength=2.6)


def _selection(axes: Any, about: pages.Page) -> None:
    """Success of each method, one line style a run, beside coverage."""
    names = list(
        dict.fromkeys(p.method for e in about.entries if e.subject.selection for p in e.subject.selection.points)
    )
    for entry in about.entries:
        found = entry.subject.selection
        if found is None:
            continue
        for i, name in enumerate(names):
            points = [p for p in found.points if p.method == name and p.success is not None]
            who = "" if about.single else f"{_label(entry)}, "
            what = "coverage" if name == "oracle" else name.replace("-", " ")
            if about.single:
                _intervals(
                    axes, points, i - len(names) / 2, "0.35" if name == "oracle" else _COLOURS[i % len(_COLOURS)]
                )
            axes.plot(
                [p.k for p in points],
                [p.success for p in points],
                color="0.35" if name == "oracle" else _COLOURS[i % len(_COLOURS)],
                linestyle=("-", "--", ":", "-.")[entry.number % 4],
                linewidth=1.1,
                marker=None if name == "oracle" else _MARKERS[i % len(_MARKERS)],
                markersize=2.8,
                label=who + what,
            )
    _attempts(axes, about.top)
    axes.set_ylabel("success of the picked answer")
    _shares(axes)
    axes.legend(frameon=False, fontsize=6 if about.single else 5, handlelength=2.6, loc="upper left")


def _intervals(axes: Any, points: Sequence[SelectionPoint], place: float, colour: str) -> None:
    """Whiskers from low to high, beside each other where methods agree: bands would cover one another."""
    shift = 1.035**place
    axes.vlines(
        [p.k * shift for p in points], [p.low for p in points], [p.high for p in points], colour, lw=0.7, alpha=0.6
    )


def _cost(axes: Any, about: pages.Page, unit: money.Unit) -> None:
    for i, one in enumerate(money.series(about, unit)):
        turn, colour = divmod(i, len(_COLOURS))
        axes.plot(
            [x for x, _ in one.places],
            [share for _, share in one.places],
            color=_COLOURS[colour],
            linestyle=("--" if turn % 2 else "-") if one.joined else "none",
            marker=None if one.joined else "*",
            markersize=7,
            linewidth=1.1,
            label=visible(one.label, 40),
        )
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: unit.show(value))
    axes.tick_params(axis="x", labelsize=6.5)
    axes.set_xlabel(f"{unit.name} a problem")
    axes.set_ylabel("coverage (pass@k)")
    _shares(axes)
    if not about.single or about.baselines:
        axes.legend(frameon=False, fontsize=6.5, handlelength=2.6)


def _label(entry: pages.Entry) -> str:
    return visible(entry.label, 40)


def _draw(axes: Any, about: pages.Page) -> None:
    for entry in about.entries:
        _curve(axes, entry, len(about.entries))
    for base in about.baselines:
        axes.axhline(base.success, color="0.45", linewidth=0.8, linestyle=(0, (6, 2, 1, 2)))
        axes.annotate(visible(base.name, 30), (1, base.success), xytext=(2, 2), textcoords="offset points", fontsize=6)
    _attempts(axes, about.reach)
    _shares(axes)
    axes.set_ylabel("coverage (pass@k)")
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
        label=_label(entry),
    )
    if entry.ahead and points:
        beyond = [(p.k, p.coverage, p.low, p.high) for p in entry.ahead.points]
        at, shares, lows, highs = zip(*beyond, strict=True)
        dashed = (0, (3, 1.5)) if turn % 2 == 0 else (0, (1, 1.2))
        axes.plot(
            [ks[-1], *at], [points[-1].coverage, *shares], color=_COLOURS[colour], linestyle=dashed, linewidth=0.9
        )
        if runs <= pages.FEW_RUNS:
            axes.fill_between(at, lows, highs, color=_COLOURS[colour], alpha=0.08, linewidth=0)
    if runs <= pages.FEW_RUNS:
        for low, high, alpha in (("low", "high", 0.13), ("draws_low", "draws_high", 0.22)):
            if low == "draws_low" and entry.few:
                continue
            bounds = [[getattr(p, name) for p in points] for name in (low, high)]
            axes.fill_between(ks, *bounds, color=_COLOURS[colour], alpha=alpha, linewidth=0)

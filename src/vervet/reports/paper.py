"""The paper's figures: coverage with the published points, the fitted law, families slid onto each other, selection, cost.

Lines are what comes out here, open points are published. Selection and cost have published points only where no samples are
at hand, and say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vervet.analysis.curve import coverage
from vervet.analysis.fit import fit
from vervet.analysis.paper import Reproduction, published
from vervet.errors import MissingPart, StorageError
from vervet.estimate.coverage import pass_curve
from vervet.records import Counts
from vervet.reports.figures import _COLOURS, _MARKERS, _STYLE
from vervet.reports.format import short

_KINDS = ("svg", "png", "pdf")
_POINTS = 60


def write_paper_figures(result: Reproduction, counts: Mapping[str, Counts], folder: Path) -> list[Path]:
    """coverage, fits, families, selection and cost as SVG, PNG (300 dpi) and PDF in `folder`; returns their paths.

    Raises: StorageError, MissingPart without matplotlib.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415  an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise MissingPart("figures need matplotlib: pip install 'vervet[report]'") from None
    tasks = list(dict.fromkeys(published()["coverage"][key]["task"] for key in result.sets))
    by_task = {t: [k for k in result.sets if published()["coverage"][k]["task"] == t] for t in tasks}
    drawn: dict[str, tuple[Sequence[Any], Callable[..., None]]] = {
        "coverage": (list(by_task.values()), _coverage),
        "fits": (list(by_task.values()), _fits),
        "families": ([(name, found) for name, found in result.families if found.rms_gap is not None], _family),
        "selection": ([(key, result) for key in published()["selection"]], _selection),
        "cost": ([published()], _cost),
    }
    paths = []
    with mpl.rc_context(_STYLE):
        for name, (panels, draw) in drawn.items():
            if not panels:
                continue
            figure = Figure(figsize=(3.4 * len(panels), 2.7))
            for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
                draw(axes, panel, counts)
            paths += _save(figure, folder, name)
    return paths


def _save(figure: Any, folder: Path, name: str) -> list[Path]:
    paths = [folder / f"{name}.{kind}" for kind in _KINDS]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            figure.savefig(path, dpi=300)
    except OSError as error:
        raise StorageError(f"cannot write figures into {folder}: {error.strerror}") from error
    return paths


def _coverage(axes: Any, keys: Sequence[str], counts: Mapping[str, Counts]) -> None:
    paper = published()
    for i, key in enumerate(keys):
        ks = _grid(counts[key])
        points = coverage(counts[key], ks).points
        colour = _COLOURS[i % len(_COLOURS)]
        axes.plot(ks, [p.coverage for p in points], color=colour, linewidth=1.1, label=paper["coverage"][key]["model"])
        axes.fill_between(ks, [p.low for p in points], [p.high for p in points], color=colour, alpha=0.12, linewidth=0)
        axes.plot(paper["k"], paper["coverage"][key]["coverage"], _MARKERS[i % len(_MARKERS)], color=colour, markersize=3.4,
                  markerfacecolor="white", markeredgewidth=0.9)  # fmt: skip
    axes.set_ylabel("coverage (pass@k)")
    _finish(axes, keys, "line: here, points: published")


def _fits(axes: Any, keys: Sequence[str], counts: Mapping[str, Counts]) -> None:
    paper = published()
    for i, key in enumerate(keys):
        ks = _grid(counts[key])
        colour = _COLOURS[i % len(_COLOURS)]
        axes.plot(ks, pass_curve(counts[key].n, counts[key].c, ks).mean(axis=1), color=colour, linewidth=1.1)
        (law,) = fit(counts[key], "exponentiated-power-law", "log-coverage").sources[0].fits
        if law.a is not None and law.b is not None:
            label = f"{paper['coverage'][key]['model']}: a = {law.a:.2f}, b = {law.b:.2f}"
            fitted = np.exp(law.a * np.asarray(ks, dtype=float) ** law.b)
            axes.plot(ks, fitted, color=colour, linewidth=1.1, linestyle="--", label=label)
    axes.set_ylabel("coverage (pass@k)")
    _finish(axes, keys, "line: observed, dashes: exp(a k^b)")


def _family(axes: Any, panel: tuple[str, Any], counts: Mapping[str, Counts]) -> None:
    name, found = panel
    by_model = {f"{e['task']}, {e['model']}": counts[k] for k, e in published()["coverage"].items() if k in counts}
    for i, member in enumerate(found.members):
        if member.k_star is None:
            continue
        own = by_model[f"{name.partition(',')[0]}, {member.source}"]
        ks = [k for k in _grid(own) if k >= member.k_star]
        label = f"{member.source}, k* = {member.k_star:,}"
        axes.plot(np.asarray(ks) / member.k_star, pass_curve(own.n, own.c, ks).mean(axis=1),
                  color=_COLOURS[i % len(_COLOURS)], linewidth=1.1, label=label)  # fmt: skip
    axes.set_ylabel("coverage")
    axes.set_title(f"{name}: {found.rms_gap:.3f} apart (root mean square)", fontsize=7.5)
    _axis(axes, "attempts k / k*")


def _selection(axes: Any, panel: tuple[str, Reproduction], _: Mapping[str, Counts]) -> None:
    key, result = panel
    paper = published()
    entry = paper["coverage"][key]
    axes.plot(paper["k"], entry["coverage"], color="0.45", linewidth=0.9, linestyle=":", label="coverage")
    own = False
    for i, (method, values) in enumerate(paper["selection"][key].items()):
        colour = _COLOURS[i]
        axes.plot(paper["k"], values, _MARKERS[i], color=colour, markersize=3.4, markerfacecolor="white", label=method)
        at = {
            line.quantity: line.reproduced
            for line in result.lines
            if line.table == "selection" and line.what == f"{entry['task']}, {entry['model']}"
        }
        found = [(k, at.get(f"{method}, k = {k:,}")) for k in paper["k"]]
        known = [(k, value) for k, value in found if value is not None]
        if known:
            own = True
            axes.plot(*zip(*known, strict=True), color=colour, linewidth=1.1)
    axes.set_title(f"{entry['task']}, {entry['model']}{'' if own else ' (published)'}", fontsize=7.5)
    axes.set_ylabel("success rate")
    _axis(axes, "attempts k", "best")


def _cost(axes: Any, paper: Mapping[str, Any], _: Mapping[str, Counts]) -> None:
    runs, table = paper["swe_bench_lite"], paper["cost"]["rows"]
    price = next(row["usd_per_attempt"] for row in table if row["model"] == runs["model"])
    spent = [price * k for k in runs["k"]]
    axes.plot(spent, runs["coverage"], color=_COLOURS[0], linewidth=1.1, marker="o", markersize=3,
              markerfacecolor="white", label=f"{runs['model']}, k = 1 to {runs['k'][-1]}")  # fmt: skip
    for i, row in enumerate((r for r in table if r["attempts"] == 1), 1):
        colour = _COLOURS[i]
        axes.axhline(row["solved"], color=colour, linewidth=0.8, linestyle="--")
        axes.plot([row["usd_per_attempt"]], [row["solved"]], _MARKERS[i], color=colour, markersize=4,
                  label=f"{row['model']}, one attempt")  # fmt: skip
    axes.set_title("SWE-bench Lite (published)", fontsize=7.5)
    axes.set_ylabel("share of issues solved")
    _axis(axes, "usd an issue")
    axes.xaxis.set_major_formatter(lambda usd, _: f"{usd:g}")


def _grid(counts: Counts) -> list[int]:
    return [int(k) for k in np.unique(np.geomspace(1, int(counts.n.min()), _POINTS).astype(int))]


def _finish(axes: Any, keys: Sequence[str], how: str) -> None:
    axes.set_title(f"{published()['coverage'][keys[0]]['task']} ({how})", fontsize=7.5)
    _axis(axes, "attempts k")


def _axis(axes: Any, label: str, corner: str = "upper left") -> None:
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(lambda k, _: short(int(k)) if k >= 1 else f"{k:g}")
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
    axes.set_xlabel(label)
    axes.grid(axis="y", linewidth=0.3, alpha=0.6)
    axes.legend(frameon=False, fontsize=6, handlelength=2.2, loc=corner)

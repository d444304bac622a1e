"""How often 95 % intervals contain the truth, by simulation: coverage (both kinds), fit parameters, forecasts.

    python bench/calibration.py [--runs 1000] [--seed 1] [--state FILE] [--only coverage,fits,forecast] [--match TEXT]
        [--jobs 1] [--markdown]

Prints JSON. With --state, finished runs are kept in FILE and a repeated call goes on where the last one ended. Each run
is seeded by (seed, cell, run), so the table depends on the seed and the code alone, not on the number of processes.

Entries of coverage in which chance decides nothing stand in a table of their own ("at saturation"): those in which more than
97 % of the data sets hold no deciding event. Events are, for the population, open problems, P (1 - coverage); for these very
problems, the variance of the estimate's sum over that of one problem with a single PASS. Both follow from the distribution,
P, n and k alone, and e^-m of the sets hold none where m are expected. An interval could contain the truth in 97 % or fewer only
if it left it out where nothing in the outcomes speaks against it.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # --jobs is the parallelism; more threads would fight over the cores

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from vervet.analysis.curve import coverage
from vervet.analysis.fit import fit
from vervet.estimate.coverage import pass_curve
from vervet.estimate.curvefit import log_log, paper_grid, power_law, rounded_grid
from vervet.estimate.forecasting import Forecaster
from vervet.estimate.intervals import draw_variances
from vervet.records import Counts

Array = Any
Quantile = Callable[[Array], Array]
"""Difficulty p of a uniform variable."""
Hits = dict[str, list[int]]
"""{label: [runs whose interval contained the truth, runs]}."""
LEVEL = 0.95
PARTS = ("coverage", "fits", "forecast")
FEW_EVENTS = -math.log(0.97)
BLOCK = 25
# runs between two looks at the state file; what one process does at a time


def _logit_normal(mean: float, sd: float) -> Quantile:
    def quantile(u: Array) -> Array:
        from scipy.special import ndtri

        return 1 / (1 + np.exp(-(mean + sd * ndtri(u))))

    return quantile


def _beta(a: float, b: float) -> Quantile:
    def quantile(u: Array) -> Array:
        from scipy.special import betaincinv

        return betaincinv(a, b, u)

    return quantile


def _kumaraswamy(a: float, b: float) -> Quantile:
    return lambda u: (1 - (1 - u) ** (1 / b)) ** (1 / a)


def _mixed(share: float, first: Quantile, rest: Quantile) -> Quantile:
    return lambda u: np.where(
        u < share, first(np.clip(u / share, 0, 1)), rest(np.clip((u - share) / (1 - share), 0, 1))
    )


def _never(u: Array) -> Array:
    return np.zeros_like(u)


# difficulty p as a function of a uniform variable, so that truths are exact means over its quantiles
DIFFICULTIES: dict[str, Quantile] = {
    "beta(0.2, 5)": _beta(0.2, 5),
    "beta(0.5, 2)": _beta(0.5, 2),
    "40 % zeros, else beta(0.5, 3)": _mixed(0.4, _never, _beta(0.5, 3)),
    "log-uniform 1e-5..1": lambda u: 10 ** (-5 * (1 - u)),
    "logit-normal(-2, 2)": _logit_normal(-2, 2),
    "half 0.02, half 0.8": lambda u: np.where(u < 0.5, 0.02, 0.8),
}
TAILS: dict[str, dict[str, Quantile]] = {
    "power-law tail": {
        "beta(0.2, 5)": _beta(0.2, 5),
        "beta(0.3, 20)": _beta(0.3, 20),
        "Kumaraswamy(0.3, 4)": _kumaraswamy(0.3, 4),
        "beta(0.5, 6) squared": lambda u: _beta(0.5, 6)(u) ** 2,
        "beta(0.1, 3)": _beta(0.1, 3),
        "70 % beta(0.2, 5), else beta(2, 2)": _mixed(0.7, _beta(0.2, 5), _beta(2, 2)),
    },
    "steep tail": {
        "Kumaraswamy(0.5, 8)": _kumaraswamy(0.5, 8),
        "beta(1, 30)": _beta(1, 30),
    },
    "other tail": {
        "log-uniform 1e-5..1": DIFFICULTIES["log-uniform 1e-5..1"],
        "40 % zeros, else beta(0.5, 3)": DIFFICULTIES["40 % zeros, else beta(0.5, 3)"],
        "logit-normal(-5, 2)": _logit_normal(-5, 2),
    },
}


def true_coverage(quantile: Quantile, k: Array) -> Array:
    """Coverage of the population at each k."""
    p = np.clip(quantile((np.arange(200_000) + 0.5) / 200_000), 0, 1 - 1e-16)
    return np.array([-np.expm1(one * np.log1p(-p)).mean() for one in np.atleast_1d(k)])


def events(name: str, problems: int, n: int, ks: tuple[int, ...]) -> dict[str, float]:
    """{label: deciding events expected} of a coverage cell: see the top of this file."""
    from scipy.special import xlog1py, xlogy

    k = np.array(ks)
    p = DIFFICULTIES[name]((np.arange(4000) + 0.5) / 4000)[:, None]
    c = np.arange(n + 1)
    ways = log_factorials(n)[n] - log_factorials(n) - log_factorials(n)[::-1]
    chance = np.exp(ways + xlogy(c, p) + xlog1py(n - c, -p))
    values = pass_curve(np.full(n + 1, n), c, k)
    variance = (chance @ values.T**2 - (chance @ values.T) ** 2).mean(axis=0)
    single = draw_variances(np.array([n]), np.array([1]), k, k[:, None] / n)[:, 0]
    open_ = problems * (1 - true_coverage(DIFFICULTIES[name], k))
    out = {f"k={one} population": float(x) for one, x in zip(ks, open_, strict=True)}
    return out | {
        f"k={one} draws": float(x) for one, x in zip(ks, problems * np.maximum(variance, 0.0) / single, strict=True)
    }


def log_factorials(n: int) -> Array:
    """ln 0! to ln n!."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])


def draw(quantile: Quantile, problems: int, n: int, rng: np.random.Generator) -> tuple[Array, Counts]:
    p = np.clip(quantile(rng.random(problems)), 0, 1 - 1e-16)
    return p, Counts(range(problems), np.full(problems, n), rng.binomial(n, p))


# ------------------------------------------------------------------------------------------------------------ cells
# A cell is one simulation: a generator of {label: contained} dictionaries, one a run.


def coverage_cell(
    name: str, problems: int, n: int, ks: tuple[int, ...]
) -> Callable[[np.random.Generator], dict[str, bool]]:
    truth = true_coverage(DIFFICULTIES[name], np.array(ks))

    def run(rng: np.random.Generator) -> dict[str, bool]:
        p, counts = draw(DIFFICULTIES[name], problems, n, rng)
        out = {}
        for point, population in zip(coverage(counts, list(ks), LEVEL, design="fixed").points, truth, strict=True):
            own = -np.expm1(point.k * np.log1p(-p)).mean()
            out[f"k={point.k} population"] = bool(point.low <= population <= point.high)
            out[f"k={point.k} draws"] = bool(point.draws_low <= own <= point.draws_high)
        return out

    return run


def band_cell(name: str, problems: int, n: int) -> Callable[[np.random.Generator], dict[str, bool]]:
    def run(rng: np.random.Generator) -> dict[str, bool]:
        _, counts = draw(DIFFICULTIES[name], problems, n, rng)
        points = coverage(counts, level=LEVEL, design="fixed").points
        truth = true_coverage_cached(name, tuple(p.k for p in points))
        return {"band": all(p.band_low <= t <= p.band_high for p, t in zip(points, truth, strict=True))}

    return run


_TRUTHS: dict[tuple[str, tuple[int, ...]], Array] = {}


def true_coverage_cached(name: str, ks: tuple[int, ...]) -> Array:
    if (name, ks) not in _TRUTHS:
        _TRUTHS[name, ks] = true_coverage(DIFFICULTIES[name], np.array(ks))
    return _TRUTHS[name, ks]


def fit_cell(
    name: str, model: str, space: str | None, problems: int, n: int
) -> Callable[[np.random.Generator], dict[str, bool]]:
    quantile = DIFFICULTIES[name]
    if model == "exponentiated-power-law":
        grid = paper_grid(n)
        a, b = power_law(grid, true_coverage(quantile, grid), space or "log-coverage")
    elif model == "log-log":
        grid = rounded_grid(n)
        a, b = log_log(grid, true_coverage(quantile, grid))
    else:
        a, b = (float(x) for x in name.removeprefix("beta(").rstrip(")").split(","))

    def run(rng: np.random.Generator) -> dict[str, bool]:
        _, counts = draw(quantile, problems, n, rng)
        found = fit(counts, model, space, LEVEL, design="fixed").fits[0]
        if found.a_low is None:
            return {}
        return {"a": bool(found.a_low <= a <= found.a_high), "b": bool(found.b_low <= b <= found.b_high)}

    return run


def forecast_cell(
    quantile: Quantile, problems: int, n: int, ks: tuple[int, ...]
) -> Callable[[np.random.Generator], dict[str, bool]]:
    def run(rng: np.random.Generator) -> dict[str, bool]:
        p, counts = draw(quantile, problems, n, rng)
        model = Forecaster.fitted(counts.n, counts.c)
        out = {}
        for k in ks:
            # these very problems, sampled on to k each: what was solved stays solved
            later = (counts.c > 0) | (rng.random(problems) < -np.expm1((k - n) * np.log1p(-p)))
            for label, (low, high) in (("", model.interval(k, LEVEL)), (" wide", model.wide_interval(k, LEVEL))):
                out[f"k={k}{label}"] = bool(low - 1e-12 <= later.mean() <= high + 1e-12)
        return out

    return run


COVERAGE = {
    f"coverage | {name} | P={problems} n={n}": (name, problems, n, (1, n // 10, n // 2, n))
    for name in DIFFICULTIES
    for problems, n in ((30, 100), (100, 100), (128, 1000))
}
"""Coverage cells: distribution, problems, samples a problem, grid."""


def cells(only: set[str]) -> Iterator[tuple[str, Callable[[], Callable[[np.random.Generator], dict[str, bool]]]]]:
    """Names of cells and how to make them."""
    if "coverage" in only:
        for label, arguments in COVERAGE.items():
            yield label, lambda a=arguments: coverage_cell(*a)
        for name in DIFFICULTIES:
            yield f"band | {name} | P=100 n=100", lambda a=(name, 100, 100): band_cell(*a)
    if "fits" in only:
        for name in ("beta(0.2, 5)", "beta(0.5, 2)", "log-uniform 1e-5..1", "logit-normal(-2, 2)"):
            for model, space in (
                ("exponentiated-power-law", "log-coverage"),
                ("exponentiated-power-law", "coverage"),
                ("log-log", None),
            ):
                label = f"fit | {model}{' in ' + space if space else ''} | {name} | P=100 n=100"
                yield label, lambda a=(name, model, space, 100, 100): fit_cell(*a)
        for name in ("beta(0.2, 5)", "beta(0.5, 2)"):
            yield (
                f"fit | beta-binomial | {name} | P=100 n=100",
                lambda a=(name, "beta-binomial", None, 100, 100): fit_cell(*a),
            )
    if "forecast" in only:
        for kind, shelf in TAILS.items():
            for name, quantile in shelf.items():
                for n, ks in ((20, (1000, 10_000)), (100, (1000, 10_000)), (1000, (10_000,))):
                    yield (
                        f"forecast | {kind} | {name} | P=128 n={n}",
                        lambda a=(quantile, 128, n, ks): forecast_cell(*a),
                    )


# ------------------------------------------------------------------------------------------------------------- state


class _State:
    """Finished runs of each cell, kept in a file where one is given."""

    def __init__(self, path: Path | None, seed: int) -> None:
        self.path = path
        self.kept: dict[str, Any] = json.loads(path.read_text()) if path and path.exists() else {}
        if self.kept.setdefault("seed", seed) != seed:
            raise SystemExit(f"{path} was written with seed {self.kept['seed']}")
        self.cells: dict[str, Any] = self.kept.setdefault("cells", {})

    def cell(self, name: str) -> dict[str, Any]:
        return self.cells.setdefault(name, {"done": 0, "hits": {}})  # type: ignore[no-any-return]

    def add(self, name: str, last: int, hits: Hits) -> None:
        """Runs up to `last`, which follow the ones that are in."""
        cell = self.cell(name)
        cell["done"] = last
        _merge(cell["hits"], hits)
        if self.path:
            scratch = self.path.with_suffix(".part")
            scratch.write_text(json.dumps(self.kept))
            scratch.replace(self.path)


def _merge(total: Hits, more: Hits) -> None:
    for label, (inside, runs) in more.items():
        hit = total.setdefault(label, [0, 0])
        hit[0] += inside
        hit[1] += runs


Block = tuple[int, str, int, int]
"""Seed, cell, first run, one past the last run."""


@lru_cache(maxsize=4)
def _simulation(name: str) -> Callable[[np.random.Generator], dict[str, bool]]:
    return dict(cells(set(PARTS)))[name]()


def _hits(block: Block) -> tuple[Block, Hits]:
    """One block of runs. Top level and plain data both ways: a worker process runs it."""
    seed, name, first, last = block
    run, hits = _simulation(name), {}
    for i in range(first, last):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode()), i])
        _merge(hits, {label: [int(inside), 1] for label, inside in run(rng).items()})
    return block, hits


def calibrate(
    only: set[str], runs: int, seed: int, state: Path | None = None, match: str = "", jobs: int = 1
) -> dict[str, Hits]:
    """Hits of the cells whose name contains `match`, resuming from `state`, on `jobs` processes."""
    kept = _State(state, seed)
    chosen = [name for name, _ in cells(only) if match in name]
    blocks = [
        (seed, name, first, min(first + BLOCK, runs))
        for name in chosen
        for first in range(kept.cell(name)["done"], runs, BLOCK)
    ]

    def collect(results: Iterable[tuple[Block, Hits]]) -> None:
        # in order: a cell's finished runs are always its first ones
        for (_, name, _, last), hits in results:
            kept.add(name, last, hits)

    if jobs == 1:
        collect(map(_hits, blocks))
    else:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            collect(pool.imap(_hits, blocks))
    return {name: kept.cell(name)["hits"] for name in chosen}


def at_saturation(table: dict[str, Hits]) -> dict[str, dict[str, float]]:
    """{cell: {label: deciding events expected}} where hardly any data set holds one."""
    found = {name: events(*COVERAGE[name]) for name in table if name in COVERAGE}
    few = {name: {k: x for k, x in cell.items() if x < FEW_EVENTS} for name, cell in found.items()}
    return {name: cell for name, cell in few.items() if cell}


def markdown(table: dict[str, Hits]) -> str:
    """Two tables: all but the entries at saturation, and those."""
    few = at_saturation(table)
    lines = ["| simulation | runs | share of intervals that contain the truth, % |", "|---|---|---|"]
    for name, hits in table.items():
        main = {k: hit for k, hit in hits.items() if k not in few.get(name, {})}
        if main or not hits:
            lines.append(_row(name, main, {k: _share(hit) for k, hit in main.items()}))
    if few:
        lines += ["", "| at saturation | runs | share, % (deciding events expected) |", "|---|---|---|"]
    for name, rare in few.items():
        main = {k: hit for k, hit in table[name].items() if k in rare}
        lines.append(_row(name, main, {k: f"{_share(hit)} ({rare[k]:.2g})" for k, hit in main.items()}))
    return "\n".join(lines)


def _share(hit: list[int]) -> str:
    return f"{100 * hit[0] / max(hit[1], 1):.1f}"


def _row(name: str, hits: Hits, shares: dict[str, str]) -> str:
    runs = max((runs for _, runs in hits.values()), default=0)
    return f"| {name.replace(' | ', ', ')} | {runs} | {', '.join(f'{k} {share}' for k, share in shares.items())} |"


def summary(table: dict[str, Hits]) -> dict[str, Any]:
    """How many entries of coverage lie where they should, and which do not."""
    few, out, sure = at_saturation(table), [], []
    for name in COVERAGE.keys() & table.keys():
        for label, (inside, runs) in table[name].items():
            share = 100 * inside / max(runs, 1)
            if label in few.get(name, {}):
                sure.append(share)
            elif not 93 <= share <= 97:
                out.append(f"{name} | {label}: {share:.1f}")
    total = sum(len(table[name]) for name in COVERAGE.keys() & table.keys())
    return {
        "entries": total - len(sure),
        "outside_93_to_97": sorted(out),
        "at_saturation": {"entries": len(sure), "least": min(sure, default=None)},
    }


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--match", default="", help="only cells whose name contains this")
    parser.add_argument("--jobs", type=int, default=1, help="processes; the table does not depend on it")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    only = set(args.only.split(","))
    if unknown := only - set(PARTS):
        raise SystemExit(f"--only {','.join(sorted(unknown))}: choose among {', '.join(PARTS)}")
    if not any(args.match in name for name, _ in cells(only)):
        raise SystemExit(f"--match {args.match}: no cell's name contains this; they look like {next(cells(only))[0]!r}")
    table = calibrate(only, args.runs, args.seed, args.state, args.match, args.jobs)
    if args.markdown:
        print(f"Commit {commit()}, seed {args.seed}, {args.runs} runs a cell, level {LEVEL:g}.\n\n{markdown(table)}")
        return
    shares = {
        name: {k: {"contained": a / max(b, 1), "runs": b} for k, (a, b) in hits.items()} for name, hits in table.items()
    }
    about = {"benchmark": "calibration", "commit": commit(), "seed": args.seed, "level": LEVEL}
    print(json.dumps({**about, "coverage": summary(table), "cells": shares}, indent=1))


if __name__ == "__main__":
    main()

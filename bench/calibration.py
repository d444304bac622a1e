"""How often 95 % intervals contain the truth, by simulation: coverage (both kinds), fit parameters, forecasts.

    python bench/calibration.py [--runs 1000] [--seed 1] [--state FILE] [--only coverage,fits,forecast] [--match TEXT]
        [--markdown]

Prints JSON. With --state, finished runs are kept in FILE and a repeated call goes on where the last one ended. Each run
is seeded by (seed, cell, run), so the table depends on the seed and the code alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from vervet.analysis.curve import coverage
from vervet.analysis.fit import fit
from vervet.estimate.curvefit import log_log, paper_grid, power_law, rounded_grid
from vervet.estimate.forecasting import Forecaster
from vervet.records import Counts

Array = Any
LEVEL = 0.95


def _logit_normal(u: Array) -> Array:
    from scipy.special import ndtri

    return 1 / (1 + np.exp(2 - 2 * ndtri(u)))


def _beta(a: float, b: float) -> Callable[[Array], Array]:
    def quantile(u: Array) -> Array:
        from scipy.special import betaincinv

        return betaincinv(a, b, u)

    return quantile


def _zeros(u: Array) -> Array:
    return np.where(u < 0.4, 0.0, _beta(0.5, 3)(np.clip((u - 0.4) / 0.6, 0, 1)))


# difficulty p as a function of a uniform variable, so that truths are exact means over its quantiles
DIFFICULTIES: dict[str, Callable[[Array], Array]] = {
    "beta(0.2, 5)": _beta(0.2, 5),
    "beta(0.5, 2)": _beta(0.5, 2),
    "40 % zeros, else beta(0.5, 3)": _zeros,
    "log-uniform 1e-5..1": lambda u: 10 ** (-5 * (1 - u)),
    "logit-normal(-2, 2)": _logit_normal,
    "half 0.02, half 0.8": lambda u: np.where(u < 0.5, 0.02, 0.8),
}
POWER_TAILS: dict[str, Callable[[Array], Array]] = {
    "beta(0.2, 5)": _beta(0.2, 5),
    "beta(0.3, 20)": _beta(0.3, 20),
    "Kumaraswamy(0.3, 4)": lambda u: (1 - (1 - u) ** (1 / 4)) ** (1 / 0.3),
    "beta(0.5, 6) squared": lambda u: _beta(0.5, 6)(u) ** 2,
    "beta(0.1, 3)": _beta(0.1, 3),
}
OTHER_TAILS: dict[str, Callable[[Array], Array]] = {
    "log-uniform 1e-5..1": DIFFICULTIES["log-uniform 1e-5..1"],
    "40 % zeros, else beta(0.5, 3)": _zeros,
    "logit-normal(-5, 2)": lambda u: 1 / (1 + np.exp(5 - 2 * _normal(u))),
}


def _normal(u: Array) -> Array:
    from scipy.special import ndtri

    return ndtri(u)


def true_coverage(quantile: Callable[[Array], Array], k: Array) -> Array:
    """Coverage of the population at each k."""
    p = np.clip(quantile((np.arange(200_000) + 0.5) / 200_000), 0, 1 - 1e-16)
    return np.array([-np.expm1(one * np.log1p(-p)).mean() for one in np.atleast_1d(k)])


def draw(quantile: Callable[[Array], Array], problems: int, n: int, rng: np.random.Generator) -> tuple[Array, Counts]:
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
    quantile: Callable[[Array], Array], problems: int, n: int, ks: tuple[int, ...]
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


def cells(only: set[str]) -> Iterator[tuple[str, Callable[[], Callable[[np.random.Generator], dict[str, bool]]]]]:
    """Names of cells and how to make them."""
    if "coverage" in only:
        for name in DIFFICULTIES:
            for problems, n in ((30, 100), (100, 100), (128, 1000)):
                ks = (1, n // 10, n // 2, n)
                yield f"coverage | {name} | P={problems} n={n}", lambda a=(name, problems, n, ks): coverage_cell(*a)
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
        for kind, shelf in (("power-law tail", POWER_TAILS), ("other tail", OTHER_TAILS)):
            for name, quantile in shelf.items():
                for n, ks in ((20, (1000, 10_000)), (100, (1000, 10_000)), (1000, (10_000,))):
                    yield (
                        f"forecast | {kind} | {name} | P=128 n={n}",
                        lambda a=(quantile, 128, n, ks): forecast_cell(*a),
                    )


# ------------------------------------------------------------------------------------------------------------- state


def calibrate(
    only: set[str], runs: int, seed: int, state: Path | None = None, match: str = ""
) -> dict[str, dict[str, list[int]]]:
    """{cell: {label: [contained, runs]}} of the cells whose name contains `match`, resuming from `state`."""
    kept: dict[str, Any] = json.loads(state.read_text()) if state and state.exists() else {}
    if kept.get("seed", seed) != seed:
        raise SystemExit(f"{state} was written with seed {kept['seed']}")
    kept.setdefault("seed", seed)
    table = kept.setdefault("cells", {})
    chosen = [(name, make) for name, make in cells(only) if match in name]
    for name, make in chosen:
        cell = table.setdefault(name, {"done": 0, "hits": {}})
        run = make() if cell["done"] < runs else None
        while cell["done"] < runs and run is not None:
            rng = np.random.default_rng([seed, zlib.crc32(name.encode()), cell["done"]])
            for label, inside in run(rng).items():
                hit = cell["hits"].setdefault(label, [0, 0])
                hit[0] += inside
                hit[1] += 1
            cell["done"] += 1
            if state and (cell["done"] % 50 == 0 or cell["done"] == runs):
                scratch = state.with_suffix(".part")
                scratch.write_text(json.dumps(kept))
                scratch.replace(state)
    wanted = {name for name, _ in chosen}
    return {name: cell["hits"] for name, cell in table.items() if name in wanted}


def markdown(table: dict[str, dict[str, list[int]]]) -> str:
    lines = ["| simulation | runs | share of intervals that contain the truth, % |", "|---|---|---|"]
    for name, hits in table.items():
        cells_ = ", ".join(f"{label} {100 * a / max(b, 1):.1f}" for label, (a, b) in hits.items())
        runs = max((b for _, b in hits.values()), default=0)
        lines.append(f"| {name.replace(' | ', ', ')} | {runs} | {cells_} |")
    return "\n".join(lines)


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
    parser.add_argument("--only", default="coverage,fits,forecast")
    parser.add_argument("--match", default="", help="only cells whose name contains this")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    table = calibrate(set(args.only.split(",")), args.runs, args.seed, args.state, args.match)
    if args.markdown:
        print(f"Commit {commit()}, seed {args.seed}, {args.runs} runs a cell, level {LEVEL:g}.\n\n{markdown(table)}")
        return
    shares = {
        name: {k: {"contained": a / max(b, 1), "runs": b} for k, (a, b) in hits.items()} for name, hits in table.items()
    }
    print(
        json.dumps(
            {"benchmark": "calibration", "commit": commit(), "seed": args.seed, "level": LEVEL, "cells": shares},
            indent=1,
        )
    )


if __name__ == "__main__":
    main()

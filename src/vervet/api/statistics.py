"""Statistics over sources: run folders, parents of run folders, tables of counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

from vervet.analysis import compare as comparisons, fit as fits, forecast as forecasts, plan as plans
from vervet.analysis.compare import Comparison
from vervet.analysis.counts import read_counts
from vervet.analysis.curve import CoverageResult, coverage as curve_of
from vervet.analysis.family import Family, family as family_of
from vervet.analysis.fit import FitResult
from vervet.analysis.forecast import Forecast
from vervet.analysis.plan import Plan
from vervet.analysis.reliability import reliability
from vervet.analysis.verifier_noise import VerifierNoise, verifier_noise as noise_of
from vervet.api.existing import Run
from vervet.errors import UserError
from vervet.estimate.methods import FIT_MODELS, FORECAST_METHODS
from vervet.ledger import Ledger
from vervet.records import Counts, Curve

Source = Counts | Run | Path | str
Ks = int | Sequence[int] | None


def sources(given: Source | Iterable[Source], verifier: str | None = None) -> list[Counts]:
    """Counts of every source, in order; a folder that holds no run is searched for run folders one level down.

    Raises: UserError where a path is neither, BadData where a table does not say what it should.
    """
    if isinstance(given, (Counts, Run, Path, str)):
        return _counts(given, verifier)
    return [counts for source in given for counts in _counts(source, verifier)]


def run_folders(path: Path) -> list[Path]:
    """`path` if it holds a run, else the run folders one level down, r2 before r10. Raises: UserError where there are none."""
    if Ledger.exists(path):
        return [path]
    folders = sorted((p for p in path.iterdir() if p.is_dir() and Ledger.exists(p)), key=_as_people_count)
    if not folders:
        raise UserError(f"{path} holds no run and no folder of one: name a run folder or a table of counts")
    return folders


def _as_people_count(path: Path) -> list[tuple[int, str]]:
    """Digits count as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name) if part]


def _counts(source: Source, verifier: str | None) -> list[Counts]:
    if isinstance(source, Counts):
        return [source]
    if isinstance(source, Run):
        return [source.counts(verifier)]
    path = Path(source)
    if not path.exists():
        raise UserError(f"{path} does not exist: name a run folder, a parent of run folders, or a table of counts")
    if not path.is_dir():
        return [read_counts(path)]
    out = []
    for folder in run_folders(path):
        with Run(folder) as run:
            out.append(run.counts(verifier))
    return out


@overload
def coverage(
    given: Counts | Run,
    k: Ks = None,
    level: float = 0.95,
    verifier: str | None = None,
    design: str | None = None,
    tau: float | None = None,
) -> Curve: ...
@overload
def coverage(
    given: Path | str | Iterable[Source],
    k: Ks = None,
    level: float = 0.95,
    verifier: str | None = None,
    design: str | None = None,
    tau: float | None = None,
) -> CoverageResult: ...
def coverage(
    given: Source | Iterable[Source],
    k: Ks = None,
    level: float = 0.95,
    verifier: str | None = None,
    design: str | None = None,
    tau: float | None = None,
) -> Curve | CoverageResult:
    """Coverage with intervals: a Curve for counts or a run, a CoverageResult for paths, which may hold several.

    See :func:`vervet.analysis.curve.coverage` for k, level and design. tau: the share of k draws that must pass instead
    of one (G-Pass@k; 1 is pass^k), see :func:`vervet.analysis.reliability.reliability`.
    """
    found = sources(given, verifier)
    if tau is None:
        curves = tuple(curve_of(counts, k, level, design) for counts in found)
    else:
        curves = tuple(reliability(counts, tau, k, level, design) for counts in found)
    return curves[0] if isinstance(given, (Counts, Run)) else CoverageResult(curves)


def fit(
    given: Source | Iterable[Source],
    model: str | Sequence[str] | None = None,
    space: str | Sequence[str] | None = None,
    level: float = 0.95,
    design: str | None = None,
) -> FitResult:
    """Scaling laws for each source. See :func:`vervet.analysis.fit.fit`; the default is the paper's."""
    chosen = model or FIT_MODELS[0]
    found = [fits.fit(counts, chosen, space or None, level, design=design) for counts in sources(given)]
    return FitResult(tuple(source for result in found for source in result.sources))


def forecast(
    given: Source,
    k: Ks = None,
    method: str | None = None,
    level: float = 0.95,
    *,
    backtest: bool = True,
    design: str | None = None,
) -> Forecast:
    """Coverage at k beyond n, for these very problems. See :func:`vervet.analysis.forecast.forecast`."""
    return forecasts.forecast(_one(given), k, method or FORECAST_METHODS[0], level, backtest, design)


def compare(
    a: Source,
    b: Source,
    k: Ks = None,
    level: float = 0.95,
    cost: tuple[float, float] | None = None,
    *,
    design: str | None = None,
) -> Comparison:
    """Coverage of A minus coverage of B, paired by problem. See :func:`vervet.analysis.compare.compare`."""
    return comparisons.compare(_one(a), _one(b), k, level, cost, design)


def plan(
    given: Source,
    target: float = 0.9,
    level: float = 0.95,
    *,
    usd_per_sample: float | None = None,
    budget: int | None = None,
    design: str | None = None,
) -> Plan:
    """Samples and money for a target coverage. See :func:`vervet.analysis.plan.plan`."""
    return plans.plan(_one(given), target, level, usd_per_sample, budget, design)


def family(given: Source | Iterable[Source]) -> Family:
    """Whether the models differ by a factor in samples only. See :func:`vervet.analysis.family.family`."""
    return family_of(sources(given))


def verifier_noise(
    given: Source, false_positive: float, false_negative: float = 0.0, k: Ks = None, level: float = 0.95
) -> VerifierNoise:
    """Coverage behind a verifier that errs at known rates. See :func:`vervet.analysis.verifier_noise.verifier_noise`."""
    return noise_of(_one(given), false_positive, false_negative, k, level)


def _one(given: Source) -> Counts:
    """The counts of exactly one source. Raises: UserError where a folder holds several runs."""
    found = sources(given)
    if len(found) != 1:
        raise UserError(f"{given} holds {len(found)} runs: name one of them")
    return found[0]

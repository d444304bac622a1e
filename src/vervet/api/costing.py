"""Cost of runs and tables of counts: from names and folders to shapes, prices and totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vervet import fetch, plugins, prices
from vervet.analysis import cost as costs, exchange as exchanges
from vervet.analysis.baseline import Baseline, parse_baseline
from vervet.analysis.cost import Costs, Priced, Used
from vervet.analysis.exchange import Exchange
from vervet.analysis.flops import Shape, known_shape, shape_of_config
from vervet.api.existing import Run
from vervet.api.statistics import run_folders, sources as counts_of
from vervet.errors import BadOption, UserError
from vervet.ledger.usage import usage
from vervet.prices import Price
from vervet.records import Counts
from vervet.samplers._gguf import read_head
from vervet.samplers._models import HubName, LocalModel, cached_hub_file, resolve


@dataclass(frozen=True, slots=True)
class Rates:
    """What the user says about prices and shapes; None: what the run and the tables know."""

    price_in: float | None = None
    price_out: float | None = None
    price_cached: float | None = None
    # US dollars for a million tokens
    usd_per_sample: float | None = None
    shape: str | None = None
    # a known model's name, "PARAMETERS,LAYERS,WIDTH", or a path to config.json or a .gguf file


Source = Counts | Run | Path | str


def cost(
    given: Source | Iterable[Source],
    k: int | None = None,
    baseline: str | Baseline | Sequence[str | Baseline] = (),
    rates: Rates | Sequence[Rates] | None = None,
    level: float = 0.95,
    verifier: str | None = None,
) -> Costs:
    """Tokens, FLOPs, money and time of runs, and what k samples of each problem cost beside what they solve.

    Args: given: runs, folders, parents of run folders, counts.  k: see :func:`vervet.analysis.cost.cost`.
    baseline: single attempts of other models, "GPT-4o=0.24@0.13usd".  rates: prices and shapes, for all or one a source.
    Raises: UserError, BadOption, BadData.
    """
    several = [given] if isinstance(given, (Counts, Run, Path, str)) else list(given)
    every = list(rates) if isinstance(rates, Sequence) else [rates or Rates()] * len(several)
    if len(every) != len(several):
        raise BadOption(f"{len(every)} prices or shapes for {len(several)} sources: give one for all, or one each")
    lines = [baseline] if isinstance(baseline, (str, Baseline)) else baseline
    baselines = [parse_baseline(line) if isinstance(line, str) else line for line in lines]
    found = [one for source, own in zip(several, every, strict=True) for one in priced(source, own, verifier)]
    return costs.cost(found, k, baselines, level)


def exchange(
    a: Source,
    b: Source,
    k: int | Sequence[int] | None = None,
    rates: tuple[Rates, Rates] | None = None,
    level: float = 0.95,
) -> Exchange:
    """Two runs at equal money and at equal FLOPs: see :func:`vervet.analysis.exchange.exchange`. Raises: UserError."""
    own = rates or (Rates(), Rates())
    sides = [priced(source, rate) for source, rate in zip((a, b), own, strict=True)]
    for source, found in zip((a, b), sides, strict=True):
        if len(found) != 1:
            raise UserError(f"{source} holds {len(found)} runs: name one of them")
    return exchanges.exchange(sides[0][0], sides[1][0], k, level)


def priced(source: Source, rates: Rates, verifier: str | None = None) -> list[Priced]:
    """A source's runs with what their cost follows from. Raises: UserError, BadOption, BadData."""
    price = _price(rates)
    if isinstance(source, Run):
        return [_of_run(source, rates, price, verifier)]
    if isinstance(source, Counts) or not Path(source).is_dir():
        if price is not None:
            raise BadOption("--price-in prices tokens, and a table of counts has none: give --usd-per-sample")
        return [Priced(counts, usd_per_sample=rates.usd_per_sample) for counts in counts_of(source)]
    out = []
    for folder in run_folders(Path(source)):
        with Run(folder) as run:
            out.append(_of_run(run, rates, price, verifier))
    return out


def _of_run(run: Run, rates: Rates, price: Price | None, verifier: str | None) -> Priced:
    total = usage(run.ledger)
    priced_some = total.usd is not None
    used = Used(
        source=str(run.folder),
        samples=total.samples,
        requests=total.requests,
        prompt_tokens=total.prompt_tokens,
        cached_tokens=total.cached_tokens,
        completion_tokens=total.completion_tokens,
        usd=total.usd,
        seconds=total.seconds,
        unpriced=total.unpriced if priced_some else 0,
    )
    shape = shape_of(rates.shape) if rates.shape else shape_of_model(run.config.model)
    return Priced(_sampled(run.counts(verifier)), used, shape, price, rates.usd_per_sample)


def _sampled(counts: Counts) -> Counts:
    """Without the problems that have no sample yet: they cost nothing and say nothing."""
    kept = np.flatnonzero(counts.n + counts.unknown)
    if len(kept) in (0, len(counts)):
        return counts
    ids = [counts.problem_ids[i] for i in kept]
    return Counts(ids, counts.n[kept], counts.c[kept], counts.unknown[kept], counts.design, counts.source)


def _price(rates: Rates) -> Price | None:
    """What the user says about tokens. Raises: BadOption for half of it, or a negative price."""
    numbers = (rates.price_in, rates.price_out, rates.price_cached, rates.usd_per_sample)
    if any(x is not None and not 0 <= x < float("inf") for x in numbers):
        raise BadOption("prices are US dollars, 0 or more")
    if rates.price_in is None and rates.price_out is None and rates.price_cached is None:
        return None
    if rates.price_in is None or rates.price_out is None:
        raise BadOption("give both --price-in and --price-out, in US dollars for a million tokens")
    if rates.usd_per_sample is not None:
        raise BadOption("--usd-per-sample is a price for everything: leave out --price-in and --price-out")
    return prices.given(rates.price_in, rates.price_out, rates.price_cached)


def shape_of(text: str) -> Shape:
    """A shape from a model's name, from PARAMETERS,LAYERS,WIDTH, from config.json or a .gguf file. Raises: UserError."""
    if text.endswith(".json"):
        return shape_of_config(Path(text))
    if text.endswith(".gguf"):
        head = read_head(Path(text))
        if not head.layers or not head.width:
            raise UserError(f"{text} does not say how many layers it has or how wide they are: give them by --shape")
        return Shape(head.parameters, head.layers, head.width)
    if "," in text:
        try:
            parameters, layers, width = (int(float(part)) for part in text.split(","))
        except (ValueError, OverflowError):
            parameters = layers = width = 0
        if min(parameters, layers, width) < 1:
            raise BadOption(f"--shape {text}: write PARAMETERS,LAYERS,WIDTH, such as 8.03e9,32,4096")
        return Shape(parameters, layers, width)
    found = known_shape(text)
    if found is None:
        raise BadOption(
            f"--shape {text}: not in the table; write PARAMETERS,LAYERS,WIDTH, or name a config.json or .gguf"
        )
    return found


def shape_of_model(model: str) -> Shape | None:
    """The shape of a run's model: by name, or from its file on this machine; None where neither is known."""
    found = known_shape(model)
    provider, name = plugins.split_model(model)
    if found is not None or provider not in ("local", "hf"):
        return found
    try:
        if provider == "hf":
            config = Path(name) / "config.json"
            return shape_of_config(config) if config.is_file() else None
        path = _file_of(name)
        return None if path is None else shape_of(str(path))
    except UserError:
        # a file that has gone, or that does not say: then the FLOPs are not known, which is said
        return None


def _file_of(name: str) -> Path | None:
    """The weights of local/NAME, where they are on this machine; nothing is fetched."""
    model = resolve(name)
    if isinstance(model, HubName):
        return cached_hub_file(model)
    if isinstance(model, LocalModel):
        path = fetch.cache_dir() / model.part.name
        return path if path.is_file() else None
    return model if model.is_file() else None

"""Money for tokens: what the user says, else what the kept library `genai-prices` knows (`pip install 'vervet[prices]'`).

Prices are US dollars per million tokens. A server of the user's own has the price that the user gives it, or none: a provider's
price is used only for the provider's own addresses. Where no price is known, nothing is guessed.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_MILLION = 1e6
_HOSTED = frozenset({"openai", "anthropic", "google", "together", "deepseek", "openrouter"})
# providers that charge for tokens, named as the library names them


@dataclass(frozen=True, slots=True)
class Rates:
    """What tokens cost, in US dollars per million, for requests with more than `above` prompt tokens."""

    input_usd: float
    output_usd: float
    cached_usd: float | None = None
    # prompt tokens that a prefix cache served; None: as any other
    above: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """A model's price: usually one rate, several where long prompts cost more."""

    rates: tuple[Rates, ...]
    # by rising `above`
    source: str
    # "given", or the library's name and version

    def cost(self, prompt: int, completion: int, cached: int = 0) -> float:
        """US dollars for so many tokens; `cached`: the part of `prompt` that a prefix cache served."""
        rate = next((r for r in reversed(self.rates) if prompt > r.above), self.rates[0])
        cheap = rate.input_usd if rate.cached_usd is None else rate.cached_usd
        return ((prompt - cached) * rate.input_usd + cached * cheap + completion * rate.output_usd) / _MILLION

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: the first rate and the source."""
        first = self.rates[0]
        return {
            "input_usd": first.input_usd,
            "output_usd": first.output_usd,
            "cached_usd": first.cached_usd,
            "tiers": len(self.rates),
            "source": self.source,
        }


def given(price_in: float, price_out: float, price_cached: float | None = None) -> Price:
    """What the user said."""
    return Price((Rates(price_in, price_out, price_cached),), "given")


def known(provider: str, model: str, base_urls: Sequence[str] = ()) -> Price | None:
    """The library's price of a model at the provider, or at the servers that the user named; None where it knows none.

    Takes half a second where the library is installed, which is why nobody asks for models without a provider.
    """
    if provider not in _HOSTED and not base_urls:
        return None
    try:
        from genai_prices import __version__ as version  # noqa: PLC0415  an extra, and slow to import
        from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415
    except ImportError:
        return None
    snapshot = get_snapshot()
    now = datetime.datetime.now(datetime.UTC)
    found: list[Price] = []
    urls: Sequence[str | None] = base_urls or (None,)
    for url in urls:
        try:
            _, info = snapshot.find_provider_model(model, None, None if url else provider, url)
            found.append(Price(_rates(info.get_prices(now)), f"genai-prices {version}"))
        except LookupError:
            return None
    # replicas at several providers: the dearest, so that a cap holds
    return max(found, key=lambda price: price.cost(1000, 1000))


def missing_part(provider: str) -> str:
    """How to get a price for a provider that charges, "" where there is nothing to install for it."""
    import importlib.util  # noqa: PLC0415

    if provider not in _HOSTED or importlib.util.find_spec("genai_prices") is not None:
        return ""
    return "pip install 'vervet[prices]'"


def _rates(price: Any) -> tuple[Rates, ...]:
    """Rates out of the library's price. Raises: LookupError where it charges for something else than tokens."""
    parts = [getattr(price, name, None) for name in ("input_mtok", "output_mtok", "cache_read_mtok")]
    if parts[0] is None or parts[1] is None:
        raise LookupError
    starts = sorted({0} | {tier.start for part in parts for tier in getattr(part, "tiers", ())})
    return tuple(
        Rates(
            float(_at(parts[0], s)), float(_at(parts[1], s)), None if parts[2] is None else float(_at(parts[2], s)), s
        )
        for s in starts
    )


def _at(part: Any, tokens: int) -> Any:
    """A price, or the tier of it that holds above so many prompt tokens."""
    tiers = getattr(part, "tiers", None)
    if tiers is None:
        return part
    return next((t.price for t in sorted(tiers, key=lambda t: -t.start) if tokens >= t.start), part.base)

"""Prices: the user's, the library's, and none."""

from __future__ import annotations

import pytest

from vervet import prices
from vervet.prices import Price, Rates, given, known


def test_a_price_is_per_million_tokens_of_each_kind() -> None:
    assert given(1.0, 10.0).cost(1_000_000, 100_000) == pytest.approx(2.0)
    assert given(1.0, 10.0).cost(1000, 0, cached=1000) == given(1.0, 10.0).cost(1000, 0), "cached tokens as any other"
    assert given(1.0, 10.0, 0.1).cost(1000, 0, cached=600) == pytest.approx((400 + 60) / 1e6)


def test_long_prompts_may_cost_more() -> None:
    """Above the threshold all tokens are at the higher rate."""
    price = Price((Rates(1.0, 2.0), Rates(3.0, 6.0, above=1000)), "given")
    assert price.cost(1000, 0) == pytest.approx(1000 / 1e6)
    assert price.cost(1001, 10) == pytest.approx((3 * 1001 + 6 * 10) / 1e6)


def test_models_without_a_provider_have_no_price() -> None:
    assert known("fake", "p=0.3") is None
    assert known("local", "smollm2-135m") is None
    assert prices.missing_part("fake") == ""


def test_the_library_knows_hosted_models_cached_prompts_and_tiers() -> None:
    """Prices that a published price list once had: they may change, their order does not."""
    pytest.importorskip("genai_prices", reason="the extra `prices` is not installed")
    mini = known("openai", "gpt-4o-mini")
    assert mini is not None
    assert mini.source.startswith("genai-prices ")
    rate = mini.rates[0]
    assert rate.cached_usd is not None
    assert 0 < rate.cached_usd < rate.input_usd < rate.output_usd
    assert known("openai", "no-such-model-at-all") is None
    assert known("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo") is not None
    assert known("vllm", "gpt-4o-mini") is None, "a server of the user's own has no price"
    tiered = known("google", "gemini-2.5-pro")
    assert tiered is not None
    assert len(tiered.rates) > 1
    assert tiered.cost(300_000, 0) > 1.5 * tiered.cost(199_000, 0)


def test_a_named_server_is_priced_by_its_address() -> None:
    pytest.importorskip("genai_prices", reason="the extra `prices` is not installed")
    assert known("openai", "gpt-4o-mini", ["https://api.openai.com/v1"]) == known("openai", "gpt-4o-mini")
    assert known("openai", "gpt-4o-mini", ["http://127.0.0.1:8000/v1"]) is None
    assert known("vllm", "gpt-4o-mini", ["https://api.openai.com/v1", "http://10.0.0.1/v1"]) is None

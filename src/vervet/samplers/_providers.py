"""Who speaks the OpenAI protocol, where, and with which habits.

The habits are starting points: what a server really does is learnt from its answers (`openai.py`) and shown by `vervet probe`.
Facts from the providers' API references, read 2025-10.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Provider:
    """One row of the table."""

    name: str
    # what stands before the slash in `-m provider/name`
    base_url: str
    # ends where "/chat/completions" begins; "" where the user has to say it
    key_variable: str
    # environment variable that holds the key
    key_needed: bool = True
    # at `base_url`; a server of the user's own may do without
    url_variable: str = ""
    # environment variable that other tools read the base URL from
    max_n: int = 32
    # choices in one request at most; 1 where `n` is ignored or refused
    max_tokens_field: str = "max_tokens"
    # what chat requests call the limit on completion tokens
    seed_bits: int = 63
    # width of `seed`; 0 where there is none. Below 63 seeds are folded, see `_http_body.py`
    temperature_top: float = 2.0
    # a higher temperature is refused or silently lowered
    in_flight: int = 256
    # requests at once unless the user says otherwise
    start_in_flight: int = 64
    # where adaptive concurrency begins


_ALL = (
    Provider(
        "openai",
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        url_variable="OPENAI_BASE_URL",
        max_tokens_field="max_completion_tokens",
    ),
    # `n` must be 1; a temperature above 1 is lowered to 1 without a word; `seed` is ignored
    Provider(
        "anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", max_n=1, seed_bits=0, temperature_top=1.0
    ),
    # at most 8 candidates; seeds are int32
    Provider(
        "google",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        max_n=8,
        seed_bits=31,
    ),
    Provider("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    # knows neither `n` nor `seed`
    Provider("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", max_n=1, seed_bits=0),
    # hands on to many servers, of which few know `n`
    Provider("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", max_n=1, seed_bits=31),
    Provider("vllm", "http://127.0.0.1:8000/v1", "VLLM_API_KEY", key_needed=False),
    Provider("sglang", "http://127.0.0.1:30000/v1", "SGLANG_API_KEY", key_needed=False, seed_bits=31),
    # llama.cpp inside: `n` is ignored, seeds are 32 bits wide and the highest means "draw one"
    Provider(
        "ollama",
        "http://127.0.0.1:11434/v1",
        "OLLAMA_API_KEY",
        key_needed=False,
        url_variable="OLLAMA_HOST",
        max_n=1,
        seed_bits=31,
        in_flight=64,
        start_in_flight=16,
    ),
)
PROVIDERS = {provider.name: provider for provider in _ALL}

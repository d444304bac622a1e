"""What a server answered, read with suspicion: texts as they came, counts only where they can be true."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import orjson

from vervet.records import Completion, Usage

BYTES_PER_TOKEN = 4
# our own estimate where nobody has counted; English and code have 3 to 5
_MOST_CHARS_PER_TOKEN = 12
# a count that would need more than this for its tokens is wrong (some servers count one choice of n)
_FINISH = {
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "STOP": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
}


class BadReply(Exception):
    """A body that is no answer: not JSON, half of it, no choices."""


class Parsed(NamedTuple):
    """The choices of one HTTP reply, and what it cost."""

    completions: list[Completion]
    usage: Usage


def load(body: bytes) -> Any:
    """JSON of a body. Raises: BadReply."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        # half a surrogate pair, as models do write, is no error here
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        kind = "a web page" if body.lstrip()[:1] == b"<" else "no JSON" if body else "an empty body"
        raise BadReply(f"{kind} instead of an answer") from error


def parse(body: bytes, n: int, max_tokens: int, *, trust: bool = True) -> Parsed:
    """At most `n` completions in the order of their indexes. `trust`: believe possible token counts. Raises: BadReply."""
    value = load(body)
    choices = value.get("choices") if isinstance(value, dict) else None
    if not isinstance(choices, list) or not choices:
        raise BadReply("a reply without choices")
    usage = value.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    said = _number(usage.get("completion_tokens"))
    if len(choices) == 1:
        completions = [_completion(choices[0], said)]
    else:
        choices = sorted(choices, key=_index)
        completions = [_completion(choice, None) for choice in choices[:n]]
    if said is not None and trust and _plausible(said, completions, len(choices), max_tokens):
        return Parsed(completions, _usage(usage, said, "server"))
    estimated = [_estimated(_completion(choice, None), max_tokens) for choice in choices[:n]]
    return Parsed(estimated, _usage(usage, sum(c.completion_tokens or 0 for c in estimated), "vervet"))


def _index(choice: Any) -> int:
    index = choice.get("index") if isinstance(choice, dict) else None
    return index if isinstance(index, int) else 1 << 30


def _completion(choice: Any, said: int | None) -> Completion:
    """One choice; `said`: tokens that the server reports for it, used where its log-probabilities do not count them."""
    if not isinstance(choice, dict) or choice.get("finish_reason") == "error":
        raise BadReply("a choice that is no answer")
    message = choice.get("message")
    finish: Any = choice.get("finish_reason")
    finish = _FINISH.get(finish, finish) if isinstance(finish, str) else "unknown"
    logprob, tokens = (None, said) if choice.get("logprobs") is None else _logprobs(choice["logprobs"], said)
    if isinstance(message, dict):
        text = _text(message.get("content"))
        if not text and message.get("refusal"):
            text = _text(message["refusal"])
        reasoning = _text(message.get("reasoning_content") or message.get("reasoning"))
        return Completion(text, finish, tokens, reasoning, logprob)
    raw = choice.get("text")
    if not isinstance(raw, str):
        raise BadReply("a choice without a text")
    return Completion(raw, finish, tokens, "", logprob)


def _text(value: Any) -> str:
    """A message's text: a string, null, or a list of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return ""


def _logprobs(value: Any, said: int | None) -> tuple[float | None, int | None]:
    """(sum, number of tokens) from either endpoint's shape; (None, `said`) where there is none."""
    if not isinstance(value, dict):
        return None, said
    if isinstance(value.get("content"), list):
        found = [part.get("logprob") for part in value["content"] if isinstance(part, dict)]
    elif isinstance(value.get("token_logprobs"), list):
        found = value["token_logprobs"]
    else:
        return None, said
    numbers = [float(x) for x in found if isinstance(x, int | float) and math.isfinite(x)]
    return (sum(numbers), len(found)) if numbers else (None, said)


# ---------------------------------------------------------------------------------------------------------- counting


def _usage(usage: dict[str, Any], tokens: int, counted_by: str) -> Usage:
    """Usage with what the server says where it can be true; `tokens`: over all choices that were generated."""
    prompt = _number(usage.get("prompt_tokens"))
    details = usage.get("prompt_tokens_details")
    cached = _number(details.get("cached_tokens")) if isinstance(details, dict) else None
    if cached is None:
        # as DeepSeek words it
        cached = _number(usage.get("prompt_cache_hit_tokens"))
    if cached is not None and (prompt is None or cached > prompt):
        cached = None
    cost = usage.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < 1e6:
        cost = None
    return Usage(prompt, cached, tokens, counted_by, cost)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None


def _plausible(said: int, completions: list[Completion], given: int, max_tokens: int) -> bool:
    """Whether so many completion tokens can be true. `given`: choices that the server counted, also those too many."""
    if said > given * (max_tokens + 8):
        return False
    if said < max_tokens * sum(c.finish_reason == "length" for c in completions) and len(completions) > 1:
        # each choice that was cut off has max_tokens; a server that counts one of n says less
        return False
    most = said * _MOST_CHARS_PER_TOKEN
    if sum(len(c.text) + len(c.reasoning) for c in completions) <= most:
        return True
    # long runs of spaces are few tokens
    return sum(len("".join(c.text.split())) for c in completions) <= most


def _estimated(completion: Completion, max_tokens: int) -> Completion:
    if completion.completion_tokens is not None:
        return completion
    tokens = max_tokens
    if completion.finish_reason != "length":
        size = len(completion.text.encode("utf-8", "surrogatepass")) + len(
            completion.reasoning.encode("utf-8", "replace")
        )
        tokens = min(max_tokens, max(1, -(-size // BYTES_PER_TOKEN)))
    return Completion(
        completion.text, completion.finish_reason, tokens, completion.reasoning, completion.logprob, completion.trace
    )

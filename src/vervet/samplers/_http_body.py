"""Request bodies. What is the same for all requests of a problem is encoded once.

Seeds. A provider whose seeds are 63 bits wide gets the seed of the request's first sample as it is. A narrower one gets the
problem's own seed plus the sample's index, modulo 2^bits minus 1: hashes of 31 bits would meet once in 43 problems of 10,000
samples each; these never meet within a problem, and servers that count up from the seed for their n choices stay in step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from vervet.errors import BadOption
from vervet.records import Params, Prompt, Request, derive_seed, prompt_to_json
from vervet.samplers._providers import Provider

OURS = frozenset({"model", "messages", "prompt", "n", "seed", "stream", "stream_options"})
# fields that an extra field may not replace
_KEPT_HEADS = 8192
_OTHER_LIMIT = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


class Bodies:
    """Builds the JSON of requests for one model, without the fields that its server has refused."""

    def __init__(self, model: str, provider: Provider, extra: Mapping[str, Any], *, logprobs: bool) -> None:
        self._model, self._provider, self._extra, self._logprobs = model, provider, dict(extra), logprobs
        self._limit_field = provider.max_tokens_field
        self._swapped = False
        self._omitted: set[str] = set()
        self._heads: dict[str, tuple[Prompt, Params, bytes]] = {}
        self.expanded = dict(extra)
        # the extra fields with keys from the environment in place, once they are known

    def build(self, request: Request, choice: int, n: int, *, seeded: bool) -> bytes:
        """The body that asks for samples [first + choice, first + choice + n) of a request."""
        tail = b',"n":%d' % n if n > 1 else b""
        if seeded and "seed" not in self._omitted and self._provider.seed_bits:
            tail += b',"seed":%d' % fold_seed(request, choice, self._provider.seed_bits)
        return self._head(request) + tail + b"}"

    def _head(self, request: Request) -> bytes:
        known = self._heads.get(request.problem_id)
        if known is not None and known[0] is request.prompt and known[1] is request.params:
            return known[2]
        if len(self._heads) >= _KEPT_HEADS:
            self._heads.clear()
        head = encode(self._fields(request.prompt, request.params))[:-1]
        self._heads[request.problem_id] = (request.prompt, request.params, head)
        return head

    def _fields(self, prompt: Prompt, params: Params) -> dict[str, Any]:
        chat = not isinstance(prompt, str)
        fields: dict[str, Any] = {"model": self._model, "messages" if chat else "prompt": prompt_to_json(prompt)}
        fields["temperature"] = params.temperature
        if params.top_p is not None:
            fields["top_p"] = params.top_p
        # the older endpoint never learnt the newer name
        fields[self._limit_field if chat else "max_tokens"] = params.max_tokens
        if params.stop:
            fields["stop"] = list(params.stop)
        if self._logprobs:
            fields["logprobs"] = True if chat else 1
        fields |= dict(params.extra) | self.expanded
        return {name: value for name, value in fields.items() if name not in self._omitted}

    # ------------------------------------------------------------------------------------------- adapting

    def swap_limit(self, refused: str) -> str | None:
        """The other name of the limit on tokens, used from now on; None where that has been refused too.

        A refusal of the name that is not in use any more belongs to a request from before the change.
        """
        if refused != self._limit_field:
            return self._limit_field
        if self._swapped:
            return None
        self._swapped = True
        self._limit_field = _OTHER_LIMIT[refused]
        self._heads.clear()
        return self._limit_field

    def omit(self, field: str) -> bool:
        """Leave a field out from now on. False where it was not sent any more."""
        if field in self._omitted:
            return False
        self._omitted.add(field)
        self._heads.clear()
        return True

    def omits(self, field: str) -> bool:
        return field in self._omitted

    def left_out(self) -> tuple[str, ...]:
        """Fields that the server has refused."""
        return tuple(sorted(self._omitted))

    def forget(self, problem_id: str) -> None:
        """A prompt that will not be asked again."""
        self._heads.pop(problem_id, None)


def fold_seed(request: Request, choice: int, bits: int) -> int:
    """The seed that stands for one of a request's samples in `bits` bits; the highest value is never used."""
    if bits >= 63:
        return request.seed_of(choice)
    return (derive_seed(request.run_seed, request.problem_id, 0) + request.first + choice) % ((1 << bits) - 1)


def encode(value: Any) -> bytes:
    """JSON; a text that is not valid Unicode goes as escapes."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def parse_object(text: str | Mapping[str, Any] | None, what: str) -> dict[str, Any]:
    """A JSON object out of an option. Raises: BadOption."""
    if text is None or text == "":
        return {}
    if isinstance(text, Mapping):
        return dict(text)
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BadOption(f"{what} takes a JSON object, such as '{{\"top_k\": 20}}'")
    return value


def check_extra(extra: Mapping[str, Any]) -> None:
    """Raises: BadOption for a field that Vervet itself sets."""
    for name in extra:
        if name in OURS:
            raise BadOption(f"-M extra: {name!r} is set by Vervet itself; leave it out")

"""The OpenAI chat protocol, as far as it is spoken here: requests in, replies and errors out. Nothing in a request is code.

Beside OpenAI's fields a request may have one of ours (`extra_body` of the openai client)::

    "vervet": {"verifier": "tests", "check": {...}, "reference": "42", "answer": "last-line"}

`verifier` is a name of the operator's; `check` and `reference` are what it decides by. What would change the meaning of a reply
and is not understood here is refused, never ignored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from vervet.records import Message, Params

KINDS = ("best-of", "majority", "verified")
ANSWERS = ("auto", "text", "last-line", "number")
_NAME = re.compile(r"(best-of|majority|verified)-([0-9]{1,6}):(.+)", re.DOTALL)
_ROLES = frozenset({"system", "developer", "user", "assistant"})
_MEANING = ("tools", "functions", "logit_bias", "audio", "prediction", "logprobs", "top_logprobs", "web_search_options")
# fields that change what a reply is
_PASSED_ON = ("presence_penalty", "frequency_penalty")
_MOST_MESSAGES, _MOST_STOPS = 1000, 4
_PIECE = 64
# characters of a streamed chunk


class Refused(Exception):
    """A request that gets an error in OpenAI's shape."""

    def __init__(
        self, status: int, message: str, code: str | None = None, param: str | None = None, retry_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_s = status, code, param, retry_s

    def body(self) -> dict[str, Any]:
        kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(self.status)
        kind = kind or ("invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True, slots=True)
class Strategy:
    """What a model's name asks for."""

    kind: Literal["first", "best-of", "majority", "verified"]
    k: int
    model: str
    # provider/name

    @classmethod
    def parse(cls, name: str) -> Strategy:
        found = _NAME.fullmatch(name)
        if found is None:
            return cls("first", 1, name)
        kind: Any = found[1]
        return cls(kind, int(found[2]), found[3])


@dataclass(frozen=True, slots=True)
class Ask:
    """A chat request, checked."""

    strategy: Strategy
    name: str
    # the model as the client wrote it
    messages: tuple[Message, ...]
    params: Params
    stream: bool
    stream_usage: bool
    seed: int | None
    verifier: str | None = None
    check: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None
    answer: str | None = None


def parse(raw: bytes, *, max_k: int, max_tokens: int, default_tokens: int) -> Ask:
    """Raises: Refused."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refused(400, "the body must be a JSON object")
    name = body.get("model")
    if not isinstance(name, str) or not name or len(name) > 512:
        raise Refused(400, "model must be a name of /v1/models", param="model")
    strategy = Strategy.parse(name)
    if not 1 <= strategy.k <= max_k:
        raise Refused(400, f"{name}: this server draws 1 to {max_k} samples a request", param="model")
    _refuse_meaning(body)
    params = _params(body, strategy, max_tokens, default_tokens)
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise Refused(400, "stream_options must be an object", param="stream_options")
    ours = _ours(body.get("vervet"))
    if strategy.kind == "verified" and ours.get("verifier") is None:
        raise Refused(400, f'{name}: say which verifier decides: "vervet": {{"verifier": ...}}', param="vervet")
    return Ask(
        strategy,
        name,
        _messages(body.get("messages")),
        params,
        _flag(body, "stream"),
        bool(options.get("include_usage")),
        _whole(body, "seed", None, -(1 << 63), 1 << 63),
        **ours,
    )


def _refuse_meaning(body: Mapping[str, Any]) -> None:
    for name in _MEANING:
        if body.get(name):
            raise Refused(400, f"{name} is not supported here", "unsupported_parameter", name)
    if body.get("n") not in (None, 1):
        raise Refused(400, "n must be 1: the model's name says how many samples are drawn", "unsupported_value", "n")
    form = body.get("response_format")
    if form is not None and (not isinstance(form, dict) or form.get("type") != "text"):
        raise Refused(400, "response_format must be text", "unsupported_value", "response_format")


def _params(body: Mapping[str, Any], strategy: Strategy, most: int, default: int) -> Params:
    temperature = _number(body, "temperature", 1.0, 0.0, 2.0)
    if temperature == 0 and strategy.k > 1:
        raise Refused(400, "temperature 0 draws the same sample again and again: raise it", param="temperature")
    limit = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    tokens = _whole(body, limit, min(default, most), 1, most) or default
    extra = {name: _number(body, name, 0.0, -2.0, 2.0) for name in _PASSED_ON if body.get(name)}
    top_p = None if body.get("top_p") is None else _number(body, "top_p", 1.0, 0.0, 1.0)
    if top_p == 0:
        raise Refused(400, "top_p must be above 0", param="top_p")
    return Params(temperature, top_p, tokens, _stops(body.get("stop")), extra)


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else [] if value is None else value
    if (
        not isinstance(stops, list)
        or len(stops) > _MOST_STOPS
        or not all(isinstance(s, str) and 0 < len(s) <= 1024 for s in stops)
    ):
        raise Refused(400, f"stop must be a text or up to {_MOST_STOPS} texts", param="stop")
    return tuple(stops)


def _number(body: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Refused(400, f"{name} must be a number", param=name)
    if not low <= value <= high:
        raise Refused(400, f"{name} must be between {low:g} and {high:g}", param=name)
    return float(value)


def _whole(body: Mapping[str, Any], name: str, default: int | None, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refused(400, f"{name} must be a whole number between {low} and {high}", param=name)
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refused(400, f"{name} must be true or false", param=name)
    return bool(value)


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= _MOST_MESSAGES:
        raise Refused(400, f"messages must be a list of 1 to {_MOST_MESSAGES} messages", param="messages")
    return tuple(_message(i, m) for i, m in enumerate(value))


def _message(i: int, value: Any) -> Message:
    where = f"messages[{i}]"
    if not isinstance(value, dict) or value.get("role") not in _ROLES:
        raise Refused(400, f"{where} needs a role: {', '.join(sorted(_ROLES))}", param=where)
    content = value.get("content")
    if isinstance(content, list):
        parts = [p.get("text") if isinstance(p, dict) and p.get("type") == "text" else None for p in content]
        if not all(isinstance(p, str) for p in parts):
            raise Refused(400, f"{where}: only text is supported", param=where)
        content = "".join(str(p) for p in parts)
    if not isinstance(content, str):
        raise Refused(400, f"{where} needs a content: text", param=where)
    role = "system" if value["role"] == "developer" else value["role"]
    return Message(role, content)


def _ours(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    known = {"verifier": str, "check": dict, "reference": str, "answer": str}
    if not isinstance(value, dict):
        raise Refused(400, "vervet must be an object", param="vervet")
    for key, said in value.items():
        if key not in known:
            raise Refused(400, f"vervet.{key} is unknown: {', '.join(known)}", param="vervet")
        if said is not None and not isinstance(said, known[key]):
            raise Refused(
                400, f"vervet.{key} must be {'an object' if known[key] is dict else 'a text'}", param="vervet"
            )
    if value.get("answer") not in (None, *ANSWERS):
        raise Refused(400, f"vervet.answer must be one of {', '.join(ANSWERS)}", param="vervet")
    return {key: said for key, said in value.items() if said is not None}


# ---------------------------------------------------------------------------------------------------- replies


@dataclass(frozen=True, slots=True)
class Told:
    """What a reply says."""

    id: str
    created: int
    model: str
    text: str
    finish_reason: str
    usage: Mapping[str, Any]

    def whole(self) -> dict[str, Any]:
        """chat.completion."""
        message = {"role": "assistant", "content": self.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return self._head("chat.completion") | {"choices": [choice], "usage": self.usage}

    def pieces(self, *, usage: bool) -> Iterator[bytes]:
        """The same as server-sent events; the text is whole before the first of them is sent."""

        def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            extra = {"usage": None} if usage else {}
            return event(self._head("chat.completion.chunk") | {"choices": [choice]} | extra)

        yield chunk({"role": "assistant", "content": ""})
        for start in range(0, len(self.text), _PIECE):
            yield chunk({"content": self.text[start : start + _PIECE]})
        yield chunk({}, self.finish_reason)
        if usage:
            yield event(self._head("chat.completion.chunk") | {"choices": [], "usage": self.usage})
        yield b"data: [DONE]\n\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def event(value: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"

"""What an HTTP error means for a request: try again, wait, ask differently, give up on the prompt, or on the run."""

from __future__ import annotations

import datetime
import email.utils
import enum
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vervet.samplers._http_reply import BadReply, load


class Action(enum.Enum):
    RETRY = "retry"  # a fault that may pass
    SLOW_DOWN = "slow down"  # too many requests: try again, and send fewer at once
    ADAPT = "adapt"  # a field that this server does not take
    REFUSE = "refuse"  # this prompt can never succeed
    UNCLEAR = "unclear"  # refused for a reason we do not know: the prompt's fault, or everybody's
    KEY = "key"  # the key is missing, wrong or not allowed to do this
    MODEL = "model"  # no such model
    ADDRESS = "address"  # not an API of this kind
    MONEY = "money"  # the account is empty


@dataclass(frozen=True, slots=True)
class Trouble:
    """One judged error reply."""

    action: Action
    detail: str
    # what the server said, one line, not yet free of keys
    field: str = ""
    # ADAPT: the field; UNCLEAR: what the server names, if anything
    wait_s: float | None = None
    # what Retry-After asks for


_FIELDS = (
    "max_completion_tokens", "max_tokens", "temperature", "top_p", "logprobs", "top_logprobs", "seed", "stop", "n",
)  # fmt: skip
_TOO_LONG = re.compile(
    r"(?i)context[_ ](length|size|window)|maximum context|too long|too many tokens|exceed\w* (the )?(available )?context"
    r"|input token count|prompt is too|reduce the length"
)
_NO_MODEL = re.compile(
    r"(?i)model.{0,80}(not found|does not exist|not exist|unknown|no such|not available|invalid)"
    r"|model_not_found|(no such|unknown|invalid) model"
)
_NO_MONEY = re.compile(
    r"(?i)insufficient[_ ](quota|balance|credit|funds)|exceeded your current quota|billing|credit balance"
)
_BLOCKED = re.compile(r"(?i)content[_ ]?(policy|filter|management)|safety|moderation|flagged")
_REFUSED = re.compile(
    r"(?i)unsupported|not supported|does not support|not permitted|unrecognized|unknown|unexpected|invalid|must be|should be"
    r"|only .{0,40}(default|supported|allowed|value)|extra (inputs|fields)|deprecated|cannot|can't|not allowed|at most"
    r"|too large|greater than|less than"
)


def judge(status: int, headers: Mapping[str, str], body: bytes) -> Trouble:
    """What a reply with an error status (or an error object) asks us to do."""
    code, param, message = _said(body)
    detail = f"HTTP {status}" + (f": {message}" if message else "")
    said = f"{code} {message}"
    if status == 402 or (status in (403, 429) and _NO_MONEY.search(said)):
        return Trouble(Action.MONEY, detail)
    if status in (401, 403, 407):
        # what comes with a 401 often quotes the key
        return Trouble(Action.KEY, detail if status == 403 else f"HTTP {status}")
    if status in (429, 503, 529):
        return Trouble(Action.SLOW_DOWN, detail, wait_s=retry_after(headers))
    if status in (408, 409, 425) or (status >= 500 and status not in (501, 505)):
        return Trouble(Action.RETRY, detail, wait_s=retry_after(headers))
    if status in (400, 413, 422):
        return _refused(status, code, param, message, detail)
    if status == 404 and _NO_MODEL.search(said):
        return Trouble(Action.MODEL, detail)
    return Trouble(Action.ADDRESS, detail)


def _refused(status: int, code: str, param: str, message: str, detail: str) -> Trouble:
    said = f"{code} {message}"
    if status == 413 or code == "context_length_exceeded" or _TOO_LONG.search(said):
        return Trouble(Action.REFUSE, detail)
    if _BLOCKED.search(said):
        return Trouble(Action.REFUSE, detail)
    field = _field(param, message)
    if field:
        return Trouble(Action.ADAPT, detail, field)
    if _NO_MODEL.search(said):
        return Trouble(Action.MODEL, detail)
    return Trouble(Action.UNCLEAR, detail, param)


def _field(param: str, message: str) -> str:
    """The field of ours that is refused, "" where none is named."""
    name = param.rpartition(".")[2]
    if name in _FIELDS:
        return name
    if not _REFUSED.search(message):
        return ""
    # the one that is named first: others are mentioned as advice
    places = [(found.start(), name) for name in _FIELDS if (found := _named(name).search(message))]
    return min(places)[1] if places else ""


@functools.cache
def _named(name: str) -> re.Pattern[str]:
    quoted = rf"['\"`]{name}['\"`]|\bbody\.{name}\b|\bparameter:? {name}\b|^{name}\b"
    # a bare "n" or "stop" is a word of the language
    return re.compile(quoted if len(name) < 5 else rf"{quoted}|\b{name}\b")


def _said(body: bytes) -> tuple[str, str, str]:
    """(code, parameter, message) of an error body in any of the usual shapes; the message is one short line."""
    try:
        value = load(body)
    except BadReply:
        return "", "", "" if b"<" in body[:200] else _line(body[:300].decode("utf-8", "replace"))
    if isinstance(value, list) and value:
        # google sends its error object in a list
        value = value[0]
    if not isinstance(value, Mapping):
        return "", "", _line(str(value))
    error: Any = value.get("error", value)
    if isinstance(error, str):
        return "", "", _line(error)
    if not isinstance(error, Mapping):
        error = value
    if isinstance(error.get("detail"), list):
        return _fastapi(error["detail"])
    message = error.get("message") or error.get("detail") or error.get("msg") or ""
    return str(error.get("code") or error.get("type") or ""), str(error.get("param") or ""), _line(str(message))


def _fastapi(detail: list[Any]) -> tuple[str, str, str]:
    first = detail[0] if detail and isinstance(detail[0], Mapping) else {}
    location = first.get("loc")
    param = str(location[-1]) if isinstance(location, list) and location else ""
    return "", param, _line(f"{param}: {first.get('msg', '')}")


def _line(text: str) -> str:
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= 300 else text[:297] + "..."


def error_object(body: bytes) -> bool:
    """Whether a body with status 200 is really an error, as routers send when the server behind them fails."""
    return b'"error"' in body and b'"choices"' not in body


def error_status(body: bytes) -> int:
    """The status inside such a body, 502 where it holds none."""
    try:
        value = load(body)
        code = value["error"]["code"]
    except (BadReply, KeyError, TypeError):
        return 502
    return code if isinstance(code, int) and 400 <= code < 600 else 502


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks us to wait: a number, milliseconds or a date; None where it says nothing usable."""
    for name, unit in (("retry-after-ms", 1e-3), ("Retry-After", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            seconds = float(text) * unit
        except ValueError:
            try:
                when = email.utils.parsedate_to_datetime(text)
            except ValueError:
                continue
            if when.tzinfo is None:
                when = when.replace(tzinfo=datetime.UTC)
            seconds = (when - datetime.datetime.now(datetime.UTC)).total_seconds()
        if seconds >= 0 and seconds < 1e7:
            return seconds
    return None

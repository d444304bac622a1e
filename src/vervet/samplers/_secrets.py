"""Keeping keys out of everything that is stored or shown.

A key reaches a server from an environment variable, from the user-info or query of a base URL, or from a "$NAME" in a header
or an extra field, which stands for an environment variable and is looked up when the first request is made. Headers
take nothing else; extra fields, which are stored with the run, are refused where they look like a key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from vervet.errors import BadOption, UserError

_REFERENCE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_SECRET_NAME = re.compile(
    r"(?i)(^|[^a-z])(api[-_]?key|access[-_]?key|key|token|secret|passw(or)?d|authorization|auth|bearer|credential|cookie"
    r"|signature|session[-_]?id)s?($|[^a-z])"
)
_SECRET_VALUE = re.compile(r"(?i)^(bearer |basic )|(^|[^a-z])(sk|pk|rk|xai|gsk|hf|ghp|AIza|key)[-_][A-Za-z0-9_-]{12,}")
_DENSE = re.compile(r"[A-Za-z0-9]{16,}")
_HIDDEN = "[hidden]"


def public_url(url: str) -> str:
    """scheme://host:port/path: without user-info, query and fragment, where keys are kept. Never raises."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not a URL)"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path}".rstrip("/")


def url_secrets(url: str) -> Iterator[str]:
    """What a URL holds beside its address."""
    parts = urlsplit(url)
    yield from (text for text in (parts.username, parts.password) if text)
    for _, value in parse_qsl(parts.query, keep_blank_values=False):
        yield value
    if parts.query:
        yield unquote(parts.query)
        yield parts.query


def refuse_keys(values: Mapping[str, Any], what: str) -> None:
    """Raises: BadOption where a text in `values` looks like a key; the message does not repeat it."""
    for path, name, text in _texts(values, ""):
        if _REFERENCE.fullmatch(text):
            continue
        if secret_name(name) or looks_like_a_key(text):
            raise BadOption(
                f"{what} {path} looks like a key and would be stored with the run: "
                f'put it into an environment variable NAME and write "$NAME" there'
            )


def require_references(values: Mapping[str, Any], what: str) -> None:
    """Raises: BadOption unless every value is a "$NAME": headers are where keys live."""
    for name, value in values.items():
        if not (isinstance(value, str) and _REFERENCE.fullmatch(value)):
            raise BadOption(f'{what} {name}: put the value into an environment variable NAME and write "$NAME"')


def secret_name(name: str) -> bool:
    """Whether a field or an environment variable is called as one that holds a key is called."""
    return bool(_SECRET_NAME.search(name))


def looks_like_a_key(text: str) -> bool:
    """A known prefix, an authorization scheme, or a long unbroken piece that mixes letters and digits."""
    if _SECRET_VALUE.search(text):
        return True
    return any(any(c.isdigit() for c in piece) and any(c.isalpha() for c in piece) for piece in _DENSE.findall(text))


def _texts(value: Any, path: str, name: str = "") -> Iterator[tuple[str, str, str]]:
    """(path, last name, text) of every text inside a JSON value."""
    if isinstance(value, str):
        yield path, name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{path}.{key}" if path else str(key), str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, path, name)


class Keyring:
    """The secrets that one sampler has used; takes them out of any text."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def add(self, secrets: Iterable[str]) -> None:
        self._known.update(s for s in secrets if len(s) >= 4)

    def variable(self, name: str) -> str:
        """Value of an environment variable, "" where it is not set; remembered as a secret."""
        value = os.environ.get(name, "").strip()
        self.add([value])
        return value

    def expand(self, value: Any, what: str) -> Any:
        """`value` with every "$NAME" replaced. Raises: UserError where the variable is not set."""
        if isinstance(value, str):
            found = _REFERENCE.fullmatch(value)
            if not found:
                return value
            secret = self.variable(found[1])
            if not secret:
                raise UserError(f"{what} asks for the environment variable {found[1]}, which is not set")
            return secret
        if isinstance(value, Mapping):
            return {k: self.expand(v, what) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.expand(v, what) for v in value]
        return value

    def redact(self, text: str) -> str:
        """`text` without any secret that is known, longest first."""
        for secret in sorted(self._known, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return text

    def __repr__(self) -> str:
        return f"Keyring({len(self._known)} secrets)"

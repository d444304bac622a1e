"""What the operator of a server says: which models, which verifiers, which clients, and how much of everything.

A TOML file::

    store = "exchanges"              # or store = false
    scorer = "judge/openai/gpt-x"    # for best-of-k
    [[models]]
    name = "openai/gpt-x"
    price_in = 0.15                  # US dollars per million tokens, with price_out
    price_out = 0.60
    [models.options]                 # as -M
    max_n = 8
    [verifiers.tests]                # "tests" is what a request says
    verifier = "python_tests"
    answer = "auto"                  # what of a reply is the answer
    [verifiers.tests.options]        # as -V
    cpu_s = 5
    [clients.ci]
    key_env = "CI_KEY"               # the variable that holds its key, or key_sha256 = "..."
    max_in_flight = 16
    per_minute = 600
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vervet.errors import BadOption

AnswerKind = Literal["auto", "text", "last-line", "number"]
_FIRM = ConfigDict(extra="forbid", frozen=True)


class ModelSettings(BaseModel):
    """A model that requests may name."""

    model_config = _FIRM

    name: str
    # provider/name
    base_url: tuple[str, ...] = ()
    options: Mapping[str, Any] = Field(default_factory=dict)
    max_in_flight: int | None = Field(default=None, ge=1)
    price_in: float | None = Field(default=None, ge=0)
    price_out: float | None = Field(default=None, ge=0)


class VerifierSettings(BaseModel):
    """A verifier that requests may name, by the operator's name for it."""

    model_config = _FIRM

    verifier: str
    options: Mapping[str, Any] = Field(default_factory=dict)
    answer: AnswerKind = "auto"


class ClientSettings(BaseModel):
    """Who may use the server, and how much of it."""

    model_config = _FIRM

    key_env: str | None = None
    key_sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")
    max_in_flight: int = Field(default=64, ge=1)
    per_minute: int | None = Field(default=None, ge=1)

    def digest(self, name: str) -> bytes:
        """SHA-256 of the client's key. Raises: BadOption where there is none."""
        if (self.key_env is None) == (self.key_sha256 is None):
            raise BadOption(f"clients.{name}: give one of key_env (a variable that holds the key) and key_sha256")
        if self.key_sha256 is not None:
            return bytes.fromhex(self.key_sha256)
        key = os.environ.get(self.key_env or "", "")
        if len(key) < 16:
            raise BadOption(f"clients.{name}: ${self.key_env} has to hold its key, 16 characters or more")
        return hashlib.sha256(key.encode()).digest()


class ServeSettings(BaseModel):
    """A whole server."""

    model_config = _FIRM

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    models: tuple[ModelSettings, ...] = ()
    verifiers: Mapping[str, VerifierSettings] = Field(default_factory=dict)
    clients: Mapping[str, ClientSettings] = Field(default_factory=dict)
    scorer: str | None = None
    store: str | Literal[False] = "exchanges"
    sandbox: str = "auto"
    max_k: int = Field(default=64, ge=1)
    # samples a request at most
    max_tokens: int = Field(default=4096, ge=1)
    # completion tokens a sample at most
    default_tokens: int = Field(default=1024, ge=1)
    # where a request does not say
    max_body: int = Field(default=1 << 20, ge=1024)
    # bytes of a request
    max_in_flight: int = Field(default=1024, ge=1)
    # exchanges at once, all clients together
    keepalive_s: float = Field(default=10.0, gt=0)
    # a streamed reply that is not there by then begins with comments, so that nothing between here and there hangs up
    open_to_anyone: bool = False

    def over(self, said: Mapping[str, Any]) -> ServeSettings:
        """These settings, and what was said on the command line over them. Raises: BadOption."""
        return parse({**self.model_dump(), **{k: v for k, v in said.items() if v is not None}}, "vervet serve")


def parse(values: Mapping[str, Any], origin: str) -> ServeSettings:
    """Raises: BadOption, in one line that names the setting."""
    try:
        return ServeSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = "there is no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise BadOption(f"{origin}: {where}: {what}") from error


def from_file(path: Path | None) -> ServeSettings:
    """Raises: BadOption."""
    if path is None:
        return ServeSettings()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadOption(f"-c {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadOption(f"-c {path} is not TOML: {error}") from error
    return parse(values, str(path))

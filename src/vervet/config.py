"""Settings and where they come from: command line > VERVET_* > -c file > protocol > task > built-in.

A repeat in an existing run takes what is not given from the run, never from the environment or a file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vervet.errors import BadOption

Whole = Field(default=None, ge=1)
_OPTIONS = ("task_options", "model_options", "verifier_options")
# merged key by key; written as tables [task] and [model] in a file


class Settings(BaseModel):
    """Everything a run can be told. None: not said."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n: int | None = Whole
    # stored samples a problem
    limit: int | None = Whole
    # the first so many problems
    problems: tuple[str, ...] | None = None
    # these problems only
    seed: int | None = Field(default=None, ge=0)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Whole
    stop: tuple[str, ...] | None = None
    greedy: bool | None = None
    # temperature 0, and more than one sample of it is meant
    prompt_form: Literal["auto", "chat", "completion"] | None = None
    max_in_flight: int | None = Whole
    base_url: tuple[str, ...] | None = None
    # servers of the model; may hold keys, so the run keeps only the addresses
    policy: str | None = None
    verifier: str | None = None
    sandbox: str | None = None
    executor: str | None = None
    durability: Literal["fast", "full"] | None = None
    task_options: Mapping[str, Any] = Field(default_factory=dict)
    # options of the task, -T
    model_options: Mapping[str, Any] = Field(default_factory=dict)
    # options of the sampler, -M
    verifier_options: Mapping[str, Any] = Field(default_factory=dict)
    # settings of the verifier, -V

    def over(self, below: Settings) -> Settings:
        """These settings where they say something, else those below."""
        said = {k: v for k, v in self.model_dump().items() if v is not None and k not in _OPTIONS}
        merged = below.model_dump() | said
        for name in _OPTIONS:
            merged[name] = {**getattr(below, name), **getattr(self, name)}
        return Settings.model_validate(merged)

    def given(self) -> dict[str, Any]:
        """What was said, plain JSON."""
        return {k: v for k, v in self.model_dump(mode="json").items() if v not in (None, {})}


def settings(values: Mapping[str, Any], origin: str) -> Settings:
    """Validated settings. Raises: BadOption with one line that names the option, its value and where it was said."""
    try:
        return Settings.model_validate({k: v for k, v in values.items() if v is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        flag = _spell(name, origin)
        if first["type"] == "extra_forbidden":
            raise BadOption(f"{origin}: no setting {name!r}; known: {', '.join(Settings.model_fields)}") from error
        shown = first.get("input")
        raise BadOption(f"{flag} {shown!r}: {first['msg'].replace('Input should', 'should')}") from error


def _spell(name: str, origin: str) -> str:
    if origin == "command line":
        return "-n" if name == "n" else f"--{name.replace('_', '-')}"
    return f"VERVET_{name.upper()}" if origin == "environment" else f"{origin}: {name}"


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """VERVET_TEMPERATURE=0.8 and the like; lists are separated by commas. Others (VERVET_CACHE) are not settings."""
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    for name in Settings.model_fields:
        text = environment.get(f"VERVET_{name.upper()}")
        if text is not None and name not in _OPTIONS:
            values[name] = text.split(",") if name in ("problems", "stop", "base_url") else text
    return settings(values, "environment")


def from_file(path: Path | None) -> Settings:
    """A TOML file with the settings' names, options in [task] and [model]. Raises: BadOption."""
    if path is None:
        return Settings()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadOption(f"-c {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadOption(f"-c {path} is not TOML: {error}") from error
    tables = {"task": "task_options", "model": "model_options"}
    return settings({tables.get(k, k.replace("-", "_")): v for k, v in values.items()}, str(path))

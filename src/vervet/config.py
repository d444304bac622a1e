"""Settings and where they come from: command line > VERVET_* > -c file > protocol > task > built-in.

A repeat in an existing run takes what is not given from the run, never from the environment or a file.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vervet.errors import BadOption

Whole = Field(default=None, ge=1)
_OPTIONS = ("task_options", "model_options", "verifier_options")
# merged key by key; written as tables [task], [model] and [verifier_options] in a file
_TABLES = {"task": "task_options", "model": "model_options", "verifier_options": "verifier_options"}
_LISTS = ("problems", "stop", "base_url")


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
    # which problems get how many samples: fixed, first-pass, m-passes=M, adaptive
    budget_usd: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    budget_tokens: int | None = Whole
    budget_samples: int | None = Whole
    budget_minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    # hard caps over the whole run; with several models over all of them
    price_in: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    price_out: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    price_cached: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    # US dollars per million prompt tokens, completion tokens, and prompt tokens that a prefix cache served
    verifier: str | None = None
    sandbox: str | None = None
    executor: str | None = None
    ray_address: str | None = None
    # of the cluster, for the executor ray
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
            raise BadOption(f"{origin}: no setting {name!r}{_near(name)}") from error
        shown = first.get("input")
        raise BadOption(f"{flag} {shown!r}: {first['msg'].replace('Input should', 'should')}") from error


def from_assignments(pairs: Sequence[str]) -> Settings:
    """--set temperature=0.2, --set model.max_n=4, --set model.extra.top_k=20: paths as in a file, values as in TOML or text.

    Raises: BadOption.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        path, sign, text = pair.partition("=")
        keys = [key.strip().replace("-", "_") for key in path.split(".")]
        if not sign or not all(keys):
            raise BadOption(f"--set {pair!r}: write --set name=value, --set task.name=value or --set model.name=value")
        if keys[0] not in _TABLES and len(keys) > 1:
            raise BadOption(f"--set {pair!r}: {keys[0]!r} is no table; there are {', '.join(_TABLES)}")
        if keys[0] in _TABLES and len(keys) == 1:
            raise BadOption(f"--set {pair!r}: write --set {keys[0]}.name=value")
        place = values
        for key in keys[:-1]:
            place = place.setdefault(_TABLES.get(key, key) if place is values else key, {})
            if not isinstance(place, dict):
                raise BadOption(f"--set {pair!r}: {key!r} has a value already")
        place[keys[-1]] = _value(text)
    for name in _LISTS:
        if isinstance(values.get(name), str):
            values[name] = values[name].split(",")
    return settings(values, "--set")


def _near(name: str) -> str:
    known = [n for n in Settings.model_fields if n not in _OPTIONS] + list(_TABLES)
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


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
            values[name] = text.split(",") if name in _LISTS else text
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
    return settings({_TABLES.get(k, k.replace("-", "_")): v for k, v in values.items()}, str(path))

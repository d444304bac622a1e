"""What this host can isolate with, and why not more."""

from __future__ import annotations

import functools
import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vervet.sandbox import inside
from vervet.sandbox._container import interpreter

REQUIRED = frozenset({"namespaces", "seccomp"})
"""Without these there is no sandbox `namespaces`; the other layers are declared when missing."""
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of isolation."""

    name: str
    # "namespaces", "seccomp", "uids", "landlock", "cgroup", "starvation"
    available: bool
    detail: str
    # what exactly is there, or why it is not

    @property
    def required(self) -> bool:
        """Whether the sandbox refuses to start without it."""
        return self.name in REQUIRED


@dataclass(frozen=True, slots=True)
class Capabilities:
    """All layers, in the order of their weight."""

    layers: tuple[Layer, ...]

    @property
    def namespaces(self) -> bool:
        """Whether `--sandbox namespaces` can start here."""
        return all(layer.available for layer in self.layers if layer.required)

    def to_dict(self) -> dict[str, Any]:
        return {"namespaces": self.namespaces, "layers": [asdict(layer) for layer in self.layers]}


@functools.cache
def capabilities() -> Capabilities:
    """Try every layer, each in a process of its own. Takes some 50 ms once; changes nothing on the host."""
    probe = str(Path(inside.__file__).with_name("probe.py"))
    try:
        done = subprocess.run(  # noqa: S603
            [*interpreter(), probe],
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
            env={},
            stdin=subprocess.DEVNULL,
        )
        layers = tuple(Layer(**entry) for entry in json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        layers = tuple(Layer(name, False, f"could not be tried: {error}") for name in sorted(REQUIRED))
    return Capabilities(layers)

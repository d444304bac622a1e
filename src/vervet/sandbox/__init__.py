"""Runs untrusted code. Used by verifiers only."""

from __future__ import annotations

from vervet.errors import BadOption

KINDS = ("auto", "namespaces", "none")
"""What `--sandbox` may say. `none` is never chosen for anybody."""


def resolve(kind: str) -> str:
    """The isolation that a `--sandbox` value stands for. Raises: BadOption."""
    if kind not in KINDS:
        raise BadOption(f"no sandbox {kind!r}: choose one of {', '.join(KINDS)}")
    return "namespaces" if kind == "auto" else kind

"""Samples in and out of a run, in the formats people already have."""

from __future__ import annotations

from pathlib import Path

from vervet.ledger.formats import Imported


def import_samples(
    path: Path | str,
    out: Path | str,
    *,
    format: str | None = None,
    task: str | None = None,
    model: str = "imported/unknown",
) -> Imported:
    raise NotImplementedError


def export(run: Path | str, *, format: str, out: Path | None = None, checks: bool = False) -> tuple[Path, int]:
    raise NotImplementedError

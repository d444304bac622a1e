"""Where tests find counts: the six files that ship with the package, and the shared folder where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COUNTS = ROOT / "src" / "vervet" / "data" / "counts"


def shared(name: str) -> Path:
    """A file of the shared data folder; skips the test where it is absent."""
    path = Path(os.environ.get("VERVET_SHARED_DATA") or ROOT.parent / "shared" / "data") / name
    if not path.exists():
        pytest.skip(f"needs {name} in ../shared/data (or VERVET_SHARED_DATA)")
    return path

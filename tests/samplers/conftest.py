"""A task that any sampler may be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import write_problems


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Six sums."""
    return write_problems(tmp_path / "q.jsonl", 6)

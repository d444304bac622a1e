"""One viewer over three runs, a hostile one among them, for all that only look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reports.pages import small_run
from tests.viewer.serving import Viewer, nasty_run, viewing


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("viewed")
    nasty_run(folder)
    small_run(folder, out=folder / "sums").close()
    small_run(folder, "fake/beta=0.2,3", out=folder / "harder", n=20).close()
    return folder


@pytest.fixture(scope="session")
def viewer(folder: Path) -> Iterator[Viewer]:
    with viewing([folder / "nasty", folder / "sums", folder / "harder"]) as found:
        yield found.enter()

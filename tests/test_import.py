"""`import vervet` is cheap and offers what it names. bench/import_time.py measures the time."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import vervet

# What only some uses of Vervet need; each costs from 20 ms to a second.
HEAVY = ["aiohttp", "jinja2", "matplotlib", "pyarrow", "pydantic", "rich", "scipy", "typer", "xllamacpp"]


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_import_loads_nothing_heavy() -> None:
    loaded = modules_after("import vervet")
    assert "vervet" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_check_can_see_a_heavy_import() -> None:
    assert "scipy" in modules_after("import vervet, scipy")


@pytest.mark.parametrize("name", getattr(vervet, "__all__", ["__all__"]))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(vervet, name) is not None
    assert name in dir(vervet)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = vervet.no_such_name


def test_the_version_is_that_of_the_project(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    assert vervet.__version__ == project["version"]

"""The checks of `make check` and `make docs` find what they are for, and accept what is right."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def check_tree(project_root: Path) -> ModuleType:
    return load(project_root / "scripts" / "check_tree.py")


@pytest.fixture(scope="module")
def check_docs(project_root: Path) -> ModuleType:
    return load(project_root / "scripts" / "check_docs.py")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def checkout(root: Path, files: dict[str, str]) -> Path:
    """A git checkout with a sound core and `files`."""
    sound = {
        "pyproject.toml": '[project]\nversion = "1.2.0"\n',
        "CHANGELOG.md": "# Changes\n\n## 1.2.0 - soon\n\n## 1.1.0\n",
        "src/vervet/__init__.py": '__version__ = "1.2.0"\n',
        ".gitignore": "ignored/\n",
    }
    subprocess.run(["git", "init", "-q", root], check=True)
    return write(root, {**sound, **files})


def test_a_sound_tree_has_no_findings(check_tree: ModuleType, tmp_path: Path) -> None:
    ordinary = {
        "src/vervet/a.py": "url = 'https://x.example/work/page'  # ./work/a, $HOME/root/x, file:///home\n",
        "src/vervet/sandbox/b.py": "CWD = '/work/program.py'\n",
        "ignored/c.py": "'/root/" + "secret'\n",
        "picture.png": "",
    }
    root = checkout(tmp_path, ordinary)
    (root / "picture.png").write_bytes(b"\x89PNG\xff /root/" + b"x")
    assert check_tree.findings(root) == []


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("docs/a.md", "see /home/" + "ann/project/x.py\n", "docs/a.md:1 names a folder"),
        ("src/vervet/a.py", "x = 1\np = '/root/" + ".cache/x'\n", "src/vervet/a.py:2 names a folder"),
        ("Makefile", "DATA = /work/" + "data/x\n", "Makefile:1 names a folder"),
        ("uv.lock", 'url = "https://files.example/x.whl"\n', "uv.lock:1 records a download address"),
        ("pip.conf", "extra-index-" + "url = x\n", "pip.conf:1 names a package index"),
        ("src/vervet/a.py", "# TO" + "DO later\n", "src/vervet/a.py:1 says TODO"),
        ("src/vervet/a.py", "x = 1\n" * 601, "src/vervet/a.py has 601 lines"),
        ("CHANGELOG.md", "# Changes\n\n## 1.1.0\n", "CHANGELOG.md begins with 1.1.0"),
        ("src/vervet/version.py", '__version__ = "0.9"\n', "src/vervet/version.py says 0.9"),
    ],
)
def test_each_fault_is_found_once(check_tree: ModuleType, tmp_path: Path, name: str, text: str, finding: str) -> None:
    found = check_tree.findings(checkout(tmp_path, {name: text}))
    assert len(found) == 1, found
    assert found[0].startswith(finding)


DOCS = {
    "README.md": "# Name\n[docs](docs/index.md) [top](#name) [web](https://example.org/x.md)\n",
    "CHANGELOG.md": "",
    "CONTRIBUTING.md": "",
    "LICENSE": "",
    "docs/index.md": "# Docs\n[a](a.md#two-words-1) `[code](none.md)`\n```\n[code](none.md)\n```\n",
    "docs/a.md": "# `Two` words\n## Two words\n[back](../README.md)\n",
}


def test_sound_links_pass(check_docs: ModuleType, tmp_path: Path) -> None:
    assert check_docs.findings(write(tmp_path, DOCS)) == []


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("docs/a.md", "[x](gone.md)\n# Two words\n# Two words\n", "docs/a.md: gone.md: no such file"),
        ("docs/a.md", "# Two\n", "docs/index.md: a.md#two-words-1: no such heading"),
        ("docs/lonely.md", "# Here\n", "docs/lonely.md: no link leads here from docs/index.md"),
        ("design/001-x.md", "# 001: X\n![figure](x.png)\n", "design/001-x.md: x.png: no such file"),
        ("README.md", "[r]: docs/none.md\n", "README.md: docs/none.md: no such file"),
        ("design/001-x.md", "# X\n", "design/001-x.md: its first line should begin with '# 001: '"),
    ],
)
def test_each_broken_link_is_named(check_docs: ModuleType, tmp_path: Path, name: str, text: str, finding: str) -> None:
    assert check_docs.findings(write(tmp_path, {**DOCS, name: text})) == [finding]


def test_a_number_stands_for_one_decision(check_docs: ModuleType, tmp_path: Path) -> None:
    files = {f"design/00{i}-{name}.md": f"# 00{i}: {name}\n" for i, name in ((1, "a"), (2, "b"), (2, "c"))}
    taken = "design/002-c.md: its number is taken by 002-b.md"
    assert check_docs.findings(write(tmp_path, {**DOCS, **files})) == [taken]

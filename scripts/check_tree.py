"""Staleness and hygiene of the tree: what no linter looks at. Prints one line a finding; exits 1 if there is any.

python scripts/check_tree.py [FOLDER]
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

MAX_LINES = 600
LONG_FILES: dict[str, str] = {}
# path -> why it is longer than MAX_LINES

MACHINE_PATH = re.compile(r"(?<![\w.:>}-])/(?:root|work|home)/[\w.][^\s'\"`)\]}]*")
OWN_PATHS = {"/work/": "the working folder inside the sandbox"}
SANDBOX_PARTS = ("src/vervet/sandbox/", "src/vervet/verifiers/", "tests/")
# where OWN_PATHS are spoken of

PACKAGE_INDEX = re.compile(r"--(?:extra-)?index-url|--find-links|^\s*(?:extra-)?index-url\s*=|^\s*find-links\s*=")
LOCK_FILE = re.compile(r"(?:^|/)(?:[^/]*\.lock|[^/]*lock\.(?:json|toml|yaml)|requirements[^/]*\.txt)$")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b")


def tree(root: Path) -> Iterator[tuple[str, str]]:
    """(path, text) of every text file that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    for name in sorted(filter(None, listed.split("\0"))):
        path = root / name
        if path.is_symlink() or not path.is_file():
            continue
        try:
            yield name, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def findings_in(name: str, text: str) -> Iterator[str]:
    """What is wrong with one file."""
    in_source = name.startswith("src/")
    locked = LOCK_FILE.search(name) is not None
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        for match in MACHINE_PATH.finditer(line):
            own = any(match.group().startswith(path) for path in OWN_PATHS) and name.startswith(SANDBOX_PARTS)
            if not own:
                yield f"{name}:{number} names a folder of somebody's machine: {match.group()}"
        if PACKAGE_INDEX.search(line) and name != "scripts/check_tree.py":
            yield f"{name}:{number} names a package index: that is each machine's own setting"
        if locked and "://" in line:
            yield f"{name}:{number} records a download address in a lock file"
        if in_source and (match := UNFINISHED.search(line)):
            yield f"{name}:{number} says {match.group()}: finish it, or write an issue"
    if in_source and name.endswith(".py") and len(lines) > MAX_LINES and name not in LONG_FILES:
        yield f"{name} has {len(lines)} lines, limit {MAX_LINES}: look for the second noun, or give the reason here"


def findings_about_versions(root: Path) -> Iterator[str]:
    """pyproject.toml, the change log and the package must agree on the version."""
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    top = re.search(r"^## \[?([^\s\]]+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    if top is None or top.group(1) != version:
        yield f"CHANGELOG.md begins with {top and top.group(1)}, pyproject.toml says {version}"
    package = root / "src" / "vervet" / "version.py"
    if package.is_file():
        own = re.search(r'^__version__ = "([^"]+)"', package.read_text(), re.MULTILINE)
        if own and own.group(1) != version:
            yield f"src/vervet/version.py says {own.group(1)}, pyproject.toml says {version}"


def findings(root: Path) -> list[str]:
    """Everything that is wrong with a checkout, one line each."""
    files = dict(tree(root))
    found = [line for name, text in files.items() for line in findings_in(name, text)]
    found += [f"{name} is listed as a long file and is not one" for name in stale_reasons(files)]
    return found + list(findings_about_versions(root))


def stale_reasons(files: dict[str, str]) -> list[str]:
    return [name for name in LONG_FILES if len(files.get(name, "").splitlines()) <= MAX_LINES]


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = findings(root)
    print("\n".join(found) or "tree: clean")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

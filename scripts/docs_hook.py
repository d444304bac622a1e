"""The pages that stand beside docs/ (README, CHANGELOG, CONTRIBUTING, design/) become pages of the site too.

Their links, and links to them, are the same in the repository and on the site: this turns one into the other.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
BESIDE = "project"
# the folder of the site where they stand
LINK = re.compile(r"(\]\()([^)\s#]+)([^)]*\))")
FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def _sources() -> list[Path]:
    top = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE")]
    return [*top, *sorted((ROOT / "design").glob("*.md"))]


def on_files(files: Files, config: Any) -> Files:
    """Add them under project/."""
    for path in _sources():
        name = path.relative_to(ROOT).as_posix()
        target = f"{BESIDE}/{name if name.endswith('.md') else name + '.md'}"
        text = path.read_text(encoding="utf-8")
        files.append(
            File.generated(config, target, content=text if name.endswith(".md") else f"```text\n{text}\n```\n")
        )
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of the repository as links of the site; what stands in code is left alone."""
    site = page.file.src_uri
    here = site.removeprefix(f"{BESIDE}/") if site.startswith(f"{BESIDE}/") else f"docs/{site}"
    parts = FENCE.split(markdown)
    parts[::2] = [LINK.sub(lambda m: m[1] + _moved(m[2], here, site) + m[3], part) for part in parts[::2]]
    return "".join(parts)


def _moved(target: str, here: str, site: str) -> str:
    """A link of the page `here` of the repository, for its place `site` on the site."""
    if "://" in target or target.startswith("mailto:"):
        return target
    there = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
    if there == "design":
        there = "design/000-template.md"
    if there.startswith("docs/"):
        new = there.removeprefix("docs/")
    else:
        new = f"{BESIDE}/{there if there.endswith('.md') else there + '.md'}"
    return posixpath.relpath(new, posixpath.dirname(site) or ".")

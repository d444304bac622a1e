"""Links in the documentation: every relative link and anchor resolves, every page can be reached from its index.

    python scripts/check_docs.py [FOLDER]

Looks at README.md and the other pages at the top, `docs/` and `design/`. Links to other hosts are not followed.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

INDEX = "docs/index.md"
REQUIRED = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", INDEX)

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:")


def pages(root: Path) -> list[Path]:
    found = [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "design").rglob("*.md")]
    return sorted(found)


def links(text: str) -> list[str]:
    """Link targets of a page; what stands in code is no link."""
    plain = CODE.sub("", FENCE.sub("", text))
    return [first or second for first, second in LINK.findall(plain)]


def anchors(text: str) -> set[str]:
    """The anchors that headings get on the usual hosts: lower case, punctuation dropped, spaces to hyphens."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"[`*_]|\]\([^)]*\)", "", heading).lower()).replace(" ", "-")
        twin = next(i for i in range(1000) if (words if not i else f"{words}-{i}") not in found)
        found.add(words if not twin else f"{words}-{twin}")
    return found


def broken(page: Path, root: Path) -> Iterator[tuple[str, str]]:
    """(target, what is wrong) of a page's links."""
    for target in links(page.read_text(encoding="utf-8")):
        if SCHEME.match(target) or target.startswith("//"):
            continue
        name, _, anchor = unquote(target).partition("#")
        file = (root / name.lstrip("/") if name.startswith("/") else page.parent / name) if name else page
        if not file.exists():
            yield target, "no such file"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text(encoding="utf-8")):
            yield target, "no such heading"


def reachable(index: Path) -> set[Path]:
    """Pages that can be reached from the index by following links."""
    seen: set[Path] = set()
    todo = [index.resolve()]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        for target in links(page.read_text(encoding="utf-8")):
            name = unquote(target).partition("#")[0]
            if name and not SCHEME.match(name):
                todo.append((page.parent / name).resolve())
    return seen


def misnumbered(root: Path) -> list[str]:
    """Decisions whose number another has too, or whose first line says another number than the file's name."""
    notes = sorted(p for p in (root / "design").glob("*.md") if not p.name.startswith("000"))
    found = [
        f"design/{b.name}: its number is taken by {a.name}"
        for a, b in itertools.pairwise(notes)
        if a.name[:3] == b.name[:3]
    ]
    found += [
        f"design/{note.name}: its first line should begin with '# {note.name[:3]}: '"
        for note in notes
        if not note.read_text(encoding="utf-8").startswith(f"# {note.name[:3]}: ")
    ]
    return found


def findings(root: Path) -> list[str]:
    """Everything that is wrong, one line each."""
    found = [f"{name} is missing" for name in REQUIRED if not (root / name).is_file()]
    for page in pages(root):
        found += [f"{page.relative_to(root)}: {target}: {problem}" for target, problem in broken(page, root)]
    if (root / INDEX).is_file():
        lost = {page.resolve() for page in (root / "docs").rglob("*.md")} - reachable(root / INDEX)
        found += [f"{page.relative_to(root.resolve())}: no link leads here from {INDEX}" for page in sorted(lost)]
    found += misnumbered(root)
    return found


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = findings(root)
    print("\n".join(found) or f"docs: {len(pages(root))} pages, every link resolves")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

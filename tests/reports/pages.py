"""What the tests of the report share: small runs, and a reader of pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from vervet import api
from vervet.api.existing import Run
from vervet.records import Counts

VOID = {"meta", "link", "input", "br", "hr", "img", "path", "circle", "rect", "line"}
LOADING = {"src", "srcset", "data", "poster", "background", "action", "formaction", "cite", "xlink:href", "ping"}


@dataclass
class Page(HTMLParser):
    """A page as an HTML parser sees it."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    blocks: dict[str, str] = field(default_factory=dict)
    # text of <style>, and of each <script> by its id ("" for the program)
    inside: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    @classmethod
    def of(cls, text: str) -> Page:
        page = cls()
        page.feed(text)
        page.close()
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = ""
        if tag in ("script", "style"):
            self.inside = tag if tag == "style" else f"script:{dict(attrs).get('id') or ''}"

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.blocks[self.inside] = self.blocks.get(self.inside, "") + data
        elif data.strip():
            self.texts.append(" ".join(data.split()))

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.texts).replace("\u202f", " ").split())

    def json(self, name: str) -> Any:
        return json.loads(self.blocks[f"script:{name}"])

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for found, attrs in self.tags if found == tag]


def counts(n: Sequence[int], c: Sequence[int], unknown: Sequence[int] | None = None, source: str = "t.csv") -> Counts:
    return Counts([f"p{i}" for i in range(len(n))], np.array(n), np.array(c), unknown, source=source)


def problems(path: Path, ids: Sequence[str]) -> Path:
    rows = [{"id": name, "prompt": f"What is {i} + {i}?", "answer": str(2 * i)} for i, name in enumerate(ids)]
    path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    return path


def small_run(folder: Path, model: str = "fake/beta=0.4,2", n: int = 12, size: int = 9, **options: Any) -> Run:
    """A finished run over `size` problems, in `folder/run` unless `out` says otherwise."""
    task = problems(folder / "sums.jsonl", [f"sum/{i}" for i in range(size)])
    return api.run(str(task), model=model, n=n, out=options.pop("out", folder / "run"), seed=5, **options)

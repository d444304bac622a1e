"""The published numbers of "Large Language Monkeys" beside what comes out here, each with its difference.

`data/paper.json` holds them: coverage at five k, fits, selection, family anchors, table 1. Sets are known by their key
("math-pythia-70m"); whatever brings counts for a key can be put beside it.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from vervet.analysis.curve import coverage
from vervet.analysis.family import Family, family
from vervet.analysis.fit import fit
from vervet.analysis.selection import Selection
from vervet.errors import BadData
from vervet.records import Counts


@dataclass(frozen=True, slots=True)
class Line:
    """One published number, and what comes out here."""

    table: str
    # "coverage", "fit", "family", "selection" or "cost"
    what: str
    # "MATH, Pythia-70M"
    quantity: str
    # "k = 100", "a", "anchor", ...
    published: float
    reproduced: float | None
    # None where the data at hand cannot say
    source: str = ""
    # where the published number is from

    @property
    def difference(self) -> float | None:
        """Reproduced minus published."""
        return None if self.reproduced is None else self.reproduced - self.published


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Every published number that was looked at, and the families slid onto each other."""

    lines: tuple[Line, ...]
    families: tuple[tuple[str, Family], ...]
    # ("MATH, Pythia", its slide)
    sets: tuple[str, ...]
    # keys that counts were at hand for
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The document vervet.reproduce/1."""
        return {
            "schema": "vervet.reproduce/1",
            "sets": list(self.sets),
            "lines": [dataclasses.asdict(line) | {"difference": line.difference} for line in self.lines],
            "families": [{"family": name} | found.to_dict() for name, found in self.families],
            "warnings": list(self.warnings),
        }


def published() -> dict[str, Any]:
    """The paper's numbers, as `data/paper.json` has them."""
    text = importlib.resources.files("vervet").joinpath("data", "paper.json").read_bytes()
    found: dict[str, Any] = orjson.loads(text)
    return found


def key_of(name: str) -> str:
    """ "MATH_Pythia-2.8B" and "math-pythia-2_8b" are the key "math-pythia-2-8b"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def reproduce(counts: Mapping[str, Counts], selections: Mapping[str, Selection]) -> Reproduction:
    """Everything the paper prints that these sets can say.

    Args: counts: by key.  selections: by key, with the methods and k that the paper has, where samples are at hand.
    Raises: BadData where no key is one of the paper's.
    """
    paper = published()
    known = {key: counts[key] for key in paper["coverage"] if key in counts}
    if not known:
        raise BadData(f"none of the paper's sets is there: names are such as {', '.join(list(paper['coverage'])[:3])}")
    lines: list[Line] = []
    for key, found in known.items():
        entry = paper["coverage"][key]
        lines += _coverage(entry, found, paper["k"])
        lines += _fit(entry, found)
    families = tuple(_families(paper, known))
    lines += [_anchor(paper, name, found) for name, found in families]
    lines += _selection(paper, selections)
    lines += _cost(paper["cost"])
    return Reproduction(tuple(lines), families, tuple(known), tuple(_warnings(paper, known, selections)))


def _name(entry: Mapping[str, Any]) -> str:
    return f"{entry['task']}, {entry['model']}"


def _coverage(entry: Mapping[str, Any], counts: Counts, ks: Sequence[int]) -> list[Line]:
    points = coverage(counts, ks).points
    return [
        Line("coverage", _name(entry), f"k = {point.k:,}", value, point.coverage, entry["source"])
        for value, point in zip(entry["coverage"], points, strict=True)
    ]


def _fit(entry: Mapping[str, Any], counts: Counts) -> list[Line]:
    wanted = entry.get("fit", {})
    if not wanted:
        return []
    (found,) = fit(counts, "exponentiated-power-law", "log-coverage").sources[0].fits
    return [
        Line("fit", _name(entry), name, value, getattr(found, name), "version 3, natural logarithm")
        for name, value in wanted.items()
    ]


def _families(paper: Mapping[str, Any], counts: Mapping[str, Counts]) -> list[tuple[str, Family]]:
    found = []
    for row in paper["anchors"]:
        members = [
            dataclasses.replace(counts[key], source=entry["model"])
            for key, entry in paper["coverage"].items()
            if key in counts and entry["task"] == row["task"] and entry["model"].startswith(row["family"])
        ]
        if len(members) > 1:
            found.append((f"{row['task']}, {row['family']}", family(members)))
    return found


def _anchor(paper: Mapping[str, Any], name: str, found: Family) -> Line:
    row = next(r for r in paper["anchors"] if f"{r['task']}, {r['family']}" == name)
    return Line("family", name, "anchor (largest pass@1)", row["anchor"], found.anchor, "printed beside figure 6")


def _selection(paper: Mapping[str, Any], selections: Mapping[str, Selection]) -> list[Line]:
    lines = []
    for key, methods in paper["selection"].items():
        at = {(p.method, p.k): p.success for p in selections[key].points} if key in selections else {}
        for method, values in methods.items():
            lines += [
                Line(
                    "selection",
                    _name(paper["coverage"][key]),
                    f"{method}, k = {k:,}",
                    value,
                    at.get((method, k)),
                    "figure 7",
                )
                for k, value in zip(paper["k"], values, strict=True)
            ]
    return lines


def _cost(table: Mapping[str, Any]) -> list[Line]:
    """Table 1: price of an attempt, attempts, issues."""
    return [
        Line(
            "cost",
            f"SWE-bench Lite, {row['model']}",
            f"usd for {row['attempts']} attempts at {table['problems']} issues",
            row["usd"],
            float(np.round(row["usd_per_attempt"] * row["attempts"] * table["problems"], 2)),
            "table 1",
        )
        for row in table["rows"]
    ]


def _warnings(paper: Mapping[str, Any], counts: Mapping[str, Counts], selections: Mapping[str, Selection]) -> list[str]:
    said = []
    missing = len(paper["coverage"]) - len(counts)
    if missing:
        said.append(
            f"{missing} of the paper's {len(paper['coverage'])} sets are not among the data: --data names a folder"
        )
    if not set(selections) & set(paper["selection"]):
        said.append("selection needs samples with their answers: import a set of the released data and give its folder")
    return said

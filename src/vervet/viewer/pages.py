"""One function a page: what was asked for in, a template and its values out. Nothing here writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import numpy as np
import orjson

from vervet.analysis.compare import compare as paired
from vervet.errors import VervetError
from vervet.ledger import browse
from vervet.ledger.browse import Attempts
from vervet.ledger.read import FAIL, PASS, PENDING, UNKNOWN, problem_key
from vervet.ledger.summary import ProblemSummary
from vervet.records import Prompt
from vervet.reports.subject import labels, task_name
from vervet.viewer import difference, text
from vervet.viewer.shelf import OpenRun, Shelf, Snapshot

PER_PAGE = 100
_CELLS = 1_500
# problems on the map of a run; beyond, the list
_SEARCH_S = 1.0
Values = dict[str, Any]
Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A template and its values."""

    template: str
    values: Values


def address(*path: str, **query: Any) -> str:
    """A path of the app; parameters that are empty or None are left out."""
    kept = {k: v for k, v in query.items() if v not in (None, "", 0) or k in ("index", "a", "b")}
    return "/" + "/".join(path) + (f"?{urlencode(kept, doseq=True, errors='replace')}" if kept else "")


# ------------------------------------------------------------------------------------------------ several runs


def index(shelf: Shelf) -> Rendered:
    """All runs with their numbers, and their curves over each other."""
    found = [(run, run.snapshot()) for run in shelf]
    counted = [(run.name, s) for run, s in found if s is not None]
    names = labels([s.subject for _, s in counted]) if counted else []
    waiting = len(counted) < len(found)
    # curves of some of the runs would be drawn for nothing
    drawing = None if waiting else shelf.together(counted)
    rows = [
        (run, s, dict(zip((n for n, _ in counted), names, strict=True)).get(run.name, run.name)) for run, s in found
    ]
    return Rendered("index.html.j2", {"rows": rows, "task": task_name, "waiting": waiting, **_chart(drawing)})


def compare(shelf: Shelf, chosen: Sequence[str]) -> Rendered:
    """The chosen runs (all, unless some are named) on the problems they share, most different first."""
    runs = [shelf[name] for name in chosen] or list(shelf)
    found = [(run.name, s) for run in runs if (s := run.snapshot(10.0)) is not None]
    subjects = [s.subject for _, s in found]
    names = labels(subjects) if subjects else []
    shares = [_shares(s) for _, s in found]
    ids = [
        i for i in dict.fromkeys(i for t in shares for i in t) if sum(i in t for t in shares) > 1 or len(shares) == 1
    ]
    rows = [(i, [table.get(i) for table in shares]) for i in ids]
    rows.sort(key=lambda row: -_gap(row[1]))
    values = {
        "shelf": shelf,
        "chosen": [name for name, _ in found],
        "names": names,
        "rows": rows[:500],
        "shared": len(rows),
        "difference": _difference(found, names),
        **_chart(shelf.together(found) if found else None),
    }
    return Rendered("compare.html.j2", values)


def _shares(snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    table = snapshot.subject.counts
    return {i: (int(c), int(n)) for i, c, n in zip(table.problem_ids, table.c, table.n, strict=True)}


def _gap(cells: Sequence[tuple[int, int] | None]) -> float:
    known = [c / n for c, n in filter(None, cells) if n]
    return max(known) - min(known) if len(known) > 1 else -1.0


def _difference(found: Sequence[tuple[str, Snapshot]], names: Sequence[str]) -> Values | None:
    """Paired difference of two runs at the largest k that both have."""
    if len(found) != 2:
        return None
    try:
        result = paired(found[0][1].subject.counts, found[1][1].subject.counts)
    except VervetError as error:
        return {"point": None, "why": str(error)}
    return {
        "point": result.points[-1] if result.points else None,
        "a": names[0],
        "b": names[1],
        "points": result.points,
    }


def _chart(drawing: Any) -> Values:
    """What the report's section on the curve needs."""
    if drawing is None:
        return {"page": None}
    page = drawing.page
    k = page.shared_k or 1
    return {
        "page": page,
        "charts": drawing.charts,
        "k": k,
        "now": [(e, page.at(e, k)) for e in page.entries],
        "partial": any(p.censored for e in page.entries for p in e.path),
        "ragged": any(p.censored for e in page.entries for p in e.curve.points),
        "undecided": any(e.curve.unknown for e in page.entries),
    }


# ------------------------------------------------------------------------------------------------ one run


def overview(run: OpenRun) -> Rendered:
    """Live counters, the curve, and a map of all problems."""
    snapshot = run.snapshot()
    if snapshot is None:
        return Rendered("counting.html.j2", {"run": run})
    problems = snapshot.subject.summary.problems if snapshot.subject.summary else ()
    values = {
        "run": run,
        "snapshot": snapshot,
        "facts": snapshot.facts,
        "writing": run.writing(),
        "config": snapshot.subject.config,
        "task": task_name(snapshot.subject),
        "cells": [(p, _level(p)) for p in sorted(problems, key=_hardness)] if len(problems) <= _CELLS else None,
        "problems": len(problems),
        "outcomes": _outcomes(snapshot.facts),
        **_chart(run.drawing),
    }
    return Rendered("run.html.j2", values)


def _outcomes(facts: Values) -> list[tuple[str, int, float]]:
    many = {"PASS": "passed", "FAIL": "failed", "UNKNOWN": "unknown", "pending": "pending"}
    total = facts.get("samples", 0) or 1
    return [(name, facts[key], facts[key] / total) for name, key in many.items() if facts.get(key)]


def _share(p: ProblemSummary) -> float | None:
    decided = p.passed + p.failed
    return p.passed / decided if decided else None


def _level(p: ProblemSummary) -> str:
    """Class of a cell: "u" nothing decided, 0 never, 1 to 9 sometimes, 10 always."""
    share = _share(p)
    return "u" if share is None else "0" if share == 0 else "10" if share == 1 else str(1 + int(9 * share))


def _hardness(p: ProblemSummary) -> tuple[float, str]:
    """Never solved last, undecided at the very end."""
    share = _share(p)
    return (2.0 if share is None else 1 - share, p.problem_id)


SORTS: dict[str, tuple[str, Callable[[ProblemSummary], Any]]] = {
    "order": ("order of the run", lambda _: 0),
    "share": ("success", lambda p: -1.0 if (s := _share(p)) is None else s),
    "id": ("id", lambda p: p.problem_id),
    "samples": ("samples", lambda p: p.samples),
    "passed": ("PASS", lambda p: p.passed),
    "undecided": ("undecided", lambda p: p.undecided),
    "distinct": ("distinct answers", lambda p: p.distinct_answers),
    "first": ("first PASS", lambda p: 1 << 60 if p.first_pass is None else p.first_pass),
}
KINDS: dict[str, tuple[str, Callable[[ProblemSummary], bool]]] = {
    "": ("all", lambda _: True),
    "never": ("never solved", lambda p: _share(p) == 0),
    "sometimes": ("sometimes solved", lambda p: 0 < (_share(p) or 0) < 1),
    "always": ("always solved", lambda p: _share(p) == 1),
    "undecided": ("with undecided samples", lambda p: p.undecided > 0),
}


def problems(run: OpenRun, query: Query) -> Rendered:
    """Problems by difficulty: sorted, filtered and searched here, a page at a time."""
    snapshot = run.snapshot()
    if snapshot is None or snapshot.subject.summary is None:
        return Rendered("counting.html.j2", {"run": run})
    sort = query.get("sort", "share") if query.get("sort", "share") in SORTS else "share"
    kind = query.get("show", "") if query.get("show", "") in KINDS else ""
    wanted = query.get("q", "").lower()
    rows = [p for p in snapshot.subject.summary.problems if KINDS[kind][1](p) and wanted in p.problem_id.lower()]
    rows.sort(key=SORTS[sort][1], reverse=query.get("down") == "1")
    at, pages = _page(query, len(rows))
    kept = {"sort": sort, "down": query.get("down"), "show": kind, "q": query.get("q")}
    values = {
        "run": run,
        "rows": [(p, _share(p)) for p in rows[(at - 1) * PER_PAGE : at * PER_PAGE]],
        "found": len(rows),
        "total": len(snapshot.subject.summary.problems),
        "at": at,
        "pages": pages,
        "sorts": SORTS,
        "kinds": KINDS,
        "kept": kept,
    }
    return Rendered("problems.html.j2", values)


def _page(query: Query, rows: int) -> tuple[int, int]:
    pages = max(1, -(-rows // PER_PAGE))
    return min(max(_whole(query, "page", 1), 1), pages), pages


def _whole(query: Query, name: str, default: int) -> int:
    value = query.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else default


# ------------------------------------------------------------------------------------------------ one problem

SHOWN: dict[str, tuple[str, Callable[[Attempts], Any]]] = {
    "": ("all", lambda a: np.ones(len(a), bool)),
    "pass": ("PASS", lambda a: a.outcome == PASS),
    "fail": ("FAIL", lambda a: a.outcome == FAIL),
    "unknown": ("UNKNOWN", lambda a: a.outcome == UNKNOWN),
    "pending": ("pending", lambda a: a.outcome == PENDING),
    "no-answer": ("without answer", lambda a: a.answer == browse.NO_ANSWER),
    "cut": ("cut off", lambda a: a.finish == next((k for k, v in a.names.items() if v == "length"), -9)),
}


def problem(run: OpenRun, query: Query) -> Rendered:
    """A problem's prompt, its classes of answers, and its samples a page at a time."""
    name = query.get("id", "")
    with run.reader() as (ledger, which):
        found = browse.attempts(ledger, which, name)
        about, prompt = ledger.problem(name)
        classes = browse.classes(ledger, name, found)
        kind = query.get("show", "") if query.get("show", "") in SHOWN else ""
        mask = SHOWN[kind][1](found)
        key = query.get("class", "")
        if key:
            keys = browse.class_keys(ledger, problem_key(ledger, name)[0])
            keys |= {browse.NO_ANSWER: "none", browse.NOT_LOOKED: "pending"}
            mask = mask & np.array([keys.get(int(a)) == key for a in found.answer], bool)
        chosen = found.chosen(mask)
        at, pages = _page(query, len(chosen))
        part = chosen.chosen(_slice(len(chosen), at))
        first_class = (_whole(query, "from", 0) // 20) * 20
        examples = [(c, _example(ledger, c.example)) for c in classes[first_class : first_class + 20]]
        order = browse.problem_names(ledger)
    here = order.index(name)
    decided = int((found.outcome <= PASS).sum())
    passes = found.index[found.outcome == PASS]
    values = {
        "run": run,
        "id": name,
        "before": order[here - 1] if here else None,
        "after": order[here + 1] if here + 1 < len(order) else None,
        "place": (here + 1, len(order)),
        "n": decided,
        "c": len(passes),
        "undecided": len(found) - decided,
        "samples": len(found),
        "first_pass": int(passes[0]) if len(passes) else None,
        "tokens": float(found.tokens[found.tokens >= 0].mean()) if (found.tokens >= 0).any() else None,
        "classes": examples,
        "first_class": first_class,
        "all_classes": len(classes),
        "distinct": len(np.unique(found.answer[found.answer >= 0])),
        "rows": _rows(part),
        "chosen": len(chosen),
        "at": at,
        "pages": pages,
        "kinds": SHOWN,
        "kept": {"id": name, "show": kind, "class": key},
        "prompt": _prompt(prompt),
        "reference": None if about.reference is None else text.show(about.reference, language=_language(run)),
        "check": text.show(orjson.dumps(about.check, option=orjson.OPT_INDENT_2).decode(), language="json"),
    }
    return Rendered("problem.html.j2", values)


def _slice(length: int, at: int) -> Any:
    mask = np.zeros(length, bool)
    mask[(at - 1) * PER_PAGE : at * PER_PAGE] = True
    return mask


def _example(ledger: Any, answer: int) -> str | None:
    return text.glimpse(ledger.answer(answer)) if answer >= 0 else None


def _rows(part: Attempts) -> list[Values]:
    columns = (part.index, part.outcome, part.reason, part.finish, part.tokens)
    return [
        {
            "index": int(index),
            "outcome": browse.OUTCOMES[int(outcome)],
            "reason": part.names.get(int(reason), ""),
            "finish": part.names.get(int(finish), ""),
            "tokens": int(tokens) if tokens >= 0 else None,
        }
        for index, outcome, reason, finish, tokens in zip(*columns, strict=True)
    ]


def _prompt(prompt: Prompt) -> list[tuple[str, Any]]:
    """(role, Shown) of each message; one without a role for a raw text."""
    if isinstance(prompt, str):
        return [("", text.show(prompt))]
    return [(m.role, text.show(m.content, fences=True)) for m in prompt]


def _language(run: OpenRun) -> str:
    """The language of the run's answers, as far as its verifier tells; "" for plain text."""
    last = run.snapshot(0.0)
    return text.LEXERS.get(str(last.subject.verifier.get("name", "")) if last else "", "")


# ------------------------------------------------------------------------------------------------ one sample


def sample(run: OpenRun, query: Query) -> Rendered:
    """Everything about one attempt."""
    name, number = query.get("problem", ""), _whole(query, "index", -1)
    with run.reader() as (ledger, which):
        found = browse.attempt(ledger, which, name, number)
        everything = browse.attempts(ledger, which, name)
        _, prompt = ledger.problem(name)
    place = int(np.searchsorted(everything.index, number))
    own = everything.answer[place]
    twins = int((everything.answer == own).sum()) if own >= 0 else 0
    outcome = browse.OUTCOMES[int(everything.outcome[place])]
    other = everything.index[(everything.outcome == PASS) & (everything.index != number)]
    language = _language(run)
    values = {
        "run": run,
        "sample": found,
        "outcome": outcome,
        "reason": everything.names.get(int(everything.reason[place]), ""),
        "place": (place + 1, len(everything)),
        "before": int(everything.index[place - 1]) if place else None,
        "after": int(everything.index[place + 1]) if place + 1 < len(everything) else None,
        "same_answer": twins,
        "other": int(other[0]) if len(other) else next((int(i) for i in everything.index if i != number), None),
        "text": text.show(found.text, _whole(query, "part", 1), language, fences=True),
        "answer": None if found.answer is None else text.show(found.answer, _whole(query, "answer-part", 1), language),
        "reasoning": text.show(found.reasoning, _whole(query, "reasoning-part", 1), fences=True)
        if found.reasoning
        else None,
        "trace": text.show(found.trace, _whole(query, "trace-part", 1)) if found.trace else None,
        "logs": [text.show(trial["log"]) for trial in found.trials],
        "prompt": _prompt(prompt),
        "kept": {"problem": name, "index": number},
    }
    return Rendered("sample.html.j2", values)


def raw(run: OpenRun, query: Query) -> str:
    """A sample's text, reasoning, trace or answer as it was stored."""
    with run.reader() as (ledger, which):
        found = browse.attempt(ledger, which, query.get("problem", ""), _whole(query, "index", -1))
    parts = {"text": found.text, "reasoning": found.reasoning, "trace": found.trace, "answer": found.answer or ""}
    return parts.get(query.get("of", "text"), found.text)


def diff(run: OpenRun, query: Query) -> Rendered:
    """Two samples of a problem, their answers or their whole texts."""
    name, a, b = query.get("problem", ""), _whole(query, "a", -1), _whole(query, "b", -1)
    of = "text" if query.get("of") == "text" else "answer"
    with run.reader() as (ledger, which):
        one, other = (browse.attempt(ledger, which, name, number) for number in (a, b))
        last = int(browse.attempts(ledger, which, name).index[-1])
    if of == "answer" and (one.answer is None or other.answer is None):
        of = "text"
    left, right = ((s.answer or "", s.text)[of == "text"] for s in (one, other))
    values = {
        "run": run,
        "id": name,
        "a": one,
        "b": other,
        "of": of,
        "last": last,
        "found": difference.compare(left, right, everything=query.get("all") == "1"),
        "kept": {"problem": name, "a": a, "b": b, "of": query.get("of")},
    }
    return Rendered("diff.html.j2", values)


# ------------------------------------------------------------------------------------------------ search


def search(run: OpenRun, query: Query) -> Rendered:
    """Samples whose texts hold what was typed, a stretch of the ledger at a time."""
    wanted, only = query.get("q", ""), query.get("problem", "")
    values: Values = {"run": run, "q": wanted, "only": only, "found": None, "total": 0}
    if wanted:
        with run.reader() as (ledger, _):
            after = _whole(query, "after", 0)
            values["found"] = browse.search(ledger, wanted, after=after, problem_id=only or None, seconds=_SEARCH_S)
            values["total"] = ledger.db.execute("SELECT ifnull(max(id), 0) FROM texts").fetchone()[0]
    return Rendered("search.html.j2", values)

"""The parts of a page, in order.

A further one is a function, a template in `templates/sections/`, and a line in SECTIONS.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vervet.analysis.selection import Selection
from vervet.reports import lines, money, words
from vervet.reports.chart import coverage_chart, look
from vervet.reports.command import run_command
from vervet.reports.format import percent, plain, short
from vervet.reports.histogram import bins, count, draw
from vervet.reports.lines import Series
from vervet.reports.page import Entry, Page
from vervet.reports.subject import Subject, task_name

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, and the values of its template `sections/ID.html.j2`; None: nothing to say, left out."""

    id: str
    short: str
    # in the page's navigation
    title: str
    build: Callable[[Page], Values | None]


def summary(page: Page) -> Values:
    return {
        "rows": [(e, words.headline(page, e)) for e in page.entries],
        "comparison": words.comparison(page),
        "undecided": [(e, text) for e in page.entries if (text := words.undecided(e))],
        "undecided_in_all": words.undecided_in_all(page),
    }


def curve(page: Page) -> Values:
    k = page.shared_k or 1
    return {
        "charts": (("wide", coverage_chart(page, 960, 480)), ("narrow", coverage_chart(page, 380, 360))),
        "k": k,
        "now": [(e, page.at(e, k)) for e in page.entries],
        "partial": any(p.censored for e in page.entries for p in e.path),
        "ragged": any(p.censored for e in page.entries for p in e.curve.points),
        "undecided": any(e.curve.unknown for e in page.entries),
        "ahead": [e for e in page.entries if e.ahead],
        "crossed": [(e, [money.crossing_words(c) for c in e.crossings]) for e in page.entries if e.crossings],
    }


# ------------------------------------------------------------------------------------------ selection and cost

METHODS = {
    "first": "the first answer",
    "majority": "the most frequent answer",
    "best-of-k": "the best score",
    "weighted-majority": "the most frequent, weighted by score",
    "verified": "a vote among accepted answers",
}


def selection(page: Page) -> Values | None:
    """Success and precision of each method against k; the oracle is coverage itself."""
    runs = [(e, e.subject.selection) for e in page.entries if e.subject.selection]
    if not runs:
        return None
    names = list(dict.fromkeys(p.method for _, s in runs for p in s.points if p.method != "oracle"))
    sizes = (("wide", 470, 300), ("narrow", 380, 280))
    return {
        "names": names,
        "method": METHODS,
        "runs": [(e, s, [_selected(s, names, *size) for size in sizes]) for e, s in runs],
        "said": [(e, text) for e, s in runs if (text := words.selected(s))],
    }


def _selected(found: Selection, names: list[str], kind: str, width: int, height: int) -> Values:
    curve = {p.k: p.coverage for p in found.points if p.coverage is not None}
    own = [(name, look(i), [p for p in found.points if p.method == name]) for i, name in enumerate(names)]
    success = [Series(n, k, tuple((p.k, p.success) for p in ps if p.success is not None)) for n, k, ps in own]
    precise = [Series(n, k, tuple((p.k, p.precision) for p in ps if p.precision is not None)) for n, k, ps in own]
    limit = Series("coverage", look(5), tuple(sorted(curve.items())), plain=True)
    title = "attempts k (log scale)"
    return {
        "kind": kind,
        "success": lines.draw([limit, *success], width, height, title, short),
        "precision": lines.draw(precise, width, height, title, short),
    }


def cost(page: Page) -> Values | None:
    """Coverage against what the attempts at a problem cost, with the baselines."""
    unit = money.unit_of(page)
    if unit is None:
        return None
    title = f"{unit.name} a problem (log scale)"
    found = money.series(page, unit)
    sizes = (("wide", 960, 380), ("narrow", 380, 320))
    return {
        "unit": unit,
        "charts": [(n, drawn) for n, w, h in sizes if (drawn := lines.draw(found, w, h, title, unit.show))],
        "rows": money.rows(page, unit),
        "single_marks": [s for s in found if not s.joined],
    }


def difficulty(page: Page) -> Values:
    """Small drawings of one size, or a large one."""
    kinds = bins([e.subject.counts for e in page.entries])
    sizes = (("wide", 960, 250), ("narrow", 380, 240)) if page.single else (("", 380, 190),)
    return {
        "kinds": kinds,
        "drawings": [(e, [(n, draw(e.subject.counts, kinds, w, h)) for n, w, h in sizes]) for e in page.entries],
        "table": [(e, count(e.subject.counts, kinds)) for e in page.entries],
    }


# ------------------------------------------------------------------------------------------------------- problems


@dataclass(frozen=True, slots=True)
class Row:
    """A problem in the table."""

    id: str
    n: int
    c: int
    unknown: int
    share: float | None
    # c / n
    distinct: int | None
    first_pass: int | None

    @property
    def bar(self) -> int:
        """Hundredths of the bar's length; a success is never invisible."""
        return 0 if not self.share else max(1, round(100 * self.share))

    @property
    def kind(self) -> str:
        """A letter for the filter: n never, s sometimes, a always, u no decided sample."""
        return "u" if not self.n else "n" if not self.c else "a" if self.c == self.n else "s"


def problems(page: Page) -> Values:
    tables = [(e, _rows(e.subject)) for e in page.entries]
    return {"tables": tables, "matrix": _matrix(page), "most": max(len(rows) for _, rows in tables)}


def _rows(subject: Subject) -> list[Row]:
    counts, found = subject.counts, subject.summary
    extra = {p.problem_id: p for p in found.problems} if found else {}
    rows = []
    for name, n, c, unknown in zip(counts.problem_ids, counts.n, counts.c, counts.unknown, strict=True):
        more = extra.get(name)
        rows.append(
            Row(
                id=name,
                n=int(n),
                c=int(c),
                unknown=int(unknown),
                share=float(c / n) if n else None,
                distinct=more.distinct_answers if more else None,
                first_pass=more.first_pass if more else None,
            )
        )
    return rows


def _matrix(page: Page) -> list[tuple[str, list[tuple[int, int] | None]]]:
    """Problems that at least two runs share: id and each run's (c, n). Empty where there is nothing to compare."""
    known = [
        {i: (int(c), int(n)) for i, c, n in zip(s.problem_ids, s.c, s.n, strict=True)}
        for s in (e.subject.counts for e in page.entries)
    ]
    ids = dict.fromkeys(i for table in known for i in table)
    rows = ((i, [table.get(i) for table in known]) for i in ids)
    return [(i, cells) for i, cells in rows if sum(cell is not None for cell in cells) > 1]


# ----------------------------------------------------------------------------------------------------- the verifier


def verifier(page: Page) -> Values | None:
    runs = [e for e in page.entries if e.subject.summary]
    return {"runs": [(e, _health(e)) for e in runs]} if runs else None


def _health(entry: Entry) -> Values:
    found = entry.subject.summary
    assert found is not None
    total = sum(g.samples for g in found.verdicts)
    names = ("PASS", "FAIL", "UNKNOWN", "pending")
    by_outcome = {name: sum(g.samples for g in found.verdicts if g.outcome == name) for name in names}
    return {
        "total": total,
        "outcomes": [(name, many, many / total) for name, many in by_outcome.items() if many],
        "groups": found.verdicts,
        "trials": found.trials,
        "retried": found.retried,
        "contested": found.contested,
        "cpu_s": found.cpu_s,
    }


# -------------------------------------------------------------------------------------------------------- run facts


def facts(page: Page) -> Values:
    """A table of facts; what differs between runs is marked."""
    columns = [_facts(e) for e in page.entries]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [(name, [column.get(name, "") for column in columns]) for name in names]
    return {"rows": [(name, cells, len(set(cells)) > 1) for name, cells in rows if any(cells)]}


def _facts(entry: Entry) -> dict[str, str]:
    subject, c = entry.subject, entry.curve
    n = f"{c.n_min:,}" if c.n_min == c.n_max else f"{c.n_min:,} to {c.n_max:,}"
    shape = {"Problems": f"{c.problems:,}", "Decided samples a problem": n}
    design = {"Design": c.design}
    if subject.config is None:
        return {"Counts from": subject.source} | shape | {"Samples": f"{c.samples:,}"} | design
    return _what(subject) | _sampling(subject) | shape | _totals(subject) | design | _judge(subject)


def _what(subject: Subject) -> dict[str, str]:
    config, data = subject.config, subject.meta.get("data", {})
    assert config is not None
    return {
        "Task": task_name(subject),
        "Task options": _options(config.task_options),
        "Data set": f"{data.get('id', '')} {data.get('revision', '')}".strip(),
        "Data fingerprint": config.data_fingerprint,
        "Model": config.model,
        "Model options": _options(config.model_options),
        "Model fingerprint": config.model_fingerprint,
    }


def _sampling(subject: Subject) -> dict[str, str]:
    config = subject.config
    assert config is not None
    params = config.params
    if not params.recorded:
        return {"Prompt form": config.prompt_form, "Sampling": "not recorded: the samples were imported"}
    greedy = " (greedy)" if params.temperature == 0 else ""
    drawn = f"{subject.meta.get('run_seed', '')} (drawn)" if subject.meta.get("run_seed") is not None else "drawn"
    return {
        "Prompt form": config.prompt_form,
        "Temperature": plain(params.temperature) + greedy,
        "Top p": "left to the model" if params.top_p is None else plain(params.top_p),
        "Max tokens": f"{params.max_tokens:,}",
        "Stop texts": "  ".join(repr(s) for s in params.stop) or "none",
        "Further parameters": _options(params.extra),
        "Seed": str(config.seed) if config.seed is not None else drawn,
    }


def _totals(subject: Subject) -> dict[str, str]:
    f = subject.facts or {}
    samples = f.get("samples", 0)
    seconds, created = f.get("seconds"), subject.meta.get("created")
    usd = f.get("cost_usd")
    return {
        "Samples": f"{samples:,}",
        "Samples missing": f"{f['missing']:,}" if f.get("missing") else "",
        "Distinct answers": f"{f.get('distinct_answers', 0):,}",
        "Cut off at max tokens": _of(f.get("truncated", 0), samples),
        "Without an answer": _of(f.get("unparsed", 0), samples),
        "Prompt tokens": f"{f.get('prompt_tokens', 0):,}",
        "Completion tokens": f"{f.get('completion_tokens', 0):,}",
        "Cost": f"${usd:,.4g}" if usd is not None else "",
        "Seconds": f"{seconds:,.1f}" if seconds else "",
        "Run begun": _day(created) if created else "",
        "Sampled by": f"vervet {subject.meta['vervet']}" if subject.meta.get("vervet") else "",
    }


def _judge(subject: Subject) -> dict[str, str]:
    v, found = subject.verifier, subject.summary
    strengths = sorted({g.strength for g in found.verdicts if g.strength}) if found else []
    isolations = sorted({g.isolation for g in found.verdicts if g.strength}) if found else []
    return {
        "Answers found by": str(subject.meta.get("extractor", "")),
        "Verifier": f"{v['name']} {v.get('version', '')}".strip() if v else "none yet",
        "Verifier settings": _options(v.get("settings", {})),
        "Verifier fingerprint": str(v.get("fingerprint", "")),
        "Verdicts rest on": ", ".join(strengths),
        "Isolation": ", ".join(i or "nothing was executed" for i in isolations),
    }


def _of(part: int, whole: int) -> str:
    return f"{part:,} ({percent(part / whole)})" if part and whole else f"{part:,}"


def _options(values: Any) -> str:
    return ", ".join(f"{k}={v}" for k, v in values.items())


def _day(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


# --------------------------------------------------------------------------------------------- how, and what not


def reproduce(page: Page) -> Values:
    return {
        "runs": [(e, run_command(e.subject)) for e in page.entries],
        "drawn": [e for e in page.entries if e.subject.config and e.subject.config.seed is None],
    }


def uncertain(page: Page) -> Values:
    return {
        "general": words.general_caveats(page),
        "own": [(e, texts) for e in page.entries if (texts := words.caveats(e))],
    }


def methods(page: Page) -> Values:
    designs = dict.fromkeys(e.curve.design for e in page.entries if e.curve.design != "fixed")
    return {
        "ahead": any(e.ahead for e in page.entries),
        "selection": any(e.subject.selection for e in page.entries),
        "censored": any(p.censored for e in page.entries for p in e.curve.points),
        "designs": list(designs),
    }


SECTIONS = (
    Section("summary", "In short", "In short", summary),
    Section("curve", "Coverage", "Coverage against attempts", curve),
    Section("uncertain", "Uncertainty", "What is uncertain", uncertain),
    Section("difficulty", "Difficulty", "How success is spread over problems", difficulty),
    Section("selection", "Selection", "Which answer to hand back", selection),
    Section("cost", "Cost", "What it costs", cost),
    Section("problems", "Problems", "Problems", problems),
    Section("verifier", "Verifier", "Verifier health", verifier),
    Section("facts", "Facts", "Run facts", facts),
    Section("reproduce", "Reproduce", "How to reproduce", reproduce),
    Section("methods", "Methods", "Methods", methods),
)

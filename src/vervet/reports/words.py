"""What the numbers say, in sentences; and what they do not say."""

from __future__ import annotations

import numpy as np

from vervet.analysis.curve import FEW_PROBLEMS
from vervet.analysis.selection import Selection
from vervet.records import CurvePoint
from vervet.reports.format import listed, number, percent, plural, round_percent
from vervet.reports.page import Entry, Page

_SAID = ("undecided", "never solved", "no problem was solved", "every sample passed")
# what the estimator warns of and the page says at greater length elsewhere


def headline(page: Page, entry: Entry) -> list[str]:
    """What a run found, the special cases (nothing solved, everything solved, one attempt) included."""
    curve, last = entry.curve, entry.last
    if curve.samples == 0:
        return ["There is no sample yet, so there is nothing to say."]
    if int(entry.subject.counts.n.max()) == 0:
        return [f"None of {plural(curve.samples, 'sample')} is decided yet: nothing can be said about coverage."]
    if curve.never_solved == curve.problems:
        return _nothing(page, entry, last or entry.first)
    out = [*_rise(page, entry.first, last)]
    if bool(np.all(entry.subject.counts.c == entry.subject.counts.n)):
        out.append(_everything(page, entry))
    else:
        out.append(_solved(entry))
    return out


def _rise(page: Page, first: CurvePoint, last: CurvePoint | None) -> list[str]:
    if last is None or last.k == 1:
        return [f"With one attempt it solves {percent(first.coverage)} of problems ({_interval(page, first)})."]
    text = (
        f"With one attempt it solves {percent(first.coverage)} of problems ({_interval(page, first)}); "
        f"with {number(last.k)} attempts {percent(last.coverage)} ({_interval(page, last, short_form=True)})"
    )
    if first.coverage and last.coverage and last.coverage >= 1.05 * first.coverage:
        ratio = last.coverage / first.coverage
        if ratio < 200:  # beyond, the chance at one attempt is too small to be known well
            text += f", {ratio:.1f} times as many" if ratio < 20 else f", {ratio:.0f} times as many"
    return [text + "."]


def _interval(page: Page, point: CurvePoint, *, short_form: bool = False) -> str:
    lead = "" if short_form else f"{round_percent(page.level)} interval "
    return f"{lead}{percent(point.low)} to {percent(point.high)}"


def _solved(entry: Entry) -> str:
    never, problems = entry.curve.never_solved, entry.curve.problems
    if not never:
        return f"All {plural(problems, 'problem')} were solved at least once." if problems > 1 else "It was solved."
    return (
        f"{number(entry.solved)} of {plural(problems, 'problem')} were solved at least once; {number(never)} never, in "
        f"{_attempts(entry)}."
    )


def _attempts(entry: Entry) -> str:
    low, high = entry.curve.n_min, entry.curve.n_max
    return f"{plural(high, 'attempt')} each" if low == high else f"{number(low)} to {number(high)} attempts each"


def _nothing(page: Page, entry: Entry, point: CurvePoint) -> list[str]:
    curve = entry.curve
    decided = curve.samples - curve.unknown
    bound = (
        f"That does not make coverage zero: with {plural(point.k, 'attempt')} it could still be up to "
        f"{percent(point.high)} on problems of this kind (upper end of the {round_percent(page.level)} interval, "
        f"which rests on {plural(point.problems, 'problem')})."
    )
    of = f"{plural(decided, 'decided sample')} of {plural(curve.problems, 'problem')}"
    return [f"Nothing was solved: not one of {of} passed.", bound]


def _everything(page: Page, entry: Entry) -> str:
    return (
        f"Everything was solved: each decided sample of {plural(entry.curve.problems, 'problem')} passed. "
        f"On other problems of this kind coverage at one attempt could still be as low as {percent(entry.first.low)} "
        f"({round_percent(page.level)} interval). More attempts cannot show more here: harder problems can."
    )


def undecided(entry: Entry) -> str:
    """How much the undecided samples could change; "" where there are none."""
    curve = entry.curve
    if not curve.unknown:
        return ""
    point = entry.last or entry.first
    share = percent(curve.unknown / curve.samples)
    return (
        f"{number(curve.unknown)} of {plural(curve.samples, 'sample')} ({share}) are undecided"
        f"{_undecided_kinds(entry)}. They count neither as PASS nor as FAIL. Had all of them failed, coverage at k = "
        f"{number(point.k)} would be {percent(point.floor)}; had all passed, {percent(point.ceiling)}."
    )


def undecided_in_all(page: Page) -> str:
    """The same of many runs in a sentence: how many have any, and where they weigh most."""
    having = [e for e in page.entries if e.curve.unknown]
    if not having:
        return ""
    worst = max(having, key=lambda e: e.curve.unknown / e.curve.samples)
    return (
        f"{number(len(having))} of {plural(len(page.entries), 'run')} have undecided samples, at most "
        f"{percent(worst.curve.unknown / worst.curve.samples)} of a run's ({worst.label}). They count neither as PASS nor as "
        "FAIL."
    )


def _undecided_kinds(entry: Entry) -> str:
    summary = entry.subject.summary
    if summary is None:
        return ""
    kinds = [
        f"{number(g.samples)} " + ("not yet judged" if g.outcome == "pending" else f"UNKNOWN ({g.reason})")
        for g in summary.verdicts
        if g.outcome in ("UNKNOWN", "pending")
    ]
    return f": {listed(kinds)}" if kinds else ""


def caveats(entry: Entry) -> list[str]:
    """What a careful reader should know about one curve: the estimator's own warnings first."""
    curve = entry.curve
    out = [_sentence(w) for w in curve.warnings if not any(said in w for said in _SAID)]
    if curve.unknown:
        out.append(undecided(entry))
    if curve.problems == 1:
        out.append("One problem says nothing about others: only the interval for this very problem means something.")
    if curve.n_max == 1:
        out.append("With one sample a problem the curve is a single point: draw more (-n) to see it rise.")
    facts = entry.subject.facts or {}
    notable = {"truncated": "were cut off at the token limit", "unparsed": "held no answer and count as FAIL"}
    for key, what in notable.items():
        if curve.samples and facts.get(key, 0) > 0.02 * curve.samples:
            out.append(f"{percent(facts[key] / curve.samples)} of samples {what}.")
    if facts.get("missing"):
        many = facts["missing"]
        out.append(f"{plural(many, 'sample')} that the run was asked for are missing: it was stopped early.")
    if entry.subject.summary and entry.subject.summary.contested:
        many = entry.subject.summary.contested
        out.append(f"The verifier contradicted itself on {plural(many, 'answer')}: the majority of trials counts.")
    return out + ahead(entry)


def _sentence(text: str) -> str:
    text = f"at {text}" if text.startswith("k = ") else text  # a variable has no capital
    return text[:1].upper() + text[1:] + "."


def selected(found: Selection) -> str:
    """What is lost between a right answer being there and being picked; "" where that cannot be said."""
    last = max((p.k for p in found.points if p.success is not None and not p.censored), default=None)
    at = [p for p in found.points if p.k == last and p.method not in ("oracle", "first") and p.success is not None]
    best = max(at, key=lambda p: p.success or 0.0, default=None)
    if best is None or best.coverage is None or best.k == 1:
        return ""
    text = (
        f"With {number(best.k)} attempts a right answer is there for {percent(best.coverage)} of problems; picked by "
        f"{best.method.replace('-', ' ')} it is {percent(best.success)}"
    )
    return text + (f", {percent(best.precision)} of what could be." if best.precision is not None else ".")


def ahead(entry: Entry) -> list[str]:
    """What the dashed lines are, and what they rest on."""
    if entry.ahead is None:
        return []
    last, end = entry.ahead.points[-1], entry.path[-1].k
    text = (
        f"Beyond {plural(end, 'attempt')} nothing was sampled. The dashed line is a forecast for these very problems: "
        f"{percent(last.coverage)} at k = {number(last.k)} ({percent(last.low)} to {percent(last.high)}). It rests on how "
        "the rare successes of hard problems go on, which the samples at hand show only in part."
    )
    return [text, *(_sentence(w) for w in entry.ahead.warnings if not any(said in w for said in _SAID))]


def general_caveats(page: Page) -> list[str]:
    """What holds for every curve of the page."""
    bands = (
        f"The wide band is a {round_percent(page.level)} interval for all problems of the kind that these were drawn "
        "from; the narrow one is for these very problems, and holds only the chance of the draws. Each holds at one k "
        "at a time; bounds for the whole curve at once are in the table of numbers."
    )
    few = any(entry.few for entry in page.entries)
    short = (
        f"With fewer than {FEW_PROBLEMS} problems only the wide band is drawn: how wide the narrow one is, so few "
        "problems hardly tell. The table of numbers has both."
    )
    out = [
        bands,
        *([short] if few else []),
        "A PASS is worth what the verifier is worth: coverage counts answers that it accepts.",
    ]
    if len(page.entries) > 1:
        out.append(
            "Intervals of two runs that overlap do not show that the runs are equal: on the same problems their "
            "difference is known better than either of them."
        )
    return out


def comparison(page: Page) -> str:
    """Best and worst at the most attempts that all runs have; "" for one run."""
    k = page.shared_k
    if page.single or k is None:
        return ""
    rows = [(p.coverage, e.label) for e in page.entries if (p := page.at(e, k)) and p.coverage is not None]
    if len(rows) < 2:
        return ""
    (low, worst), (high, best) = min(rows), max(rows)
    if low == high:
        return f"At k = {number(k)} all runs have the same coverage, {percent(low)}."
    return (
        f"At k = {number(k)}, which every run has on all its problems, coverage goes from {percent(low)} ({worst}) to "
        f"{percent(high)} ({best})."
    )

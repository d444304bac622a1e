"""`vervet audit`: is what decides the answers right? References must pass, stubs must fail, repeats must agree."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vervet.api.door import door
from vervet.api.parts import _choose as choose, _verifier_spec as verifier_spec, build_verifier, resolve_task
from vervet.config import settings
from vervet.errors import BadOption, boundary
from vervet.estimate.intervals import wilson
from vervet.protocols import Task, Verifier
from vervet.records import Outcome, Problem, Verdict, VerifierSpec
from vervet.verifiers.stubs import stubs, without_tests

AT_ONCE = 8
# problems whose answers are judged at the same time
LEAST_MARGIN = 2.0
# times the slowest reference's processor time that the limit should be

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer whose verdict is not what it has to be."""

    problem: str
    answer: str
    # what kind of answer: "reference", the name of a stub, "solution 3"
    outcome: str
    reason: str
    log: str


@dataclass(slots=True)
class Audit:
    """What an audit found. `holds` says whether the verifier may be trusted as far as was looked."""

    task: str
    verifier: str
    problems: int
    level: float
    references: int = 0
    references_passed: int = 0
    without_reference: int = 0
    stubs: Counter[str] = field(default_factory=Counter)
    # name of a stub -> problems on which it FAILs
    stubs_judged: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    repeats: int = 1
    repeated: int = 0
    # answers judged more than once
    flaky: list[str] = field(default_factory=list)
    unknown: int = 0
    # verdicts that were UNKNOWN
    no_tests: str = "not asked"
    margin: float | None = None
    slowest: str = ""
    warnings: list[str] = field(default_factory=list)
    # known answers of the data set: right and wrong ones, and how many were judged otherwise
    right: int = 0
    refused: int = 0
    wrong: int = 0
    accepted: int = 0
    refusing: set[str] = field(default_factory=set)
    # problems on which a right one was refused

    @property
    def holds(self) -> bool:
        """References PASS, stubs FAIL, no flake, nothing passes where there are no tests."""
        return not self.findings and not self.flaky and self.no_tests in {"not asked", "UNKNOWN"}

    def to_dict(self) -> dict[str, Any]:
        """vervet.audit/1."""
        low, high = _interval(len(self.flaky), self.repeated, self.level)
        return {
            "schema": "vervet.audit/1",
            "task": self.task,
            "verifier": self.verifier,
            "holds": self.holds,
            "problems": self.problems,
            "references": self.references,
            "references_passed": self.references_passed,
            "without_reference": self.without_reference,
            "stubs": [{"stub": n, "judged": self.stubs_judged[n], "failed": self.stubs[n]} for n in self.stubs_judged],
            "repeats": self.repeats,
            "repeated": self.repeated,
            "flaky": self.flaky,
            "flake_rate": len(self.flaky) / self.repeated if self.repeated else None,
            "flake_low": low,
            "flake_high": high,
            "unknown": self.unknown,
            "no_tests": self.no_tests,
            "margin": self.margin,
            "slowest": self.slowest,
            "solutions": self._solutions(),
            "findings": [
                {"problem": f.problem, "answer": f.answer, "outcome": f.outcome, "reason": f.reason, "log": f.log}
                for f in self.findings
            ],
            "warnings": self.warnings,
        }

    def _solutions(self) -> dict[str, Any] | None:
        """Rates over the data set's own right and wrong answers, and what they do to coverage; None where it has none."""
        if not self.right + self.wrong:
            return None
        fn, fp = _interval(self.refused, self.right, self.level), _interval(self.accepted, self.wrong, self.level)
        return {
            "right": self.right,
            "refused": self.refused,
            "false_negative_rate": self.refused / self.right if self.right else None,
            "false_negative_low": fn[0],
            "false_negative_high": fn[1],
            "wrong": self.wrong,
            "accepted": self.accepted,
            "false_positive_rate": self.accepted / self.wrong if self.wrong else None,
            "false_positive_low": fp[0],
            "false_positive_high": fp[1],
            "problems_refusing": sorted(self.refusing),
        }


def audit(task: str | type[Any], **options: Any) -> Audit:
    """Audit a task's verifier. Options: as of `run` where they choose problems, task options and verifier, and
    `repeats` (3), `solutions` (known answers a problem, 5), `level` (0.95), `say` (a function for lines of progress).

    Raises: UserError.
    """
    return door(aaudit(task, **options))


async def aaudit(
    task: str | type[Any],
    *,
    repeats: int = 3,
    solutions: int = 5,
    level: float = 0.95,
    say: Say | None = None,
    **options: Any,
) -> Audit:
    """Async twin of :func:`audit`."""
    if repeats < 1 or solutions < 0:
        raise BadOption("--repeats is 1 or more, --solutions 0 or more")
    given = settings(options, "command line")
    built, name, _, _ = resolve_task(task, given.task_options)
    with boundary(f"task {name!r}"):
        problems = choose(list(built.problems()), given)
    spec = verifier_spec(built.verifier, given)
    found = Audit(name, spec.name, len(problems), level, repeats=repeats)
    work = _Work(built, spec, found, say or (lambda _line: None))
    await work.known_answers(problems, repeats)
    await work.solutions(problems, solutions)
    await work.no_tests(problems)
    return found


@dataclass(frozen=True, slots=True)
class _Case:
    problem: Problem
    kind: str
    # "reference" or a stub's name
    answer: str


class _Work:
    """One audit under way."""

    def __init__(self, task: Task, spec: VerifierSpec, found: Audit, say: Say) -> None:
        self._task, self._spec, self._found, self._say = task, spec, found, say

    async def known_answers(self, problems: Sequence[Problem], repeats: int) -> None:
        """References and stubs, each as often as asked, each time by a verifier that is new."""
        verdicts: list[list[Verdict]] = []
        cases = self._cases(problems)
        for number in range(repeats):
            self._say(f"judging {len(cases)} known answers, round {number + 1} of {repeats}")
            verdicts.append(await self._judge(cases))
        for case, of_case in zip(cases, zip(*verdicts, strict=True), strict=True):
            self._take(case, of_case)
        self._found.repeated = len(cases) if repeats > 1 else 0

    def _cases(self, problems: Sequence[Problem]) -> list[_Case]:
        verifier = build_verifier(self._spec)
        cases = []
        for problem in problems:
            for right in (True, False):
                text = self._task.example(problem, right)
                answer = None if text is None else self._task.extract(text)
                if answer is not None:
                    cases.append(_Case(problem, "reference" if right else "the task's wrong example", answer))
                elif right:
                    self._found.without_reference += 1
            same = {self._task.canonical(c.answer) for c in cases if c.problem is problem and c.kind == "reference"}
            cases += [
                _Case(problem, name, answer)
                for name, answer in stubs(verifier, problem).items()
                # a stub that is the right answer by chance is none
                if self._task.canonical(answer) not in same
            ]
        return cases

    def _take(self, case: _Case, verdicts: Sequence[Verdict]) -> None:
        found, wanted = self._found, Outcome.PASS if case.kind == "reference" else Outcome.FAIL
        outcomes = {v.outcome for v in verdicts if v.outcome is not Outcome.UNKNOWN}
        found.unknown += sum(v.outcome is Outcome.UNKNOWN for v in verdicts)
        if len(outcomes) > 1:
            found.flaky.append(f"{case.problem.id}: {case.kind}")
        good = bool(outcomes) and outcomes == {wanted}
        if case.kind == "reference":
            found.references += 1
            found.references_passed += good
            self._time(case, verdicts)
        else:
            found.stubs_judged[case.kind] += 1
            found.stubs[case.kind] += good
        if not good:
            bad = next((v for v in verdicts if v.outcome is not wanted), verdicts[0])
            log = bad.log[:500]
            found.findings.append(Finding(case.problem.id, case.kind, str(bad.outcome), str(bad.reason), log))

    def _time(self, case: _Case, verdicts: Sequence[Verdict]) -> None:
        limit = build_verifier(self._spec).settings().get("cpu_s")
        used = max((v.cpu_s or 0.0 for v in verdicts), default=0.0)
        if isinstance(limit, int | float) and used > 0:
            margin = limit / used
            if self._found.margin is None or margin < self._found.margin:
                self._found.margin, self._found.slowest = margin, case.problem.id
            if margin < LEAST_MARGIN:
                self._found.warnings.append(
                    f"{case.problem.id}: its reference takes {used:.1f} of {limit:g} s: a slower machine refuses it"
                )

    async def solutions(self, problems: Sequence[Problem], most: int) -> None:
        """The data set's own right and wrong answers, where it has them: false negatives and false positives."""
        known = getattr(self._task, "solutions", None)
        if known is None or not most:
            return
        cases, rights = [], []
        for problem in problems:
            for number, (answer, right) in enumerate(known(problem, most)):
                cases.append(_Case(problem, f"solution {number}", answer))
                rights.append(right)
        self._say(f"judging {len(cases)} solutions of the data set")
        for case, right, verdict in zip(cases, rights, await self._judge(cases), strict=True):
            if verdict.outcome is Outcome.UNKNOWN:
                self._found.unknown += 1
            elif right:
                self._found.right += 1
                self._found.refused += verdict.outcome is Outcome.FAIL
                if verdict.outcome is Outcome.FAIL:
                    self._found.refusing.add(case.problem.id)
            else:
                self._found.wrong += 1
                self._found.accepted += verdict.outcome is Outcome.PASS

    async def no_tests(self, problems: Sequence[Problem]) -> None:
        """A problem with nothing left to decide by: UNKNOWN is the only honest verdict."""
        verifier = build_verifier(self._spec)
        bare = [b for p in problems[:1] if (b := without_tests(verifier, p)) is not None]
        if not bare:
            return
        text = self._task.example(problems[0], True)
        answer = self._task.extract(text) if text else None
        try:
            verdicts = await verifier.verify(bare[0], [answer or "pass\n"])
            self._found.no_tests = str(verdicts[0].outcome)
        finally:
            await verifier.aclose()

    async def _judge(self, cases: Sequence[_Case]) -> list[Verdict]:
        verifier = build_verifier(self._spec)
        slots = asyncio.Semaphore(AT_ONCE)
        with boundary(f"verifier {verifier.name!r}"):
            for case in cases:
                verifier.load(case.problem)
        try:
            groups = [self._group(verifier, list(group), slots) for group in _by_problem(cases)]
            return [verdict for group in await asyncio.gather(*groups) for verdict in group]
        finally:
            await verifier.aclose()

    async def _group(self, verifier: Verifier, cases: Sequence[_Case], slots: asyncio.Semaphore) -> list[Verdict]:
        async with slots:
            return await verifier.verify(cases[0].problem, [case.answer for case in cases])


def _by_problem(cases: Sequence[_Case]) -> Iterable[list[_Case]]:
    group: list[_Case] = []
    for case in cases:
        if group and group[0].problem is not case.problem:
            yield group
            group = []
        group.append(case)
    if group:
        yield group


def _interval(hits: int, trials: int, level: float) -> tuple[float | None, float | None]:
    if not trials:
        return None, None
    low, high = wilson(hits, trials, level)
    return float(low), float(high)

"""What a report says about a run beyond its counts: per problem, and per kind of verdict. Reads no text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from vervet.ledger.read import FAIL, PASS, PENDING, UNKNOWN, View, _Arrays, _numbers, _snapshot
from vervet.ledger.rows import samples_by_problem
from vervet.ledger.store import Ledger, storage
from vervet.records import IntArray, Outcome, Reason

Codes = np.ndarray[Any, np.dtype[np.int8]]
_NONE = -1
# the answer of a text in which none was found
_OUTCOME_NAMES = {
    FAIL: Outcome.FAIL.value,
    PASS: Outcome.PASS.value,
    UNKNOWN: Outcome.UNKNOWN.value,
    PENDING: "pending",
}


@dataclass(frozen=True, slots=True)
class ProblemSummary:
    """One problem's samples by one verifier."""

    problem_id: str
    samples: int
    # stored
    passed: int
    failed: int
    undecided: int
    # pending + UNKNOWN
    distinct_answers: int
    first_pass: int | None
    # index of the first sample that passed; None: none did
    truncated: int
    # cut off at max_tokens
    unparsed: int
    # no answer found


@dataclass(frozen=True, slots=True)
class VerdictGroup:
    """Samples whose effective verdict looks the same."""

    outcome: str
    # "PASS", "FAIL", "UNKNOWN" or "pending"
    reason: str
    # see Reason; "" while pending
    strength: str
    # see Strength; "" where nothing was judged
    isolation: str
    # "namespaces", "docker", "none"; "" where nothing was executed
    samples: int
    answers: int
    # distinct answers


@dataclass(frozen=True, slots=True)
class Summary:
    """A run as one verifier sees it."""

    problems: tuple[ProblemSummary, ...]
    # in the run's order
    verdicts: tuple[VerdictGroup, ...]
    # most samples first
    trials: int
    # verdicts asked for
    retried: int
    # distinct answers that were judged more than once
    contested: int
    # distinct answers whose trials disagree: PASS and FAIL
    cpu_s: float | None
    # processor time of all trials; None where nothing was measured


def summary(ledger: Ledger, which: View) -> Summary:
    """Everything at once, from one consistent state of the ledger; arrays only, a few seconds for a million samples."""
    with storage(ledger.path), _snapshot(ledger.db):
        arrays = _Arrays(ledger, which)
        kinds = _Kinds(ledger, which, arrays.outcome_of_answer)
        truncated = _truncated(ledger)
        names = {key: name for name, key in ledger.problem_keys().items()}
        problems = []
        for key, texts, indexes in samples_by_problem(ledger):
            answers, outcomes = arrays.answer_of_text[texts], arrays.outcomes(texts)
            kinds.add(answers, outcomes)
            problems.append(_problem(names[key], answers, outcomes, indexes, truncated.get(key, 0)))
        trials, retried, contested, cpu_ms = _trials(ledger, which)
        groups = kinds.groups()
    return Summary(
        problems=tuple(problems),
        verdicts=groups,
        trials=trials,
        retried=retried,
        contested=contested,
        cpu_s=None if cpu_ms is None else cpu_ms / 1000,
    )


def verifier_of(ledger: Ledger, which: View) -> dict[str, Any]:
    """Name, version, settings and fingerprint of a view's verifier; empty where nothing was judged yet."""
    query = "SELECT body, lower(hex(fingerprint)) FROM verifiers WHERE id = ?"
    with storage(ledger.path):
        row = ledger.db.execute(query, (which.verifier,)).fetchone()
    return {} if row is None else orjson.loads(row[0]) | {"fingerprint": row[1]}


def _problem(name: str, answers: IntArray, outcomes: Codes, indexes: IntArray, truncated: int) -> ProblemSummary:
    passes = indexes[outcomes == PASS]
    return ProblemSummary(
        problem_id=name,
        samples=len(indexes),
        passed=len(passes),
        failed=int((outcomes == FAIL).sum()),
        undecided=int((outcomes >= UNKNOWN).sum()),
        distinct_answers=len(np.unique(answers[answers >= 0])),
        first_pass=int(passes.min()) if len(passes) else None,
        truncated=truncated,
        unparsed=int((answers == _NONE).sum()),
    )


def _truncated(ledger: Ledger) -> dict[int, int]:
    query = "SELECT problem, sum(finish = ?) FROM samples WHERE config = 0 GROUP BY problem"
    return dict(ledger.db.execute(query, (ledger.known_name("length"),)))


def _trials(ledger: Ledger, which: View) -> tuple[int, int, int, int | None]:
    """Trials, answers judged more than once, answers with both PASS and FAIL, and processor time in ms."""
    query = "SELECT count(*), sum(cpu_ms) FROM verdicts WHERE verifier = ?"
    trials, cpu_ms = ledger.db.execute(query, (which.verifier,)).fetchone()
    query = (
        "SELECT count(*), ifnull(sum(passes > 0 AND fails > 0), 0) FROM (SELECT sum(outcome = 1) AS passes, "
        "sum(outcome = 0) AS fails FROM verdicts WHERE verifier = ? GROUP BY check_id, answer HAVING count(*) > 1)"
    )
    retried, contested = ledger.db.execute(query, (which.verifier,)).fetchone()
    return trials, retried, contested, cpu_ms


class _Kinds:
    """Counts samples and distinct answers by (outcome, reason, strength, isolation)."""

    def __init__(self, ledger: Ledger, which: View, effective: Codes) -> None:
        self._names = ledger.names() | {0: ""}
        self._effective = effective
        self._kind = np.zeros((len(effective), 3), np.int64)
        # reason, strength and isolation of each answer's effective verdict
        self._judge(ledger, which)
        self._samples: dict[tuple[int, ...], int] = {}
        self._answers: dict[tuple[int, ...], int] = {}
        self._unparsed = 0

    def _judge(self, ledger: Ledger, which: View) -> None:
        query = (
            "SELECT group_concat(answer), group_concat(outcome), group_concat(reason), group_concat(strength), "
            "group_concat(ifnull(isolation, 0)) FROM (SELECT answer, outcome, reason, strength, isolation "
            "FROM verdicts WHERE verifier = ? AND check_id = ? ORDER BY answer, trial)"
        )
        for (check,) in ledger.db.execute("SELECT id FROM checks").fetchall():
            row = ledger.db.execute(query, (which.verifier, check)).fetchone()
            if row[0] is None:
                continue
            answers, outcomes, *kind = (_numbers(column) for column in row)
            agree = outcomes == self._effective[answers]
            # of several trials the last one that agrees with the outcome gives the reason
            self._kind[answers[agree]] = np.stack(kind, axis=1)[agree]

    def add(self, answers: IntArray, outcomes: Codes) -> None:
        """One problem's samples: ids of their answers (< 0: none) and outcome codes."""
        self._unparsed += int((answers == _NONE).sum())
        extracted = answers >= 0
        ids, counts = np.unique(answers[extracted], return_counts=True)
        self._count(np.column_stack([self._effective[ids], self._kind[ids]]), counts)
        waiting = int(((outcomes == PENDING) & ~extracted).sum())
        if waiting:
            key = (PENDING, 0, 0, 0)
            self._samples[key] = self._samples.get(key, 0) + waiting

    def _count(self, kinds: IntArray, samples: IntArray) -> None:
        if not len(kinds):
            return
        distinct, where = np.unique(kinds, axis=0, return_inverse=True)
        weights = np.bincount(where.reshape(-1), weights=samples).astype(np.int64)
        answers = np.bincount(where.reshape(-1))
        for row, weight, count in zip(distinct, weights, answers, strict=True):
            key = tuple(int(x) for x in row)
            self._samples[key] = self._samples.get(key, 0) + int(weight)
            self._answers[key] = self._answers.get(key, 0) + int(count)

    def groups(self) -> tuple[VerdictGroup, ...]:
        found = [self._group(key, samples) for key, samples in self._samples.items()]
        if self._unparsed:
            found.append(VerdictGroup(Outcome.FAIL.value, Reason.NO_ANSWER.value, "", "", self._unparsed, 0))
        return tuple(sorted(found, key=lambda g: (-g.samples, g.outcome, g.reason)))

    def _group(self, key: tuple[int, ...], samples: int) -> VerdictGroup:
        outcome, reason, strength, isolation = key
        # decided trials that cancel each other out leave no trial to take the reason from
        tied = outcome == UNKNOWN and not reason
        return VerdictGroup(
            outcome=_OUTCOME_NAMES[outcome],
            reason=Reason.NO_VERDICT.value if tied else self._names[reason],
            strength=self._names[strength],
            isolation=self._names[isolation],
            samples=samples,
            answers=self._answers.get(key, 0),
        )

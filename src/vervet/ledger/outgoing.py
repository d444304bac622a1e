"""A run on its way out: its samples as rows for the writers in `formats`, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from vervet.ledger import read
from vervet.ledger.store import Ledger
from vervet.ledger.summary import verifier_of
from vervet.records import Counts, Outcome, Problem, Prompt, Sample

IMPORTED = "imported"
# the task, or the provider, of samples that were made elsewhere
_CORRECT = {Outcome.PASS: True, Outcome.FAIL: False, Outcome.UNKNOWN: None, None: None}
Scores = Mapping[str, float | None]


class Outgoing:
    """Satisfies `formats.Run`. Outcomes are those of one verifier."""

    def __init__(
        self, ledger: Ledger, *, verifier: str | None = None, with_checks: bool = False, per_problem: int | None = None
    ) -> None:
        """Raises: UserError where the verifier never judged here."""
        config = ledger.config
        self._ledger = ledger
        self._verifier = verifier
        self._view = read.view(ledger, verifier)
        self._scorers = _scorers(ledger)
        self.score_columns = tuple(self._scorers.values())
        self.with_checks = with_checks
        self.per_problem = per_problem
        self.model = config.model.removeprefix(f"{IMPORTED}/")
        self.task = "" if config.task == IMPORTED else config.task
        self.params = config.params
        self.verifier = str(verifier_of(ledger, self._view).get("name", "none"))
        self.replaced = 0

    def counts(self) -> Counts:
        return read.counts(self._ledger, self._verifier)

    def prompt(self, problem_id: str) -> Prompt:
        return self._ledger.problem(problem_id)[1]

    def samples(self) -> Iterator[tuple[Problem, Sample, Scores]]:
        """Problem by problem as the run has them, in index order."""
        for problem_id in self._ledger.problem_keys():
            problem, _ = self._ledger.problem(problem_id)
            scores = self._scores(problem_id)
            for sample in read.samples(self._ledger, problem_id, self._view):
                yield problem, sample, scores.get(sample.index, {})

    def rows(self) -> Iterator[dict[str, Any]]:
        """Plain JSON. `outcome` and `correct` are null while a sample is pending, `correct` also where it is UNKNOWN."""
        nothing: dict[str, Any] = dict.fromkeys(self.score_columns)
        for problem, sample, scores in self.samples():
            row = {
                "problem_id": problem.id,
                "sample_index": sample.index,
                "text": sample.text,
                "answer": sample.answer,
                "outcome": sample.outcome and sample.outcome.value,
                "correct": _CORRECT[sample.outcome],
                "finish_reason": sample.finish_reason,
                "completion_tokens": sample.completion_tokens,
                "seed": None if sample.seed < 0 else sample.seed,
                "reasoning": sample.reasoning or None,
                **nothing,
                **scores,
            }
            if self.with_checks:
                row |= {"check": dict(problem.check), "reference": problem.reference}
            yield row

    def _scores(self, problem_id: str) -> dict[int, dict[str, float | None]]:
        """Index -> column -> score, of the samples that have any."""
        out: dict[int, dict[str, float | None]] = {}
        if not self._scorers:
            return out
        query = (
            "SELECT s.idx, c.scorer, c.value FROM problems p JOIN samples s ON s.config = 0 AND s.problem = p.id "
            "JOIN scores c ON c.kind = 0 AND c.target = s.text WHERE p.name = ? UNION ALL "
            "SELECT s.idx, c.scorer, c.value FROM problems p JOIN samples s ON s.config = 0 AND s.problem = p.id "
            "JOIN extractions e ON e.extractor = ? AND e.text = s.text "
            "JOIN scores c ON c.kind = 1 AND c.target = e.answer WHERE p.name = ?"
        )
        # scores is keyed by scorer first: without it every sample would look through all of them
        for scorer, column in self._scorers.items():
            narrowed = query.replace("c.kind", "c.scorer = ? AND c.kind")
            parameters = (scorer, problem_id, self._view.extractor, scorer, problem_id)
            for index, _, value in self._ledger.db.execute(narrowed, parameters):
                out.setdefault(index, {})[column] = value
        return out


def _scorers(ledger: Ledger) -> dict[int, str]:
    """Key -> column: `score` where there is one scorer, else `score_NAME`, numbered where names repeat."""
    rows = ledger.db.execute("SELECT id, body FROM scorers ORDER BY id").fetchall()
    if len(rows) == 1:
        return {rows[0][0]: "score"}
    columns: dict[int, str] = {}
    for key, body in rows:
        name = f"score_{orjson.loads(body)['name']}"
        same = sum(column == name or column.startswith(f"{name}_") for column in columns.values())
        columns[key] = f"{name}_{same + 1}" if same else name
    return columns

"""A run that exists: counts, samples and facts, read from its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from vervet.engine.plan import total
from vervet.engine.run import wanted
from vervet.ledger import Ledger, read, view
from vervet.ledger.rows import overshoot
from vervet.records import Config, Counts, Problem, Prompt, Sample

Stopped = Literal["complete", "budget", "interrupted"]


class Run:
    """A run folder: counts, samples and facts, read from its ledger whenever they are asked for."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._ledger = Ledger.open(self.folder)
        self.stopped: Stopped = "complete"
        self.seconds = 0.0
        self.wanted = 0
        # samples that the last command asked for, over its problems
        self.notices: tuple[str, ...] = ()

    @property
    def config(self) -> Config:
        """Everything that can change a sample's text."""
        return self._ledger.config

    @property
    def ledger(self) -> Ledger:
        """The open ledger, read-only."""
        return self._ledger

    def problem_ids(self) -> tuple[str, ...]:
        return tuple(self._ledger.problem_keys())

    def problem(self, problem_id: str) -> tuple[Problem, Prompt]:
        """A problem and its rendered prompt. Raises: UserError."""
        return self._ledger.problem(problem_id)

    def counts(self, verifier: str | None = None) -> Counts:
        """Per-problem counts by one verifier, the run's own by default. Raises: UserError where it never judged here."""
        return read.counts(self._ledger, verifier)

    def samples(self, problem_id: str, verifier: str | None = None) -> Iterator[Sample]:
        """A problem's samples in index order; texts are decompressed as they are asked for. Raises: UserError."""
        return read.samples(self._ledger, problem_id, view(self._ledger, verifier))

    def trials(self, problem_id: str, index: int, verifier: str | None = None) -> list[dict[str, Any]]:
        """Every verdict on a sample's answer, oldest first."""
        return read.trials_of_sample(self._ledger, view(self._ledger, verifier), problem_id, index)

    def facts(self, verifier: str | None = None) -> read.Facts:
        """Totals of the run."""
        return read.facts(self._ledger, view(self._ledger, verifier))[0]

    def verifiers(self) -> list[dict[str, Any]]:
        """Name, version, settings and fingerprint of every verifier that judged here."""
        return read.verifiers(self._ledger)

    def settings(self) -> dict[str, Any]:
        """What the run was told when it was last run, plain JSON."""
        told: dict[str, Any] = self._ledger.meta("settings", {})
        return told

    def to_dict(self) -> dict[str, Any]:
        """vervet.run/1."""
        facts = self.facts()
        return {
            "schema": "vervet.run/1",
            "run": str(self.folder),
            "problems": facts.problems,
            "samples": facts.samples,
            "missing": self._missing(),
            "pending": facts.pending,
            "pass": facts.passed,
            "fail": facts.failed,
            "unknown": facts.unknown,
            "distinct_answers": facts.distinct_answers,
            "truncated": facts.truncated,
            "unparsed": facts.unparsed,
            "prompt_tokens": facts.prompt_tokens,
            "completion_tokens": facts.completion_tokens,
            "requests": facts.requests,
            "lost_requests": facts.lost_requests,
            "usd": facts.cost_usd,
            "lost_usd": facts.lost_usd,
            "policy": self.settings().get("policy", "fixed"),
            "overshoot": self._overshoot(),
            "seconds": round(self.seconds, 3),
            "stopped": self.stopped,
        }

    def _missing(self) -> int:
        """Samples that the run was last asked for and does not hold."""
        n = self.settings().get("n", 0)
        if not n:
            # an imported run was never asked for anything
            return 0
        chosen = set(self._ledger.meta("chosen", []))
        rows = {p: row for p, row in read.stored(self._ledger).items() if p in chosen}
        name = self.settings().get("policy", "fixed")
        if name == "fixed":
            return sum(max(0, n - row.count) for row in rows.values())
        if ":" in name:
            # a policy of the user's own is code, and code out of a ledger is not run: what it wanted last
            return int(self._ledger.meta("missing", 0))
        from vervet.api.parts import build_policy  # noqa: PLC0415  a run is read without settings: pydantic costs 0.1 s
        from vervet.config import Settings  # noqa: PLC0415

        policy = build_policy(Settings(n=n, policy=name), dotted=False)
        extractor = self._ledger.meta("extractor", "")
        return total(rows, wanted(self._ledger, policy, list(rows), view(self._ledger).verifier, extractor))

    def overshoot(self, verifier: str | None = None) -> dict[str, int]:
        """Problem id -> index from which on its samples lie beyond the stop of the run's design, for problems that have such.

        They came with requests that were in flight, are kept, and are not counted.
        """
        return overshoot(self._ledger, view(self._ledger, verifier))

    def _overshoot(self) -> int:
        rows = read.stored(self._ledger)
        return sum(rows[p].count + len(rows[p].holes) - at for p, at in self.overshoot().items())

    def close(self) -> None:
        self._ledger.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_run(folder: Path | str) -> Run:
    """An existing run, for reading; other processes may be writing it. Raises: UserError where there is none."""
    return Run(folder)

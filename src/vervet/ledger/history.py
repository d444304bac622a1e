"""The stored samples of a run, as another run may draw them again: what `replay` is given."""

from __future__ import annotations

from pathlib import Path

from vervet.errors import BadData
from vervet.ledger.store import Ledger, storage
from vervet.records import Completion, PromptForm, fingerprint


class History:
    """Satisfies `protocols.History`. Holds the other run's ledger open from the first sample on."""

    def __init__(self, folder: str | Path) -> None:
        """Raises: UserError where the folder holds no run."""
        self._folder = Path(folder)
        self._open: Ledger | None = None
        self._names: dict[int, str] = {}
        with Ledger.open(self._folder) as ledger:
            self.form: PromptForm = ledger.config.prompt_form
            self.fingerprint = fingerprint(ledger.config.to_dict(), ledger.run_seed)

    def completions(self, problem_id: str, first: int, n: int) -> tuple[Completion, ...]:
        """Up to `n` samples of a problem in index order from the `first`-th on; holes do not count."""
        query = (
            "SELECT s.text, s.finish, s.tokens, s.reasoning, s.logprob, s.trace FROM samples s "
            "JOIN problems p ON p.id = s.problem WHERE s.config = 0 AND p.name = ? ORDER BY s.idx LIMIT ? OFFSET ?"
        )
        ledger = self._open = self._open or Ledger.open(self._folder)
        with storage(ledger.path):
            rows = ledger.db.execute(query, (problem_id, n, first)).fetchall()
        text = ledger.text
        return tuple(
            Completion(
                text=text(body),
                finish_reason=self._name(ledger, finish),
                completion_tokens=tokens,
                reasoning=text(reasoning) if reasoning else "",
                logprob=logprob,
                trace=text(trace) if trace else None,
            )
            for body, finish, tokens, reasoning, logprob, trace in rows
        )

    def _name(self, ledger: Ledger, key: int) -> str:
        if key not in self._names:
            self._names = ledger.names()
        if key not in self._names:
            raise BadData(f"{self._folder} is damaged: `vervet ledger check` names what")
        return self._names[key]

    def close(self) -> None:
        """Idempotent."""
        if self._open is not None:
            self._open.close()
            self._open = None

"""The samples of another run, served again in index order: `replay/RUNFOLDER`.

For judging samples that were paid for once under another task, task option or verifier: sample i of a problem is the i-th that
the other run has. Nothing is drawn, nothing costs; where the other run has no more, samples stay missing.
"""

from __future__ import annotations

from vervet.errors import UserError
from vervet.protocols import History, SamplerSetup, SamplerTraits
from vervet.records import Reply, Request, Usage

_BATCH = 64
# samples in one request: reading them holds up everything else for about a millisecond


class Replay:
    """`replay/RUNFOLDER`: the stored samples of another run, in index order."""

    def __init__(self, name: str, setup: SamplerSetup) -> None:
        """Raises: UserError where there is no run to replay, or nobody who can read it."""
        if setup.history is None:
            raise UserError(f"model 'replay/{name}': this caller cannot read other runs")
        self._name = name
        self._history: History = setup.history(name)

    def traits(self) -> SamplerTraits:
        """The fingerprint is that of the other run: its config and its seed."""
        return SamplerTraits(
            form=self._history.form, max_n=_BATCH, max_in_flight=16, fingerprint=self._history.fingerprint
        )

    async def sample(self, request: Request) -> Reply:
        """What the other run has of it. Raises: ValueError where it has nothing more."""
        found = self._history.completions(request.problem_id, request.first, request.n)
        if not found:
            raise ValueError(f"{self._name} has no more than {request.first} samples of it")
        tokens = [c.completion_tokens for c in found]
        total = None if None in tokens else sum(t or 0 for t in tokens)
        return Reply(tuple(found), Usage(completion_tokens=total), "replay")

    async def aclose(self) -> None:
        self._history.close()

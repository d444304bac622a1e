"""`logprob`: how likely the model itself found its text, a token on average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vervet.errors import BadOption
from vervet.protocols import ScorerSetup
from vervet.records import Problem, Sample


class MeanLogProbability:
    """Mean log-probability of a sample's tokens; None where the run kept none (-M logprobs=true keeps them)"""

    name = "logprob"
    version = "1"

    def __init__(self, name: str, setup: ScorerSetup) -> None:  # noqa: ARG002  the seam's
        if name:
            raise BadOption(f"logprob/{name}: logprob has no models: write -m logprob")

    def settings(self) -> Mapping[str, Any]:
        return {}

    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:  # noqa: ARG002
        return [_mean(sample) for sample in samples]

    async def aclose(self) -> None:
        """Nothing to close."""


def _mean(sample: Sample) -> float | None:
    if sample.logprob is None or not sample.completion_tokens:
        return None
    return sample.logprob / sample.completion_tokens

"""What a run has done so far: plain numbers that the engine moves and a display reads."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Progress:
    """Counters of this invocation, not of the whole run (`stored_before` is the difference)."""

    wanted: int = 0
    # samples that this invocation wants to add
    stored_before: int = 0
    stored: int = 0
    in_flight: int = 0
    # requests out at the model
    requests: int = 0
    truncated: int = 0
    unparsed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None
    to_verify: int = 0
    # distinct answers waiting for a verdict
    verified: int = 0
    passed: int = 0
    # distinct answers that PASSed
    unknown: int = 0
    notices: list[str] = field(default_factory=list)
    # lines for the user: what was skipped, and why
    started: float = field(default_factory=time.monotonic)
    coverage: tuple[int, float] | None = None
    # (k, coverage so far), refreshed now and then

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

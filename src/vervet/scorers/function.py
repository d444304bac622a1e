"""`module:callable`: any Python function of a problem and a sample as a scorer."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vervet.records import Problem, Sample


class FunctionScorer:
    """Calls `function(problem, sample)`, plain or async, for each sample; it returns a number, or None for no score.

    Its fingerprint is that of its source code: a changed function gives new scores beside the old ones.
    """

    version = "1"

    def __init__(self, name: str, function: Callable[[Problem, Sample], Any]) -> None:
        """Args: name: "module:callable", under which its scores are kept."""
        self.name = name
        self._function = function

    def settings(self) -> Mapping[str, Any]:
        try:
            source = inspect.getsource(self._function)
        except (OSError, TypeError):
            source = repr(getattr(self._function, "__qualname__", ""))
        return {"source": hashlib.blake2b(source.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()}

    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        """Raises: whatever the function raises; TypeError and ValueError where it returns no finite number."""
        if inspect.iscoroutinefunction(self._function):
            return [_number(self.name, await self._function(problem, sample)) for sample in samples]
        return await asyncio.to_thread(lambda: [_number(self.name, self._function(problem, s)) for s in samples])

    async def aclose(self) -> None:
        """Nothing to close."""


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} returned {number}: a score is finite, or None")
    return number

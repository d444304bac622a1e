"""The line of distinct answers between sampling and verification: bounded on one side, batched on the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

BATCH = 32
# answers in one job: enough to keep a warm verifier busy, few enough that a stop is prompt
BOUND = 8192
# answers waiting before sampling is held back


@dataclass(frozen=True, slots=True)
class Waiting:
    """A distinct answer that wants a verdict. `answer` None: still in the ledger, read when its turn comes."""

    problem_id: str
    answer_id: int
    answer: str | None
    tries: int = 0


class AnswerLine:
    """Filled by samples as they are stored, emptied in batches of one problem's answers."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Waiting]] = {}
        self._size = 0
        self._out = 0
        # handed out and not yet settled: they may come back
        self._closed = False
        self._stopped = False
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return self._size + self._out

    async def put(self, items: Iterable[Waiting]) -> None:
        """Add answers; waits while the line is too long."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._size < BOUND or self._stopped)
            self.add(items)
            self._changed.notify_all()

    def add(self, items: Iterable[Waiting]) -> None:
        """Add answers without waiting, before the line is read."""
        for item in items:
            self._waiting.setdefault(item.problem_id, deque()).append(item)
            self._size += 1

    async def settle(self, count: int, again: Iterable[Waiting] = ()) -> None:
        """`count` answers that were handed out are decided, or come back in `again`."""
        async with self._changed:
            self._out -= count
            self.add(again)
            self._changed.notify_all()

    async def idle(self) -> None:
        """Wait until everything that came in is decided, or the line is stopped."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._stopped or not (self._size or self._out))

    async def close(self) -> None:
        """No new answers will come; those that are out may still come back."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def stop(self) -> None:
        """Hand out nothing more: what waits stays pending in the ledger."""
        async with self._changed:
            self._stopped = True
            self._changed.notify_all()

    async def batches(self) -> AsyncIterator[list[Waiting]]:
        """Batches of one problem's answers with the same number of tries, until the line is closed and empty."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._size or self._stopped or (self._closed and not self._out))
                if self._stopped or not self._size:
                    return
                batch = self._take()
                self._changed.notify_all()
            yield batch

    def _take(self) -> list[Waiting]:
        problem_id, line = next(iter(self._waiting.items()))
        batch = [line.popleft()]
        while line and len(batch) < BATCH and line[0].tries == batch[0].tries:
            batch.append(line.popleft())
        # the problem goes to the back: no problem waits for another's thousands
        del self._waiting[problem_id]
        if line:
            self._waiting[problem_id] = line
        self._size -= len(batch)
        self._out += len(batch)
        return batch

"""A time limit for many tasks at once, with one timer for all of them: a timer each costs as much as parsing the answer."""

from __future__ import annotations

import asyncio

_LOOKS = 50
# at the clock, in the time of the limit: a task is ended at most a fiftieth too late


class Deadlines:
    """Cancels every task that is inside for longer than `seconds`. One event loop; a task is inside once at most.

    deadlines.enter(task)
    try: ...
    except asyncio.CancelledError:
        if not deadlines.expired(task): raise
    finally: deadlines.leave(task)
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._inside: dict[asyncio.Task[object], float] = {}
        # in the order of their deadlines, because all have the same time
        self._overdue: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, task: asyncio.Task[object], now: float) -> None:
        """The task's time begins; `now` is the loop's."""
        self._inside[task] = now + self._seconds
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds / _LOOKS, self._look)

    def leave(self, task: asyncio.Task[object]) -> None:
        """Its time does not matter any more. Idempotent."""
        self._inside.pop(task, None)
        self._overdue.discard(task)

    def expired(self, task: asyncio.Task[object]) -> bool:
        """Whether the cancellation that has just reached the task is ours, and ours alone; then it is over."""
        if task not in self._overdue:
            return False
        self._overdue.discard(task)
        return task.uncancel() == 0

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now, late = loop.time(), []
        for task, deadline in self._inside.items():
            if deadline > now:
                break
            late.append(task)
        for task in late:
            del self._inside[task]
            self._overdue.add(task)
            task.cancel()
        self._timer = loop.call_later(self._seconds / _LOOKS, self._look) if self._inside else None

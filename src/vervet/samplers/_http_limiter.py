"""How many requests one server gets at once.

Grows while more at once bring more answers a second (doubling at first, then by a twentieth) and steps back where they only
wait longer: what counts is the mean latency of requests that were sent after the last change; by Little's law the rate is the
limit over it. Shrinks by the share of "too many requests" among the answers, as DCTCP does: a rare one costs little, a storm
halves, and it settles where about one request in twenty is refused. A Retry-After holds everything for that server.
"""

from __future__ import annotations

import asyncio
from collections import deque

_SHRINK = 0.5
# at most, in one window
_RARE = 0.05
# a smaller share of refusals does not end growth, which is as large
_QUIET_WINDOWS = 8
# without growth after a refusal or after growth that brought nothing
_WORTH = 0.2
# growth by a factor g is kept if the rate grew by at least 1 + 0.2 (g - 1)
_STEP = 1.3
# growth is judged when it has come to this factor: less would drown in the noise of latencies
_LEAST = 16
# answers in a window


class Closed(Exception):
    """The run is draining: nothing new is sent."""


class Limiter:
    """A semaphore whose size adapts. One event loop, no threads."""

    def __init__(self, top: int, start: int) -> None:
        self.top = top
        self.limit = float(min(top, start))
        self.active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._paused_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        # the window that is being measured: requests sent since `_since`
        self._since = 0.0
        self._answers = self._refused = 0
        self._latency = 0.0
        self._crowded = False
        # whether somebody had to wait: only then does a window say anything
        self._quiet = 0
        self._doubling = True
        self._anchor: tuple[float, float] | None = None
        # limit and mean latency that growth is measured against

    @property
    def free(self) -> bool:
        """Whether a request could go out at once."""
        return self.active < self.limit and not self._waiting and not self._timer

    async def acquire(self) -> float:
        """Wait for a place; returns when it was got, to be handed back with it. Raises: Closed once the run is draining."""
        if self._closed:
            raise Closed
        loop = asyncio.get_running_loop()
        if self.free:
            self.active += 1
            return loop.time()
        self._crowded = True
        place = loop.create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.active -= 1
                self._admit()
            raise
        return loop.time()

    def release(self, since: float, *, answered: bool = False, refused: bool = False) -> None:
        """Give a place back. `answered`: the server gave a result; `refused`: it said that this is too much."""
        self.active -= 1
        if since >= self._since and (answered or refused):
            now = asyncio.get_running_loop().time()
            self._answers += answered
            self._refused += refused
            self._latency += now - since if answered else 0.0
            if self._answers + self._refused >= max(_LEAST, self.limit):
                self._window()
                self._since, self._answers, self._refused, self._latency = now, 0, 0, 0.0
                self._crowded = bool(self._waiting)
        self._admit()

    def pause(self, seconds: float) -> None:
        """Send nothing for so long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if until > self._paused_until:
            self._paused_until = until
            if self._timer:
                self._timer.cancel()
            self._timer = loop.call_at(until, self._resume)

    def close(self) -> None:
        """Turn everybody who waits away; what is out may finish."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(Closed())

    def _resume(self) -> None:
        self._timer = None
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.active < self.limit and not self._timer:
            place = self._waiting.popleft()
            if not place.done():
                self.active += 1
                place.set_result(None)

    # ------------------------------------------------------------------------------------------- adapting

    def _window(self) -> None:
        """Adapt to what the window that has ended shows."""
        share = self._refused / (self._answers + self._refused)
        self.limit = max(1.0, self.limit * (1 - min(_SHRINK, share)))
        if share > _RARE:
            self._anchor, self._doubling = None, False
            self._quiet = _QUIET_WINDOWS if share > 2 * _RARE else 0
        elif self._crowded:
            self._judge(self._latency / max(1, self._answers))

    def _judge(self, latency: float) -> None:
        """Grow, or take growth back that brought nothing."""
        if self._anchor is None:
            self._anchor = (self.limit, latency)
        grown = self.limit / self._anchor[0]
        if grown >= _STEP:
            rate = grown * self._anchor[1] / max(latency, 1e-9)
            if rate < 1 + _WORTH * (grown - 1):
                self.limit, self._anchor = self._anchor[0], None
                self._doubling, self._quiet = False, _QUIET_WINDOWS
                return
            self._anchor = (self.limit, latency)
        if self._quiet:
            self._quiet -= 1
            return
        step = self.limit if self._doubling else max(1.0, self.limit / 20)
        self.limit = min(float(self.top), self.limit + step)

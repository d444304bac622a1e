"""Group commit: many tasks write, one thread commits, nobody goes on before its own rows are durable."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeVar

from vervet.ledger.store import Ledger

T = TypeVar("T")
ItemT = TypeVar("ItemT")
WINDOW_S = 0.05
# a transaction stays open no longer than this after its first row
REST_S = 0.02
# between two commits while rows come in crowds: what comes meanwhile shares the next one
_SHARED = 32
# items of shared work done at once: few enough to see the window's end


class GroupCommit:
    """Runs functions that write to a ledger, in order, in shared transactions, in a thread of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._crowded = False
        # the last transaction had more than one row
        self._rested = 0.0
        # monotonic time before which the next one waits
        self._thread = threading.Thread(target=self._serve, name="vervet-ledger", daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[], T]) -> T:
        """Result of `work`, once it is durable. Raises: what `work` raised, or StorageError."""
        return await self.share(_each, work)

    async def share(self, work: Callable[[Sequence[ItemT]], Sequence[T]], item: ItemT) -> T:
        """As :meth:`do`, for work that is cheaper for many items than for each: `work` gives one result for each of the items
        that callers brought for the same `work` one after the other, this one among them.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        # a cancelled caller does not cancel the write, only its own waiting: what was bought is kept
        self._queue.put(_Item(work, item, future))
        return await future

    async def aclose(self) -> None:
        """Commit what is queued and end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _serve(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if self._crowded:
                # a commit of its own for each row would cost more than the row
                time.sleep(max(0.0, self._rested - time.monotonic()))
            if not self._group(item):
                return
            self._rested = time.monotonic() + REST_S

    def _group(self, first: _Item) -> bool:
        """One transaction. False when the end was asked for."""
        batch, go_on = self._waiting([first])
        try:
            with self._ledger.transaction():
                deadline = time.monotonic() + WINDOW_S
                results = _done(batch)
                while go_on and time.monotonic() < deadline:
                    some, go_on = self._waiting([])
                    if not some:
                        break
                    batch += some
                    results += _done(some)
        except Exception as error:
            self._retry_alone(batch, error)
        else:
            self._resolve(batch, results)
        self._crowded = len(batch) > 1
        return go_on

    def _waiting(self, some: list[_Item]) -> tuple[list[_Item], bool]:
        """(`some` and what waits now, no more than can be done in a moment; False where the end was asked for)."""
        while len(some) < _SHARED:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return some, False
            some.append(item)
        return some, True

    def _retry_alone(self, batch: list[_Item], error: Exception) -> None:
        """One item's failure must not take its neighbours with it."""
        if len(batch) == 1:
            self._fail(batch[0], error)
            return
        for item in batch:
            try:
                with self._ledger.transaction():
                    results = _done([item])
            except Exception as own:
                self._fail(item, own)
            else:
                self._resolve([item], results)

    def _resolve(self, batch: list[_Item], results: list[Any]) -> None:
        def settle() -> None:
            for item, result in zip(batch, results, strict=True):
                if not item.future.done():
                    item.future.set_result(result)

        self._loop.call_soon_threadsafe(settle)

    def _fail(self, item: _Item, error: Exception) -> None:
        def settle() -> None:
            if not item.future.done():
                item.future.set_exception(error)

        self._loop.call_soon_threadsafe(settle)


class _Item:
    __slots__ = ("future", "item", "work")

    def __init__(self, work: Callable[[Any], Any], item: Any, future: asyncio.Future[Any]) -> None:
        self.work, self.item, self.future = work, item, future


def _done(items: list[_Item]) -> list[Any]:
    """The items' results, neighbours with the same work together."""
    results: list[Any] = []
    for work, neighbours in groupby(items, key=lambda item: item.work):
        results += work([item.item for item in neighbours])
    return results


def _each(works: Sequence[Callable[[], T]]) -> list[T]:
    return [work() for work in works]

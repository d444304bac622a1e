"""Between the async core and everybody else: one sync door, and what Ctrl-C does."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from vervet.engine.run import Stop

T = TypeVar("T")


@contextlib.contextmanager
def signals(stop: Stop) -> Iterator[None]:
    """Ctrl-C once drains and saves; twice aborts. Only where signals can be handled: the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()

    def interrupt() -> None:
        if stop.requested and main is not None:
            main.cancel()
        stop.request("interrupted")

    previous = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), previous, strict=True):
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def door(work: Coroutine[Any, Any, T]) -> T:
    """Run async work from sync code, also from inside a running event loop (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    result: list[T] = []
    failure: list[BaseException] = []

    def call() -> None:
        try:
            result.append(asyncio.run(work))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=call, name="vervet-door")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]

"""What the conformance suites share: promises, event loops of their own, a ticker that notices a held loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vervet.records import canonical_json

T = TypeVar("T")
LIMIT_S = 60.0
# for one check's async work, closing included; far above what a check needs
_GRACE_S = 2.0
# how long a task may take to end after its owner was closed
_TICK_S = 0.005


class Closeable(Protocol):
    """A component with a life."""

    async def aclose(self) -> None: ...


C = TypeVar("C", bound=Closeable)


def require(truth: object, promise: str) -> None:
    """Raises: AssertionError with the promise, unless it holds. Not an `assert` statement: `python -O` keeps it."""
    if not truth:
        raise AssertionError(promise)


def together(seam: str, checks: Sequence[Callable[[], None]], names: Sequence[str]) -> None:
    """Run every check; a check that raises something else than AssertionError has found a broken promise as well.

    Raises: AssertionError with one line a broken promise, caused by the first.
    """
    found: list[tuple[str, Exception]] = []
    for name, check in zip(names, checks, strict=True):
        try:
            check()
        except Exception as error:
            found.append((name, error))
    if found:
        lines = [f"- {name}: {_said(error)}" for name, error in found]
        raise AssertionError(f"not a conforming {seam}:\n" + "\n".join(lines)) from found[0][1]


def run_all(seam: str, *checks: tuple[Callable[..., None], tuple[Any, ...], dict[str, Any]]) -> None:
    """:func:`together` over (function, arguments, keyword arguments)."""
    together(seam, [_bound(*check) for check in checks], [check[0].__name__ for check in checks])


def call(function: Callable[..., None], *args: Any, **options: Any) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """One entry for :func:`run_all`."""
    return function, args, options


def _bound(function: Callable[..., None], args: tuple[Any, ...], options: dict[str, Any]) -> Callable[[], None]:
    return lambda: function(*args, **options)


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, AssertionError) else f"it raised {type(error).__name__}: {error}"


# ------------------------------------------------------------------------------------------------------ event loops


def run(work: Callable[[], Awaitable[T]], limit_s: float = LIMIT_S) -> T:
    """The result of async work in an event loop of its own, in another thread where a loop is running already.

    Raises: AssertionError where it does not end in time, or leaves a task behind; whatever the work raises.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_within(work, limit_s))
    result: list[T] = []
    failure: list[BaseException] = []

    def in_thread() -> None:
        try:
            result.append(asyncio.run(_within(work, limit_s)))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


async def _within(work: Callable[[], Awaitable[T]], limit_s: float) -> T:
    try:
        async with asyncio.timeout(limit_s) as limit:
            result = await work()
    except TimeoutError:
        require(not limit.expired(), f"it did not finish within {limit_s:g} s")
        raise
    await require_no_tasks()
    return result


async def require_no_tasks() -> None:
    """Raises: AssertionError where another task of this loop does not end soon."""
    end = time.monotonic() + _GRACE_S
    while left := asyncio.all_tasks() - {asyncio.current_task()}:
        names = ", ".join(sorted({getattr(t.get_coro(), "__qualname__", "?") for t in left}))
        require(time.monotonic() < end, f"after it was closed, {len(left)} tasks are left behind: {names}")
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def opened(build: Callable[[], C]) -> AsyncIterator[C]:
    """A new component for the block, closed after it."""
    part = build()
    try:
        yield part
    finally:
        await part.aclose()


def discard(part: Closeable) -> None:
    """Close a component that was only looked at."""
    run(part.aclose)


def check_close(build: Callable[[], Closeable], use: Callable[[Any], Awaitable[object]] | None = None) -> None:
    """`aclose()` may come twice, and without any use before it."""

    async def work() -> None:
        for used in (False, True):
            part = build()
            if used and use is not None:
                await use(part)
            for time_ in ("first", "second"):
                try:
                    await part.aclose()
                except Exception as error:
                    where = "after use" if used else "without any use"
                    raise AssertionError(f"aclose() {where}, the {time_} time, raised {error!r}") from error

    run(work)


# ------------------------------------------------------------------------------------------------------ the ticker


class Ticker:
    """Ticks in the event loop during `async with`; `longest_s` is the longest time for which it was held.

    Time in which this thread was ready to run while others had the processor does not count
    (/proc/thread-self/schedstat, second number; zero where there is no such file).
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Ticker:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.sleep(2 * _TICK_S)  # the tick that was due while the loop was held
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _tick(self) -> None:
        last, starved = time.monotonic(), _starved_s()
        while True:
            await asyncio.sleep(_TICK_S)
            now, starved_now = time.monotonic(), _starved_s()
            self.longest_s = max(self.longest_s, now - last - (starved_now - starved) - _TICK_S)
            last, starved = now, starved_now


def _starved_s() -> float:
    try:
        return int(Path("/proc/thread-self/schedstat").read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


# ------------------------------------------------------------------------------------------------------ small things


def is_plain_json(value: object) -> bool:
    """Whether a value is JSON that comes back equal; tuples count as lists."""
    import orjson  # noqa: PLC0415  only here

    try:
        return bool(_listed(orjson.loads(canonical_json(value))) == _listed(value))
    except (TypeError, ValueError):
        return False


def _listed(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_listed(v) for v in value]
    if hasattr(value, "items"):
        return {k: _listed(v) for k, v in value.items()}
    return value


def rotations(items: Sequence[T]) -> Iterator[list[T]]:
    """Some orders of the items: every rotation, and the reverse."""
    for shift in range(len(items)):
        yield list(itertools.chain(items[shift:], items[:shift]))
    yield list(reversed(items))


def short(text: object) -> str:
    """A value's repr, cut for a message."""
    shown = repr(text)
    return shown if len(shown) <= 80 else shown[:77] + "..."

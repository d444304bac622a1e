"""How many requests a server gets at once: against modelled servers, in virtual time, so that every measurement is exact."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from tests.clock import run_virtually
from vervet.samplers._http_limiter import Closed, Limiter

START = 64
# where the providers' table begins


@dataclass
class Modelled:
    """A server in a few lines: so long a request, so many at work, and perhaps 429 above so many at once."""

    latency_s: float
    capacity: int | None = None
    most_at_once: int | None = None
    now: int = 0
    most_seen: int = 0
    refused: list[bool] = field(default_factory=list)
    # one entry a request, in order of arrival

    async def answer(self, turns: asyncio.Semaphore | None) -> bool:
        """False: too many."""
        self.now += 1
        self.most_seen = max(self.most_seen, self.now)
        try:
            over = self.most_at_once is not None and self.now > self.most_at_once
            self.refused.append(over)
            if over:
                await asyncio.sleep(0.001)
                return False
            if turns:
                async with turns:
                    await asyncio.sleep(self.latency_s)
            else:
                await asyncio.sleep(self.latency_s)
            return True
        finally:
            self.now -= 1


def flow(server: Modelled, top: int, seconds: float) -> list[float]:
    """256 callers for so many virtual seconds; the limit at every answer."""
    dice = random.Random(1)

    async def work() -> list[float]:
        limiter, limits = Limiter(top, START), []
        turns = asyncio.Semaphore(server.capacity) if server.capacity else None

        async def one() -> None:
            failures = 0
            while True:
                since = await limiter.acquire()
                good = await server.answer(turns)
                limiter.release(since, answered=good, refused=not good)
                limits.append(limiter.limit)
                failures = 0 if good else failures + 1
                if failures:
                    # as the client does between attempts
                    await asyncio.sleep(0.02 * 2**failures * dice.uniform(0.5, 1.0))

        callers = [asyncio.create_task(one()) for _ in range(256)]
        await asyncio.sleep(seconds)
        limiter.close()
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        return limits

    return run_virtually(work())


def test_more_is_sent_at_once_while_that_helps() -> None:
    """From 64 upwards on a server with room, and never above what the user allows."""
    server = Modelled(latency_s=0.15)
    limits = flow(server, 200, 3)
    assert limits[0] == START
    assert limits[-1] == server.most_seen == 200


def test_less_is_sent_at_once_where_more_only_waits() -> None:
    """A server that works on eight at once gets no crowd of 256: growth is tried now and then, and taken back."""
    limits = flow(Modelled(latency_s=0.02, capacity=8), 256, 20)
    assert max(limits) <= 2 * START


def test_less_is_sent_at_once_where_the_server_says_too_many() -> None:
    """429 above 20 at once: it settles there, and few requests are refused in the end."""
    server = Modelled(latency_s=0.03, most_at_once=20)
    limits = flow(server, 256, 10)
    late = server.refused[len(server.refused) // 2 :]
    assert all(8 <= limit <= 40 for limit in limits[len(limits) // 2 :])
    assert sum(late) / len(late) < 0.1


def test_a_pause_holds_everybody_until_it_is_over() -> None:
    async def work() -> float:
        limiter = Limiter(4, 4)
        limiter.pause(7.5)
        limiter.pause(2.0)
        return await limiter.acquire()

    assert run_virtually(work()) == pytest.approx(7.5)


def test_a_cancelled_request_gives_its_place_back() -> None:
    async def work() -> None:
        limiter = Limiter(1, 1)
        got = await limiter.acquire()
        waiting = [asyncio.create_task(limiter.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        limiter.release(got)
        waiting[1].cancel()  # it has just been let in
        await asyncio.gather(*waiting[:2], return_exceptions=True)
        limiter.release(await waiting[2], answered=True)
        assert limiter.active == 0
        limiter.close()
        with pytest.raises(Closed):
            await limiter.acquire()

    run_virtually(work())

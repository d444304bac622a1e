"""The driver's side of a container: frames as they arrive, processors shared out."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import Counter

import pytest

from vervet.sandbox._container import Frames, Gone, Processor
from vervet.sandbox.inside import wire


def pair(*, news: bool) -> tuple[Frames, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return Frames(ours, news=news), theirs


@pytest.mark.parametrize("news", [True, False])
def test_frames_arrive_whole_and_in_order_however_they_are_cut(news):
    async def read() -> None:
        frames, theirs = pair(news=news)
        payloads = [b"first", b"", b"x" * 3_000_000, b"last"]

        async def write() -> None:
            data = b"".join(map(wire.pack, payloads))
            theirs.setblocking(False)
            for start, end in ((0, 2), (2, 6), (6, len(data))):
                await asyncio.get_running_loop().sock_sendall(theirs, data[start:end])
                await asyncio.sleep(0.01)

        writer = asyncio.create_task(write())
        found = [await frames.receive_bytes() for _ in payloads]
        await writer
        assert found == payloads
        theirs.close()
        with pytest.raises(Gone):
            await frames.receive_bytes()
        frames.close()

    asyncio.run(read())


@pytest.mark.parametrize("news", [True, False])
def test_whoever_waits_for_a_frame_is_told_when_the_socket_is_closed(news):
    async def wait() -> None:
        frames, theirs = pair(news=news)
        waiting = asyncio.create_task(frames.receive_bytes())
        await asyncio.sleep(0.01)
        frames.close()
        with pytest.raises(Gone):
            await asyncio.wait_for(waiting, 5)
        theirs.close()

    asyncio.run(wait())


def test_what_nobody_asks_for_is_not_read_without_end():
    async def flood() -> None:
        frames, theirs = pair(news=True)
        theirs.sendall(wire.pack(b"first"))
        assert await frames.receive_bytes() == b"first"
        waiting = asyncio.create_task(frames.receive_bytes())
        await asyncio.sleep(0.01)
        theirs.sendall(wire.pack(b"second"))
        assert await waiting == b"second"
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_sendall(theirs, wire.pack(bytes(1 << 26))), 0.5)
        frames.close()
        theirs.close()

    asyncio.run(flood())


def test_a_loop_that_ended_leaves_frames_to_the_next():
    frames, theirs = pair(news=True)

    async def one(payload: bytes) -> bytes:
        waiting = asyncio.create_task(frames.receive_bytes())
        await asyncio.sleep(0.01)
        theirs.sendall(wire.pack(payload))
        return await waiting

    assert asyncio.run(one(b"a")) == b"a"
    assert asyncio.run(one(b"b")) == b"b"
    frames.close()
    theirs.close()


@pytest.fixture
def two_processors(monkeypatch):
    """Two that this machine does not have, so that no other container is on them; their numbers."""
    numbers = [100_000 + os.getpid() * 2, 100_001 + os.getpid() * 2]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(numbers))
    return numbers


def test_processors_are_shared_out_evenly_and_given_back(two_processors):
    taken = [Processor() for _ in range(6)]
    assert Counter(one.number for one in taken) == dict.fromkeys(two_processors, 3)
    taken[2].give_back()
    taken[2].give_back()
    taken.append(Processor())
    assert taken[-1].number == taken[2].number
    for one in taken:
        one.give_back()


def test_other_processes_containers_count_and_no_longer_once_they_are_killed(two_processors):
    low, high = two_processors
    code = f"import os; os.sched_getaffinity = lambda _: {{{low}}}\n"
    code += "from vervet.sandbox._container import Processor\nmine = Processor()\nprint(1, flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        first = Processor()
        assert first.number == high
        other.kill()
    second = Processor()
    assert second.number == low
    first.give_back()
    second.give_back()


def test_where_every_processor_has_many_containers_the_scheduler_chooses(two_processors):
    taken = [Processor() for _ in range(16)]
    with pytest.raises(OSError, match="as many containers"):
        Processor()
    for one in taken:
        one.give_back()
    Processor().give_back()

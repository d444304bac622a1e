"""Carries a container's channels over one stream, where an engine gives no more than standard input and output.

The same loop runs at both ends: frames of channel, length and bytes; length 0 is a channel's end. Inside, `main` is the
container's first process: it starts the launcher and relays until either side is gone. A driver that is alive says so
every few seconds; without that word for long enough the container ends by itself.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
from collections.abc import Callable
from typing import NoReturn

CHANNELS = ("life", "control", "code", "tests")
BEAT_S = 5.0
SILENCE_S = 60.0
_HEAD = struct.Struct("<BI")
_BEAT = _HEAD.pack(255, 0)
_CHUNK = 1 << 16
_WAITING = 1 << 20
# bytes on their way out beyond which no channel is read


def main(config: dict[str, object]) -> NoReturn:
    """The container's first process. `config` is the launcher's, without the sockets."""
    os.setgroups([])
    # an engine leaves root's group there, which would outlive every change of uid
    pairs = [socket.socketpair() for _ in CHANNELS]
    if os.fork() == 0:
        from vervet.sandbox.inside import launch

        for ours, _ in pairs:
            ours.close()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1):
            os.dup2(null, fd)
        fds = {name: pair[1].detach() for name, pair in zip(CHANNELS, pairs, strict=True)}
        os._exit(launch.main(json.dumps({**config, "fds": fds})))
    for _, theirs in pairs:
        theirs.close()
    relay([ours for ours, _ in pairs], 0, 1, alive=False)
    sys.exit(0)


def relay(
    sockets: list[socket.socket],
    reading: int,
    writing: int,
    *,
    alive: bool,
    decode: Callable[[bytes], bytes] = lambda data: data,
) -> None:
    """Until the stream or all channels have ended; then all of them are closed.

    Args: reading, writing: the stream's descriptors; alive: this end says that it is there, the other waits for it;
    decode: what the stream's bytes have to go through.
    """
    line = _Line(sockets, writing)
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    patience = (BEAT_S if alive else SILENCE_S) * 1000
    try:
        while line.open:
            ready = dict(line.wait(reading, patience))
            if not ready:
                if not alive:
                    return
                line.out += _BEAT
            if ready.get(reading):
                data = _read(reading)
                if data == b"":
                    return
                line.arrived(decode(data or b""))
            line.serve(ready)
    except OSError:  # the stream broke
        return
    finally:
        for sock in sockets:
            sock.close()


def _read(fd: int) -> bytes | None:
    """What is there, b"" at the end, None where it was a false alarm."""
    try:
        return os.read(fd, _CHUNK)
    except BlockingIOError:
        return None


class _Line:
    """The channels, and what is waiting to go either way."""

    def __init__(self, sockets: list[socket.socket], writing: int) -> None:
        self._sockets = sockets
        self._writing = writing
        self.open = set(range(len(sockets)))
        # channels that are read here
        self.out = bytearray()
        self._in = bytearray()
        # a frame that has not arrived completely
        self._queues: list[bytearray] = [bytearray() for _ in sockets]
        self._ended: set[int] = set()
        # channels that the other end has closed
        for sock in sockets:
            sock.setblocking(False)

    def wait(self, reading: int, patience_ms: float) -> list[tuple[int, int]]:
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        if self.out:
            poll.register(self._writing, select.POLLOUT | (select.POLLIN if self._writing == reading else 0))
        for i, sock in enumerate(self._sockets):
            events = select.POLLOUT if self._queues[i] else 0
            events |= select.POLLIN if i in self.open and len(self.out) < _WAITING else 0
            if events:
                poll.register(sock.fileno(), events)
        return poll.poll(patience_ms)

    def arrived(self, data: bytes) -> None:
        """Bytes from the stream: into the queues of their channels."""
        self._in += data
        done = 0
        while len(self._in) - done >= _HEAD.size:
            channel, size = _HEAD.unpack_from(self._in, done)
            end = done + _HEAD.size + size
            if len(self._in) < end:
                break
            if channel < len(self._queues):
                self._queues[channel] += self._in[done + _HEAD.size : end]
                if size == 0:
                    self._ended.add(channel)
            done = end
        del self._in[:done]
        for channel in range(len(self._queues)):
            self._deliver(channel)

    def serve(self, ready: dict[int, int]) -> None:
        """Move what can be moved."""
        for i, sock in enumerate(self._sockets):
            events = ready.get(sock.fileno(), 0)
            if events & select.POLLOUT:
                self._deliver(i)
            if events & ~select.POLLOUT and i in self.open:
                self._take(i)
        if self.out:
            try:
                del self.out[: os.write(self._writing, self.out[:_CHUNK])]
            except BlockingIOError:
                pass

    def _take(self, i: int) -> None:
        try:
            data = self._sockets[i].recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.open.discard(i)
        self.out += _HEAD.pack(i, len(data)) + data

    def _deliver(self, i: int) -> None:
        queue = self._queues[i]
        try:
            while queue:
                del queue[: self._sockets[i].send(queue[:_CHUNK])]
        except BlockingIOError:
            return
        except OSError:  # nobody is there any more
            queue.clear()
        if i in self._ended:
            try:
                self._sockets[i].shutdown(socket.SHUT_WR)
            except OSError:
                pass
            self._ended.discard(i)

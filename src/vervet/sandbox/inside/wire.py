"""Length-prefixed frames, and the size limits both ends keep.

Functions on sockets serve the slow paths; those on bare descriptors serve a candidate, where every object made after
the fork costs page faults.
"""

from __future__ import annotations

import os
import socket

MAX_REPLY = 8 << 20
# bytes of one reply of an answer's function: beyond it, the reason is output_limit
MAX_FRAME = 64 << 20
# bytes of any other frame


class Closed(Exception):
    """The other end is gone."""


class TooLong(Exception):
    """A frame is longer than its limit."""


def pack(payload: bytes) -> bytes:
    """A frame: four bytes of length, little endian, and the payload."""
    return len(payload).to_bytes(4, "little") + payload


def write(fd: int, payload: bytes) -> None:
    """Write a frame. Raises: Closed."""
    data = pack(payload)
    try:
        done = os.write(fd, data)
        while done < len(data):
            done += os.write(fd, data[done : done + (1 << 20)])
    except (BrokenPipeError, ConnectionResetError) as error:
        raise Closed from error


def read(fd: int, limit: int = MAX_FRAME) -> bytes:
    """Read exactly one frame and not a byte more: the next is for somebody else. Raises: Closed, TooLong."""
    size = int.from_bytes(_exactly(fd, 4), "little")
    if size > limit:
        raise TooLong
    return _exactly(fd, size)


def _exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            part = os.read(fd, min(size - len(data), 1 << 20))
        except ConnectionResetError as error:
            raise Closed from error
        if not part:
            raise Closed
        data = data + part if data else part
    return data


def send(sock: socket.socket, payload: bytes) -> None:
    """Write a frame. Raises: Closed."""
    write(sock.fileno(), payload)


def receive(sock: socket.socket, limit: int = MAX_FRAME) -> bytes:
    """As `read`, from a socket."""
    return read(sock.fileno(), limit)


def receive_whole(sock: socket.socket) -> bytes:
    """Read one text that its sender has handed over completely: a frame, or an empty frame and a file's descriptor.

    Raises: Closed.
    """
    payload = receive(sock)
    if payload:
        return payload
    _, fds, _, _ = socket.recv_fds(sock, 1, 1)
    if not fds:
        raise Closed
    with open(fds[0], "rb") as file:
        file.seek(0)
        return file.read()


class Reader:
    """Frames from a descriptor that only this object reads: one system call a small frame."""

    def __init__(self, fd: int, limit: int) -> None:
        self._fd = fd
        self._limit = limit
        self._data = b""

    def next(self) -> bytes:
        """The next frame's payload. Raises: Closed, TooLong."""
        data = self._data or self._more()
        while len(data) < 4:
            data += self._more()
        end = 4 + int.from_bytes(data[:4], "little")
        if end - 4 > self._limit:
            raise TooLong
        if len(data) < end:
            data = self._rest(data, end)
        self._data = data[end:]
        return data[4:end]

    def _rest(self, data: bytes, end: int) -> bytes:
        buffer = bytearray(data)
        while len(buffer) < end:
            buffer += self._more()
        return bytes(buffer)

    def _more(self) -> bytes:
        try:
            part = os.read(self._fd, 65536)
        except ConnectionResetError as error:
            raise Closed from error
        if not part:
            raise Closed
        return part

"""The network guard: what it blocks, what it lets through, and that it goes away without a trace."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from vervet.testing.network import NetworkBlocked, NetworkGuard, is_local, no_network

# 192.0.2.0/24 and 2001:db8::/32 are reserved for documentation (RFC 5737, RFC 3849): nothing answers there.
FAR, FAR6 = "192.0.2.1", "2001:db8::1"


def test_tcp_beyond_this_machine_is_blocked_and_named() -> None:
    blocked = pytest.raises(NetworkBlocked, match=r"192\.0\.2\.1:80.*network is off")
    with no_network() as guard, socket.socket() as sock, blocked:
        sock.connect((FAR, 80))
    assert guard.attempts == ["socket.connect(192.0.2.1:80)"]
    with no_network(), socket.socket() as sock, pytest.raises(NetworkBlocked):
        sock.connect_ex((FAR, 80))


def test_ipv6_beyond_this_machine_is_blocked() -> None:
    with no_network(), socket.socket(socket.AF_INET6) as sock, pytest.raises(NetworkBlocked, match="2001:db8::1"):
        sock.connect((FAR6, 80))


def test_datagrams_beyond_this_machine_are_blocked() -> None:
    with no_network() as guard, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(NetworkBlocked):
            sock.sendto(b"x", (FAR, 53))
        with pytest.raises(NetworkBlocked):
            sock.sendto(b"x", 0, (FAR, 53))
        with pytest.raises(NetworkBlocked):
            sock.sendmsg([b"x"], [], 0, (FAR, 53))
    assert len(guard.attempts) == 3


@pytest.mark.parametrize("resolve", [socket.getaddrinfo, socket.gethostbyname, socket.gethostbyname_ex])
def test_names_beyond_this_machine_are_not_resolved(resolve: object) -> None:
    name = resolve.__name__  # type: ignore[attr-defined]  looked up again: the guard replaces the module's attribute
    with no_network(), pytest.raises(NetworkBlocked, match=name):
        getattr(socket, name)("example.org", *([80] if name == "getaddrinfo" else []))


def test_asyncio_does_not_take_the_block_for_a_connection_error() -> None:
    """Code that retries on OSError would otherwise retry, and report a dead server."""

    async def connect() -> None:
        await asyncio.open_connection(FAR, 80)

    with no_network(), pytest.raises(NetworkBlocked):
        asyncio.run(connect())


def test_urllib_meets_the_guard_or_the_dead_proxy() -> None:
    with no_network(), pytest.raises(OSError, match=r"refused"):
        urllib.request.urlopen(f"http://{FAR}/", timeout=5)


def test_tls_sockets_are_guarded_too() -> None:
    context = ssl.create_default_context()
    with no_network(), context.wrap_socket(socket.socket(), server_hostname="x") as sock, pytest.raises(NetworkBlocked):
        sock.connect((FAR, 443))


def test_other_threads_are_guarded() -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            socket.create_connection((FAR, 80))
        except NetworkBlocked as error:
            caught.append(error)

    with no_network():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(caught) == 1


def test_an_http_client_in_a_child_process_gets_nowhere() -> None:
    code = f"import urllib.request as u\ntry: u.urlopen('http://{FAR}/', timeout=20)\nexcept OSError as e: print(e)"
    with no_network():
        done = subprocess.run(
            [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30, check=True
        )
    assert "refused" in done.stdout


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_loopback_works(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with no_network() as guard, socket.socket(family) as server:
        try:
            server.bind((host, 0))
        except OSError:
            pytest.skip("not here: this machine has no IPv6 loopback")
        server.listen()
        with socket.create_connection(server.getsockname()[:2], 5) as client:
            client.sendall(b"hello")
            accepted, _ = server.accept()
            with accepted:
                assert accepted.recv(5) == b"hello"
    assert guard.attempts == []


def test_localhost_by_name_and_unix_sockets_work(tmp_path: Path) -> None:
    with (
        no_network(),
        socket.socket() as server,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as peer,
    ):
        server.bind(("127.0.0.1", 0))
        server.listen()
        socket.create_connection(("localhost", server.getsockname()[1]), 5).close()
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        peer.connect(str(tmp_path / "s"))


def test_removing_the_guard_restores_everything() -> None:
    before = (dict(vars(socket.socket)), socket.getaddrinfo, socket.gethostbyname, dict(os.environ))
    with no_network():
        assert socket.getaddrinfo is not before[1]
        assert socket.socket.connect is not before[0].get("connect")
    assert (dict(vars(socket.socket)), socket.getaddrinfo, socket.gethostbyname, dict(os.environ)) == before


def test_guards_nest_and_the_inner_one_reports() -> None:
    with no_network() as outer:
        with no_network() as inner, pytest.raises(NetworkBlocked), socket.socket() as sock:
            sock.connect((FAR, 80))
        with pytest.raises(NetworkBlocked), socket.socket() as sock:
            sock.connect((FAR, 81))
    assert ["192.0.2.1:80" in line for line in inner.attempts] == [True]
    assert ["192.0.2.1:81" in line for line in outer.attempts] == [True]


def test_one_guard_cannot_be_installed_twice() -> None:
    with NetworkGuard() as guard, pytest.raises(RuntimeError, match="already installed"):
        guard.install()


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),
        ("localhost", True),
        (b"localhost", True),
        (None, True),
        ("fe80::1%eth0", False),
        ("10.0.0.1", False),
        ("::ffff:8.8.8.8", False),
        ("example.org", False),
        ("localhost.example.org", False),
        (17, False),
    ],
)
def test_what_counts_as_this_machine(host: object, local: bool) -> None:
    assert is_local(host) is local

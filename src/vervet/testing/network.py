"""A guard that makes it impossible to reach the network by accident. Standard library only.

::

    with no_network():
        ...  # connecting, sending or resolving a name beyond this machine raises NetworkBlocked

Allowed: loopback addresses, `localhost`, Unix sockets and every family that does not leave the machine.
It replaces methods of `socket.socket` and the resolver functions of `socket`, so it covers asyncio, aiohttp and
http.client in every thread of this process. Child processes get proxy variables that point nowhere, which HTTP clients
such as pip and curl honour.

What it does NOT stop: C code that opens its own sockets, resolvers that bypass Python (c-ares), and children that speak
anything but HTTP or ignore the proxy variables. It guards against accidents, not against hostile code.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

# Nothing listens on the discard port: a client that is sent there fails at once.
_DEAD_PROXY = "http://127.0.0.1:9"
_PROXY_VARIABLES = {
    **{
        name: _DEAD_PROXY
        for scheme in ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy")
        for name in (scheme, scheme.upper())
    },
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1"),
}
# One guard after another may replace and restore; never two at the same moment.
_lock = threading.Lock()


class NetworkBlocked(RuntimeError):
    """Something tried to leave this machine.

    Not an OSError on purpose: code that retries or reports connection errors must not take it for one.
    """


def is_local(host: object) -> bool:
    """Whether a host name or address certainly means this machine; names other than localhost do not."""
    if host is None:
        return True
    if isinstance(host, bytes | bytearray):
        host = bytes(host).decode("ascii", "replace")
    if not isinstance(host, str):
        return False
    if host in {"", "localhost", "localhost.localdomain", "ip6-localhost"}:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    # Linux takes the unspecified address (0.0.0.0, ::) for loopback when it is connected to.
    return (mapped or address).is_loopback or address.is_unspecified


def _is_address(host: object) -> bool:
    try:
        ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return True


class NetworkGuard:
    """Blocks the network between `install` and `remove`, or inside a `with`; guards nest.

    `attempts` lists what was blocked, so that a test can fail even where the code under test swallowed the error.
    """

    def __init__(self) -> None:
        self.attempts: list[str] = []
        # one line each, in the order in which they were blocked
        self._undo: contextlib.ExitStack | None = None

    def __enter__(self) -> NetworkGuard:
        self.install()
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def install(self) -> None:
        """Start blocking. Raises: RuntimeError if this guard already does."""
        if self._undo is not None:
            raise RuntimeError("this guard is already installed")
        undo = contextlib.ExitStack()
        with _lock:
            for name in ("connect", "connect_ex"):
                undo.callback(_replace(socket.socket, name, self._guard_address(name, lambda args: args[0])))
            # sendto(data, address) or sendto(data, flags, address); sendmsg(buffers, ancillary, flags, address)
            undo.callback(_replace(socket.socket, "sendto", self._guard_address("sendto", lambda args: args[-1])))
            undo.callback(
                _replace(
                    socket.socket,
                    "sendmsg",
                    self._guard_address("sendmsg", lambda args: args[3] if len(args) > 3 else None),
                )
            )
            for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
                undo.callback(_replace(socket, name, self._guard_name(name)))
            undo.callback(_set_environment(_PROXY_VARIABLES))
        self._undo = undo

    def remove(self) -> None:
        """Stop blocking. Does nothing where the guard is not installed."""
        if self._undo is not None:
            with _lock:
                self._undo.close()
            self._undo = None

    def _refuse(self, what: str) -> None:
        self.attempts.append(what)
        raise NetworkBlocked(f"{what}: the network is off here; only loopback and Unix sockets are allowed")

    def _guard_address(self, name: str, address_of: Callable[[tuple[Any, ...]], Any]) -> Callable[..., Any]:
        original = getattr(socket.socket, name)

        def guarded(sock: socket.socket, *args: Any, **kwargs: Any) -> Any:
            if args and sock.family in {socket.AF_INET, socket.AF_INET6}:
                address = address_of(args)
                if address is not None and not is_local(address[0]):
                    if name.startswith("connect"):
                        sock.close()  # socket.create_connection closes on OSError only and would leak it
                    self._refuse(f"socket.{name}({address[0]}:{address[1]})")
            return original(sock, *args, **kwargs)

        return guarded

    def _guard_name(self, name: str) -> Callable[..., Any]:
        original = getattr(socket, name)

        def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
            # Looking at an address sends nothing; what is then done with it is judged there.
            if not is_local(host) and not _is_address(host):
                self._refuse(f"socket.{name}({host!r})")
            return original(host, *args, **kwargs)

        return guarded


@contextlib.contextmanager
def no_network() -> Iterator[NetworkGuard]:
    """Block the network inside the `with`. Gives the guard, whose `attempts` say what was tried."""
    with NetworkGuard() as guard:
        yield guard


def _replace(owner: Any, name: str, value: object) -> Callable[[], None]:
    """Set an attribute; returns what restores it. A method inherited before is inherited again."""
    own = name in vars(owner)
    original = getattr(owner, name)
    setattr(owner, name, value)
    return lambda: setattr(owner, name, original) if own else delattr(owner, name)


def _set_environment(values: dict[str, str]) -> Callable[[], None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)

    def restore() -> None:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    return restore

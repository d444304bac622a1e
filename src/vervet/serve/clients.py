"""Who asks, and how much of it: keys, limits for each client, and what keeps web pages out of a server without keys."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from vervet.serve.settings import ClientSettings, ServeSettings
from vervet.serve.wire import Refused

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_MINUTE_S = 60.0
_MOST_GUESTS = 4096
# addresses that are remembered where there are no keys


@dataclass(slots=True)
class Client:
    """One client's limits, and what it is doing."""

    name: str
    max_in_flight: int
    per_minute: int | None = None
    in_flight: int = 0
    _times: deque[float] = field(default_factory=deque)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Raises: Refused with 429, and when to come back."""
        now = time.monotonic()
        if self.in_flight >= self.max_in_flight:
            raise Refused(
                429, f"{self.max_in_flight} requests of yours are in flight already", "rate_limit_exceeded", retry_s=1
            )
        if self.per_minute is not None:
            while self._times and self._times[0] <= now - _MINUTE_S:
                self._times.popleft()
            if len(self._times) >= self.per_minute:
                wait = self._times[0] + _MINUTE_S - now
                raise Refused(429, f"{self.per_minute} requests a minute are yours", "rate_limit_exceeded", None, wait)
            self._times.append(now)
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1


class Clients:
    """All clients: by key, or where there are no keys by address."""

    def __init__(self, said: ServeSettings) -> None:
        """Raises: BadOption for a client without a key."""
        self._by_digest = {
            c.digest(name): Client(name, c.max_in_flight, c.per_minute) for name, c in said.clients.items()
        }
        self._guests: dict[str, Client] = {}
        self._guest = ClientSettings(max_in_flight=said.max_in_flight)
        self.local = said.host in LOOPBACK

    @property
    def keyed(self) -> bool:
        return bool(self._by_digest)

    def known(self, headers: Mapping[str, str], address: str) -> Client:
        """Who sends this. Raises: Refused with 401 or 403."""
        if self._by_digest:
            return self._with_key(headers.get("authorization", ""))
        if self.local:
            _refuse_web_pages(headers)
        if address not in self._guests:
            if len(self._guests) >= _MOST_GUESTS:
                self._guests = {a: c for a, c in self._guests.items() if c.in_flight}
            self._guests[address] = Client(address, self._guest.max_in_flight)
        return self._guests[address]

    def _with_key(self, said: str) -> Client:
        scheme, _, key = said.partition(" ")
        mark = hashlib.sha256(key.strip().encode("utf-8", "surrogatepass")).digest()
        found = None
        for digest, client in self._by_digest.items():
            # all are compared: how long it takes says nothing
            if hmac.compare_digest(digest, mark):
                found = client
        if found is None or scheme.lower() != "bearer":
            raise Refused(401, "no valid key: send Authorization: Bearer KEY", "invalid_api_key")
        return found


def _refuse_web_pages(headers: Mapping[str, str]) -> None:
    """A page of any site that a browser on this machine shows can send requests to 127.0.0.1. Raises: Refused."""
    host = headers.get("host", "")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name.strip("[]") not in LOOPBACK:
        raise Refused(403, "without keys, this server answers to 127.0.0.1 and localhost only", "foreign_host")
    if "origin" in headers or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Refused(403, "without keys, this server does not answer web pages", "foreign_origin")

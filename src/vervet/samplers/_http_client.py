"""One call that ends in an answer or in a reason: replicas, retries, deadlines.

What is tried again: 429, 5xx, timeouts, connections that break, and bodies that are no answer. Pauses grow exponentially and
are jittered, so that requests that failed together do not come back together; Retry-After is obeyed for everything that goes to
that server. It ends when nothing has been answered for `patience` seconds, or when this one request has failed many times
while others went through.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import random
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from vervet.protocols import Purse
from vervet.records import Request, Usage
from vervet.samplers._http_deadlines import Deadlines
from vervet.samplers._http_errors import Action, Trouble, error_object, error_status, judge
from vervet.samplers._http_limiter import Closed, Limiter
from vervet.samplers._http_reply import BadReply
from vervet.samplers._secrets import Keyring, public_url
from vervet.version import __version__

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_CONNECT_S = 20.0
_FIRST_CONTACT_S = 5.0
# patience with a server that nobody has ever reached: most likely its address is wrong
_IDLE_S = 4.0
# unused connections are closed before uvicorn does it after 5 s, which would break the next request
_LONGEST_PAUSE_S = 60.0
_FAILURES = 10
# of one request, while others are answered
_TEMPLATE = 512
# tokens that a server's chat template may add to what the body holds, at most
_PERHAPS_PAID = frozenset({408, 499, 502, 504, 520, 522, 524})
# a gateway gave up on a server that may have generated something; servers that refuse or fail by themselves do not charge
_NOTHING = Usage(0, 0, 0)
_ADAPTATIONS = 12
# of one request: a server that refuses field after field, or what is not sent, ends it


class Hopeless(Exception):
    """A judged refusal that no retry can change; whoever called knows what to tell the user."""

    def __init__(self, trouble: Trouble, server: str) -> None:
        super().__init__(trouble.detail)
        self.trouble, self.server = trouble, server


class Question(Protocol[T_co]):
    """What is asked, attempt after attempt, and how its answer is read."""

    @property
    def problem_id(self) -> str: ...
    @property
    def chat(self) -> bool: ...

    def build(self) -> bytes:
        """The body of the next attempt."""
        ...

    def read(self, body: bytes) -> T_co:
        """What an answer says. Raises: BadReply."""
        ...

    @property
    def spending(self) -> tuple[Request, int]:
        """What a budget needs to know: the request, and the samples that the last body asks for."""
        ...

    def used(self, body: bytes) -> tuple[Usage | None, int]:
        """What an answer cost (None: it does not say so credibly) and how many samples it brought."""
        ...

    def adapt(self, trouble: Trouble) -> bool:
        """Change what `build` gives after the server refused a field. False: that cannot be done."""
        ...


@dataclass(slots=True)
class Replica:
    """One server behind the model."""

    label: str
    # its address without keys
    chat: URL
    completions: URL
    limiter: Limiter
    headers: dict[str, str] | None = None
    # of this server alone
    proxy: str | None = None
    away_until: float = 0.0
    # loop time; it broke a connection and others are asked first until then


@dataclass(slots=True)
class Patience:
    """How long and how eagerly to try."""

    timeout_s: float
    # for one attempt
    patience_s: float
    # without any answer
    first_pause_s: float


class Client:
    """The HTTP side of one sampler. Lives in one event loop."""

    def __init__(
        self,
        replicas: Sequence[Replica],
        headers: dict[str, str],
        keyring: Keyring,
        patience: Patience,
        purse: Purse | None = None,
    ) -> None:
        self.replicas = list(replicas)
        self._purse = purse
        self._keyring, self._patience = keyring, patience
        plain = all(r.chat.scheme == "http" for r in replicas)
        # compression is for the internet: in a local network it costs more than it saves
        own = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": f"vervet/{__version__}"}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300, keepalive_timeout=_IDLE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            headers=own | ({"Accept-Encoding": "identity"} if plain else {}) | headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )
        self._last_answer: float | None = None
        self._failing: dict[str, float] = {}
        # problem -> since when none of its requests has been answered
        self._answered: set[str] = set()
        # problems with an answer
        self._alone = len(self.replicas) == 1
        self._deadlines = Deadlines(patience.timeout_s)
        self._drained = asyncio.Event()
        self.timeouts = 0
        # attempts given up because they took too long: their redraws favour short answers
        self.retries = 0

    async def aclose(self) -> None:
        self.drain()
        self._deadlines.close()
        await self._session.close()

    def drain(self) -> None:
        """Send nothing new: whoever waits gets Closed, what is out may finish."""
        self._drained.set()
        for replica in self.replicas:
            replica.limiter.close()

    # ------------------------------------------------------------------------------------------- a call

    async def call(self, question: Question[T]) -> tuple[T, str]:
        """The answer to a question, and which server gave it.

        Raises: Hopeless, ConnectionError (nothing was answered for too long), ValueError (this request always fails), Closed.
        """
        problem_id = question.problem_id
        began: float | None = None
        failures = adaptations = 0
        while True:
            replica = self.replicas[0] if self._alone else self._pick(problem_id)
            now = await replica.limiter.acquire()
            if self._purse is None:
                result = await self._attempt(replica, now, question, question.build())
            else:
                result = await self._paid_attempt(self._purse, replica, now, question)
            if not isinstance(result, Trouble):
                self._failing.pop(problem_id, None)
                self._answered.add(problem_id)
                return result, replica.label
            began = now if began is None else began
            if result.action is Action.ADAPT and adaptations < _ADAPTATIONS and question.adapt(result):
                adaptations += 1
                continue
            if result.action not in (Action.RETRY, Action.SLOW_DOWN):
                raise Hopeless(result, replica.label)
            self.retries += 1
            if result.action is Action.RETRY:
                failures += 1
                self._failing.setdefault(problem_id, now)
            self._consider(result, replica, began)
            if failures >= _FAILURES and self._prompt_at_fault(problem_id, result):
                detail = self._keyring.redact(result.detail)
                raise ValueError(f"{replica.label} failed {failures} times on this prompt, and not on others: {detail}")
            await self._pause(result, replica, failures)

    async def _paid_attempt(self, purse: Purse, replica: Replica, now: float, question: Question[T]) -> T | Trouble:
        """One request within the budget: its worst case is reserved first, and what it used is settled afterwards.

        Raises: Closed where the budget has no room for it.
        """
        try:
            body = question.build()
            request, n = question.spending
            ticket = await purse.reserve(request, n, len(body) + _TEMPLATE)
        except BaseException:
            replica.limiter.release(now)
            raise
        if ticket is None:
            replica.limiter.release(now)
            raise Closed
        used: list[tuple[Usage | None, int]] = []
        try:
            return await self._attempt(replica, asyncio.get_running_loop().time(), question, body, used)
        finally:
            purse.settle(ticket, *(used[0] if used else (None, 0)))

    async def _attempt(
        self,
        replica: Replica,
        now: float,
        question: Question[T],
        body: bytes,
        used: list[tuple[Usage | None, int]] | None = None,
    ) -> T | Trouble:
        """One request. Gives the limiter's place back, whatever happens. `used` is told what it cost, where that is known."""
        task = asyncio.current_task()
        assert task is not None
        answered = refused = False
        self._deadlines.enter(task, now)
        try:
            # a payload of our own making spares aiohttp the search for its kind
            response = await self._session.post(
                replica.chat if question.chat else replica.completions,
                data=aiohttp.BytesPayload(body, content_type="application/json"),
                headers=replica.headers,
                allow_redirects=False,
                proxy=replica.proxy,
            )
            data = await response.read()
            self._deadlines.leave(task)
            if response.status == 200:
                try:
                    value = question.read(data)
                except BadReply as error:
                    return self._bad(data, error)
                answered = True
                if used is not None:
                    used.append(question.used(data))
                self._last_answer = asyncio.get_running_loop().time()
                return value
            trouble = judge(response.status, response.headers, data)
            if used is not None and response.status not in _PERHAPS_PAID:
                used.append((_NOTHING, 0))
            refused = trouble.action is Action.SLOW_DOWN
            return trouble
        except asyncio.CancelledError:
            if not self._deadlines.expired(task):
                raise
            self.timeouts += 1
            refused = True
            return Trouble(Action.RETRY, f"no answer within {self._patience.timeout_s:g} s")
        except (aiohttp.ClientError, OSError) as error:
            self._step_back(replica)
            unreached = _unreached(error)
            if used is not None and unreached:
                used.append((_NOTHING, 0))
            return Trouble(Action.RETRY, _transport(error), field="connection" if unreached else "")
        finally:
            self._deadlines.leave(task)
            replica.limiter.release(now, answered=answered, refused=refused)

    def _bad(self, data: bytes, error: BadReply) -> Trouble:
        """A status of 200 without an answer: an error in disguise, or a fault."""
        return judge(error_status(data), {}, data) if error_object(data) else Trouble(Action.RETRY, str(error))

    def _consider(self, trouble: Trouble, replica: Replica, began: float) -> None:
        """Raises ConnectionError where patience has run out."""
        now = asyncio.get_running_loop().time()
        detail = self._keyring.redact(trouble.detail)
        patience = self._patience.patience_s
        if trouble.wait_s is not None and trouble.wait_s > patience:
            raise ConnectionError(f"{replica.label} asks us to wait {trouble.wait_s:.0f} s ({detail})")
        if self._last_answer is None and trouble.field == "connection":
            patience = min(patience, _FIRST_CONTACT_S)
        if now - max(began, self._last_answer or began) >= patience:
            raise ConnectionError(f"{replica.label}: {detail} (tried for {now - began:.0f} s)")

    def _prompt_at_fault(self, problem_id: str, trouble: Trouble) -> bool:
        """Whether a request that keeps failing fails because of what it asks: others went through meanwhile, or this
        problem alone has never been answered, by a server that can be reached."""
        if self._last_answer is None:
            return False
        never = problem_id not in self._answered and trouble.field != "connection"
        return never or self._last_answer > self._failing[problem_id]

    async def _pause(self, trouble: Trouble, replica: Replica, failures: int) -> None:
        """Wait before the next attempt. Raises: Closed when the run drains meanwhile."""
        first = self._patience.first_pause_s
        if trouble.wait_s is not None:
            # everybody waits; nobody comes back at the same moment
            replica.limiter.pause(trouble.wait_s)
            seconds = trouble.wait_s + random.uniform(0, first)  # noqa: S311  jitter is no secret
        else:
            seconds = min(_LONGEST_PAUSE_S, first * 2 ** min(failures, 20)) * random.uniform(0.5, 1.0)  # noqa: S311
        try:
            async with asyncio.timeout(seconds):
                await self._drained.wait()
        except TimeoutError:
            return
        raise Closed

    # ------------------------------------------------------------------------------------------- replicas

    def _pick(self, problem_id: str) -> Replica:
        """The problem's own server, where its prompt is in the cache; another one where that is away or has a long line."""
        now = asyncio.get_running_loop().time()
        order = sorted(self.replicas, key=lambda r: _affinity(problem_id, r.label), reverse=True)
        here = [r for r in order if r.away_until <= now] or order
        home = here[0]
        if not home.limiter.free:
            for other in here[1:]:
                if other.limiter.free and other.limiter.active < 0.5 * home.limiter.active:
                    return other
        return home

    def _step_back(self, replica: Replica) -> None:
        if len(self.replicas) > 1:
            replica.away_until = asyncio.get_running_loop().time() + 10 * self._patience.first_pause_s


def replica(url: str, limiter: Limiter, keyring: Keyring) -> Replica:
    """A server from its base URL, "http://host:port/v1"; its query goes with every request, its user-info as a header."""
    parsed = URL(url)
    headers = None
    if parsed.user is not None:
        pair = f"{parsed.user}:{parsed.password or ''}".encode()
        encoded = f"Basic {base64.b64encode(pair).decode()}"
        keyring.add([encoded, encoded.partition(" ")[2]])
        headers = {"Authorization": encoded}
    base = parsed.with_user(None)

    def at(*path: str) -> URL:
        return base.joinpath(*path).with_query(parsed.query)

    return Replica(
        public_url(url), at("chat", "completions"), at("completions"), limiter, headers, _proxy(url, keyring)
    )


def _proxy(url: str, keyring: Keyring) -> str | None:
    """The proxy that the environment names for this server, looked up once."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "127.0.0.1", "::1") or urllib.request.proxy_bypass(host):
        return None
    found = urllib.request.getproxies().get(parts.scheme)
    if found:
        secret = urlsplit(found)
        keyring.add(text for text in (secret.username, secret.password) if text)
    return found


def _affinity(problem_id: str, label: str) -> bytes:
    """Highest wins (rendezvous hashing): a server that joins or leaves moves only its own problems."""
    return hashlib.blake2b(f"{problem_id}\0{label}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _unreached(error: Exception) -> bool:
    return isinstance(error, aiohttp.ClientConnectorError) or (
        isinstance(error, aiohttp.ServerTimeoutError) and "onnect" in str(error)
    )


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _transport(error: Exception) -> str:
    """What happened to the connection, in words that hold no URL."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return "its certificate or TLS set-up is not accepted"
        case aiohttp.ClientConnectorDNSError():
            return "its name cannot be resolved"
        case aiohttp.ClientConnectorError():
            return f"cannot connect ({_reason(error.os_error)})"
        case aiohttp.ServerTimeoutError():
            return "cannot connect (timed out)"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | ConnectionError():
            return "the connection broke before the answer was complete"
    return f"not a usable HTTP answer ({type(error).__name__})"

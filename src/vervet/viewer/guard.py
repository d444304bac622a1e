"""Who is let in. The app listens on this machine only, and that is not enough: every web page that a browser shows here can
send requests to 127.0.0.1, and a foreign name can be made to resolve to it.

- Host must be a name of this machine (a foreign name that resolves here is refused: DNS rebinding).
- Origin, where there is one, must be the app itself; a page of another port is foreign too.
- The first request carries the token; it becomes a cookie at once and leaves the address. Everything else needs the cookie,
  which other sites cannot send (SameSite=Strict) and scripts cannot read (HttpOnly).
- Nothing but GET and HEAD: there is nothing to write.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HERE = frozenset({"127.0.0.1", "localhost"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'none'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware around the whole app."""

    def __init__(self, app: App, token: str) -> None:
        self._app = app
        self._token = token
        self._secret = secrets.token_urlsafe(32)
        # the cookie's value: an address with the token in it, seen once over a shoulder, is not a session
        self._name = f"vervet-{secrets.token_hex(4)}"
        # cookies do not know ports: several viewers on one machine keep apart by name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = _refusal(scope["method"], headers)
        if refusal is not None:
            await _say(send, *refusal)
        elif token := _token(scope):
            await self._enter(scope, send, token)
        elif self._known(headers):
            await self._app(scope, receive, _with_headers(send))
        else:
            text = "This page needs the address with the token that `vervet view` printed in its terminal."
            await _say(send, 403, text)

    async def _enter(self, scope: Scope, send: Send, token: str) -> None:
        """Turn the token in the address into a cookie, and take it out of the address."""
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            await _say(send, 403, "The token is not that of this viewer: take the address from its terminal.")
            return
        rest = [(k, v) for k, v in parse_qsl(scope["query_string"].decode("latin-1"), True) if k != "token"]
        # always a path of ours: "//host" at its beginning would lead elsewhere
        path = "/" + quote(scope["path"].lstrip("/\\"), safe="/~")
        target = path + (f"?{urlencode(rest)}" if rest else "")
        cookie = f"{self._name}={self._secret}; Path=/; HttpOnly; SameSite=Strict"
        await _say(send, 303, "", {"Location": target, "Set-Cookie": cookie})

    def _known(self, headers: dict[str, str]) -> bool:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self._name)
        except CookieError:
            return False
        return morsel is not None and hmac.compare_digest(morsel.value.encode(), self._secret.encode())


def _refusal(method: str, headers: dict[str, str]) -> tuple[int, str] | None:
    """Status and reason where a request is refused before anybody asks who sends it."""
    host = headers.get("host", "")
    if host.rpartition(":")[0] not in HERE and host not in HERE:
        return 403, "This viewer answers to 127.0.0.1 and localhost only."
    if "origin" in headers and headers["origin"] != f"http://{host}":
        return 403, "This viewer does not answer other sites."
    fetched = headers.get("sec-fetch-site", "none")
    if fetched not in ("none", "same-origin") and headers.get("sec-fetch-mode") != "navigate":
        return 403, "This viewer does not answer other sites."
    if method not in ("GET", "HEAD"):
        return 405, "Nothing can be changed through the viewer."
    return None


def _token(scope: Scope) -> str:
    query: bytes = scope["query_string"]
    return dict(parse_qsl(query.decode("latin-1"))).get("token", "")


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message["headers"]}
            extra = [(n.lower().encode(), v.encode()) for n, v in HEADERS.items() if n.lower().encode() not in own]
            message["headers"] = [*message["headers"], *extra]
        await send(message)

    return sending


async def _say(send: Send, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    """A short plain answer."""
    lines = HEADERS | {"Content-Type": "text/plain; charset=utf-8"} | (headers or {})
    body = f"{text}\n".encode() if text else b""
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in lines.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})

"""The routes: /v1/chat/completions, /v1/models, /health, /metrics."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from vervet.errors import MissingPart
from vervet.serve import wire
from vervet.serve.clients import Client, Clients
from vervet.serve.desk import Answered, Desk, refusal
from vervet.serve.metrics import TYPE
from vervet.serve.wire import Ask, Refused
from vervet.version import __version__

_DRAINED = 8 << 20
# bytes beyond the limit that are taken and thrown away: a client that is still sending would miss the reason
_STREAM = {"cache-control": "no-store", "x-accel-buffering": "no"}


def application(desk: Desk, clients: Clients) -> Any:
    """The ASGI app; closes the desk when it ends. Raises: MissingPart without the extra `serve`."""
    try:
        from starlette.applications import Starlette  # noqa: PLC0415  an extra
        from starlette.routing import Route  # noqa: PLC0415
    except ImportError:
        raise MissingPart("serving needs starlette and uvicorn: pip install 'vervet[serve]'") from None
    routes = _Routes(desk, clients)
    return Starlette(
        routes=[
            Route("/v1/chat/completions", routes.chat, methods=["POST"]),
            Route("/v1/models", routes.models, methods=["GET"]),
            Route("/metrics", routes.metrics, methods=["GET"]),
            Route("/health", routes.health, methods=["GET"]),
        ],
        exception_handlers={404: _lost, 405: _lost, 500: _broken},
        lifespan=routes.lifespan,
    )


class _Routes:
    """What each path answers."""

    def __init__(self, desk: Desk, clients: Clients) -> None:
        self._desk, self._clients = desk, clients

    async def chat(self, request: Any) -> Any:
        visit = _Visit(self._desk, request)
        try:
            return await visit.answer(self._known(request))
        except Refused as error:
            visit.done(error.status)
            return _refuse(error)
        except asyncio.CancelledError:
            visit.done(499)
            raise
        except Exception as error:
            visit.done(500)
            if not isinstance(error, OSError):
                raise
            return _refuse(refusal(error))

    async def models(self, request: Any) -> Any:
        return self._guarded(request, lambda: _json({"object": "list", "data": self._desk.listing()}))

    async def metrics(self, request: Any) -> Any:
        from starlette.responses import Response  # noqa: PLC0415

        return self._guarded(request, lambda: Response(self._desk.metrics.text(), media_type=TYPE))

    async def health(self, request: Any) -> Any:  # noqa: ARG002  the seam's
        return _json({"status": "ok", "version": __version__, "in_flight": self._desk.metrics.in_flight})

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self._desk.aclose()

    def _guarded(self, request: Any, answer: Callable[[], Any]) -> Any:
        """The answer, for clients that this server knows."""
        try:
            self._known(request)
        except Refused as error:
            return _refuse(error)
        return answer()

    def _known(self, request: Any) -> Client:
        """Raises: Refused."""
        address = request.client.host if request.client else "local"
        return self._clients.known(request.headers, address)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Any:
    from starlette.responses import JSONResponse  # noqa: PLC0415

    return JSONResponse(value, status, headers)


def _refuse(error: Refused) -> Any:
    headers = {"cache-control": "no-store"}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.retry_s is not None:
        headers["retry-after"] = str(max(1, round(error.retry_s)))
    return _json(error.body(), error.status, headers)


async def _lost(request: Any, error: Any) -> Any:
    status = getattr(error, "status_code", 404)
    words = {404: f"no such path: {request.url.path[:200]}", 405: f"{request.method} is not allowed here"}
    return _refuse(Refused(status, words.get(status, "the request cannot be answered")))


async def _broken(request: Any, error: Any) -> Any:  # noqa: ARG001  the seam's
    return _refuse(Refused(500, "this server failed", "internal_error"))


class _Visit:
    """One request for a completion, from its body to the last byte of its reply."""

    def __init__(self, desk: Desk, request: Any) -> None:
        self._desk, self._request = desk, request
        self._began = time.monotonic()
        self._strategy = "-"
        self._over = False
        desk.metrics.in_flight += 1

    def done(self, status: int) -> None:
        """Count it, once."""
        if not self._over:
            self._over = True
            self._desk.metrics.in_flight -= 1
            self._desk.metrics.done(self._strategy, status, time.monotonic() - self._began)

    async def answer(self, client: Client) -> Any:
        """Raises: Refused."""
        if self._desk.metrics.in_flight > self._desk.said.max_in_flight:
            raise Refused(503, "the server is busy", "overloaded", retry_s=1)
        stack = contextlib.ExitStack()
        try:
            stack.enter_context(client.turn())
            ask = await self._ask()
            work = self._desk.begin(ask, client.name)
            response = await self._reply(ask, work, stack)
        except BaseException:
            stack.close()
            raise
        return response

    async def _ask(self) -> Ask:
        said = self._desk.said
        kind = self._request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(415, "send the body as application/json")
        raw = await _body(self._request, said.max_body)
        ask = wire.parse(raw, max_k=said.max_k, max_tokens=said.max_tokens, default_tokens=said.default_tokens)
        self._strategy = ask.strategy.kind
        return ask

    async def _reply(self, ask: Ask, work: asyncio.Task[Answered], stack: contextlib.ExitStack) -> Any:
        from starlette.responses import StreamingResponse  # noqa: PLC0415

        gone = asyncio.create_task(_gone(self._request))
        patience = self._desk.said.keepalive_s if ask.stream else None
        try:
            await asyncio.wait({work, gone}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            work.cancel()
            raise
        finally:
            gone.cancel()
        if not work.done() and (patience is None or gone.done()) and not gone.cancelled():
            # whoever asked has hung up: nothing more is bought for them
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            raise Refused(499, "the client has gone")
        if not ask.stream:
            answered = _result(work)
            self.done(200)
            stack.close()
            return _json(answered.told.whole(), headers={"cache-control": "no-store"} | answered.headers)
        headers = dict(_STREAM)
        if work.done():
            # an error here is still an error's status
            headers |= _result(work).headers
        return StreamingResponse(self._events(ask, work, stack), media_type="text/event-stream", headers=headers)

    async def _events(
        self, ask: Ask, work: asyncio.Task[Answered], stack: contextlib.ExitStack
    ) -> AsyncIterator[bytes]:
        """Comments while there is nothing to say, then the reply; a late error is an event, as OpenAI's are."""
        status = 499
        try:
            while not work.done():
                yield b": working\n\n"
                await asyncio.wait({work}, timeout=self._desk.said.keepalive_s)
            try:
                for piece in _result(work).told.pieces(usage=ask.stream_usage):
                    yield piece
                status = 200
            except Refused as error:
                status = error.status
                yield wire.event(error.body())
        finally:
            work.cancel()
            self.done(status)
            stack.close()


def _result(work: asyncio.Task[Answered]) -> Answered:
    """Raises: Refused, also for work that the server's end has cut off."""
    if work.cancelled():
        raise Refused(503, "the server is being ended", "shutting_down")
    return work.result()


async def _body(request: Any, most: int) -> bytes:
    """Raises: Refused with 413; no more than `most` bytes are kept."""
    said = request.headers.get("content-length", "")
    too_large = Refused(413, f"the body may have {most:,} bytes", "body_too_large")
    if said.isdigit() and int(said) > most + _DRAINED:
        raise too_large
    found, size = bytearray(), 0
    async for piece in request.stream():
        size += len(piece)
        if size > most + _DRAINED:
            raise too_large
        if size <= most:
            found += piece
    if size > most:
        raise too_large
    return bytes(found)


async def _gone(request: Any) -> None:
    """Returns when the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass

"""The socket, who it is open to, and a server that ends when it has answered everybody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

from vervet.errors import BadOption, MissingPart, UserError
from vervet.serve.app import application
from vervet.serve.clients import LOOPBACK, Clients
from vervet.serve.desk import Desk
from vervet.serve.settings import ServeSettings

_BACKLOG = 2048
_PARTING_S = 1.0
# after a second signal, to tell clients that nothing more is coming; those that do not listen by then are cut off


def serve(said: ServeSettings, ready: Callable[[str], None]) -> int:
    """Serve until SIGTERM or Ctrl-C; what is in flight then is answered first, and refused upon a second signal.

    Args: ready: gets the base URL once it answers.
    Returns: requests that a second signal left without their answer.
    Raises: UserError for a server that is open to a network without keys, BadOption, MissingPart without the extra `serve`.
    """
    refuse_open(said)
    clients = Clients(said)
    with contextlib.closing(_listen(said)) as listening:
        host, port = listening.getsockname()[:2]
        return asyncio.run(_serve(said, clients, listening, lambda: ready(f"http://{_shown(host)}:{port}/v1")))


def refuse_open(said: ServeSettings) -> None:
    """Raises: UserError where anybody on a network could spend the operator's money and nobody said that this is meant."""
    if said.host not in LOOPBACK and not said.clients and not said.open_to_anyone:
        raise UserError(
            f"--host {said.host} opens this server to a network, and it has no keys: add [clients.NAME] with a key_env to "
            "the file of -c, listen on 127.0.0.1, or say --open-to-anyone if everybody may use it"
        )


async def _serve(said: ServeSettings, clients: Clients, listening: socket.socket, ready: Callable[[], None]) -> int:
    try:
        import uvicorn  # noqa: PLC0415  an extra
    except ImportError:
        raise MissingPart("serving needs starlette and uvicorn: pip install 'vervet[serve]'") from None
    desk = Desk(said)
    config = uvicorn.Config(
        application(desk, clients),
        lifespan="on",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=30,
    )
    server = uvicorn.Server(config)
    # uvicorn's own handling would end the process by the signal, with everything after it undone
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    begin = server.startup

    async def startup(sockets: list[socket.socket] | None = None) -> None:
        await begin(sockets)
        if server.started:
            ready()

    server.startup = startup  # type: ignore[method-assign]
    with _signals(server, desk) as unanswered:
        await server.serve(sockets=[listening])
    return sum(unanswered)


@contextlib.contextmanager
def _signals(server: Any, desk: Desk) -> Iterator[list[int]]:
    """The first signal ends it in peace, a second at once; yields how many requests that left without their answer."""
    loop = asyncio.get_running_loop()
    unanswered: list[int] = []

    def end() -> None:
        if not server.should_exit:
            server.should_exit = True
        elif not unanswered:
            unanswered.append(desk.metrics.in_flight)
            desk.abandon()
            loop.call_later(_PARTING_S, cut)

    def cut() -> None:
        # what is cut off here is no news to whoever has asked for it twice
        logging.getLogger("uvicorn.error").disabled = True
        server.force_exit = True

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, end)
    try:
        yield unanswered
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _listen(said: ServeSettings) -> socket.socket:
    """Raises: BadOption."""
    family = socket.AF_INET6 if ":" in said.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((said.host, said.port))
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise BadOption(f"cannot listen on {said.host}:{said.port}: {error.strerror}; choose another --port") from error
    return made


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host

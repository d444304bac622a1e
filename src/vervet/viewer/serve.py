"""The socket, the token, and the server around the app."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vervet.errors import BadOption, MissingPart, VervetError
from vervet.viewer.app import application
from vervet.viewer.guard import App
from vervet.viewer.shelf import Shelf


def serve(folders: Sequence[Path], port: int = 0, ready: Callable[[str], None] = print) -> None:
    """Show these runs on 127.0.0.1 until interrupted. `ready` gets the address, token included, once it answers.

    Args: port: 0 takes any free one.
    Raises: UserError where a folder holds no run, BadOption where the port is taken, MissingPart without `view`.
    """
    token = secrets.token_urlsafe(24)
    shelf = Shelf(folders)
    try:
        server = server_of(application(shelf, token))
        with contextlib.closing(_listen(port)) as listening:
            # the address is told first and the socket listens already: nobody can come too early
            with contextlib.suppress(VervetError):
                shelf.warm()
            ready(f"http://127.0.0.1:{listening.getsockname()[1]}/?token={token}")
            with contextlib.suppress(KeyboardInterrupt):
                server.run(sockets=[listening])
    finally:
        shelf.close()


def server_of(app: App) -> Any:
    """A uvicorn server without a log: an address may hold the token. Raises: MissingPart without the extra `view`."""
    try:
        import uvicorn  # noqa: PLC0415  an extra
    except ImportError:
        raise MissingPart("the viewer needs starlette and uvicorn: pip install 'vervet[view]'") from None
    application: Any = app
    config = uvicorn.Config(
        application, lifespan="off", ws="none", log_level="warning", access_log=False, server_header=False
    )
    return uvicorn.Server(config)


def _listen(port: int) -> socket.socket:
    """A socket of this machine only: no option leads elsewhere."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen(64)
    except (OSError, OverflowError) as error:
        made.close()
        raise BadOption(
            f"--port {port}: {getattr(error, 'strerror', error)}; leave it out to take a free one"
        ) from error
    return made

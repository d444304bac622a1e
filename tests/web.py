"""A real HTTP server on this machine for tests: what it serves is a dictionary, and it can be slow or break off."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """path -> bytes. `seen` lists the requests as (path, headers)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.delay_s = 0.0
        # between two halves of a body
        self.cut = False
        # break the connection after the first half
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.url = ""


@contextlib.contextmanager
def site() -> Iterator[Site]:
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path
            made.seen.append((path, dict(self.headers)))
            if target := made.redirects.get(path):
                self.send_response(302)
                self.send_header("Location", target)
                self.end_headers()
                return
            body = made.files.get(path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            half = len(body) // 2
            with contextlib.suppress(OSError):  # a client that was killed
                self.wfile.write(body[:half])
                self.wfile.flush()
                time.sleep(made.delay_s)
                if not made.cut:
                    self.wfile.write(body[half:])

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A real HTTP server in a thread that answers as vLLM's scoring endpoints do, around any function of texts."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Score = Callable[[str, str], float]
"""(question, response) -> a number."""


class Served:
    """What the server does, and what it has seen."""

    def __init__(self, score: Score) -> None:
        self.score = score
        self.requests: list[tuple[str, dict]] = []
        self.busy = 0
        # answers of 503 before the first real one
        self.refuses = ""
        # a text with which any request is refused
        self.raw: bytes | None = None
        # sent instead of an answer
        self.headers: list[dict[str, str]] = []

    def answer(self, path: str, body: dict) -> tuple[int, object]:
        if self.busy:
            self.busy -= 1
            return 503, {"error": "busy"}
        if self.refuses and self.refuses in json.dumps(body):
            return 400, {"error": "too long"}
        match path:
            case "/score":
                scores = [self.score(body["text_1"], text) for text in body["text_2"]]
                # out of order, as a server may answer
                return 200, {"data": [{"index": i, "score": s} for i, s in reversed(list(enumerate(scores)))]}
            case "/rerank":
                scores = [self.score(body["query"], text) for text in body["documents"]]
                ranked = sorted(enumerate(scores), key=lambda pair: -pair[1])
                return 200, {"results": [{"index": i, "relevance_score": s} for i, s in ranked[: body["top_n"]]]}
            case "/classify":
                scores = [self.score(*text.split("\n\n", 1)) for text in body["input"]]
                return 200, {"data": [{"index": i, "label": "x", "probs": [-s, s]} for i, s in enumerate(scores)]}
            case "/pooling":
                asked, given = (m["content"] for m in body["messages"])
                return 200, {"data": [{"index": 0, "data": [[0.0], [self.score(asked, given)]]}]}
        return 404, {"error": "no such path"}


@contextlib.contextmanager
def serving(score: Score) -> Iterator[tuple[str, Served]]:
    """The server's base URL, and its state."""
    state, lock = Served(score), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                state.requests.append((self.path, body))
                state.headers.append(dict(self.headers))
                status, value = state.answer(self.path, body)
                data = json.dumps(value).encode() if state.raw is None else state.raw
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

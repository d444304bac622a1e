"""A real HTTP server in a thread that answers as vLLM's scoring endpoints do, around any model or function of texts."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol

Score = Callable[[str, str], float]
"""(question, response) -> a number."""


class Model(Protocol):
    """A model as the endpoints put texts to it: one number a label each time. ValueError: a text that is too long."""

    def pair(self, first: str, second: str) -> list[float]: ...
    def text(self, text: str) -> list[float]: ...
    def talk(self, messages: Sequence[Mapping[str, str]]) -> list[float]: ...


class Function:
    """A function of question and response in a model's place."""

    def __init__(self, score: Score) -> None:
        self.score = score

    def pair(self, first: str, second: str) -> list[float]:
        return [self.score(first, second)]

    def text(self, text: str) -> list[float]:
        number = self.score(*text.split("\n\n", 1))
        return [-number, number]

    def talk(self, messages: Sequence[Mapping[str, str]]) -> list[float]:
        asked, given = (m["content"] for m in messages)
        return [self.score(asked, given)]


class Served:
    """What the server does, and what it has seen."""

    def __init__(self, model: Model) -> None:
        self.model = model
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
        try:
            return self._run(path, body)
        except ValueError as error:
            return 400, {"error": str(error)}

    def _run(self, path: str, body: dict) -> tuple[int, object]:
        match path:
            case "/score":
                scores = [self.model.pair(body["text_1"], text)[-1] for text in body["text_2"]]
                # out of order, as a server may answer
                return 200, {"data": [{"index": i, "score": s} for i, s in reversed(list(enumerate(scores)))]}
            case "/rerank":
                scores = [self.model.pair(body["query"], text)[-1] for text in body["documents"]]
                ranked = sorted(enumerate(scores), key=lambda pair: -pair[1])
                return 200, {"results": [{"index": i, "relevance_score": s} for i, s in ranked[: body["top_n"]]]}
            case "/classify":
                found = [self.model.text(text) for text in body["input"]]
                return 200, {"data": [{"index": i, "label": "x", "probs": probs} for i, probs in enumerate(found)]}
            case "/pooling":
                return 200, {"data": [{"index": 0, "data": [[0.0], self.model.talk(body["messages"])]}]}
        return 404, {"error": "no such path"}


@contextlib.contextmanager
def serving(model: Model | Score) -> Iterator[tuple[str, Served]]:
    """The server's base URL, and its state."""
    state, lock = Served(Function(model) if callable(model) else model), threading.Lock()

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

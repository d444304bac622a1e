"""A real HTTP server that speaks the OpenAI protocol, misbehaves on purpose, and keeps account of what it was paid for.

    with Server(faults={"429": 0.05, "reset": 0.05}, seed=1) as server:
        vervet.run(task, model="openai/m", base_url=(server.url,), n=100)
        server.paid()

It answers "What is A + 1?" correctly with probability `p`, or whatever `answer` says. Which request meets which fault follows
from `seed`, the request's body and how often that body has come, not from the order in which requests arrive.

Faults, as shares of requests (`FAULTS` lists them): those before anything is generated are not paid for, the others are.
Also runs as a program of its own: `python -m vervet.testing.server --port 8000 --latency 0.1`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

FAULTS = {
    "429": "too many requests, without saying for how long",
    "429-after": "too many requests, with Retry-After",
    "500": "an internal error",
    "503": "overloaded, as a web page",
    "reset": "the connection breaks in the middle of the answer",
    "half": "half of the JSON, as if it were all",
    "html": "a web page with status 200",
    "slow": "the answer drips in within `slow_s`",
    "hang": "no answer at all",
    "few": "one choice, whatever `n` says",
    "many": "two choices more than asked for",
    "same": "all choices alike",
    "empty": "empty texts",
    "usage": "token counts that cannot be true",
}
UNPAID = frozenset({"429", "429-after", "500", "503"})
REPEATED = frozenset({"429", "429-after", "500", "503", "reset", "half", "html", "hang"})
"""Faults after which a request has to be asked again as a whole."""
_PAGE = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
_QUESTION = re.compile(r"What is (\d+) \+ (\d+)")
Answer = Callable[[str, random.Random], str]


@dataclass(frozen=True, slots=True)
class Served:
    """One request, as the server saw it."""

    prompt: str
    n: int
    seed: int | None
    fault: str
    # "" or a key of FAULTS, or "refused"
    choices: int
    # generated and paid for; 0 where nothing was
    at: float
    # monotonic seconds
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    # the part of them that a prefix cache served
    completion_tokens: int = 0
    # what was really used; 0 where nothing was generated


@dataclass(slots=True)
class Server:
    """Starts in a thread of its own; `url` is its base URL. Stops with the `with`."""

    p: float = 0.3
    # chance of a right answer
    answer: Answer | None = None
    # (prompt, randomness) -> text, instead of sums
    faults: Mapping[str, float] = field(default_factory=dict)
    # fault -> share of requests
    seed: int = 0
    latency_s: float = 0.0
    slow_s: float = 0.3
    capacity: int | None = None
    # requests it works on at once; others wait for their turn
    most_at_once: int | None = None
    # requests at once above which it says 429
    honours_n: bool = True
    most_n: int | None = None
    # a larger n is refused
    honours_seed: bool = True
    choices_differ: bool = True
    # False: a seed gives n equal choices
    cache: bool = False
    # True: equal requests get equal replies
    usage: str = "right"
    # "right", "one-choice" (counts one of n), "none"
    refuses: Sequence[str] = ()
    # fields answered with 400
    model: str = "m"
    key: str | None = None
    # needed as a bearer token
    context: int | None = None
    # characters of prompt at most
    chars: int = 0
    # characters of made-up prose before every answer; zstd with a dictionary makes a third of it
    log: Path | None = None
    # one JSON line a request, for a server in a process of its own
    port: int = 0
    served: list[Served] = field(default_factory=list)
    most_seen: int = 0
    # requests at once at most, so far
    _seen: Counter[bytes] = field(default_factory=Counter)
    _prompts: Counter[str] = field(default_factory=Counter)
    _cached: dict[bytes, bytes] = field(default_factory=dict)
    _prose: str = ""
    _now: int = 0
    _turns: asyncio.Semaphore | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: asyncio.Event | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def paid(self) -> int:
        """Requests for which something was generated."""
        return sum(row.choices > 0 for row in self.served)

    def bill(self, price_in: float, price_out: float, price_cached: float | None = None) -> float:
        """US dollars for everything that was generated, at prices per million tokens, whatever the replies said."""
        cheap = price_in if price_cached is None else price_cached
        return (
            sum(
                (row.prompt_tokens - row.cached_tokens) * price_in
                + row.cached_tokens * cheap
                + row.completion_tokens * price_out
                for row in self.served
            )
            / 1e6
        )

    def faulty(self, *kinds: str) -> int:
        """Requests that met a fault of these kinds, of any kind where none is named."""
        return sum(bool(row.fault) if not kinds else row.fault in kinds for row in self.served)

    # ------------------------------------------------------------------------------------------- life

    def __enter__(self) -> Server:
        unknown = set(self.faults) - set(FAULTS)
        if unknown:
            raise ValueError(f"unknown faults {sorted(unknown)}: choose from {', '.join(FAULTS)}")
        if self.chars:
            self._prose = prose(self.seed)
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self.serve(started)), daemon=True, name="test-server"
        )
        self._thread.start()
        if not started.wait(10):
            raise RuntimeError("the test server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._stop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def serve(self, started: threading.Event | None = None) -> None:
        """Serve until told to stop."""
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._turns = asyncio.Semaphore(self.capacity) if self.capacity else None
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", self._handle)
        app.router.add_post("/v1/completions", self._handle)
        app.router.add_get("/v1/models", self._models)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=4096, reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]
        if started:
            started.set()
        await self._stop.wait()
        await runner.cleanup()

    # ------------------------------------------------------------------------------------------- one request

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self.model, "object": "model"}]})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self._now += 1
        self.most_seen = max(self.most_seen, self._now)
        try:
            return await self._respond(request, raw)
        finally:
            self._now -= 1

    async def _respond(self, request: web.Request, raw: bytes) -> web.StreamResponse:
        body = orjson.loads(raw)
        prompt = _prompt(body)
        refusal = self._refusal(request, body, prompt)
        if refusal is not None:
            self._note(request, body, prompt, "refused", 0)
            return refusal
        if self.most_at_once is not None and self._now > self.most_at_once:
            self._note(request, body, prompt, "429", 0)
            return _error(429, "Rate limit reached", "rate_limit_exceeded")
        occurrence = self._seen[raw]
        self._seen[raw] += 1
        fault = self._fault(raw, occurrence)
        if fault in UNPAID:
            self._note(request, body, prompt, fault, 0)
            return _unpaid(fault)
        reply, choices, used = self._reply(body, prompt, raw, fault)
        # noted before it is sent: whoever dies while it is under way has paid for it
        self._note(request, body, prompt, fault, choices, used)
        if self._turns:
            async with self._turns:
                await asyncio.sleep(self.latency_s)
        elif self.latency_s:
            await asyncio.sleep(self.latency_s)
        return await self._send(request, reply, fault)

    async def _send(self, request: web.Request, reply: bytes, fault: str) -> web.StreamResponse:
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "html":
            return web.Response(body=_PAGE, content_type="text/html")
        if fault == "half":
            return web.Response(body=reply[: len(reply) // 2], content_type="application/json")
        if fault not in ("reset", "slow"):
            return web.Response(body=reply, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(reply))})
        await response.prepare(request)
        if fault == "reset":
            await response.write(reply[: len(reply) // 2])
            if request.transport is not None:
                request.transport.abort()
            return response
        for i in range(10):
            await response.write(reply[i * len(reply) // 10 : (i + 1) * len(reply) // 10])
            await asyncio.sleep(self.slow_s / 10)
        await response.write_eof()
        return response

    def _refusal(self, request: web.Request, body: Mapping[str, Any], prompt: str) -> web.Response | None:
        said = request.headers.get("Authorization", "")
        if self.key is not None and said != f"Bearer {self.key}":
            # as OpenAI does: the key comes back in the message
            return _error(401, f"Incorrect API key provided: {said.removeprefix('Bearer ')}", "invalid_api_key")
        if body.get("model") != self.model:
            return _error(404, f"The model `{body.get('model')}` does not exist", "model_not_found")
        for name in self.refuses:
            if name in body:
                return _error(400, f"Unsupported parameter: '{name}' is not supported with this model.", "", name)
        if self.most_n is not None and body.get("n", 1) > self.most_n:
            return _error(400, f"Invalid 'n': must be at most {self.most_n}", "invalid_value", "n")
        if self.context is not None and len(prompt) > self.context:
            message = f"This model's maximum context length is {self.context} tokens, your prompt has {len(prompt)}"
            return _error(400, message, "context_length_exceeded")
        return None

    def _fault(self, raw: bytes, occurrence: int) -> str:
        """Which fault this request meets, "" for none."""
        dice = _random(self.seed, raw, occurrence).random()
        for kind, share in self.faults.items():
            dice -= share
            if dice < 0:
                return kind
        return ""

    def _note(
        self,
        request: web.Request,
        body: Mapping[str, Any],
        prompt: str,
        fault: str,
        choices: int,
        used: tuple[int, int, int] = (0, 0, 0),
    ) -> None:
        now, headers = time.monotonic(), dict(request.headers)
        row = Served(prompt, body.get("n", 1), body.get("seed"), fault, choices, now, body, headers, *used)
        if self.log is None:
            self.served.append(row)
            return
        line = {"n": row.n, "seed": row.seed, "fault": fault, "choices": choices, "tokens": used}
        with self.log.open("ab") as file:
            file.write(orjson.dumps(line) + b"\n")

    # ------------------------------------------------------------------------------------------- what it says

    def _reply(
        self, body: Mapping[str, Any], prompt: str, raw: bytes, fault: str
    ) -> tuple[bytes, int, tuple[int, int, int]]:
        """The JSON of an answer, how many choices it holds, and the tokens used: prompt, cached, completion."""
        if self.cache and raw in self._cached:
            return self._cached[raw], len(orjson.loads(self._cached[raw])["choices"]), (0, 0, 0)
        n = int(body.get("n", 1)) if self.honours_n else 1
        n = 1 if fault == "few" else n + 2 if fault == "many" else n
        texts = self._texts(body, prompt, n, fault)
        limit = body.get("max_tokens", body.get("max_completion_tokens", 1 << 20))
        choices, total = [], 0
        for index, whole in enumerate(texts):
            text, finish = _finished(whole, body.get("stop"), limit)
            total += min(_tokens(text), limit)
            choices.append(_choice(index, text, finish, body, "messages" in body))
        used = (_tokens(prompt), _tokens(prompt) // 2, total)
        if self.usage == "one-choice":
            total = min(_tokens(texts[0]), limit)
        asked = _tokens(prompt)
        usage: dict[str, Any] = {"prompt_tokens": asked, "completion_tokens": total, "total_tokens": asked + total}
        usage["prompt_tokens_details"] = {"cached_tokens": asked // 2}
        if fault == "usage":
            usage = {"prompt_tokens": -3, "completion_tokens": 10**9}
        reply: dict[str, Any] = {"object": "chat.completion", "model": self.model, "choices": choices}
        if self.usage != "none":
            reply["usage"] = usage
        out = orjson.dumps(reply)
        if self.cache:
            self._cached[raw] = out
        return out, len(texts), used

    def _texts(self, body: Mapping[str, Any], prompt: str, n: int, fault: str) -> list[str]:
        if fault == "empty":
            return [""] * n
        answer = self.answer or self._sum
        seed = body.get("seed") if self.honours_seed else None
        first = self._prompts[prompt]
        self._prompts[prompt] += n
        texts = []
        for j in range(1 if fault == "same" else n):
            if seed is None:
                dice = _random(self.seed, prompt, "draw", first + j)
            else:
                dice = _random(prompt, "seeded", seed + (j if self.choices_differ else 0))
            texts.append(self._opening(dice) + answer(prompt, dice))
        return texts * n if fault == "same" else texts

    def _opening(self, dice: random.Random) -> str:
        if not self.chars:
            return ""
        start = dice.randrange(len(self._prose) - self.chars)
        return self._prose[start : start + self.chars] + "\n\n"

    def _sum(self, prompt: str, dice: random.Random) -> str:
        found = _QUESTION.search(prompt)
        right = int(found[1]) + int(found[2]) if found else 0
        return f"Answer: {right if dice.random() < self.p else right + dice.randint(1, 4)}"


def prose(seed: int, pieces: int = 500_000) -> str:
    """Some 9 MB of words and set phrases, each with frequencies after Zipf's law, as a language has."""
    dice = random.Random(seed)  # noqa: S311  a test's dice
    syllables = [a + b + c for a in "bcdfglmnprst" for b in "aeiou" for c in ("", "n", "r", "s", "th")]
    words = ["".join(dice.choices(syllables, k=dice.choice((1, 1, 2, 2, 3)))) for _ in range(3000)]
    often = [1 / (rank + 3) for rank in range(3000)]
    phrases = [" ".join(dice.choices(words, often, k=dice.randint(2, 5))) for _ in range(3000)]
    drawn = dice.choices(words + phrases, often + [2 * x for x in often], k=pieces)
    return " ".join(map(str.__add__, drawn, dice.choices(("", "", "", ",", ".", ".\n"), k=pieces)))


def _choice(index: int, text: str, finish: str, body: Mapping[str, Any], chat: bool) -> dict[str, Any]:
    words = re.findall(r"\S+\s*", text) if body.get("logprobs") else []
    choice: dict[str, Any] = {"index": index, "finish_reason": finish, "logprobs": None}
    if chat:
        choice["message"] = {"role": "assistant", "content": text}
        if words:
            choice["logprobs"] = {"content": [{"token": w, "logprob": -0.5} for w in words]}
        return choice
    if words:
        choice["logprobs"] = {"tokens": words, "token_logprobs": [-0.5 for _ in words]}
    return choice | {"text": text}


def _finished(text: str, stop: Any, limit: int) -> tuple[str, str]:
    """The text up to a stop text or the limit on tokens, and which of the two ended it."""
    for end in [stop] if isinstance(stop, str) else stop or []:
        text = text.partition(end)[0]
    return (text[: 4 * limit], "length") if _tokens(text) > limit else (text, "stop")


def _tokens(text: str) -> int:
    return max(1, len(text) // 4)


def _prompt(body: Mapping[str, Any]) -> str:
    if "prompt" in body:
        return str(body["prompt"])
    return "\n".join(str(m["content"]) for m in body["messages"])


def _random(*parts: object) -> random.Random:
    raw = hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return random.Random(int.from_bytes(raw, "big"))  # noqa: S311  a test's dice


def _error(status: int, message: str, code: str, param: str | None = None) -> web.Response:
    return web.json_response(
        {"error": {"message": message, "type": "error", "code": code, "param": param}}, status=status
    )


def _unpaid(fault: str) -> web.Response:
    if fault == "429-after":
        response = _error(429, "Rate limit reached", "rate_limit_exceeded")
        response.headers["Retry-After"] = "0.1"
        return response
    if fault == "503":
        return web.Response(body=_PAGE, status=503, content_type="text/html")
    return _error(int(fault), "it went wrong", "server_error")


def main(arguments: Sequence[str] | None = None) -> None:
    """The server as a program; prints its base URL and serves until its standard input closes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--chars", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fault", action="append", default=[], metavar="KIND=SHARE")
    parser.add_argument("--log", type=Path)
    said = parser.parse_args(arguments)
    faults = {kind: float(share) for kind, _, share in (text.partition("=") for text in said.fault)}
    server = Server(
        port=said.port, latency_s=said.latency, chars=said.chars, seed=said.seed, faults=faults, log=said.log
    )
    with server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()


def basic(user: str, password: str) -> str:
    """The Authorization header that user-info in a URL becomes."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


if __name__ == "__main__":
    main()

"""`served/NAME`: a reward model or classifier behind HTTP, as vLLM serves them (and others in the same form).

    api=score      POST /score     the question against the response       data[i].score
    api=rerank     POST /rerank    the responses as documents of a query   results[i].relevance_score
    api=classify   POST /classify  question and response as one text       data[i].probs[label]
    api=pooling    POST /pooling   the conversation as chat messages       the last number of data[i].data

One answer a sample, matched by its index, whatever the order. Requests are repeated while a server is busy or away.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import aiohttp
import orjson

from vervet.errors import BadOption
from vervet.protocols import ScorerSetup
from vervet.records import Problem, Sample
from vervet.scorers._conversation import clean, messages, question

_BATCH = 32
# texts in one request
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_TOO_LONG = frozenset({400, 413, 422})
# statuses with which servers refuse a text: then this text has no score, and the others have theirs


class Served:
    """A reward model or classifier on a server (--base-url): vLLM's /score, /rerank, /classify, /pooling"""

    version = "1"

    def __init__(
        self,
        name: str,
        setup: ScorerSetup,
        *,
        api: Literal["score", "rerank", "classify", "pooling"] = "score",
        label: int = -1,
        template: str = "{question}\n\n{response}",
        key_env: str = "VLLM_API_KEY",
        timeout: float = 300.0,
        patience: float = 120.0,
    ) -> None:
        """Args: label: for classify, the class whose probability is the score (-1: the last).  template: for classify, the
        text.  key_env: environment variable that holds the key.  timeout: seconds for one attempt.  patience: seconds for
        which a request is tried again.
        """
        if not name:
            raise BadOption("served: write served/NAME, the model's name on its server")
        if len(setup.base_urls) != 1:
            raise BadOption("served/...: give one --base-url, such as http://127.0.0.1:8000")
        if timeout <= 0 or patience < 0:
            raise BadOption("timeout must be above 0, patience not negative")
        if not setup.base_urls[0].startswith(("http://", "https://")):
            raise BadOption("--base-url: begin with http:// or https://")
        self.name = f"served/{name}"
        self._model, self._api, self._label, self._template = name, api, label, template
        self._url = setup.base_urls[0].rstrip("/").removesuffix("/v1")
        self._key = os.environ.get(key_env, "")
        self._timeout, self._patience = timeout, patience
        self._session: aiohttp.ClientSession | None = None

    def settings(self) -> Mapping[str, Any]:
        """What is asked of which model; not where it is served."""
        found: dict[str, Any] = {"model": self._model, "api": self._api}
        return found | ({"label": self._label, "template": self._template} if self._api == "classify" else {})

    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        """Raises: ConnectionError (out of reach, or it refuses everything), ValueError (an answer that is no score)."""
        size = 1 if self._api == "pooling" else _BATCH
        parts = [samples[i : i + size] for i in range(0, len(samples), size)]
        found = await asyncio.gather(*(self._part(problem, part) for part in parts))
        return [score for part in found for score in part]

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _part(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        """Scores of one request's samples; a request that is refused is cut in halves until the culprit stands alone."""
        body = await self._post(self._body(problem, samples))
        if body is not None:
            return _read(body, self._api, self._label, len(samples))
        if len(samples) == 1:
            return [None]
        half = len(samples) // 2
        return await self._part(problem, samples[:half]) + await self._part(problem, samples[half:])

    def _body(self, problem: Problem, samples: Sequence[Sample]) -> dict[str, Any]:
        asked, texts = clean(question(problem)), [clean(s.text) for s in samples]
        match self._api:
            case "score":
                return {"model": self._model, "text_1": asked, "text_2": texts}
            case "rerank":
                return {"model": self._model, "query": asked, "documents": texts, "top_n": len(texts)}
            case "classify":
                whole = [self._template.replace("{question}", asked).replace("{response}", text) for text in texts]
                return {"model": self._model, "input": whole}
        talk = [{"role": m["role"], "content": clean(m["content"])} for m in messages(problem, samples[0])]
        return {"model": self._model, "messages": talk}

    async def _post(self, body: Mapping[str, Any]) -> Any:
        """The answer's JSON; None where the server refuses what was asked."""
        loop = asyncio.get_running_loop()
        started, pause, data = loop.time(), 0.25, orjson.dumps(body)
        while True:
            status, text, why = await self._once(data)
            if status == 200:
                return _json(text)
            if status in _TOO_LONG:
                return None
            if status and status not in _AGAIN:
                raise ConnectionError(f"{self.name}: the server answers {status} to /{self._api} ({_short(text)})")
            if loop.time() - started >= self._patience:
                raise ConnectionError(f"{self.name}: {why or f'the server answers {status}'}, for {self._patience:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, 10.0)

    async def _once(self, data: bytes) -> tuple[int, bytes, str]:
        """Status, body and, where there is no status, the reason."""
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))
        try:
            async with self._session.post(f"{self._url}/{self._api}", data=data, headers=headers) as response:
                return response.status, await response.read(), ""
        except TimeoutError:
            return 0, b"", f"no answer within {self._timeout:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return 0, b"", f"cannot be reached ({type(error).__name__})"


def _json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the server's answer is no JSON ({_short(text)})") from error


def _read(body: Any, api: str, label: int, count: int) -> list[float | None]:
    """One score a sample, in order. Raises: ValueError where some are missing or no numbers."""
    entries = body.get("results" if api == "rerank" else "data") if isinstance(body, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f"the server's answer to /{api} holds no list of scores ({_short(orjson.dumps(body))})")
    found: dict[int, float] = {}
    for place, entry in enumerate(entries):
        index = entry.get("index", place) if isinstance(entry, dict) else -1
        found[index] = _number(entry, api, label)
    if set(found) != set(range(count)):
        raise ValueError(f"the server gives {len(found)} scores for {count} texts, or for others than were sent")
    return [found[i] for i in range(count)]


def _number(entry: Any, api: str, label: int) -> float:
    try:
        if api == "score":
            value = entry["score"]
        elif api == "rerank":
            value = entry["relevance_score"]
        elif api == "classify":
            value = entry["probs"][label]
        else:
            value = entry["data"]
            while isinstance(value, list):
                value = value[-1]
        number = float(value)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"an answer to /{api} holds no score ({_short(orjson.dumps(entry))})") from error
    if not math.isfinite(number):
        raise ValueError(f"an answer to /{api} holds {number}")
    return number


def _short(text: bytes) -> str:
    return text[:120].decode("utf-8", "replace")

"""Any server that speaks the OpenAI protocol: /v1/chat/completions for chat prompts, /v1/completions for raw text.

    vervet run humaneval -m openai/gpt-4.1-mini -n 100          # key from OPENAI_API_KEY
    vervet run humaneval -m vllm/NAME --base-url http://a:8000/v1 --base-url http://b:8000/v1 -n 10000

One request asks for several samples (`n`), so that a prompt is paid for once. Where a server gives fewer than it was asked for,
what came is kept and the rest is asked for in pieces of the size that it gives. Every text that comes is a draw: an empty or a
repeated one is never asked for again. What a server does not take is left out once, for all requests, and said.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from vervet.errors import BadOption, ServiceError, UserError
from vervet.protocols import SamplerSetup, SamplerTraits
from vervet.records import Completion, PromptForm, Reply, Request, Usage
from vervet.samplers._http_body import Bodies, check_extra, parse_object
from vervet.samplers._http_client import Client, Hopeless, Patience, Replica, replica
from vervet.samplers._http_errors import Action, Trouble
from vervet.samplers._http_limiter import Closed, Limiter
from vervet.samplers._http_reply import Parsed, parse
from vervet.samplers._probe import Prober
from vervet.samplers._providers import PROVIDERS, Provider
from vervet.samplers._secrets import Keyring, public_url, refuse_keys, require_references, url_secrets

_MOST_IN_FLIGHT = 4096
_TOO_LARGE = re.compile(r"(?i)too large|at most|less than|greater|exceed|must be|maximum")
_UNCLEAR = 3
# problems refused for an unknown reason, none answered: then it is not the prompts


class OpenAI:
    """OpenAI, or any compatible server with --base-url"""

    provider: ClassVar[Provider] = PROVIDERS["openai"]
    takes_base_urls = True
    meters_attempts = True
    neutral_options = frozenset({"max_n", "timeout", "patience", "pause", "key_env", "headers", "probe"})

    def __init__(
        self,
        name: str,
        setup: SamplerSetup,
        *,
        max_n: int | None = None,
        logprobs: bool = False,
        extra: str | dict[str, Any] | None = None,
        headers: str | dict[str, Any] | None = None,
        key_env: str | None = None,
        timeout: float = 900.0,
        patience: float = 300.0,
        pause: float = 0.5,
        probe: bool = True,
    ) -> None:
        """Options (-M): max_n: samples in one request at most.  logprobs: keep each text's log-probability.
        extra: further body fields, a JSON object.  headers: further headers, a JSON object; "$NAME" stands for an environment
        variable in both.  key_env: environment variable that holds the key.  timeout: seconds for one attempt.
        patience: seconds without any answer after which the run ends.  pause: seconds before the first retry.
        probe: ask a new run's server two short questions first.
        """
        if (max_n is not None and max_n < 1) or timeout <= 0 or patience < 0 or pause <= 0:
            raise BadOption("model options: max_n must be at least 1, timeout and pause above 0, patience not negative")
        self._extra = parse_object(extra, "-M extra")
        check_extra(self._extra)
        refuse_keys(self._extra, "extra field")
        self._name, self._setup = name, setup
        self._headers = parse_object(headers, "-M headers")
        require_references(self._headers, "-M headers")
        self._urls = setup.base_urls or (_default_url(self.provider),)
        for url in self._urls:
            check_url(url)
        self._key_variable = key_env or self.provider.key_variable
        self._patience = Patience(timeout, patience, pause)
        self._asked_max_n, self._max_n = max_n, max_n or self.provider.max_n
        self.top_n = self._max_n
        self._full = self._short = 0
        # replies to requests for more than _max_n samples: as many as asked for, or fewer
        self._keyring = Keyring()
        self.bodies = Bodies(name, self.provider, self._extra, logprobs=logprobs)
        self._client: Client | None = None
        self._unclear: dict[str, str] = {}
        self._answered = False
        self._draining = False
        self._probing = probe
        self._counts_one = False
        # the server counts the tokens of one choice of n
        self._fatal: Exception | None = None
        # what no request of this run can get past

    def traits(self) -> SamplerTraits:
        return SamplerTraits(
            form="chat", max_n=self._max_n, max_in_flight=_MOST_IN_FLIGHT, in_flight=self.provider.in_flight
        )

    @property
    def own_urls(self) -> tuple[str, ...]:
        """The servers, () where they are the provider's: their prices are known by its name."""
        return () if self._urls == (self.provider.base_url,) else tuple(self._urls)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, {[public_url(u) for u in self._urls]})"

    async def sample(self, request: Request) -> Reply:
        """As many completions as the server gives, in as many HTTP requests as it takes.

        Raises: UserError (key, model, address, field), ServiceError (account), ConnectionError, ValueError (prompt refused).
        """
        if self._fatal is not None:
            raise self._fatal
        self._check(request)
        bill = _Bill()
        try:
            found = await self._spread(request, 0, request.n, bill)
        except Closed:
            found = []
        return Reply(tuple(found), bill.usage(), bill.server)

    async def probe(self, form: PromptForm, *, thorough: bool = False) -> dict[str, Any]:
        """What the server does, as plain JSON, {} where the user does not want to know; kept with the run and adopted.

        Raises: as :meth:`sample`; UserError where the server does not draw.
        """
        if not (self._probing or thorough):
            return {}
        prober = Prober(self, form)
        try:
            found = await (prober.thorough() if thorough else prober.quick(self.top_n, self._setup.send_seed))
        except Hopeless as hopeless:
            raise self._explain(hopeless, "vervet probe") from None
        except Closed:
            return {}
        return found.to_dict()

    def adopt(self, found: Mapping[str, Any]) -> None:
        """Sample in the way that a probe, also an earlier one, has shown to be right. Raises: UserError."""
        if not found:
            return
        if found["draws_differ"] == "no":
            raise UserError(f"{self._where()} gives the same text again and again, at temperature 1: it does not draw")
        if found["replays"] == "yes":
            raise UserError(
                f"{self._where()} repeats its answers instead of drawing again: switch its response cache off"
            )
        if found.get("silent") == "yes":  # an older run's findings do not have it
            raise UserError(f"{self._where()} answers with nothing, not one token: look into its log, it fails")
        if found["n_honoured"] == "no" and found["max_n"] < self._max_n:
            self._max_n = found["max_n"]
            self._say(
                f"{self._where()} gives {self._max_n} samples a request, whatever n says: it is asked for so many"
            )
        if found["seed"] == "same-choices" and self._setup.send_seed and self._max_n > 1:
            self._max_n = self.top_n = 1
            self._say(f"{self._where()} gives n equal samples for one seed: it is asked for one at a time")
        if found["usage"] in ("one-choice", "wrong"):
            self._counts_one = True
            self._say(f"{self._where()} does not count the tokens of all its samples: they are estimated")

    def drain(self) -> None:
        """The run stops: what is out may finish, nothing new is sent, and waiting requests come back empty."""
        self._draining = True
        if self._client:
            self._client.drain()

    async def aclose(self) -> None:
        if self._client:
            client, self._client = self._client, None
            await client.aclose()
            if client.timeouts:
                self._say(
                    f"{client.timeouts} requests were drawn again because no answer came within "
                    f"{self._patience.timeout_s:g} s: slow answers are rarer in this run than they should be"
                )

    # ------------------------------------------------------------------------------------------- cutting into requests

    async def _spread(self, request: Request, choice: int, n: int, bill: _Bill) -> list[Completion]:
        """Samples [choice, choice + n) of a request. Fewer where a part failed and another part did not.

        With seeds only those before the first gap are kept, because a sample belongs to its seed; without them draws are
        interchangeable and close the gap.
        """
        size = self._max_n
        if n <= size:
            return await self._fill(request, choice, n, bill)
        pieces = [(first, min(size, choice + n - first)) for first in range(choice, choice + n, size)]
        tasks = [asyncio.create_task(self._fill(request, first, count, bill)) for first, count in pieces]
        try:
            results = await asyncio.gather(*tasks, return_exceptions=True)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        found: list[Completion] = []
        for (_, count), result in zip(pieces, results, strict=True):
            if not isinstance(result, BaseException):
                found += result
            if self._setup.send_seed and (isinstance(result, BaseException) or len(result) < count):
                break
        errors = [r for r in results if isinstance(r, BaseException)]
        if errors and not found:
            # a drained piece says less than a failed one
            raise next((e for e in errors if not isinstance(e, Closed)), errors[0])
        return found

    async def _fill(self, request: Request, choice: int, n: int, bill: _Bill) -> list[Completion]:
        """One HTTP request, and more for what it leaves out."""
        piece = _Piece(self, request, choice, n)
        found = await self._ask(piece, bill)
        if piece.asked > 1:
            self._learn(piece.asked, len(found))
        if len(found) == n:
            return found
        try:
            return found + await self._spread(request, choice + len(found), n - len(found), bill)
        except (Closed, ConnectionError, ValueError, UserError, ServiceError):
            # what came is kept; the rest is missing, is asked for again and meets its error there
            return found

    async def _ask(self, piece: _Piece, bill: _Bill) -> list[Completion]:
        """At least one completion."""
        client = self._client or self.client()
        try:
            parsed, server = await client.call(piece)
        except Hopeless as hopeless:
            error = self._explain(hopeless, piece.problem_id)
            self._fatal = self._fatal or (error if isinstance(error, UserError | ServiceError) else None)
            raise error from None
        self._answered = True
        bill.add(parsed.usage, server)
        return parsed.completions

    def body(self, piece: _Piece) -> bytes:
        """JSON of a piece's next attempt."""
        piece.asked = min(piece.n, self._max_n)
        return self.bodies.build(piece.request, piece.choice, piece.asked, seeded=self._setup.send_seed)

    def read(self, piece: _Piece, body: bytes) -> Parsed:
        """What an answer to a piece says. Raises: BadReply."""
        params = piece.request.params
        parsed = parse(body, piece.asked, params.max_tokens, trust=not self._counts_one or piece.asked == 1)
        if params.stop and self.bodies.omits("stop"):
            return Parsed([_cut(c, params.stop) for c in parsed.completions], parsed.usage)
        return parsed

    # ------------------------------------------------------------------------------------------- learning

    def _learn(self, asked: int, given: int) -> None:
        """Ask for as many at once as this server gives; one odd reply among full ones changes nothing."""
        if asked > self._max_n or self._max_n == self.top_n:
            self._full += given >= asked
            self._short += given < asked
        if given < asked and self._short > self._full and given < self._max_n:
            self._max_n = given
            self._say(f"{self._where()} gives {given} of {asked} samples a request: it is asked for {given} at a time")
        elif given == asked > self._max_n and self._full >= self._short:
            self._max_n = self.top_n

    def adapt(self, trouble: Trouble, asked: int, *, chat: bool) -> bool:
        """Change the requests for a field that the server does not take. False: nothing can be changed."""
        field, detail = trouble.field, self._keyring.redact(trouble.detail)
        if field == "n":
            return self._fewer(asked, detail)
        if field in self._extra:
            return False
        if field in ("max_tokens", "max_completion_tokens"):
            other = self.bodies.swap_limit(field) if chat and not _TOO_LARGE.search(detail) else None
            if other:
                self._say(f"{self._where()} does not take {field}: {other} is sent instead")
            return other is not None
        if self.bodies.omit(field):
            instead = "texts are cut there by Vervet" if field == "stop" else "it is left out"
            self._say(f"{self._where()} does not take {field}: {instead} ({detail})")
        return True

    def _fewer(self, asked: int, detail: str) -> bool:
        if asked <= 1:
            return False
        if self._asked_max_n is not None:
            raise UserError(f"{self._where()} refuses {asked} samples a request ({detail}): lower -M max_n")
        if max(1, asked // 2) < self._max_n:
            self._max_n = self.top_n = max(1, asked // 2)
            self._say(f"{self._where()} refuses {asked} samples a request: {self._max_n} are asked for ({detail})")
        return True

    # ------------------------------------------------------------------------------------------- what to tell the user

    def _explain(self, hopeless: Hopeless, problem_id: str) -> Exception:
        """The error that stands for a refusal."""
        trouble, where = hopeless.trouble, hopeless.server
        detail = self._keyring.redact(trouble.detail)
        match trouble.action:
            case Action.KEY:
                return UserError(self._about_key(where, detail))
            case Action.MODEL:
                return UserError(f"{where} has no model {self._name!r} ({detail})")
            case Action.ADDRESS:
                return UserError(
                    f"{where} is no OpenAI-compatible API ({detail}): check --base-url, it mostly ends in /v1"
                )
            case Action.MONEY:
                return ServiceError(f"{where}: the account has no credit left ({detail})")
            case Action.ADAPT:
                return UserError(f"{where} refuses {trouble.field} ({detail})")
            case Action.REFUSE:
                return ValueError(detail)
        for name in self._extra:
            if name == trouble.field or re.search(rf"['\"`]{re.escape(name)}['\"`]", detail):
                return UserError(f"{where} refuses the extra field {name!r} ({detail})")
        self._unclear[problem_id] = detail
        if not self._answered and len(self._unclear) >= _UNCLEAR:
            return UserError(f"{where} refuses every request ({detail})")
        return ValueError(detail)

    def _about_key(self, where: str, detail: str) -> str:
        if os.environ.get(self._key_variable):
            return f"{where} refuses the key in {self._key_variable} ({detail}): check that variable"
        return f"{where} asks for a key ({detail}): set {self._key_variable}"

    def _check(self, request: Request) -> None:
        """Raises: UserError where the provider would change a parameter without a word."""
        top = self.provider.temperature_top
        if request.params.temperature > top and not self._setup.base_urls:
            raise UserError(
                f"{self.provider.name} takes --temperature 0 to {top:g}, not {request.params.temperature:g}"
            )

    def _where(self) -> str:
        return ", ".join(public_url(u) for u in self._urls[:2]) + (" and others" if len(self._urls) > 2 else "")

    def _say(self, notice: str) -> None:
        if self._setup.notice:
            self._setup.notice(notice)

    # ------------------------------------------------------------------------------------------- the client

    def client(self) -> Client:
        """The client, made by the first request: keys are read now, from the environment."""
        if self._draining:
            raise Closed
        if self._client is None:
            provider = self.provider
            key = self._keyring.variable(self._key_variable)
            if not key and provider.key_needed and not self._setup.base_urls and self._urls[0] == provider.base_url:
                raise UserError(f"{provider.name} needs a key: set {self._key_variable}")
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            headers |= self._keyring.expand(self._headers, "-M headers")
            self.bodies.expanded = self._keyring.expand(self._extra, "-M extra")
            replicas = [self._replica(u) for u in self._urls]
            self._client = Client(replicas, headers, self._keyring, self._patience, self._setup.purse)
        return self._client

    def _replica(self, url: str) -> Replica:
        self._keyring.add(url_secrets(url))
        top = self._setup.max_in_flight or self.provider.in_flight
        return replica(url, Limiter(top, self.provider.start_in_flight), self._keyring)


class _Piece:
    """Samples [choice, choice + n) of a request, as a question to the client."""

    __slots__ = ("asked", "chat", "choice", "n", "parsed", "problem_id", "request", "sampler")

    def __init__(self, sampler: OpenAI, request: Request, choice: int, n: int) -> None:
        self.sampler, self.request, self.choice, self.n = sampler, request, choice, n
        self.asked = n
        # samples that the last attempt asked for
        self.problem_id = request.problem_id
        self.chat = not isinstance(request.prompt, str)

    def build(self) -> bytes:
        return self.sampler.body(self)

    def read(self, body: bytes) -> Parsed:
        self.parsed = self.sampler.read(self, body)
        return self.parsed

    @property
    def spending(self) -> tuple[Request, int]:
        return self.request, self.asked

    def used(self, body: bytes) -> tuple[Usage | None, int]:  # noqa: ARG002  it has just been read
        usage = self.parsed.usage
        return usage if usage.counted_by == "server" else None, len(self.parsed.completions)

    def adapt(self, trouble: Trouble) -> bool:
        return self.sampler.adapt(trouble, self.asked, chat=self.chat)


@dataclasses.dataclass(slots=True)
class _Bill:
    """Sums what the HTTP requests of one Request consumed."""

    parts: list[Usage] = dataclasses.field(default_factory=list)
    server: str = ""

    def add(self, usage: Usage, server: str) -> None:
        self.parts.append(usage)
        self.server = server

    def usage(self) -> Usage:
        if len(self.parts) == 1:
            return self.parts[0]
        counted = "server" if all(p.counted_by == "server" for p in self.parts) else "vervet"
        return Usage(
            _sum(p.prompt_tokens for p in self.parts),
            _sum(p.cached_tokens for p in self.parts),
            _sum(p.completion_tokens for p in self.parts),
            counted,
            _sum(p.cost_usd for p in self.parts),
        )


def _sum(values: Any) -> Any:
    known = [v for v in values if v is not None]
    return sum(known) if known else None


def _cut(completion: Completion, stops: tuple[str, ...]) -> Completion:
    """What a server that knows stop texts would have given."""
    at = min((i for i in (completion.text.find(s) for s in stops) if i >= 0), default=-1)
    if at < 0:
        return completion
    return dataclasses.replace(completion, text=completion.text[:at], finish_reason="stop")


def check_url(url: str) -> None:
    """Raises: BadOption, without what the URL may hide."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise BadOption(f"--base-url {public_url(url)}: write http://host:port/v1 or https://host/v1")


def _default_url(provider: Provider) -> str:
    said = os.environ.get(provider.url_variable, "").strip() if provider.url_variable else ""
    if not said:
        return provider.base_url
    if provider.url_variable == "OLLAMA_HOST":
        return f"{said if '://' in said else f'http://{said}'}".rstrip("/") + "/v1"
    return said


def _variant(name: str, summary: str) -> type[OpenAI]:
    return type(name, (OpenAI,), {"provider": PROVIDERS[name.lower()], "__doc__": summary, "__module__": __name__})


Anthropic = _variant("Anthropic", "Anthropic, through its OpenAI-compatible endpoint")
Google = _variant("Google", "Google Gemini, through its OpenAI-compatible endpoint")
Together = _variant("Together", "Together AI")
DeepSeek = _variant("DeepSeek", "DeepSeek")
OpenRouter = _variant("OpenRouter", "OpenRouter: many providers behind one key")
VLLM = _variant("VLLM", "A vLLM server: http://127.0.0.1:8000/v1 unless --base-url says otherwise")
SGLang = _variant("SGLang", "An SGLang server: http://127.0.0.1:30000/v1 unless --base-url says otherwise")
Ollama = _variant("Ollama", "An Ollama server: http://127.0.0.1:11434/v1 unless --base-url says otherwise")

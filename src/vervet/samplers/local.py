"""`local/NAME`: models on this machine's processors, through llama.cpp (the extra `local`).

NAME is a model of the catalogue (`smollm2-135m`, `gemma3-270m`), a path to a .gguf file, or a repository on the Hugging
Face hub, `OWNER/REPOSITORY[@REVISION][:FILE.gguf]`. Weights are fetched and loaded at the first request.

All samples of a request share one evaluation of the prompt and are drawn in one batch: asking for n at once is several
times faster than n requests. Requests run one after the other, so that a request's texts depend on nothing beside it.

Seeds. llama.cpp's are 32 bits wide. Sample i of a problem draws from seed b + i, with b out of (run seed, problem id):
two samples of a problem never share a stream. The same request repeats exactly on the same machine, library and
options; drawn in another grouping (another n, another `n_parallel`) the same seeds meet other rounding, and texts may
part.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vervet import fetch
from vervet.errors import BadOption, ServiceError
from vervet.protocols import SamplerSetup, SamplerTraits
from vervet.records import Completion, Prompt, PromptForm, Reply, Request, Usage, derive_seed, prompt_to_json
from vervet.samplers._gguf import read_head
from vervet.samplers._http_body import parse_object
from vervet.samplers._llama import Choice, Llama, OutOfRoom, PromptTooLong, require, require_gpu, usable_threads
from vervet.samplers._models import HubName, LocalModel, cached_hub_file, hub_part, resolve

CONTEXT = 32768
# tokens of all samples of a batch together, unless -M context= says otherwise: 0.8 GB for SmolLM2, 4 GB for an 8B model
STEP = 1024
# contexts grow in steps, so that prompts of like length share a loaded model
OURS = frozenset(
    {"messages", "prompt", "n", "seed", "stream", "stop", "max_tokens", "temperature", "top_p", "logprobs"}
)


@dataclass(frozen=True, slots=True)
class Weights:
    """What is known of a model before it is loaded."""

    form: PromptForm
    fingerprint: str
    # SHA-256 of the file
    parameters: int
    context: int
    # tokens of one sample that the model was trained for; 0 unknown


class Local:
    """Samples from a GGUF model. Options (-M): threads, n_parallel, context, gpu_layers, logprobs, extra."""

    # they change the rounding at most, never what is drawn from: a run may go on with other ones
    neutral_options = frozenset({"threads", "n_parallel", "context", "gpu_layers", "logprobs"})

    def __init__(
        self,
        name: str,
        setup: SamplerSetup,
        *,
        threads: int = 0,
        n_parallel: int = 32,
        context: int = 0,
        gpu_layers: int = 0,
        logprobs: bool = False,
        extra: str | dict[str, Any] | None = None,
    ) -> None:
        """Nothing is fetched or loaded here.

        Args: threads: 0 takes all processors that this process may use.  n_parallel: samples drawn together.  context:
        tokens that these hold together, prompt included; larger requests go in several batches.  gpu_layers: layers on
        the GPU, -1 for all.  logprobs: also sum each text's token log-probabilities (of the model, before temperature).
        extra: further parameters of llama.cpp's, a JSON object: top_k, min_p, repeat_penalty, presence_penalty, ...
        Raises: UnknownName, BadOption, MissingPart.
        """
        require()
        for option, value, least in (("threads", threads, 0), ("n_parallel", n_parallel, 1), ("context", context, 0)):
            if value < least:
                raise BadOption(f"{option}={value}: expected at least {least}")
        self._extra = parse_object(extra, "-M extra")
        if taken := OURS & self._extra.keys():
            raise BadOption(f"-M extra: {', '.join(sorted(taken))}: set by Vervet itself; leave it out")
        if gpu_layers:
            require_gpu()
        self._model = resolve(name)
        self._name, self._setup = name, setup
        self._threads = threads or usable_threads()
        self._slots, self._most, self._gpu_layers, self._logprobs = n_parallel, context or CONTEXT, gpu_layers, logprobs
        # one thread: llama.cpp works on one batch at a time, and a queue of requests is all that is needed
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="vervet-local")
        self._llama: Llama | None = None
        self._closing = threading.Event()

    def traits(self) -> SamplerTraits:
        """For the catalogue at once; a file's head is read, a hub file is fetched."""
        known = self._weights
        # one request at a time: more would only wait here, be drained after Ctrl-C and be lost in a crash
        return SamplerTraits(known.form, self._slots, 1, known.fingerprint, known.parameters)

    async def sample(self, request: Request) -> Reply:
        """Draw `request.n` samples; cancelling ends the work at the next token or batch of the prompt.

        Raises: ValueError (the prompt is longer than the context, or a field is refused), and what loading raises:
        MissingPart, BadData, BadOption, ServiceError, StorageError. All n or nothing.
        """
        stop = threading.Event()
        work = asyncio.get_running_loop().run_in_executor(self._worker, self._sample, request, stop)
        try:
            return await work
        except asyncio.CancelledError:
            stop.set()
            raise

    async def first_tokens(self, prompt: Prompt, top: int) -> dict[str, float]:
        """The likeliest `top` first tokens of an answer, and their probabilities at temperature 1.

        Raises: ValueError (the prompt is longer than the context), and what loading raises.
        """
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._first_tokens, prompt, top)

    async def aclose(self) -> None:
        """End what is running, free the model. May be called twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        await asyncio.get_running_loop().run_in_executor(self._worker, self._unload)
        self._worker.shutdown()

    # ------------------------------------------------------------------------------------------ on the worker

    def _sample(self, request: Request, stop: threading.Event) -> Reply:
        body = {**self._extra, **_body(request, logprobs=self._logprobs)}
        each = request.params.max_tokens + 1
        # tokens of the prompt: text has three to four bytes a token, the chat template adds some
        prompt = len(str(prompt_to_json(request.prompt)).encode()) // 2 + 128
        batches: list[list[Choice]] = []
        while (done := sum(map(len, batches))) < request.n:
            n = max(1, min(request.n - done, self._slots, (self._most - prompt) // each))
            try:
                llama = self._loaded(min(prompt + n * each, self._most))
                batches.append(
                    llama.generate(
                        {**body, "seed": first_seed(request) + done},
                        n,
                        lambda: stop.is_set() or self._closing.is_set(),
                    )
                )
            except PromptTooLong as error:
                if error.prompt <= prompt or error.prompt >= self._most:  # the second try, or hopeless
                    raise ValueError(_too_long(request, error, self._weights)) from error
                prompt = error.prompt
            except OutOfRoom:
                if n == 1:
                    raise
                prompt *= 2
        return _reply(batches, self._name, logprobs=self._logprobs)

    def _first_tokens(self, prompt: Prompt, top: int) -> dict[str, float]:
        body = {"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt_to_json(prompt)}
        size = len(str(prompt_to_json(prompt)).encode()) // 2 + 128
        try:
            return self._loaded(min(size, self._most)).first_tokens(body, top)
        except PromptTooLong as error:
            if error.prompt >= self._most:
                raise
            return self._loaded(error.prompt + 1).first_tokens(body, top)

    def _loaded(self, tokens: int) -> Llama:
        """The model with room for `tokens`, loaded anew where it has less."""
        if self._llama is None or self._llama.context < tokens:
            path, context = self._path, min(-(-tokens // STEP) * STEP, self._most)
            if not isinstance(self._model, LocalModel):
                read_head(path)  # a damaged file is one clear line here, and an abort in llama.cpp
            self._unload()
            self._llama = Llama(
                path, threads=self._threads, slots=self._slots, context=context, gpu_layers=self._gpu_layers
            )
        return self._llama

    def _unload(self) -> None:
        if self._llama is not None:
            self._llama.close()
            self._llama = None

    @cached_property
    def _path(self) -> Path:
        """The model file, fetched where need be."""
        model = self._model
        if isinstance(model, Path):
            return model
        if isinstance(model, LocalModel):
            return fetch.cached(model.part, self._setup.progress)
        return _hub_file(model, self._setup)

    @cached_property
    def _weights(self) -> Weights:
        model = self._model
        if isinstance(model, LocalModel):
            return Weights(model.form, model.part.sha256, model.parameters, model.context)
        head = read_head(self._path)
        form: PromptForm = "chat" if head.has_chat_template else "completion"
        return Weights(form, fetch.file_sha256(self._path), head.parameters, head.context)


def first_seed(request: Request) -> int:
    """llama.cpp's seed for the request's first sample, in [0, 2**32 - 1): the next samples take the next seeds.

    Consecutive seeds of its generator (mt19937) give unrelated streams. 2**32 - 1 would mean "draw one".
    """
    base = derive_seed(request.run_seed, request.problem_id, 0) % 2**31
    return (base + request.first) % (2**32 - 1)


def _body(request: Request, *, logprobs: bool) -> dict[str, Any]:
    """Fields of an OpenAI-style request, without n and seed."""
    params = request.params
    if taken := OURS & params.extra.keys():
        raise ValueError(f"extra parameters may not set {', '.join(sorted(taken))}: they have options of their own")
    body: dict[str, Any] = {
        **params.extra,
        "max_tokens": params.max_tokens,
        "temperature": params.temperature,
        "top_p": 1.0 if params.top_p is None else params.top_p,
        "stop": list(params.stop),
    }
    chat = not isinstance(request.prompt, str)
    if logprobs:
        body |= {"logprobs": True, "top_logprobs": 1} if chat else {"logprobs": 1}
    return body | {"messages" if chat else "prompt": prompt_to_json(request.prompt)}


def _reply(batches: Sequence[Sequence[Choice]], name: str, *, logprobs: bool) -> Reply:
    completions = tuple(
        Completion(
            "".join(choice.text),
            choice.finish_reason,
            choice.tokens,
            "".join(choice.reasoning),
            choice.logprob if logprobs else None,
        )
        for batch in batches
        for choice in batch
    )
    usage = Usage(
        prompt_tokens=sum(batch[0].prompt_tokens for batch in batches),
        cached_tokens=0,
        completion_tokens=sum(completion.completion_tokens or 0 for completion in completions),
    )
    return Reply(completions, usage, f"local/{name}")


def _too_long(request: Request, error: PromptTooLong, weights: Weights) -> str:
    trained = f" (the model was trained for {weights.context})" if weights.context else ""
    return f"{request.problem_id}: the prompt has {error.prompt} tokens, the context holds {error.context}{trained}"


def _hub_file(name: HubName, setup: SamplerSetup) -> Path:
    """The hub's file; where the hub is out of reach, the one fetched before."""
    try:
        part = hub_part(name)
    except ServiceError as error:
        old = cached_hub_file(name)
        if old is None:
            raise ServiceError(
                f"cannot fetch local/{name.repo}: {error}. Connect to the network, or name a .gguf file on disk"
            ) from error
        if setup.progress:
            setup.progress(f"the hub is out of reach: taking {old}")
        return old
    return fetch.cached(part, setup.progress)

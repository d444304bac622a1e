"""llama.cpp in this process, through the extra `xllamacpp`: load a model file, draw n texts for one prompt, free it.

Everything here blocks and belongs on one thread. What was learnt about the library, version 2026.10:

* `Server` is llama.cpp's HTTP server in process. It also listens on a port of 127.0.0.1: a random key keeps others out.
* A request with n choices evaluates its prompt once. Choice i gets the seed `seed + i`.
* `usage.completion_tokens` counts one choice only, so that tokens are taken from each choice's own `timings`, which the
  last chunk of a streamed choice carries. Streaming also lets a cancelled request end at its next token, and with
  `return_progress` between two batches of its prompt, of which nobody hears otherwise until all of it was evaluated.
* Its samplers by default are not plain sampling: top-k 40, min-p 0.05, and top-p before temperature. All are set here.
* Prompt caching is off: with it the same request computes its prompt in other batches, and rounding differs.
* Errors come as a chunk {"error": ...}, not as exceptions.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vervet.errors import BadData, BadOption, MissingPart

# temperature before top-p: what the field means by the two, and not llama.cpp's own order
CHAIN = ("penalties", "temperature", "top_k", "top_p", "min_p")
PLAIN: Mapping[str, Any] = {"samplers": list(CHAIN), "top_k": 0, "top_p": 1.0, "min_p": 0.0, "cache_prompt": False}

PROMPT_BATCH = 64
# tokens of a prompt between two looks at whether the request still stands: 0.6 s of one thread for SmolLM2, and no slower than
# llama.cpp's own 512 on processors


class PromptTooLong(ValueError):
    """The prompt alone does not fit; `prompt` and `context` are token counts."""

    def __init__(self, prompt: int, context: int) -> None:
        super().__init__(f"the prompt has {prompt} tokens, the context holds {context}")
        self.prompt, self.context = prompt, context


class OutOfRoom(RuntimeError):
    """The samples together outgrew the context while they were drawn."""


class Stopped(RuntimeError):
    """The request was cancelled, or the sampler closed."""


@dataclass(slots=True)
class Choice:
    """One text as it grows."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish_reason: str = ""
    tokens: int = 0
    # generated tokens, an end-of-text token among them
    prompt_tokens: int = 0
    logprob: float = 0.0
    # sum over the tokens that the server reported

    def add(self, chunk: Mapping[str, Any], timings: Mapping[str, Any]) -> None:
        """Take one streamed chunk of this choice."""
        delta = chunk.get("delta") or {}
        self.text.append(delta.get("content") or chunk.get("text") or "")
        self.reasoning.append(delta.get("reasoning_content") or "")
        for token in (chunk.get("logprobs") or {}).get("content") or ():
            self.logprob += token["logprob"]
        if reason := chunk.get("finish_reason"):
            self.finish_reason = str(reason)
            self.tokens = int(timings.get("predicted_n", 0))
            self.prompt_tokens = int(timings.get("prompt_n", 0)) + int(timings.get("cache_n", 0))


def require() -> None:
    """Raises: MissingPart where the extra is not installed. Does not import it: that maps 100 MB."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise MissingPart("local models need the extra `local`: pip install 'vervet[local]'")


def usable_threads() -> int:
    """Processors that this process may use: its affinity, and a container's CPU quota (cgroup v2, rounded up)."""
    threads = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(threads, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no cgroup v2, or quota "max"
        return threads


class Llama:
    """A loaded model. `slots`: samples drawn together at most. `context`: tokens that they hold together."""

    def __init__(self, path: Path, *, threads: int, slots: int, context: int, gpu_layers: int) -> None:
        """Load. Raises: BadData (llama.cpp refuses the file), BadOption (no GPU), MissingPart."""
        library = _library()
        if gpu_layers and not any("GPU" in str(device["type"]) for device in library.get_device_info()):
            raise BadOption(
                "gpu_layers: this build of xllamacpp sees no GPU; install its GPU build or leave the option out"
            )
        params = library.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel, params.kv_unified = context, slots, True
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.n_gpu_layers = gpu_layers
        if not gpu_layers:
            params.n_batch = params.n_ubatch = max(PROMPT_BATCH, slots)
        params.fit_params = False  # it would change the context behind our back
        params.warmup = False
        params.cache_ram_mib = params.n_ctx_checkpoints = 0  # copies of prompts that never come back
        params.verbosity = 0
        params.api_keys = [secrets.token_hex()]
        params.ui = params.endpoint_slots = False
        params.n_threads_http = 1
        self.context = context
        try:
            self._server: Any = library.Server(params)
        except Exception as error:
            raise BadData(
                f"llama.cpp cannot load the model file {path}: damaged, or a kind it does not know"
            ) from error

    def generate(self, body: Mapping[str, Any], n: int, stopped: Callable[[], bool]) -> list[Choice]:
        """n texts for one prompt. `stopped` is asked at each token and each batch of the prompt, and ends the work.

        `body`: fields of an OpenAI-style request; with "messages" it is a chat.
        Raises: PromptTooLong, OutOfRoom, ValueError (a field is refused), RuntimeError, Stopped.
        """
        choices = [Choice() for _ in range(n)]
        errors: list[Mapping[str, Any]] = []

        def take(chunk: Mapping[str, Any]) -> bool:
            if "error" in chunk:
                errors.append(chunk["error"])
            for choice in chunk.get("choices", ()):
                choices[choice["index"]].add(choice, chunk.get("timings") or {})
            return stopped()

        handle = self._server.handle_chat_completions if "messages" in body else self._server.handle_completions
        handle({**PLAIN, **body, "n": n, "stream": True, "return_progress": True}, take)
        if errors:
            _raise(errors[0])
        if stopped():  # what is finished by now are the short ones: they are no fair draw
            raise Stopped("stopped while sampling")
        if not all(choice.finish_reason for choice in choices):
            raise RuntimeError(f"llama.cpp finished {sum(bool(c.finish_reason) for c in choices)} of {n} texts")
        return choices

    def first_tokens(self, body: Mapping[str, Any], top: int) -> dict[str, float]:
        """The likeliest first tokens and their probabilities, before any sampler. Raises: as `generate`.

        Prompts that begin alike share that part: nothing is drawn here, and a probability may differ in its last digits.
        """
        errors: list[Mapping[str, Any]] = []
        found: dict[str, float] = {}

        def take(chunk: Mapping[str, Any]) -> bool:
            if "error" in chunk:
                errors.append(chunk["error"])
            for choice in chunk.get("choices", ()):
                for token in (choice.get("logprobs") or {}).get("content") or ():
                    for entry in token.get("top_logprobs") or ():
                        found[entry["token"]] = found.get(entry["token"], 0.0) + math.exp(entry["logprob"])
            return False

        chat = "messages" in body
        handle = self._server.handle_chat_completions if chat else self._server.handle_completions
        asked = {"logprobs": True, "top_logprobs": top} if chat else {"logprobs": top}
        ours = {"n": 1, "max_tokens": 1, "temperature": 1.0, "stream": True, "cache_prompt": True}
        handle({**PLAIN, **body, **asked, **ours}, take)
        if errors:
            _raise(errors[0])
        return found

    def close(self) -> None:
        """Free the weights and end llama.cpp's threads."""
        self._server = None


def require_gpu() -> None:
    """Raises: BadOption where llama.cpp sees no GPU: it would go on without a word. Imports the extra."""
    if not any("GPU" in str(device["type"]) for device in _library().get_device_info()):
        raise BadOption(
            "gpu_layers: this build of xllamacpp sees no GPU; install its GPU build or leave the option out"
        )


def _library() -> Any:
    """Import the extra."""
    require()
    try:
        with short_spins():
            return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise MissingPart(f"the extra `local` is installed and does not load ({error}): reinstall xllamacpp") from error


@contextlib.contextmanager
def short_spins() -> Iterator[None]:
    """For the import of a library that computes with OpenMP, which spins at barriers by default: with 2 of 2 cores and one
    other busy process that cost a factor 2 to 5, a short spin costs nothing (measured). Read once, when it is loaded."""
    ours = not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys()
    if ours:
        os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        yield
    finally:
        if ours:
            del os.environ["GOMP_SPINCOUNT"]


def _raise(error: Mapping[str, Any]) -> None:
    message = str(error.get("message", error))
    if error.get("type") == "exceed_context_size_error":
        raise PromptTooLong(int(error["n_prompt_tokens"]), int(error["n_ctx"]))
    if "Context size has been exceeded" in message:
        raise OutOfRoom(message)
    if error.get("code") == 400:
        raise ValueError(f"llama.cpp refuses the request: {message}")
    raise RuntimeError(f"llama.cpp: {message}")

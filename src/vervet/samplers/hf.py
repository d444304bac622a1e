"""`hf/NAME`: models in the layout of the Hugging Face hub, by transformers in this process, on CPU or GPU (the extra `hf`).

NAME is a folder on disk, or a repository of the hub, `OWNER/REPOSITORY[@REVISION]`. Weights are loaded at the first request.
Code that a repository brings along is never run.

A prompt is processed once for all samples of its problem, also over several requests: its keys and values are kept while there
is room for them (-M prompt_cache_mb=). Requests run one after the other, each in batches of `n_parallel` samples; where the
GPU has no room for so many, in smaller ones.

Seeds. Each sample has random numbers of its own (`Request.seed_of`), however samples are grouped into requests and batches. The
same request repeats exactly on the same machine and libraries; in another grouping the same numbers meet logits that are
rounded differently in their last bits, so that texts are equal but for rare exceptions (float32), or part sooner (bfloat16).
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Literal

from vervet.errors import BadOption, UserError
from vervet.protocols import SamplerSetup, SamplerTraits
from vervet.records import Completion, Params, Reply, Request, Usage
from vervet.samplers import _hf_folder
from vervet.samplers._hf_folder import Facts
from vervet.samplers._torch import OutOfRoom, Row, Transformer, require


class HF:
    """A model of the Hugging Face hub or in a folder, by transformers in this process (CPU or GPU)"""

    # they change the rounding at most; dtype changes more
    neutral_options = frozenset({"device", "threads", "n_parallel", "logprobs", "prompt_cache_mb"})

    def __init__(
        self,
        name: str,
        setup: SamplerSetup,
        *,
        device: str = "auto",
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        threads: int = 0,
        n_parallel: int = 32,
        logprobs: bool = False,
        prompt_cache_mb: int = 1024,
    ) -> None:
        """Options (-M): device: cpu, cuda or cuda:1; auto takes a GPU where there is one.  dtype: of the weights, auto takes
        that of the files.  threads: 0 leaves it to torch.  n_parallel: samples drawn together.  logprobs: also sum each
        text's token log-probabilities (of the model, before temperature).  prompt_cache_mb: for prompts of other requests.

        Raises: UnknownName, BadOption, MissingPart.
        """
        least = {"threads": (threads, 0), "n_parallel": (n_parallel, 1), "prompt_cache_mb": (prompt_cache_mb, 0)}
        for option, (value, low) in least.items():
            if value < low:
                raise BadOption(f"{option}={value}: expected at least {low}")
        require()
        _hf_folder.find(name, fetch_it=False)
        self._name, self._setup = name, setup
        self._device, self._dtype, self._threads = device, dtype, threads
        self._slots, self._together, self._logprobs = n_parallel, n_parallel, logprobs
        self._kept_bytes = prompt_cache_mb << 20
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="vervet-hf")
        self._model: Transformer | None = None
        self._closing = threading.Event()

    def traits(self) -> SamplerTraits:
        """Files are hashed, those of the hub are fetched; nothing is loaded."""
        facts = self._facts
        form = "chat" if facts.has_chat_template else "completion"
        return SamplerTraits(form, self._slots, 1, facts.fingerprint, facts.parameters)  # type: ignore[arg-type]

    async def sample(self, request: Request) -> Reply:
        """Draw `request.n` samples; cancelling ends the work at the next token.

        Raises: ValueError (the prompt is longer than the context, or cannot be rendered), UserError (no memory for one
        sample), and what loading raises. All n or nothing.
        """
        stop = threading.Event()
        work = asyncio.get_running_loop().run_in_executor(self._worker, self._sample, request, stop)
        try:
            return await work
        except asyncio.CancelledError:
            stop.set()
            raise

    async def aclose(self) -> None:
        """End what is running, free the model. May be called twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        await asyncio.get_running_loop().run_in_executor(self._worker, self._unload)
        self._worker.shutdown()

    # ------------------------------------------------------------------------------------------ on the worker

    def _sample(self, request: Request, stop: threading.Event) -> Reply:
        _check(request.params)
        model = self._loaded()
        tokens = model.encode(request.prompt)
        most = self._room(request, len(tokens))
        known = model.knows(tokens)
        rows: list[Row] = []
        while len(rows) < request.n:
            first = len(rows)
            seeds = [request.seed_of(i) for i in range(first, min(request.n, first + self._together))]
            try:
                rows += model.draw(tokens, seeds, request.params, most, lambda: stop.is_set() or self._closing.is_set())
            except OutOfRoom as error:
                self._fewer(len(seeds), len(tokens) + most, error)
        return self._reply(rows, len(tokens), known)

    def _fewer(self, asked: int, length: int, error: OutOfRoom) -> None:
        """Half as many at once from now on; the same seeds are drawn again, all of them, so that nothing is favoured."""
        if asked == 1:
            raise UserError(
                f"there is no memory for one sample of {length} tokens: lower --max-tokens, or -M dtype=bfloat16"
            ) from error
        self._together = asked // 2
        if self._setup.notice:
            self._setup.notice(f"no memory for {asked} samples at once: {self._together} are drawn together")

    def _room(self, request: Request, prompt: int) -> int:
        """Tokens that a sample may have. Raises: ValueError."""
        if prompt == 0:
            raise ValueError(f"{request.problem_id}: the prompt has no tokens")
        context = self._facts.context
        if context and prompt >= context:
            raise ValueError(f"{request.problem_id}: the prompt has {prompt} tokens, the context holds {context}")
        return min(request.params.max_tokens, context - prompt) if context else request.params.max_tokens

    def _reply(self, rows: list[Row], prompt: int, known: bool) -> Reply:
        completions = tuple(
            Completion(row.text, row.finish_reason, len(row.tokens), logprob=row.logprob if self._logprobs else None)
            for row in rows
        )
        usage = Usage(prompt, prompt if known else 0, sum(len(row.tokens) for row in rows))
        return Reply(completions, usage, f"hf/{self._name}")

    def _loaded(self) -> Transformer:
        if self._model is None:
            # a damaged file is one clear line here
            _ = self._facts
            self._model = Transformer(
                self._folder, device=self._device, dtype=self._dtype, threads=self._threads, kept_bytes=self._kept_bytes
            )
        return self._model

    def _unload(self) -> None:
        self._model = None

    @cached_property
    def _folder(self) -> Path:
        if self._setup.progress and not Path(self._name).expanduser().is_dir():
            self._setup.progress(f"looking for hf/{self._name} on the hub")
        return _hf_folder.find(self._name)

    @cached_property
    def _facts(self) -> Facts:
        return _hf_folder.read(self._folder)


def _check(params: Params) -> None:
    """Raises: ValueError where the request asks for what this sampler does not do."""
    if params.extra:
        raise ValueError(f"hf/ models take no extra parameters: {', '.join(sorted(params.extra))}")

"""A language model in this process, through transformers and torch: n texts for one prompt, which is processed once.

The loop is ours and not `generate()`: each sample has its own random numbers, a sample ends on its own, work stops at the next
token, and the prompt's keys and values are computed once for all samples of a problem. They are computed in a batch of one
and copied for each row; all rows have the same prompt and so the same length, and nothing is ever padded or masked.

Token t of a sample comes from its t-th uniform number (Philox, keyed with the sample's seed) by inversion. Which samples are
drawn together does not matter to the numbers; it matters to the rounding of the logits, in the last bits.

Everything here blocks and belongs on one thread.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vervet.errors import BadData, BadOption, MissingPart, UserError
from vervet.records import Params, Prompt, prompt_to_json
from vervet.samplers._llama import short_spins

_TOP = 1024
# most probable tokens among which top-p is looked for before everything is sorted
_MORE_TOKENS = 8
# looked at for a stop text, beyond one for each of its bytes: tokens may be empty or hold a part of a character


class OutOfRoom(RuntimeError):
    """The device has no memory for so many samples at once."""


class Stopped(RuntimeError):
    """The request was cancelled, or the sampler closed."""


@dataclass(slots=True)
class Row:
    """One text as it grows."""

    tokens: list[int] = field(default_factory=list)
    # generated, an end-of-text token among them
    logprob: float = 0.0
    text: str = ""
    finish_reason: str = ""
    # "" while it grows


@dataclass(slots=True)
class _Begun:
    """A prompt that has been processed."""

    cache: Any
    # keys and values, a batch of one
    logits: Any
    # of the next token, shape (1, vocabulary)
    size: int
    # bytes


def require() -> None:
    """Raises: MissingPart where the extra is not installed. Imports nothing."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise MissingPart(f"hf/ models need the extra `hf`, {package} is not there: pip install 'vervet[hf]'")


class Transformer:
    """A loaded model with its tokenizer."""

    def __init__(self, folder: Path, *, device: str, dtype: str, threads: int, kept_bytes: int) -> None:
        """Load. `kept_bytes`: keys and values of prompts that are kept for further requests.

        Raises: BadData (transformers refuses the folder), BadOption (no such device), UserError (no memory), MissingPart.
        """
        require()
        with _quiet():
            with short_spins():
                self._torch = importlib.import_module("torch")
            library = importlib.import_module("transformers")
            self._device = self._find_device(device)
            if threads:
                self._torch.set_num_threads(threads)
            with _loading(folder, self._torch):
                self.tokenizer = library.AutoTokenizer.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False
                )
                self.model, said = library.AutoModelForCausalLM.from_pretrained(
                    folder,
                    dtype=dtype if dtype == "auto" else getattr(self._torch, dtype),
                    local_files_only=True,
                    trust_remote_code=False,
                    use_safetensors=True,
                    output_loading_info=True,
                )
                if said["missing_keys"]:
                    raise BadData(f"{folder} lacks the weights {sorted(said['missing_keys'])[0]}: it is no whole model")
                self.model = self.model.to(self._device).eval()
        self._ends = _end_tokens(self.model, self.tokenizer)
        takes = inspect.signature(self.model.forward).parameters
        # logits of a whole prompt would take more room than the model: most architectures can leave them out
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self._cache_name = "cache" if "cache" in takes else "past_key_values"
        # the newer name and the older one
        self._begun: OrderedDict[tuple[int, ...], _Begun] = OrderedDict()
        self._kept_bytes = kept_bytes

    def _find_device(self, name: str) -> Any:
        cuda = self._torch.cuda.is_available()
        if name == "auto":
            return self._torch.device("cuda" if cuda else "cpu")
        try:
            device = self._torch.device(name)
        except RuntimeError as error:
            raise BadOption(f"device={name!r}: write cpu, cuda or cuda:1") from error
        if device.type == "cuda" and not (cuda and (device.index or 0) < self._torch.cuda.device_count()):
            raise BadOption(f"device={name!r}: torch sees no such GPU here")
        return device

    # ------------------------------------------------------------------------------------------- prompts

    def encode(self, prompt: Prompt) -> list[int]:
        """Tokens of a prompt, with what the model expects before it. Raises: ValueError, UserError (no chat template)."""
        if isinstance(prompt, str):
            return list(self.tokenizer(prompt)["input_ids"])
        if not self.tokenizer.chat_template:
            raise UserError("this model has no chat template, it continues text: say --prompt-form completion")
        try:
            text = self.tokenizer.apply_chat_template(
                prompt_to_json(prompt), tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # templates raise what they like
            raise ValueError(f"the model's chat template refuses the prompt: {error}") from error
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def knows(self, tokens: Sequence[int]) -> bool:
        """Whether a prompt's keys and values are still there."""
        return tuple(tokens) in self._begun

    def _begin(self, tokens: tuple[int, ...]) -> _Begun:
        """Process a prompt, or take it from before."""
        begun = self._begun.get(tokens)
        if begun is not None:
            self._begun.move_to_end(tokens)
            return begun
        ids = self._torch.tensor([tokens], device=self._device)
        out = self.model(ids, use_cache=True, **self._last_only)
        cache = getattr(out, self._cache_name)
        if not hasattr(cache, "batch_repeat_interleave"):
            raise UserError("hf/ cannot share a prompt among samples of this architecture: serve it with vLLM instead")
        begun = _Begun(cache, out.logits[:, -1].float(), _size(cache))
        self._begun[tokens] = begun
        total = sum(b.size for b in self._begun.values())
        while self._begun and total > self._kept_bytes:
            total -= self._begun.popitem(last=False)[1].size
        return begun

    # ------------------------------------------------------------------------------------------- drawing

    def draw(
        self, tokens: Sequence[int], seeds: Sequence[int], params: Params, most: int, stopped: Callable[[], bool]
    ) -> list[Row]:
        """A text for each seed, `most` tokens at most.

        Raises: OutOfRoom, Stopped.
        """
        rows = [Row() for _ in seeds]
        try:
            with self._torch.inference_mode():
                self._grow(rows, tuple(tokens), _uniforms(seeds, most), params, stopped)
        except (self._torch.OutOfMemoryError, MemoryError) as error:
            self._make_room()
            raise OutOfRoom(str(error)) from error
        except RuntimeError as error:
            if "allocate memory" not in str(error):
                raise
            self._make_room()
            raise OutOfRoom(str(error)) from error
        return rows

    def _grow(
        self, rows: list[Row], prompt: tuple[int, ...], uniforms: Any, params: Params, stopped: Callable[[], bool]
    ) -> None:
        begun = self._begin(prompt)
        cache = copy.deepcopy(begun.cache)
        if len(rows) > 1:
            cache.batch_repeat_interleave(len(rows))
        numbers = self._torch.from_numpy(uniforms).to(self._device)
        logits = begun.logits.expand(len(rows), -1)
        batch = list(rows)
        # the rows of the tensors; those that have ended stay until half of them have
        most = uniforms.shape[1]
        for step in range(most):
            if stopped():
                raise Stopped("stopped while sampling")
            picked, logprobs = self._pick(logits, numbers[:, step], params)
            self._append(batch, picked.tolist(), logprobs.tolist(), params.stop, last=step + 1 == most)
            growing = [i for i, row in enumerate(batch) if not row.finish_reason]
            if not growing:
                return
            if 2 * len(growing) <= len(batch):
                keep = self._torch.tensor(growing, device=self._device)
                cache.batch_select_indices(keep)
                picked, numbers, batch = picked[keep], numbers[keep], [batch[i] for i in growing]
            logits = self.model(picked[:, None], **{self._cache_name: cache}, use_cache=True).logits[:, -1].float()

    def _pick(self, logits: Any, numbers: Any, params: Params) -> tuple[Any, Any]:
        """(token, its log-probability under the model before temperature) of each row."""
        if params.temperature == 0:
            picked = logits.argmax(-1)
        else:
            chances, order = (logits / params.temperature).softmax(-1), None
            if params.top_p is not None and params.top_p < 1:
                chances, order = self._nucleus(chances, params.top_p)
            sums = chances.cumsum(-1)
            whole = sums[:, -1:]
            at = self._torch.searchsorted(sums, numbers[:, None] * whole, right=True)
            # rounding must not lead beyond the last token that has a chance
            at = at.minimum((sums < whole).sum(-1, keepdim=True))
            picked = (at if order is None else order.gather(1, at)).squeeze(1)
        return picked, logits.gather(1, picked[:, None]).squeeze(1) - logits.logsumexp(-1)

    def _nucleus(self, chances: Any, top_p: float) -> tuple[Any, Any]:
        """The fewest tokens whose chances add up to top_p, most probable first: (chances, tokens)."""
        best, order = chances.topk(min(_TOP, chances.shape[-1]))
        if bool((best.sum(-1) < top_p).any()):
            best, order = chances.sort(-1, descending=True)
        before = best.cumsum(-1) - best
        return best.masked_fill(before >= top_p, 0.0), order

    def _append(
        self, batch: list[Row], tokens: list[int], logprobs: list[float], stops: tuple[str, ...], *, last: bool
    ) -> None:
        for row, token, logprob in zip(batch, tokens, logprobs, strict=True):
            if row.finish_reason:
                continue
            row.tokens.append(token)
            row.logprob += logprob
            if token in self._ends:
                row.text, row.finish_reason = self._decode(row.tokens[:-1]), "stop"
            elif stops and self._stopped_by(row, stops):
                row.finish_reason = "stop"
            elif last:
                row.text, row.finish_reason = self._decode(row.tokens), "length"

    def _stopped_by(self, row: Row, stops: tuple[str, ...]) -> bool:
        """Whether the text has reached a stop text; then it is cut there."""
        tail = self._decode(row.tokens[-max(len(stop.encode()) for stop in stops) - _MORE_TOKENS :])
        if not any(stop in tail for stop in stops):
            return False
        text = self._decode(row.tokens)
        at = min((i for i in (text.find(stop) for stop in stops) if i >= 0), default=-1)
        row.text = text[:at] if at >= 0 else ""
        return at >= 0

    def _decode(self, tokens: list[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _make_room(self) -> None:
        self._begun.clear()
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()


def _uniforms(seeds: Sequence[int], most: int) -> Any:
    """Shape (seeds, most), each row the stream of its seed, in [0, 1)."""
    streams = [np.random.Generator(np.random.Philox(key=seed)).random(most) for seed in seeds]
    # 32 bits as the chances have, and never 1
    return np.minimum(np.stack(streams).astype(np.float32), np.float32(1 - 2**-24))


def _size(cache: Any) -> int:
    """Bytes of all keys and values."""
    tensors = [t for layer in getattr(cache, "layers", ()) for t in vars(layer).values() if hasattr(t, "element_size")]
    return sum(t.numel() * t.element_size() for t in tensors)


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end a text: what the model's generation settings say, and the tokenizer's own."""
    said = getattr(model.generation_config, "eos_token_id", None)
    ends = [said] if isinstance(said, int) else list(said or ())
    return frozenset([*ends, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])])


@contextmanager
def _loading(folder: Path, torch: Any) -> Iterator[None]:
    """What goes wrong while loading, as one line."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise UserError(
            f"there is no memory for the model {folder}: take a smaller one, or -M dtype=bfloat16"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError) as error:
        said = str(error).strip().partition("\n")[0][:300]
        raise BadData(f"transformers cannot load the model in {folder}: {said}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no warnings while libraries are imported and a model is loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging = importlib.import_module("transformers.utils.logging")
        level = logging.get_verbosity()
        bars = getattr(logging, "is_progress_bar_enabled", lambda: True)()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()

"""`hf/NAME`: a sequence classifier of the transformers library, in this process (the extra `hf`).

Reward models by name or path: RLHFlow/ArmoRM-Llama3-8B-v0.1 (with -M trust_remote_code=true), the Skywork-Reward models, and
any AutoModelForSequenceClassification. A tokenizer with a chat template gets the conversation, another one the question and the
response as a pair. The score is the model's own `score` where its output has one (ArmoRM), else the logit of the label.
Samples are scored one by one: in a padded batch a score would depend on its company.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vervet import fetch
from vervet.errors import BadOption, MissingPart, ServiceError
from vervet.protocols import ScorerSetup
from vervet.records import Problem, Sample, fingerprint
from vervet.scorers._conversation import clean, messages, question


class SequenceClassifier:
    """A transformers sequence classifier or reward model in this process: ArmoRM, Skywork-Reward, ..."""

    version = "1"

    def __init__(
        self,
        name: str,
        setup: ScorerSetup,
        *,
        revision: str = "main",
        label: int = -1,
        max_length: int = 4096,
        device: str = "auto",
        dtype: str = "auto",
        trust_remote_code: bool = False,
    ) -> None:
        """Nothing is loaded here.

        Args: label: the logit that is the score (-1: the last).  max_length: tokens; longer conversations are cut at the
        end.  device: auto takes a GPU where there is one.  dtype: auto takes the weights' own.  trust_remote_code: run code
        that comes with the model (ArmoRM needs it).
        """
        if not name:
            raise BadOption("hf: write hf/NAME, a repository of the hub or a folder")
        if max_length < 1:
            raise BadOption("max_length must be at least 1")
        self.name = f"hf/{name}"
        self._path, self._revision, self._label = name, revision, label
        self._length, self._device, self._dtype, self._trust = max_length, device, dtype, trust_remote_code
        self._progress = setup.progress
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="vervet-hf")
        self._loaded: tuple[Any, Any, Any] | None = None
        self._lock = threading.Lock()

    def settings(self) -> Mapping[str, Any]:
        """The model, and of a folder also its weights."""
        folder = Path(self._path)
        return {
            "model": self._path,
            "revision": self._revision,
            "label": self._label,
            "max_length": self._length,
            "dtype": self._dtype,
            "weights": _weights(folder) if folder.is_dir() else "",
        }

    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        """Raises: MissingPart without the extra, BadOption, ServiceError where the model cannot be loaded."""
        work = asyncio.get_running_loop().run_in_executor(self._worker, self._score, problem, list(samples))
        return await work

    async def aclose(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._worker.shutdown)
        self._loaded = None

    # ------------------------------------------------------------------------------------------ on the worker

    def _score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        if not samples:
            return []
        torch, tokenizer, model = self._load()
        with torch.inference_mode():
            return [self._one(tokenizer, model, problem, sample) for sample in samples]

    def _one(self, tokenizer: Any, model: Any, problem: Problem, sample: Sample) -> float | None:
        limits = {"return_tensors": "pt", "truncation": True, "max_length": self._length}
        if getattr(tokenizer, "chat_template", None):
            talk = [{"role": m["role"], "content": clean(m["content"])} for m in messages(problem, sample)]
            encoded = tokenizer.apply_chat_template(talk, tokenize=True, return_dict=True, **limits)
        else:
            encoded = tokenizer(clean(question(problem)), clean(sample.text), **limits)
        output = model(**{name: value.to(model.device) for name, value in encoded.items()})
        own = getattr(output, "score", None)
        if own is not None:
            number = float(own.reshape(-1)[0])
        else:
            logits = output.logits.reshape(-1)
            if not -len(logits) <= self._label < len(logits):
                raise BadOption(f"{self.name} has {len(logits)} labels: label={self._label} is none of them")
            number = float(logits[self._label])
        return number if abs(number) < float("inf") else None

    def _load(self) -> tuple[Any, Any, Any]:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._fetch()
            return self._loaded

    def _fetch(self) -> tuple[Any, Any, Any]:
        try:
            import torch  # noqa: PLC0415  an extra of hundreds of megabytes
            from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: PLC0415
        except ImportError as error:
            raise MissingPart(f"{self.name} needs torch and transformers: pip install 'vervet[hf]'") from error
        if self._progress:
            self._progress(f"loading {self.name}")
        options = {"revision": self._revision, "trust_remote_code": self._trust}
        try:
            tokenizer = AutoTokenizer.from_pretrained(self._path, **options)
            model = AutoModelForSequenceClassification.from_pretrained(self._path, dtype=self._dtype, **options)
        except (OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            if "trust_remote_code" in str(error):
                raise BadOption(
                    f"{self.name} brings code of its own: say -M trust_remote_code=true to run it"
                ) from error
            raise ServiceError(f"cannot load {self.name}: {first}") from error
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self._device == "auto" else self._device
        return torch, tokenizer, model.to(device).eval()


def _weights(folder: Path) -> str:
    """Identifies a folder's weights and how they are used."""
    kept = (".safetensors", ".bin", ".json", ".model", ".txt", ".jinja")
    files = sorted(path for path in folder.iterdir() if path.suffix in kept)
    return fingerprint([(path.name, fetch.file_sha256(path)) for path in files])

"""A tiny real transformers classifier: random weights, a word-level tokenizer, made in a second and without a hub.

`TinyModel` runs one as a server of models would, with transformers alone: nothing of Vervet's own classifier is in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

TURNS = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{% endfor %}"
JOINED = "{{ messages | map(attribute='content') | join('\n\n') }}"
"""Chat templates; the second makes of a conversation what /classify gets."""
_LONGEST = 512
# tokens


def tiny_classifier(folder: Path, *, template: str = "", labels: int = 1) -> Path:
    """Save one into `folder`, with a chat template where one is given. Skips where torch or transformers is absent."""
    torch = pytest.importorskip("torch", reason="torch is not installed: scripts/setup-all")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: scripts/setup-all")
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed: scripts/setup-all")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(chr(c) for c in range(33, 127))]
    model = tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]")
    raw = tokenizers.Tokenizer(model)
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    if template:
        tokenizer.chat_template = template
    torch.manual_seed(0)
    # so little work is no faster on several threads, and on a busy machine they wait for each other
    torch.set_num_threads(1)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=_LONGEST,
        num_labels=labels,
        initializer_range=0.5,
        pad_token_id=0,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class TinyModel:
    """A saved classifier that is run at each request: see `tests.scorers.server.Model`.

    activation: probabilities of the labels instead of logits, as vLLM answers to /classify unless told otherwise.
    """

    def __init__(self, folder: Path, *, activation: bool = False) -> None:
        import torch
        import transformers

        self._torch, self._activation = torch, activation
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self._model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()

    def pair(self, first: str, second: str) -> list[float]:
        return self._run(self._tokenizer(first, second, return_tensors="pt"))

    def text(self, text: str) -> list[float]:
        return self._run(self._tokenizer(text, return_tensors="pt"))

    def talk(self, messages: Sequence[Mapping[str, str]]) -> list[float]:
        return self.text(self._tokenizer.apply_chat_template(list(messages), tokenize=False))

    def _run(self, encoded: Any) -> list[float]:
        if encoded["input_ids"].shape[1] > _LONGEST:
            raise ValueError(f"more than {_LONGEST} tokens")
        with self._torch.inference_mode():
            logits = self._model(**encoded).logits[0]
        if self._activation:
            logits = logits.sigmoid() if len(logits) == 1 else logits.softmax(-1)
        return logits.tolist()

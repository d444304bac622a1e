"""A tiny real transformers classifier: random weights, a word-level tokenizer, made in a second and without a hub."""

from __future__ import annotations

from pathlib import Path

import pytest


def tiny_classifier(folder: Path, *, chat: bool = False, labels: int = 1) -> Path:
    """Save one into `folder`. Skips where torch or transformers is absent."""
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
    if chat:
        tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{% endfor %}"
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=512,
        num_labels=labels,
        initializer_range=0.5,
        pad_token_id=0,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

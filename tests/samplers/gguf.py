"""Writes small GGUF files: a head as real models have it, and tensors of zeros."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(v: object) -> bytes:
    if isinstance(v, str):
        return struct.pack("<I", 8) + text(v)
    if isinstance(v, list):
        strings = isinstance(v[0], str)
        body = b"".join(text(x) if strings else struct.pack("<i", x) for x in v)
        return struct.pack("<IIQ", 9, 8 if strings else 5, len(v)) + body
    assert isinstance(v, int)
    return struct.pack("<II", 4, v)


def gguf(keys: Mapping[str, object], tensors: Mapping[str, tuple[int, ...]], version: int = 3) -> bytes:
    """Tensors are 32-bit floats, all zero."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    head += b"".join(text(key) + value(v) for key, v in keys.items())
    offset = 0
    for name, shape in tensors.items():
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        size = 4
        for n in shape:
            size *= n
        offset += size
    head += b"\0" * (-len(head) % 32)
    return head + b"\0" * offset


def write(path: Path, *, template: bool = True) -> Path:
    """A file that looks like a model, of an architecture that llama.cpp does not know."""
    keys: dict[str, object] = {
        "general.architecture": "toy",
        "general.name": "Toy",
        "toy.context_length": 77,
        "tokenizer.ggml.tokens": [f"t{i}" for i in range(100)],
        "tokenizer.ggml.token_type": list(range(100)),
    }
    if template:
        keys["tokenizer.chat_template"] = "{{ messages }}"
    path.write_bytes(gguf(keys, {"a": (32, 3), "b": (10,)}))
    return path

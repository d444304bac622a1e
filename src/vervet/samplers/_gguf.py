"""The head of a GGUF file: what a sampler must know before it loads the weights.

Read here and not through llama.cpp, because it takes milliseconds, says which file is damaged in one line, and never
aborts the process. Layout: the GGUF specification, versions 2 and 3 (little-endian): magic, version, tensor count, key
count, key-values, tensor descriptions, padding, tensor data.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vervet.errors import BadData, MissingPart

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_KEPT = 64
# entries of an array that are worth keeping: vocabularies are skipped
# ggml type -> (weights in a block, bytes of a block), from ggml's type table; other types are not measured
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 30: (1, 2),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """What a GGUF file says about itself."""

    architecture: str
    # "llama", "gemma3", ...
    name: str
    # what its makers call it; "" where it does not say
    has_chat_template: bool
    # instruct models have one
    context: int
    # tokens the model was trained for; 0 where it does not say
    parameters: int
    # number of weights
    layers: int = 0
    width: int = 0
    # blocks, and size of the residual stream; 0 where it does not say


def read_head(path: Path) -> Head:
    """Read and check the head of a model file.

    Raises: MissingPart (no such file), BadData (not GGUF, truncated, damaged, unreadable): one line, naming the file.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            if magic != b"GGUF":
                raise BadData(f"{path} is not a GGUF model file (it begins with {magic!r})")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data).head()
    except FileNotFoundError as error:
        raise MissingPart(f"there is no model file {path}") from error
    except OSError as error:
        raise BadData(f"cannot read the model file {path}: {error.strerror or error}") from error
    except (struct.error, ValueError, OverflowError, IndexError) as error:
        raise BadData(f"{path} is a damaged or truncated model file: {error}") from error


class _Reader:
    """A cursor over the file. Its errors are ValueError and struct.error; :func:`read_head` names the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at, self._size = data, 4, len(data)

    def head(self) -> Head:
        version = self._scalar("I")
        if version not in {2, 3}:
            raise ValueError(f"GGUF version {version} is not supported")
        tensors, keys = self._count(), self._count()
        values = {}
        for _ in range(keys):
            key = self._text()
            values[key] = self._value(self._scalar("I"))
        parameters = self._tensors(tensors, int(values.get("general.alignment", 32)))
        architecture = str(values.get("general.architecture", ""))
        return Head(
            architecture,
            str(values.get("general.name", "")),
            bool(values.get("tokenizer.chat_template")),
            int(values.get(f"{architecture}.context_length", 0)),
            parameters,
            int(values.get(f"{architecture}.block_count", 0)),
            int(values.get(f"{architecture}.embedding_length", 0)),
        )

    def _tensors(self, count: int, alignment: int) -> int:
        """Number of weights. Raises: ValueError where the file ends before its last tensor."""
        parameters = end = 0
        for _ in range(count):
            self._text()
            shape = [self._scalar("Q") for _ in range(self._scalar("I"))]
            kind, offset = self._scalar("I"), self._scalar("Q")
            weights = math.prod(shape)
            parameters += weights
            per_block, block = _BLOCKS.get(kind, (1, 0))
            end = max(end, offset + weights // per_block * block)
        start = -(-self._at // max(1, alignment)) * alignment
        if start + end > self._size:
            raise ValueError(f"it should have {start + end} bytes and has {self._size}")
        return parameters

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY:
            return self._scalar(_SCALARS[kind]) if kind in _SCALARS else self._unknown(kind)
        inner, count = self._scalar("I"), self._count()
        if inner in _SCALARS and count > _KEPT:
            self._skip(count * struct.calcsize("<" + _SCALARS[inner]))
            return None
        return [self._value(inner) for _ in range(count)][:_KEPT]

    def _unknown(self, kind: int) -> Any:
        raise ValueError(f"a value of unknown type {kind}")

    def _scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self._data, self._at)
        self._at += struct.calcsize("<" + code)
        return value

    def _count(self) -> int:
        """A number of things, each of which takes at least a byte: a larger one is damage, not a reason to loop."""
        count = int(self._scalar("Q"))
        if count > self._size:
            raise ValueError(f"it counts {count} entries")
        return count

    def _text(self) -> str:
        length = self._count()
        start = self._at
        self._skip(length)
        return self._data[start : self._at].decode(errors="replace")

    def _skip(self, length: int) -> None:
        if self._at + length > self._size:
            raise ValueError(f"it ends after {self._size} bytes, inside its head")
        self._at += length

"""Texts as small as they come: zstd with dictionaries that are trained on the run's own samples.

A kilobyte alone compresses to about half; with a dictionary of its siblings to a third or less, and any text can still be
read on its own. Dictionaries are rows of the ledger. Dictionary 0 is "none".
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import zstandard

LEVEL = 4
# with the large dictionary half the time of 5 for 4 % (code) to 7 % (prose) more space; 3: the same time, 30 % more for code
TRAIN_AT = (192 * 1024, 8 * 1024 * 1024)
# bytes of new text after which a first and a better dictionary are trained
DICTIONARY_BYTES = (64 * 1024, 2 * 1024 * 1024)
_SEGMENT, _DMER = 1000, 8
# of the trainer; its own search over segments takes five times as long (2 s for the large dictionary) for the same size,
# within 3 % on prose and code
_SAMPLE_BYTES = 8 * 1024 * 1024
# texts kept in memory to train on
_MAX_TEXT = 1 << 31


class Codec:
    """Compresses and decompresses one kind of text with one dictionary (or none)."""

    def __init__(self, dictionary: bytes = b"") -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            LEVEL, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=True, write_dict_id=False
        )
        data = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        if data is not None:
            data.precompute_compress(compression_params=parameters)
        self._compressor = zstandard.ZstdCompressor(dict_data=data, compression_params=parameters)
        self._decompressor = zstandard.ZstdDecompressor(dict_data=data, format=zstandard.FORMAT_ZSTD1_MAGICLESS)

    def pack(self, text: bytes) -> bytes:
        return self._compressor.compress(text)

    def pack_all(self, texts: Sequence[bytes]) -> list[bytes]:
        """What `pack` makes of each of many texts; 3 us a kilobyte of prose where one by one takes 6."""
        if not any(texts):
            # zstd takes no such lists
            return [self.pack(text) for text in texts]
        packed = self._compressor.multi_compress_to_buffer(list(texts))
        return [packed[i].tobytes() for i in range(len(packed))]

    def unpack(self, body: bytes) -> bytes:
        """Raises: zstandard.ZstdError where the bytes are damaged."""
        return self._decompressor.decompress(body, max_output_size=_MAX_TEXT)


class Trainer:
    """Keeps a bounded random sample of new texts and says when a dictionary is due."""

    def __init__(self, stage: int = 0) -> None:
        self._stage = stage
        # dictionaries trained so far
        self._seen = 0
        self._texts: list[bytes | bytearray | memoryview] = []
        self._kept = 0
        self._random = random.Random(0)  # noqa: S311  which texts train a dictionary is no secret

    def add(self, text: bytes) -> None:
        """Offer a text; cheap."""
        if self._stage >= len(TRAIN_AT) or len(text) < 16:
            return
        self._seen += len(text)
        if self._kept < _SAMPLE_BYTES:
            self._texts.append(text[:65536])
            self._kept += min(len(text), 65536)
        else:
            self._texts[self._random.randrange(len(self._texts))] = text[:65536]

    def due(self) -> bytes | None:
        """A new dictionary when enough text has been seen, else None. Takes up to half a second then."""
        if self._stage >= len(TRAIN_AT) or self._seen < TRAIN_AT[self._stage]:
            return None
        size = min(DICTIONARY_BYTES[self._stage], self._kept // 3)
        self._stage += 1
        try:
            trained = zstandard.train_dictionary(size, self._texts, k=_SEGMENT, d=_DMER, level=LEVEL).as_bytes()
        except zstandard.ZstdError:
            # too few or too equal texts to train on: they compress well enough without
            trained = None
        if self._stage >= len(TRAIN_AT):
            self._texts = []
        return trained

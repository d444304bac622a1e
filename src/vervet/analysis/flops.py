"""FLOPs by the paper's formula, from the shape of a dense transformer.

    FLOPs a token  =  2 * (parameters + 2 * layers * width * context)
    FLOPs a problem  =  prompt tokens * FLOPs a token  +  samples * tokens a sample * FLOPs a token

The prompt is computed once for all samples of a problem. The paper leaves open which context it means; here it is the whole
length of a sample, prompt included, which is what attention reaches at the last token and at most twice its mean.
Source: Brown et al. 2024 (arXiv:2407.21787), section 2.4; Kaplan et al. 2020 for the terms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from vervet.errors import BadData


@dataclass(frozen=True, slots=True)
class Shape:
    """What the formula needs of a model."""

    parameters: int
    layers: int
    width: int
    # of the residual stream: hidden size, d_model


def flops_per_token(shape: Shape, context: float) -> float:
    """Of one token at this context length, in tokens."""
    return 2.0 * (shape.parameters + 2.0 * shape.layers * shape.width * context)


def sampling_flops(shape: Shape, prompt_tokens: float, completion_tokens: float, samples: float) -> float:
    """Of `samples` samples of one problem, `completion_tokens` each, that share one prompt."""
    each = flops_per_token(shape, prompt_tokens + completion_tokens)
    return each * (prompt_tokens + samples * completion_tokens)


# ------------------------------------------------------------------------------------------------------ known models

KNOWN: dict[str, Shape] = {
    "smollm2-135m": Shape(134_515_008, 30, 576),
    "smollm2-360m": Shape(361_821_120, 32, 960),
    "smollm2-1.7b": Shape(1_711_376_384, 24, 2048),
    "gemma-3-270m": Shape(268_098_176, 18, 640),
    "gemma-2b": Shape(2_506_172_416, 18, 2048),
    "gemma-7b": Shape(8_537_680_896, 28, 3072),
    "llama-3.2-1b": Shape(1_235_814_400, 16, 2048),
    "llama-3.2-3b": Shape(3_212_749_824, 28, 3072),
    "llama-3-8b": Shape(8_030_261_248, 32, 4096),
    "llama-3-70b": Shape(70_553_706_496, 80, 8192),
    "mistral-7b": Shape(7_241_732_096, 32, 4096),
    "qwen2.5-0.5b": Shape(494_032_768, 24, 896),
    "qwen2.5-1.5b": Shape(1_543_714_304, 28, 1536),
    "qwen2.5-7b": Shape(7_615_616_512, 28, 3584),
    "qwen2.5-72b": Shape(72_706_203_648, 80, 8192),
    "pythia-70m": Shape(70_426_624, 6, 512),
    "pythia-160m": Shape(162_322_944, 12, 768),
    "pythia-410m": Shape(405_334_016, 24, 1024),
    "pythia-1b": Shape(1_011_781_632, 16, 2048),
    "pythia-1.4b": Shape(1_414_647_808, 24, 2048),
    "pythia-2.8b": Shape(2_775_208_960, 32, 2560),
    "pythia-6.9b": Shape(6_857_302_016, 32, 4096),
    "pythia-12b": Shape(11_846_072_320, 36, 5120),
}
"""Name -> shape, from the models' published configurations."""

_NOISE = re.compile(
    r"(?i)[-_ ](instruct|it|chat|base|hf|math|coder|deduped|v\d+(\.\d+)*|q\d\w*|f16|bf16|fp8|awq|gptq|gguf)\b"
)
_SAME = {"llama-3.1-8b": "llama-3-8b", "llama-3.1-70b": "llama-3-70b", "llama-3.3-70b": "llama-3-70b"}


def known_shape(model: str) -> Shape | None:
    """The shape of a model by its name ("together/meta-llama/Meta-Llama-3-8B-Instruct"), None where it is not in the table."""
    name = model.rpartition("/")[2].lower().replace("_", "-").removesuffix(".gguf").removeprefix("meta-")
    while (shorter := _NOISE.sub("", name)) != name:
        name = shorter
    name = re.sub(r"^llama-?(3)", r"llama-\1", name).replace("gemma3-", "gemma-3-")
    return KNOWN.get(_SAME.get(name, name))


# ------------------------------------------------------------------------------------------------- from config.json


def shape_of_config(path: Path) -> Shape:
    """The shape that a `config.json` of a Hugging Face model describes; its weights are counted, not read.

    Raises: BadData where the file cannot be read, lacks a size, or describes a mixture of experts.
    """
    try:
        config = orjson.loads(path.read_bytes())
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror or error}") from error
    except orjson.JSONDecodeError as error:
        raise BadData(f"{path} is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise BadData(f"{path} is no model configuration: it holds no JSON object")
    config = config.get("text_config") or config
    if any(config.get(name) for name in ("num_local_experts", "num_experts", "n_routed_experts")):
        raise BadData(f"{path} describes a mixture of experts: the formula is for dense models")
    try:
        return _count(config)
    except KeyError as error:
        raise BadData(f"{path} does not say {error.args[0]}: give the shape as PARAMETERS,LAYERS,WIDTH") from error


def _count(config: Mapping[str, Any]) -> Shape:
    layers, width, vocabulary = (_size(config, *names) for names in _NAMES)
    kind = config.get("model_type")
    if kind in ("gpt2", "gpt_neox"):
        inner = int(config.get("intermediate_size") or config.get("n_inner") or 4 * width)
        # biases everywhere, two norms with scale and shift
        block = 4 * width * width + 4 * width + 2 * width * inner + inner + width + 4 * width
        outside = 2 * width + (int(config.get("n_positions", 0)) * width if kind == "gpt2" else 0)
    else:
        heads = _size(config, "num_attention_heads")
        head = int(config.get("head_dim") or width // heads)
        queries, keys = heads * head, int(config.get("num_key_value_heads") or heads) * head
        bias = queries + 2 * keys if kind == "qwen2" or config.get("attention_bias") else 0
        norms = (4 * width + 2 * head) if kind == "gemma3_text" else 2 * width
        block = 2 * width * queries + 2 * width * keys + bias + 3 * width * _size(config, "intermediate_size") + norms
        outside = width
    tied = config.get("tie_word_embeddings", kind in ("gpt2", "gemma", "gemma2", "gemma3_text"))
    return Shape(vocabulary * width * (1 if tied else 2) + layers * block + outside, layers, width)


_NAMES = (("num_hidden_layers", "n_layer"), ("hidden_size", "n_embd"), ("vocab_size",))


def _size(config: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if isinstance(config.get(name), int):
            return int(config[name])
    raise KeyError(names[0])

"""The paper's FLOP formula against models worked out by hand, and shapes from configurations and names."""

from __future__ import annotations

import json

import pytest

from vervet.analysis.flops import KNOWN, Shape, flops_per_token, known_shape, sampling_flops, shape_of_config
from vervet.errors import BadData

_LLAMA_3_8B = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "vocab_size": 128256,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
}
_LLAMA_3_70B = _LLAMA_3_8B | {
    "num_hidden_layers": 80,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_attention_heads": 64,
}
_GEMMA_2B = {
    "model_type": "gemma",
    "num_hidden_layers": 18,
    "hidden_size": 2048,
    "vocab_size": 256000,
    "intermediate_size": 16384,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 256,
}
_QWEN_7B = _LLAMA_3_8B | {
    "model_type": "qwen2",
    "num_hidden_layers": 28,
    "hidden_size": 3584,
    "vocab_size": 152064,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
}


def _pythia(layers, width, vocabulary):
    return {
        "model_type": "gpt_neox",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "vocab_size": vocabulary,
        "intermediate_size": 4 * width,
        "num_attention_heads": 8,
        "tie_word_embeddings": False,
    }


def _file(tmp_path, config):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return path


def test_a_model_worked_out_by_hand():
    """1,000 weights, 2 layers of width 10, context 50: 2 (1000 + 2 * 2 * 10 * 50) = 6,000 FLOPs a token."""
    tiny = Shape(1000, 2, 10)
    assert flops_per_token(tiny, 50) == 6000
    # prompt 30 once, 3 samples of 20 tokens: 30 + 60 tokens at context 50
    assert sampling_flops(tiny, 30, 20, 3) == 90 * 6000


def test_llama_3_8b_by_hand():
    """Prompt 840, output 95 (GSM8K in the paper): 2 (8,030,261,248 + 2 * 32 * 4096 * 935) = 16,550,732,416 a token."""
    each = flops_per_token(KNOWN["llama-3-8b"], 935)
    assert each == 2 * (8_030_261_248 + 245_104_640) == 16_550_731_776
    assert sampling_flops(KNOWN["llama-3-8b"], 840, 95, 10_000) == pytest.approx(each * (840 + 950_000))
    # figure 4 of the paper ends near 1e16 for 10,000 samples of Llama-3-8B on GSM8K
    assert 1e16 < sampling_flops(KNOWN["llama-3-8b"], 840, 95, 10_000) < 2e16


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("llama-3-8b", _LLAMA_3_8B),
        ("llama-3-70b", _LLAMA_3_70B),
        ("gemma-2b", _GEMMA_2B),
        ("qwen2.5-7b", _QWEN_7B),
        ("pythia-70m", _pythia(6, 512, 50304)),
        ("pythia-12b", _pythia(36, 5120, 50688)),
    ],
)
def test_weights_counted_from_a_configuration_are_those_of_the_table(tmp_path, name, config):
    assert shape_of_config(_file(tmp_path, config)) == KNOWN[name]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("local/smollm2-135m", "smollm2-135m"),
        ("local/gemma3-270m", "gemma-3-270m"),
        ("together/meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b"),
        ("vllm/meta-llama/Llama-3.1-70B-Instruct", "llama-3-70b"),
        ("hf/EleutherAI/pythia-2.8b-deduped", "pythia-2.8b"),
        ("local/SmolLM2-135M-Instruct.Q4_1.gguf", None),
        ("openai/gpt-4o", None),
    ],
)
def test_shapes_by_name(model, name):
    found = known_shape(model)
    assert found == (KNOWN[name] if name else found)
    assert name or model.startswith("local") or found is None


def test_what_the_formula_is_not_for(tmp_path):
    with pytest.raises(BadData, match="mixture of experts"):
        shape_of_config(_file(tmp_path, _LLAMA_3_8B | {"num_local_experts": 8}))
    with pytest.raises(BadData, match="does not say vocab_size"):
        shape_of_config(_file(tmp_path, {k: v for k, v in _LLAMA_3_8B.items() if k != "vocab_size"}))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BadData, match="no JSON"):
        shape_of_config(tmp_path / "config.json")

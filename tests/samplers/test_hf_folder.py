"""What a model folder says before anything is loaded, and each way in which it can be none. Needs no torch."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from vervet.errors import BadData, BadOption, MissingPart, ServiceError, UnknownName, VervetError
from vervet.protocols import SamplerSetup
from vervet.samplers import _hf_folder, hf
from vervet.samplers.hf import HF


def weights(path: Path, shape: tuple[int, int] = (3, 4), cut: int = 0) -> None:
    """A safetensors file with one tensor of half-precision zeros."""
    size = 2 * shape[0] * shape[1]
    head = json.dumps(
        {"__metadata__": {"format": "pt"}, "w": {"dtype": "F16", "shape": shape, "data_offsets": [0, size]}}
    )
    data = struct.pack("<Q", len(head)) + head.encode() + bytes(size)
    path.write_bytes(data[: len(data) - cut])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 99}')
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "x"}')
    weights(tmp_path / "model.safetensors")
    return tmp_path


def test_the_facts_of_a_folder(folder: Path) -> None:
    facts = _hf_folder.read(folder)
    assert (facts.has_chat_template, facts.context, facts.parameters) == (True, 99, 12)
    (folder / "README.md").write_text("words")
    assert _hf_folder.read(folder) == facts
    (folder / "tokenizer_config.json").write_text("{}")
    other = _hf_folder.read(folder)
    assert not other.has_chat_template
    assert other.fingerprint != facts.fingerprint


def test_weights_in_several_files(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    weights(folder / "a.safetensors", (2, 2))
    index = {"weight_map": {"v": "a.safetensors", "w": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(MissingPart, match=r"has no b\.safetensors"):
        _hf_folder.read(folder)
    weights(folder / "b.safetensors", (1, 5))
    assert _hf_folder.read(folder).parameters == 9


def test_what_is_no_model_is_one_clear_line(folder: Path) -> None:
    weights(folder / "model.safetensors", cut=5)
    with pytest.raises(BadData, match="damaged or truncated safetensors file: it should have"):
        _hf_folder.read(folder)
    for junk in (b"", b"\xff" * 40, struct.pack("<Q", 4) + b"[1]]" * 3, struct.pack("<Q", 11) + b'{"w": null}'):
        (folder / "model.safetensors").write_bytes(junk)
        with pytest.raises(BadData, match="damaged or truncated"):
            _hf_folder.read(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(MissingPart, match="read from safetensors"):
        _hf_folder.read(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(BadData, match=r"cannot read .*config\.json"):
        _hf_folder.read(folder)
    (folder / "config.json").unlink()
    with pytest.raises(MissingPart, match="holds no model"):
        _hf_folder.read(folder)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c", "what is this"])
def test_a_name_that_is_neither_folder_nor_repository(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "require", lambda: None)
    with pytest.raises(UnknownName, match="write hf/FOLDER or hf/OWNER/REPOSITORY"):
        HF(name, SamplerSetup())


def test_without_the_extra_one_line_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPart, match=r"pip install 'vervet\[hf\]'"):
        HF(str(folder), SamplerSetup())


def test_impossible_options_are_refused(folder: Path) -> None:
    with pytest.raises(BadOption, match="n_parallel=0: expected at least 1"):
        HF(str(folder), SamplerSetup(), n_parallel=0)


@pytest.mark.slow
def test_a_hub_out_of_reach_says_what_to_do(tmp_path: Path) -> None:
    """In a process of its own: the hub's library reads where the hub is when it is imported."""
    pytest.importorskip("huggingface_hub", reason="the extra `hf` is not installed")
    import subprocess
    import sys

    code = (
        "from vervet.samplers import _hf_folder\n"
        "try: _hf_folder.find('owner/model')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ServiceError cannot fetch hf/owner/model")
    assert "connect to the network, or name a folder" in done.stdout
    assert issubclass(ServiceError, VervetError)

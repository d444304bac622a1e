"""What `local/NAME` means and which files are models: no model is needed here, the hub is a server on this machine."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os

import pytest

from tests.samplers import gguf
from tests.web import site
from vervet import fetch
from vervet.errors import BadData, BadOption, MissingPart, ServiceError, UnknownName
from vervet.protocols import SamplerSetup
from vervet.records import Params, Request
from vervet.samplers._gguf import Head, read_head
from vervet.samplers._models import HubName, catalogue, resolve
from vervet.samplers.local import Local, first_seed

pytest.importorskip("xllamacpp", reason="the extra `local` is not installed")


def local(name: str, said: list[str] | None = None, **options) -> Local:
    return Local(name, SamplerSetup(progress=None if said is None else said.append), **options)


def request(**changes) -> Request:
    fields = {"problem_id": "p", "prompt": "Hi", "params": Params(0.7, None, 8), "first": 0, "n": 2, "run_seed": 1}
    return Request(**(fields | changes))


# ------------------------------------------------------------------------------------------------------ names


def test_names_are_catalogue_entries_paths_and_repositories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = gguf.write(tmp_path / "m.gguf")
    assert resolve("smollm2-135m") == catalogue()["smollm2-135m"]
    assert resolve(str(path)) == path
    assert str(resolve("m.gguf")) == "m.gguf"
    assert str(resolve("sub/m.gguf")) == "sub/m.gguf"  # not there: a path all the same, and said to be missing
    assert resolve("owner/some-model_1.5-GGUF") == HubName("owner/some-model_1.5-GGUF", "main", "")
    assert resolve("o/r:q4.gguf") == HubName("o/r", "main", "q4.gguf")
    assert resolve("o/r@v1:sub/q4.gguf") == HubName("o/r", "v1", "sub/q4.gguf")


@pytest.mark.parametrize("name", ["smollm2", "nosuch", "", "a b", "./x/y", "a/b/c"])
def test_an_unknown_name_lists_what_there_is(name):
    with pytest.raises(UnknownName, match="smollm2-135m"):
        local(name)


@pytest.mark.parametrize("options", [{"threads": -1}, {"n_parallel": 0}, {"context": -5}, {"extra": {"seed": 3}}])
def test_impossible_options_are_refused(options):
    with pytest.raises(BadOption, match=next(iter(options))):
        local("smollm2-135m", **options)


def test_layers_cannot_go_to_a_gpu_that_is_not_there():
    import xllamacpp

    if any("GPU" in str(device["type"]) for device in xllamacpp.get_device_info()):
        pytest.skip("not here: this machine has a GPU")
    with pytest.raises(BadOption, match="gpu_layers"):
        local("smollm2-135m", gpu_layers=4)


def test_the_catalogue_is_known_without_fetching(tmp_path, monkeypatch):
    monkeypatch.setenv("VERVET_CACHE", str(tmp_path))
    for name, form in (("smollm2-135m", "chat"), ("gemma3-270m", "completion")):
        traits = local(name, n_parallel=7).traits()
        assert traits.form == form
        assert traits.max_n == 7
        assert traits.fingerprint == catalogue()[name].part.sha256
        assert traits.parameters > 1e8
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xllamacpp", None)
    with pytest.raises(MissingPart, match=r"pip install 'vervet\[local\]'"):
        local("smollm2-135m")


# ------------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("template", [True, False])
def test_a_files_head_says_what_it_is(tmp_path, template):
    path = gguf.write(tmp_path / "m.gguf", template=template)
    assert read_head(path) == Head("toy", "Toy", template, 77, 106)
    traits = local(str(path)).traits()
    assert traits.form == ("chat" if template else "completion")
    assert traits.parameters == 106
    assert traits.fingerprint == hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_truncation_of_a_file_is_noticed(tmp_path):
    whole = gguf.write(tmp_path / "m.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    for size in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(BadData) as error:
            read_head(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a GGUF"),
        (b"PK\x03\x04 a zip", "not a GGUF"),
        (b"<html>not found</html>", "not a GGUF"),
        (b"GGUF" + b"\xff" * 100, "version"),
        (gguf.gguf({"k": "v"}, {}, version=1), "version 1"),
        (b"GGUF" + b"\x03\0\0\0" + b"\xff" * 16, "counts"),
        (gguf.gguf({}, {})[:-1].replace(b"\0" * 8, b"\x01" + b"\0" * 7), "truncated"),
    ],
)
def test_what_is_no_model_file_is_one_clear_line(tmp_path, data, says):
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(BadData, match=says):
        read_head(path)


def test_a_missing_or_unreadable_file_is_one_clear_line(tmp_path):
    with pytest.raises(MissingPart, match="no model file"):
        local(str(tmp_path / "none.gguf")).traits()
    folder = tmp_path / "dir.gguf"
    folder.mkdir()
    with pytest.raises(BadData, match="cannot read"):
        local(str(folder)).traits()


def test_a_file_that_llama_cpp_refuses_is_one_clear_line_and_no_noise(tmp_path, capfd):
    async def sample():
        sampler = local(str(gguf.write(tmp_path / "m.gguf")))
        try:
            await sampler.sample(request())
        finally:
            await sampler.aclose()

    with pytest.raises(BadData, match=r"cannot load .*m\.gguf"):
        asyncio.run(sample())
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------------------------------------------------ the hub


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("VERVET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with site() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        yield made


def publish(hub, **files: bytes) -> None:
    """A repository o/r whose files are NAME.gguf."""
    rows = [{"rfilename": "README.md", "size": 3}]
    for name, data in files.items():
        rows.append(
            {"rfilename": f"{name}.gguf", "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}}
        )
        hub.files[f"/o/r/resolve/{'c' * 40}/{name}.gguf"] = data
    hub.files["/api/models/o/r/revision/main?blobs=true"] = json.dumps({"sha": "c" * 40, "siblings": rows}).encode()


def test_a_hub_repository_is_fetched_and_verified(hub, tmp_path):
    model = gguf.write(tmp_path / "m.gguf").read_bytes()
    publish(hub, model=model)
    said: list[str] = []
    traits = local("o/r", said).traits()
    assert traits.fingerprint == hashlib.sha256(model).hexdigest()
    assert traits.form == "chat"
    assert "o/r" in said[0]


def test_what_was_fetched_serves_when_the_hub_is_out_of_reach(hub, tmp_path, monkeypatch):
    publish(hub, model=gguf.write(tmp_path / "m.gguf").read_bytes())
    before = local("o/r:model.gguf").traits()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    said: list[str] = []
    assert local("o/r:model.gguf", said).traits() == before
    assert "out of reach" in said[0]


def test_a_hub_out_of_reach_says_what_to_do(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ServiceError, match=r"cannot fetch local/o/r.*name a \.gguf file on disk"):
        local("o/r").traits()


def test_of_several_files_the_user_names_one(hub, tmp_path):
    model = gguf.write(tmp_path / "m.gguf").read_bytes()
    publish(hub, **{"m-Q8_0": model, "m-Q2_K": model})
    with pytest.raises(UnknownName, match=r"m-Q2_K\.gguf, m-Q8_0\.gguf"):
        local("o/r").traits()
    with pytest.raises(UnknownName, match=r"local/o/r:FILE"):
        local("o/r:none.gguf").traits()
    publish(hub, **{"m-Q8_0": model, "m-Q4_K_M": model})
    assert local("o/r").traits().form == "chat"
    assert (fetch.cache_dir() / "hub" / "o--r" / ("c" * 12) / "m-Q4_K_M.gguf").exists()


# ------------------------------------------------------------------------------------------------------ seeds


def test_samples_of_a_problem_never_share_a_seed_and_grouping_does_not_matter():
    whole = [first_seed(request()) + i for i in range(1000)]
    grouped = [first_seed(request(first=first)) + i for first in range(0, 1000, 50) for i in range(50)]
    assert whole == grouped
    assert len(set(whole)) == 1000
    assert 0 <= min(whole) <= max(whole) < 2**32 - 1


def test_seeds_follow_the_run_and_the_problem():
    seeds = {first_seed(request(run_seed=run, problem_id=f"p{i}")) for run in range(50) for i in range(50)}
    assert len(seeds) > 2490  # 2,500 of 2**31: one collision in 690 such draws


def test_the_hub_is_never_asked_for_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    path = gguf.write(tmp_path / "m.gguf")
    assert local(os.fspath(path)).traits().parameters == 106

"""Parts come whole and verified, or not at all. The wheels, the index and the hub are real ones on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests.web import site
from vervet import fetch
from vervet.errors import ServiceError, StorageError

BODY = bytes(range(256)) * 400
SRC = Path(fetch.__file__).resolve().parents[1]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel(folder: Path, package: str, content: bytes) -> Path:
    """A minimal wheel `package` 1.0 that holds data/file.bin."""
    path = folder / f"{package}-1.0-py3-none-any.whl"
    info = f"{package}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/file.bin", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def part(*packages: str, content: bytes = BODY, **more) -> fetch.Part:
    wheels = tuple(fetch.Member(package, "1.0", "data/file.bin") for package in packages)
    return fetch.Part("file.bin", digest(content), len(content), wheels, **more)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and an index that has nothing but the folder `index`."""
    (tmp_path / "index").mkdir()
    for name in list(os.environ):
        if name.startswith("PIP_") or name in {"HF_TOKEN", "HF_ENDPOINT"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("VERVET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(cache):
    return cache.parent / "index"


@pytest.fixture
def hub(cache, monkeypatch):
    with site() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        made.files["/o/r/resolve/main/f.bin"] = BODY
        yield made


HUB_PART = part(hub=fetch.HubFile("o/r", "f.bin"))


def left_over(cache: Path) -> list[str]:
    """What is in the cache beside finished files, lock files and remembered hashes."""
    return [p.name for p in cache.iterdir() if p.name.startswith(".") and not p.name.endswith(".lock")]


# ------------------------------------------------------------------------------------------------------ wheels


def test_a_member_of_a_wheel_is_taken_out_once(cache, index):
    said = []
    made = wheel(index, "alpha", BODY)
    path = fetch.cached(part("alpha"), said.append)
    assert path == cache / "file.bin"
    assert path.read_bytes() == BODY
    assert "alpha 1.0" in said[0]
    made.unlink()
    said.clear()
    assert fetch.cached(part("alpha"), said.append) == path  # no index needed any more
    assert said == []
    assert left_over(cache) == []


def test_a_file_may_come_in_several_wheels(cache, index):
    wheel(index, "alpha", BODY[:1000])
    wheel(index, "beta", BODY[1000:])
    assert fetch.cached(part("alpha", "beta")).read_bytes() == BODY


@pytest.mark.parametrize("damage", [BODY[:-1], b"x" + BODY[1:], b""], ids=["cut off", "changed", "empty"])
def test_a_damaged_cached_file_is_fetched_again_with_a_notice(cache, index, damage):
    wheel(index, "alpha", BODY)
    cache.mkdir()
    (cache / "file.bin").write_bytes(damage)
    said = []
    assert fetch.cached(part("alpha"), said.append).read_bytes() == BODY
    assert str(cache / "file.bin") in said[0]
    assert "damaged" in said[0]


def test_what_is_not_the_expected_file_never_gets_the_final_name(cache, index):
    wheel(index, "alpha", BODY[::-1])
    with pytest.raises(ServiceError, match="not the file") as error:
        fetch.cached(part("alpha"))
    assert "\n" not in str(error.value)
    assert not (cache / "file.bin").exists()
    assert left_over(cache) == []


def test_a_wheel_without_the_member_is_one_clear_line(cache, index):
    wheel(index, "alpha", BODY)
    wanted = fetch.Part("file.bin", digest(BODY), len(BODY), (fetch.Member("alpha", "1.0", "data/other.bin"),))
    with pytest.raises(ServiceError, match=r"no readable data/other\.bin"):
        fetch.cached(wanted)


def test_an_index_out_of_reach_says_what_to_do(cache, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(ServiceError, match="index cannot be reached") as error:
        fetch.cached(part("alpha"))
    assert str(cache / "file.bin") in str(error.value)  # where to put it by hand
    assert digest(BODY) in str(error.value)
    assert error.value.exit_code == 6


def test_an_index_without_the_package_says_so(cache):
    with pytest.raises(ServiceError, match=r"alpha==1\.0"):
        fetch.cached(part("alpha"))


def test_without_pip_the_indexs_own_listing_is_asked(cache, index, monkeypatch):
    monkeypatch.setitem(sys.modules, "pip", None)  # what `find_spec` reports as not installed
    made = wheel(index, "alpha", BODY)
    with site() as web:
        monkeypatch.setattr(fetch, "PYPI", web.url)
        listing = {
            "urls": [
                {"packagetype": "sdist"},
                {"packagetype": "bdist_wheel", "filename": made.name, "url": web.url + "/w"},
            ]
        }
        web.files = {"/pypi/alpha/1.0/json": json.dumps(listing).encode(), "/w": made.read_bytes()}
        assert fetch.cached(part("alpha")).read_bytes() == BODY
        with pytest.raises(ServiceError, match="404"):
            fetch.cached(fetch.Part("b", digest(b"b"), 1, (fetch.Member("beta", "1.0", "x"),)))


# ------------------------------------------------------------------------------------------------------ the hub


def test_the_hub_is_the_second_choice(cache, hub):
    said = []
    both = part("alpha", hub=fetch.HubFile("o/r", "f.bin"))
    assert fetch.cached(both, said.append).read_bytes() == BODY
    assert "hub repository o/r" in said[-1]


def test_a_download_that_breaks_off_leaves_nothing(cache, hub):
    hub.cut = True
    with pytest.raises(ServiceError):
        fetch.cached(HUB_PART)
    assert not (cache / "file.bin").exists()
    assert left_over(cache) == []


def test_a_token_goes_to_the_hub_and_not_where_it_redirects(cache, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    with site() as storage:
        storage.files["/blob"] = BODY
        hub.redirects["/o/r/resolve/main/f.bin"] = storage.url + "/blob"
        assert fetch.cached(HUB_PART).read_bytes() == BODY
        assert hub.seen[0][1]["Authorization"] == "Bearer s3cret"
        assert "Authorization" not in storage.seen[0][1]


SCRIPT = f"""
import sys
from vervet import fetch
part = fetch.Part("file.bin", {digest(BODY)!r}, {len(BODY)}, (), fetch.HubFile("o/r", "f.bin"))
print("ready", flush=True)
fetch.cached(part, lambda line: print(line, flush=True))
print("done", flush=True)
"""


def process() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env={**os.environ, "PYTHONPATH": str(SRC)}, stdout=subprocess.PIPE, text=True
    )


def test_two_processes_fetch_once(cache, hub):
    hub.delay_s = 1.0
    with process() as one, process() as two:
        said = [one.communicate(timeout=30)[0], two.communicate(timeout=30)[0]]
    assert [one.returncode, two.returncode] == [0, 0]
    assert len(hub.seen) == 1
    assert sum("another process is fetching" in text for text in said) == 1
    assert (cache / "file.bin").read_bytes() == BODY


def test_a_killed_fetch_leaves_no_half_file_and_the_next_one_sweeps(cache, hub):
    hub.delay_s = 30
    with process() as one:
        deadline = time.monotonic() + 20
        while not any(cache.glob(".file.bin.fetch-*/hub")) and time.monotonic() < deadline:
            time.sleep(0.02)
        one.send_signal(signal.SIGKILL)
        one.communicate(timeout=10)
    assert not (cache / "file.bin").exists()
    assert left_over(cache) != []
    hub.delay_s = 0
    assert fetch.cached(HUB_PART).read_bytes() == BODY
    assert left_over(cache) == []


# ------------------------------------------------------------------------------------------------------ the cache


def test_the_cache_folder_has_an_order_of_precedence(monkeypatch):
    monkeypatch.setenv("VERVET_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert fetch.cache_dir() == Path("/a")
    monkeypatch.delenv("VERVET_CACHE")
    assert fetch.cache_dir() == Path("/b/vervet")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert fetch.cache_dir() == Path("~/.cache/vervet").expanduser()


@pytest.mark.parametrize("kind", ["below a file", "in /proc"])
def test_a_cache_that_cannot_be_written_is_named(cache, monkeypatch, tmp_path, kind):
    (tmp_path / "file").write_text("")
    where = tmp_path / "file" / "cache" if kind == "below a file" else Path("/proc/vervet")
    monkeypatch.setenv("VERVET_CACHE", str(where))
    with pytest.raises(StorageError, match=f"{where}.*VERVET_CACHE"):
        fetch.cached(part("alpha"))


def test_too_little_room_is_said_before_anything_is_fetched(cache, index):
    huge = fetch.Part("file.bin", digest(BODY), 1 << 60, (fetch.Member("alpha", "1.0", "data/file.bin"),))
    with pytest.raises(StorageError, match="disk is full"):
        fetch.cached(huge)


@pytest.mark.parametrize("source", ["pip", "hub"])
def test_a_disk_that_fills_up_meanwhile_is_a_storage_error(cache, index, hub, source):
    """On a real file system of 256 kB; the part claims to be small, so that the room is not checked beforehand."""
    wheel(index, "alpha", os.urandom(1 << 20))
    hub.files["/o/r/resolve/main/f.bin"] = os.urandom(1 << 20)
    where = {
        "pip": '(fetch.Member("alpha", "1.0", "data/file.bin"),)',
        "hub": '(), fetch.HubFile("o/r", "f.bin")',
    }[source]
    script = f"""
from vervet import fetch
from vervet.errors import StorageError
try:
    fetch.cached(fetch.Part("file.bin", "0" * 64, 10, {where}))
except StorageError as error:
    print(error)
"""
    cache.mkdir()
    mount = f"mount -t tmpfs -o size=256k none '{cache}' && exec '{sys.executable}' -c \"$0\""
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, script],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"not here: no user namespaces ({done.stderr.strip()})")
    assert "the disk is full" in done.stdout, done.stdout + done.stderr


def test_a_read_only_cache_that_holds_the_file_is_enough(cache):
    cache.mkdir()
    (cache / "file.bin").write_bytes(BODY)
    cache.chmod(0o500)
    try:
        assert fetch.cached(part("alpha")) == cache / "file.bin"
        assert list(cache.glob(".*.lock")) == []  # nothing was locked or written to find out
    finally:
        cache.chmod(0o700)


def test_a_files_hash_is_remembered_until_the_file_changes(cache, tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(BODY)
    assert fetch.file_sha256(file) == digest(BODY)
    (note,) = (cache / "sha256").iterdir()
    known = json.loads(note.read_text())
    note.write_text(json.dumps(known | {"sha256": "remembered"}))
    assert fetch.file_sha256(file) == "remembered"
    file.write_bytes(BODY[::-1])
    assert fetch.file_sha256(file) == digest(BODY[::-1])
    note.write_text("{")
    assert fetch.file_sha256(file) == digest(BODY[::-1])


def test_a_slow_download_is_reported(cache, hub):
    hub.delay_s = 2.3
    hub.files["/o/r/resolve/main/f.bin"] = big = BODY * 40
    said = []
    fetch.cached(part(content=big, hub=fetch.HubFile("o/r", "f.bin")), said.append)
    assert any(f"of {len(big) / 1e6:.0f} MB" in line for line in said[1:])

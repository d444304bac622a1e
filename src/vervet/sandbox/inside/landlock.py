"""File, network and signal rules by Landlock, as far as the kernel knows them.

Rules bind to files, not to names: what is mounted over an allowed folder later is not covered.
Source: https://docs.kernel.org/userspace-api/landlock.html, ABI 1 to 6.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence

from vervet.sandbox.inside import linux

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
READ = READ_FILE | READ_DIR
_ABI1_FILES = (1 << 13) - 1
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ONLY_FILES = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE | _IOCTL_DEV
WRITE_TREE = _ABI1_FILES | _REFER | _TRUNCATE
# everything below a folder, running programs included


def handled(abi: int) -> bytes:
    """The ruleset attributes that deny all that this ABI can deny: files, TCP, abstract sockets, signals outwards."""
    files = _ABI1_FILES | (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0) | (_IOCTL_DEV if abi >= 5 else 0)
    attributes = struct.pack("=Q", files)
    if abi >= 4:
        attributes += struct.pack("=Q", 3)
    if abi >= 6:
        attributes += struct.pack("=Q", 3)
    return attributes


def restrict(rules: Iterable[tuple[str, int]]) -> bool:
    """Deny this process everything but `rules` (path, access bits). False where the kernel has no Landlock."""
    abi = linux.landlock_abi()
    if abi == 0:
        return False
    attributes = handled(abi)
    known = struct.unpack("=Q", attributes[:8])[0]
    ruleset = linux.landlock_create(attributes)
    try:
        for path, access in rules:
            _allow(ruleset, path, access & known)
        linux.landlock_restrict(ruleset)
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        folder = os.stat(fd).st_mode & 0o170000 == 0o040000
        linux.landlock_allow_path(ruleset, access if folder else access & _ONLY_FILES, fd)
    finally:
        os.close(fd)


def read_only(paths: Sequence[str]) -> list[tuple[str, int]]:
    """Rules for a process that reads code and data and writes nothing but the null device."""
    return [*((p, READ) for p in paths), ("/dev", READ | WRITE_FILE)]

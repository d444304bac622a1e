"""System calls that Python has no name for, over ctypes. x86_64 and aarch64.

Every function raises OSError with the call's name. Nothing is called at import time but `CDLL(None)`.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

CLONE_PIDFD, CLONE_PARENT = 0x1000, 0x8000
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x20000, 0x2000000, 0x4000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x8000000, 0x10000000, 0x20000000, 0x40000000
SIGCHLD = 17

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38

# number of each call: (x86_64, aarch64)
_NUMBERS = {
    "clone": (56, 220),
    "pivot_root": (155, 41),
    "capset": (126, 91),
    "seccomp": (317, 277),
    "close_range": (436, 436),
    "mount_setattr": (442, 442),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
}
_ARCHES = {"x86_64": 0, "aarch64": 1}

_libc = ctypes.CDLL(None, use_errno=True)
# PyDLL keeps the interpreter lock: a child of clone() must not find it released
_libc_locked = ctypes.PyDLL(None, use_errno=True)


def arch() -> str:
    """The machine's name as the kernel gives it, "x86_64"."""
    return os.uname().machine


def supported() -> bool:
    """Whether the numbers of this machine's system calls are known here."""
    return arch() in _ARCHES


def number(name: str) -> int:
    """The number of a system call. Raises: OSError on a machine that is not supported."""
    if not supported():
        raise OSError(38, f"no system call table for {arch()}")
    return _NUMBERS[name][_ARCHES[arch()]]


def _check(result: int, name: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def _syscall(name: str, *args: Any) -> int:
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return _check(_libc.syscall(ctypes.c_long(number(name)), *values), name)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    encode = [None if v is None else os.fsencode(v) for v in (source, target, kind, data)]
    result = _libc.mount(encode[0], encode[1], encode[2], ctypes.c_ulong(flags), encode[3])
    _check(result, f"mount {source or ''} on {target}")


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _syscall("pivot_root", os.fsencode(new), os.fsencode(old))


def lock_mount(target: str, *, nodev: bool = True, noexec: bool = False) -> None:
    """Make a mount and all below it read-only, nosuid and, if asked, nodev and noexec.

    Source: mount_setattr(2), Linux 5.12; older kernels get a remount of the one mount, keeping what it had.
    """
    attributes = MS_RDONLY | MS_NOSUID | (MS_NODEV if nodev else 0) | (MS_NOEXEC if noexec else 0)
    # the MOUNT_ATTR_ bits equal the MS_ bits for these four
    packed = struct.pack("=QQQQ", attributes, 0, 0, 0)
    try:
        _syscall("mount_setattr", -100, os.fsencode(target), 0x8000, packed, len(packed))
    except OSError as error:
        if error.errno != 38:
            raise
        kept = os.statvfs(target).f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
        mount(None, target, None, MS_REMOUNT | MS_BIND | attributes | kept)


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def clone(flags: int) -> tuple[int, int]:
    """Fork with namespace flags. Returns (pid, pidfd); (0, -1) in the child; pidfd is -1 unless CLONE_PIDFD is set.

    The kernel's clone() and not unshare() + fork(): the latter makes only one pid namespace in a process's life.
    Python's at-fork hooks do not run; the caller must have one thread.
    """
    return prepared_clone(flags)()


def prepared_clone(flags: int) -> Callable[[], tuple[int, int]]:
    """`clone` with its arguments made once, for whoever forks often."""
    pidfd = ctypes.c_int(-1)
    call = _libc_locked.syscall
    null = ctypes.c_void_p(0)
    where = ctypes.byref(pidfd) if flags & CLONE_PIDFD else null
    arguments = (ctypes.c_long(number("clone")), ctypes.c_ulong(flags | SIGCHLD), null, where, null, null)

    def run() -> tuple[int, int]:
        result = call(*arguments)
        if result == 0:
            return 0, -1
        return _check(result, "clone"), pidfd.value

    return run


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def drop_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets of this process."""
    header = struct.pack("=Ii", 0x20080522, 0)
    _syscall("capset", header, bytes(24))


def close_range(first: int, last: int = 0x7FFFFFFF) -> None:
    """Close all descriptors in [first, last]."""
    try:
        _syscall("close_range", first, last, 0)
    except OSError:
        os.closerange(first, 4096)


def load_seccomp(program: bytes) -> None:
    """Install a BPF filter for this thread and its children. Needs no_new_privs."""

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))

    descriptor = Filter(len(program) // 8, program)
    _syscall("seccomp", 1, 0, ctypes.byref(descriptor))


def landlock_abi() -> int:
    """The kernel's Landlock version, 0 where there is none."""
    try:
        return _syscall("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0


def landlock_create(attributes: bytes) -> int:
    """A ruleset's descriptor."""
    return _syscall("landlock_create_ruleset", attributes, len(attributes), 0)


def landlock_allow_path(ruleset: int, access: int, path_fd: int) -> None:
    """Allow `access` below an opened path."""
    _syscall("landlock_add_rule", ruleset, 1, struct.pack("=Qi", access, path_fd), 0)


def landlock_restrict(ruleset: int) -> None:
    """Restrict this process and its children. Needs no_new_privs."""
    _syscall("landlock_restrict_self", ruleset, 0)

"""The container's root: an allow-list on a fresh tmpfs, never the host's /.

Holds /usr, the /bin and /lib links or folders, the interpreter's prefix, the loader's cache, a handful of device
nodes and, for whole programs, /box, its /tmp and a /proc of their own. No /home, /root, /etc, /sys, /var, /run.
"""

from __future__ import annotations

import os
import sys

from vervet.sandbox.inside import linux

BOX = "/box"
# where whole programs have their files
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_FILES = ("/etc/ld.so.cache", "/etc/alternatives")
_PATTERN = "java-"
# of folders in /etc that a program under /usr does not start without
_DEVICES = ("null", "zero", "full", "random", "urandom")
_BASES = ("/tmp", "/run", "/mnt", "/")  # noqa: S108  a mount point in a private namespace; nothing is written there


def interpreter_paths() -> list[str]:
    """Folders and files outside the system's that this interpreter needs to import its standard library."""
    wanted = [sys.prefix, sys.base_prefix, sys.base_exec_prefix, os.path.dirname(os.__file__), *_mapped_files()]
    found: list[str] = []
    for path in sorted({p for p in wanted if p and p != "/"}, key=len):
        if not any(path == top or path.startswith(top + "/") for top in (*_SYSTEM, *found)):
            found.append(path)
    return found


def _mapped_files() -> list[str]:
    """Shared libraries that are loaded now: what a later import may link to as well."""
    with open("/proc/self/maps") as maps:
        paths = {line.split(None, 5)[5].strip() for line in maps if line.count("/") > 1}
    return [p for p in paths if os.path.isfile(p) and ".so" in p]


def build(extra: list[str], writable: list[str]) -> None:
    """Replace this process's root. Needs a mount namespace of its own and the right to mount.

    Args: extra: paths to show read-only besides the system's; writable: empty folders to create as mount points.
    """
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    base = next(b for b in _BASES if os.path.isdir(b))
    linux.mount("vervet", base, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755,size=1m,nr_inodes=4096")
    for name in ("old", "new"):
        os.mkdir(f"{base}/{name}", 0o755)
    linux.pivot_root(base, f"{base}/old")
    os.chdir("/")
    linux.mount("/new", "/new", None, linux.MS_BIND)
    settings = [f"/etc/{n}" for n in sorted(os.listdir("/old/etc")) if n.startswith(_PATTERN)] if writable else []
    for path in (*_SYSTEM, *_FILES, *settings, *extra):
        _show(path)
    _devices()
    for path in writable:
        os.makedirs(f"/new{path}", 0o755, exist_ok=True)
    if writable:
        _lend_proc()
        if not os.path.lexists("/new/tmp"):  # it is there where something below it is shown; TMPDIR then has to do
            os.symlink(f"{writable[0].lstrip('/')}/tmp", "/new/tmp")  # noqa: S108  on a tmpfs of its own
    os.chdir("/new")
    linux.pivot_root(".", ".")
    linux.umount(".")
    os.chdir("/")
    linux.mount(None, "/", None, linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV)


def _lend_proc() -> None:
    """The host's /proc for an instant: without one in sight, the kernel does not let a user namespace mount its own."""
    os.mkdir("/new/proc", 0o555)
    try:
        linux.mount("/old/proc", "/new/proc", None, linux.MS_BIND | linux.MS_REC)
        linux.lock_mount("/new/proc", noexec=True)
    except OSError:  # then there is none, and `cover_proc` has nothing to do
        pass


def cover_proc() -> None:
    """Put this pid namespace's processes over /proc: each sees itself and what it may trace, and nothing of the system."""
    flags = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    try:
        linux.mount("proc", "/proc", "proc", flags, "hidepid=4,subset=pid")
    except OSError:  # a kernel before 5.8, or a host that hides parts of its own: then none at all
        linux.mount("none", "/proc", "tmpfs", flags, "size=4k,mode=0555")


def _show(path: str) -> None:
    """The host's `path` at the same place, read-only; links stay links; what is not there is left out."""
    old, new = f"/old{path}", f"/new{path}"
    if os.path.lexists(new) and not os.path.isdir(new):
        return
    if os.path.islink(old) and path in _SYSTEM:
        os.symlink(os.readlink(old), new)
        return
    source = _resolve(path)
    if source is None:
        return
    if os.path.isdir(source):
        os.makedirs(new, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(new), 0o755, exist_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_WRONLY, 0o444))
    linux.mount(source, new, None, linux.MS_BIND | linux.MS_REC)
    linux.lock_mount(new)


def _resolve(path: str) -> str | None:
    """The real place of a host path below /old, with absolute links followed there. None where there is none."""
    parts, done = [p for p in path.split("/") if p], ""
    for _ in range(1000):
        if not parts:
            return f"/old{done}"
        part = parts.pop(0)
        here = done.rpartition("/")[0] if part == ".." else f"{done}/{part}"
        if os.path.islink(f"/old{here}"):
            target = os.readlink(f"/old{here}")
            parts = [p for p in target.split("/") if p and p != "."] + parts
            done = "" if target.startswith("/") else done
            continue
        if not os.path.lexists(f"/old{here}"):
            return None
        done = here
    return None


def _devices() -> None:
    os.mkdir("/new/dev", 0o755)
    for name in _DEVICES:
        if os.path.exists(f"/old/dev/{name}"):
            os.close(os.open(f"/new/dev/{name}", os.O_CREAT | os.O_WRONLY, 0o444))
            linux.mount(f"/old/dev/{name}", f"/new/dev/{name}", None, linux.MS_BIND)
            linux.lock_mount(f"/new/dev/{name}", nodev=False, noexec=True)

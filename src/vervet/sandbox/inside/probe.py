"""Tries each layer of isolation in a process of its own and prints what this host can do, as JSON.

Run as a program; one entry a layer: name, available, detail (why not, or what exactly is there).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

if __name__ == "__main__":
    from types import ModuleType

    here = os.path.dirname(os.path.abspath(__file__))
    for package_name, levels in (("vervet", 2), ("vervet.sandbox", 1)):
        package = ModuleType(package_name)
        package.__path__ = ["/".join(here.split("/")[:-levels])]
        sys.modules[package_name] = package

from vervet.sandbox.inside import cgroups, launch, linux, seccomp


def attempt(action: Callable[[], str]) -> tuple[bool, str]:
    """Run `action` in a child. Returns whether it worked, and its word or the error."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            text, code = action(), 0
        except OSError as error:
            text, code = str(error), 1
        os.write(writing, text.encode())
        os._exit(code)
    os.close(writing)
    said = b""
    while part := os.read(reading, 4096):
        said += part
    os.close(reading)
    return os.waitpid(pid, 0)[1] == 0, said.decode()


def namespaces() -> str:
    """All namespaces of the container at once, as the launcher makes them."""
    flags = linux.CLONE_NEWPID | linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP
    try:
        linux.unshare(flags | linux.CLONE_NEWNS | linux.CLONE_NEWUSER)
    except OSError as error:
        raise OSError(f"{error}: {_forbidden()}") from error
    return "user, mount, pid, net, ipc, uts, cgroup"


_SWITCHES = (
    ("/proc/sys/user/max_user_namespaces", "0", "set the sysctl user.max_user_namespaces above 0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "set the sysctl kernel.unprivileged_userns_clone to 1"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "set the sysctl kernel.apparmor_restrict_unprivileged_userns to 0, or give this Python an AppArmor profile",
    ),
)
# file, the value that forbids user namespaces, what an administrator can do


def _forbidden() -> str:
    """What forbids user namespaces here, and the way out."""
    for path, value, way in _SWITCHES:
        try:
            with open(path) as file:
                if file.read().strip() == value:
                    return f"{way}, or run as root"
        except OSError:
            continue
    return "a container or a security module around this process forbids user namespaces; see --sandbox docker"


def uids() -> str:
    """A range of user ids for candidates."""
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        linux.unshare(linux.CLONE_NEWUSER)
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.close(ready[1])
    if not os.read(ready[0], 1):
        raise OSError(1, "no user namespace")
    many = launch.write_maps(pid)
    os.write(done[1], b"x")
    os.waitpid(pid, 0)
    if not many:
        raise OSError(
            "no range of user ids: run as root, or install newuidmap (package uidmap) and a line in /etc/subuid"
        )
    return "each candidate has a uid of its own"


def system_calls() -> str:
    """The seccomp filter."""
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.load_seccomp(seccomp.function_filter())
    return f"allow-list for {linux.arch()}"


def landlock_rules() -> str:
    """The Landlock version."""
    abi = linux.landlock_abi()
    if abi == 0:
        raise OSError(38, "this kernel has no Landlock, or it is not enabled (lsm=...,landlock)")
    return f"ABI {abi}"


def control_group() -> str:
    """A control group of our own."""
    group = cgroups.Group(256)
    try:
        if group.missing:
            raise OSError(
                f"{group.missing}: run as root, or in a delegated group: systemd-run --user --scope -p Delegate=yes ..."
            )
        return ", ".join(group.folders)
    finally:
        group.remove()


def starvation() -> str:
    """The kernel's account of who waited for the processor."""
    with open("/proc/self/schedstat") as file:
        if file.read().count(" ") < 2:
            raise OSError(38, "no /proc/PID/schedstat")
    with open(f"/proc/self/task/{os.getpid()}/children"):
        return "/proc/PID/schedstat"


LAYERS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("namespaces", namespaces),
    ("seccomp", system_calls),
    ("uids", uids),
    ("landlock", landlock_rules),
    ("cgroup", control_group),
    ("starvation", starvation),
)

if __name__ == "__main__":
    print(json.dumps([{"name": n, **dict(zip(("available", "detail"), attempt(a), strict=True))} for n, a in LAYERS]))

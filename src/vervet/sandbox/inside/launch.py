"""Starts a container and cleans up after it; the program `python -S launch.py CONFIG`.

It stays on the host, without the driver's memory, for three things: it writes the user namespace's maps, it reads the
kernel's account of starvation for the zygote, which has no /proc, and it outlives the driver by an instant to end the
container. The mounts live in the container's namespace and go with it; there is no temporary folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn


def _bare_packages() -> None:
    """Make `vervet.sandbox.inside` importable without running the packages' own __init__ and their dependencies."""
    here = os.path.dirname(os.path.abspath(__file__))
    for name, levels in (("vervet", 2), ("vervet.sandbox", 1)):
        package = ModuleType(name)
        package.__path__ = ["/".join(here.split("/")[:-levels])]
        sys.modules[name] = package


if __name__ == "__main__":
    _bare_packages()

from vervet.sandbox.inside import cgroups, linux, root, wire, zygote  # noqa: E402

_NAMESPACES = linux.CLONE_NEWPID | linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP
_UID_COUNT = 65536
_ADOPTED_S = 5.0
_COMMON = """
from typing import Any, Dict, List, Optional, Set, Tuple, Union
def f(x: int) -> int:
    'doc'
    return [x for x in 'a'] and x
for kind in (int, float, str, bool, Any):
    List[kind], Set[kind], Optional[kind], List[List[kind]], Dict[str, kind], Tuple[kind, kind], Union[str, kind]
"""
# what answers commonly do: the interpreter keeps what each of these annotations stands for
_FIRST_HOST_UID = 0x70000000
# far above what people and services use; 256 containers side by side get ranges of their own


def main(text: str) -> int:
    """Run one container.

    Args: text: JSON: kind, what it serves, and the numbers of the sockets `life control code tests`. The kind
    "namespaces" makes a container, "engine" is in one that somebody else made, "none" does without.
    """
    config = json.loads(text)
    os.environ.clear()
    sockets = {n: _socket(config["fds"][n]) for n in ("life", "control", "code", "tests")}
    _stay_on(config["processor"])
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (zygote.CALLS_FD, zygote.CODE_FD):
        os.dup2(null, fd)
    try:
        warm()
        container = Container(config, sockets)
        try:
            container.start()
        except BaseException:
            container.abandon()
            raise
    except BaseException as error:
        wire.send(sockets["life"], json.dumps({"error": _one_line(error)}).encode())
        return 1
    for name in ("control", "code", "tests"):
        sockets[name].close()
    return container.watch()


def _stay_on(processor: int | None) -> None:
    """Run on one processor, with all that comes after, where a number is given and it is ours to have."""
    if processor is None:
        return
    try:
        os.sched_setaffinity(0, {processor})
    except OSError:  # an engine's host may have others
        pass


def _socket(fd: int) -> socket.socket:
    # the driver's numbers can be anything: beyond the zygote's limit, or those that it reserves
    low = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=low)


def _server(name: str) -> Callable[..., NoReturn]:
    """What PID 1 does. Imported here, while our own files can still be seen, and only where it is needed."""
    if name == "functions":
        return zygote.serve
    from vervet.sandbox.inside import programs, session

    return session.serve if name == "session" else programs.serve


def _one_line(error: BaseException) -> str:
    import traceback

    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})"


def warm() -> None:
    """Import what answers commonly import and do what they commonly do, so that no fork pays for it again."""
    import bisect  # noqa: F401
    import collections  # noqa: F401
    import copy  # noqa: F401
    import functools  # noqa: F401
    import gc
    import heapq  # noqa: F401
    import itertools  # noqa: F401
    import math  # noqa: F401
    import operator  # noqa: F401
    import re  # noqa: F401
    import string  # noqa: F401
    import warnings

    warnings.simplefilter("ignore")
    exec(compile(_COMMON, "<warm>", "exec"), {})  # noqa: S102
    gc.collect()
    gc.freeze()


class Container:
    """The launcher's side of one container."""

    def __init__(self, config: dict[str, Any], sockets: dict[str, socket.socket]) -> None:
        self._namespaces = config["kind"] == "namespaces"
        self._isolated = config["kind"] != "none"
        self._programs = config["serves"] in ("programs", "session")
        self._session = config["serves"] == "session"
        # then the program is PID 1's own child; there is no runner between them
        self._shown = list(config["shown"])
        self._serve = _server(config["serves"])
        self._sockets = sockets
        self._parent = os.getppid()
        self._group = cgroups.Group(config["memory_mb"]) if self._namespaces else None
        self._watch, self._inner = socket.socketpair()
        self._go, self._gate = socket.socketpair()
        self._pid = 0
        self._pidfd = -1
        self._many_uids = config["kind"] == "engine"

    def start(self) -> None:
        """Fork the container's PID 1. Raises: OSError that names the step."""
        if not self._namespaces:
            linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
            self._pid = os.fork()
            if self._pid == 0:
                self._inside()
        else:
            self._pid = self._make_namespaces()
        self._pidfd = os.pidfd_open(self._pid)
        if self._group is not None:
            self._group.add(self._pid)
        self._inner.close()
        self._gate.close()
        wire.send(self._go, json.dumps({"many_uids": self._many_uids}).encode())

    def abandon(self) -> None:
        """Clean up after a start that failed."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        if self._group is not None:
            self._group.remove()

    def _make_namespaces(self) -> int:
        """A builder assembles the root and clones PID 1 as our child, then ends. Returns PID 1's pid here."""
        builder = os.fork()
        if builder == 0:
            self._build()
        self._gate.close()
        try:
            message = json.loads(wire.receive(self._go))
            if message == "map":  # without power over mounts the user namespace comes first
                self._write_maps(builder)
                wire.send(self._go, b"{}")
                message = json.loads(wire.receive(self._go))
        except wire.Closed:
            raise OSError("the container's builder died") from None
        os.waitpid(builder, 0)
        if isinstance(message, str):
            raise OSError(message)
        pid = int(message["pid"])
        if message["map"]:
            self._write_maps(pid)
        return pid

    def _build(self) -> NoReturn:
        """In the builder."""
        try:
            self._go.close()
            powerful = os.geteuid() == 0 and _may_mount()
            linux.unshare(linux.CLONE_NEWNS if powerful else linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
            if not powerful:
                wire.send(self._gate, b'"map"')
                wire.receive(self._gate)
                _become_root()
            root.build([*root.interpreter_paths(), *self._shown], [root.BOX] if self._programs else [])
            flags = _NAMESPACES | linux.CLONE_PARENT
            pid, _ = linux.clone(flags | (linux.CLONE_NEWUSER | linux.CLONE_NEWNS if powerful else 0))
            if pid == 0:
                self._inside()
            wire.send(self._gate, json.dumps({"pid": pid, "map": powerful}).encode())
        except BaseException as error:
            wire.send(self._gate, json.dumps(_one_line(error)).encode())
        os._exit(0)

    def _write_maps(self, pid: int) -> None:
        self._many_uids = write_maps(pid)

    def _inside(self) -> NoReturn:
        """In PID 1: wait for the maps, become the namespace's root, serve."""
        try:
            for sock in (self._watch, self._go, self._sockets["life"]):
                sock.close()
            message = json.loads(wire.receive(self._gate))
            self._gate.close()
            if self._namespaces:
                _become_root()
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            if self._namespaces:
                socket.sethostname("vervet")
            names = ("control", "code", "tests")
            setup = zygote.Setup(self._isolated, message["many_uids"], self._namespaces)
            self._serve(setup, self._inner, *(self._sockets[n] for n in names))
        except BaseException as error:
            try:
                wire.send(self._sockets["control"], json.dumps({"error": _one_line(error)}).encode())
            finally:
                os._exit(1)

    def watch(self) -> int:
        """Until the driver or the container is gone; then neither is left, and no control group."""
        poll = select.poll()
        for fd in (self._sockets["life"].fileno(), self._watch.fileno(), self._pidfd):
            poll.register(fd, select.POLLIN)
        # the parent is looked at as well: a child that it forked may hold its end of the socket open
        while os.getppid() == self._parent:
            ready = dict(poll.poll(1000))
            if self._sockets["life"].fileno() in ready or self._pidfd in ready:
                break
            if self._watch.fileno() in ready and not self._answer():
                break
        self._end()
        return 0

    def _answer(self) -> bool:
        """Tell the zygote of the processes it names, or the runner of all its programs: see `account`."""
        try:
            question = json.loads(wire.receive(self._watch))
            trees = question["tree"]
            if trees:
                pids = _children(self._pid) if self._session else _programs(self._pid)
            else:
                pids = _host_pids(self._pid, question["pids"], self._namespaces)
            wire.send(self._watch, json.dumps(account(pids, tree=question["tree"])).encode())
        except wire.Closed:
            return False
        return True

    def _end(self) -> None:
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self._pid, 0)
        if not self._namespaces:
            _adopted_end()
        if self._group is not None:
            self._group.remove()


def _adopted_end() -> None:
    """Without namespaces: wait for what PID 1 left, which dies or kills its own by the signal of PID 1's death."""
    end = time.monotonic() + _ADOPTED_S
    while time.monotonic() < end:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            time.sleep(0.005)
    for child in _children(os.getpid()):
        os.kill(child, signal.SIGKILL)


def _may_mount() -> bool:
    """Whether this process holds CAP_SYS_ADMIN, CAP_SETUID and CAP_SETGID."""
    with open("/proc/self/status") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    return all(effective >> bit & 1 for bit in (6, 7, 21))


def _become_root() -> None:
    """Root of the user namespace; the host's groups are dropped where that is allowed."""
    try:
        os.setgroups([])
    except PermissionError:  # a single-uid map forbids it
        pass
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def write_maps(pid: int) -> bool:
    """Map ids of `pid`'s new user namespace. Returns whether it got a range, so that candidates can differ in uid."""
    if os.geteuid() == 0:
        base = _FIRST_HOST_UID + (pid % 256) * _UID_COUNT
        for first in (base, 1000):  # a container's root has a smaller range to give
            try:
                _write_map(pid, "uid_map", f"0 {first} {_UID_COUNT if first == base else 64000}")
                _write_map(pid, "gid_map", f"0 {first} {_UID_COUNT if first == base else 64000}")
            except OSError:
                continue
            return True
    if _newuidmap(pid):
        return True
    _write_map(pid, "setgroups", "deny")
    _write_map(pid, "uid_map", f"0 {os.geteuid()} 1")
    _write_map(pid, "gid_map", f"0 {os.getegid()} 1")
    return False


def _write_map(pid: int, name: str, text: str) -> None:
    fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _newuidmap(pid: int) -> bool:
    """Ask shadow's set-uid helpers for a range out of /etc/subuid; inside, 0 stays the user, so files stay readable."""
    ranges = []
    for name in ("subuid", "subgid"):
        found = _subordinate(f"/etc/{name}")
        if found is None:
            return False
        ranges.append(found)
    own = (os.geteuid(), os.getegid())
    for tool, me, (first, count) in zip(("newuidmap", "newgidmap"), own, ranges, strict=True):
        argv = [tool, str(pid), "0", str(me), "1", "1", str(first), str(min(count, _UID_COUNT - 1))]
        try:
            child = os.posix_spawnp(tool, argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        except OSError:
            return False
        if os.waitpid(child, 0)[1] != 0:
            return False
    return True


def _subordinate(path: str) -> tuple[int, int] | None:
    import pwd

    try:
        names = {pwd.getpwuid(os.geteuid()).pw_name, str(os.geteuid())}
        with open(path) as lines:
            rows = [line.strip().split(":") for line in lines if line.count(":") == 2]
    except (OSError, KeyError):
        return None
    return next(((int(a), int(n)) for who, a, n in rows if who in names and int(n) >= 61000), None)


def account(pids: list[int], *, tree: bool) -> dict[str, float]:
    """What the kernel knows of processes on this host, seconds.

    starved: ready to run while others had the processor; the most starved thread of each process counts, for work
    waits on the slowest. A wait that is not over is not in there yet: runnable is 1 where a thread is running or waiting
    for its turn, and then nobody can say that it sleeps. cpu: processor time, ended children included; counted for
    whole trees only.
    Source: /proc/PID/task/TID/schedstat, second number; /proc/PID/stat, fields 3 and 14 to 17.
    """
    todo, starved, ticks, runnable = list(pids), 0.0, 0, 0.0
    while todo:
        pid = todo.pop()
        delays = [0]
        for thread in _listdir(f"/proc/{pid}/task"):
            text = _read(f"/proc/{pid}/task/{thread}/schedstat")
            delays += [int(text.split()[1])] if text.count(" ") >= 2 else []
            if _read(f"/proc/{pid}/task/{thread}/stat").rpartition(")")[2][:2] == " R":
                runnable = 1.0
            if tree:
                todo += [int(p) for p in _read(f"/proc/{pid}/task/{thread}/children").split()]
        starved += max(delays) / 1e9
        if tree:
            ticks += sum(int(n) for n in _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[11:15])
    return {"starved": starved, "runnable": runnable, "cpu": ticks / os.sysconf("SC_CLK_TCK")}


def _host_pids(pid_one: int, pids: list[int], isolated: bool) -> list[int]:
    """What the kernel calls the container's processes out here."""
    if not isolated:
        return pids
    found = []
    for child in _read(f"/proc/{pid_one}/task/{pid_one}/children").split():
        status = _read(f"/proc/{child}/status")
        inner = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
        if len(inner) >= 2 and int(inner[-2]) in pids:
            found.append(int(child))
    return found


def _programs(pid_one: int) -> list[int]:
    """Children of the runner, which is PID 1's only child."""
    return [p for runner in _children(pid_one) for p in _children(runner)]


def _children(pid: int) -> list[int]:
    return [int(p) for p in _read(f"/proc/{pid}/task/{pid}/children").split()]


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""PID 1 of a container for whole programs: one at a time, in a pid and mount namespace of its own.

A program gets an empty, private tmpfs at /box with its files in /box/work, where it starts, and /box/tmp as its
temporary folder; the tmpfs vanishes with its namespace, so nothing is left for the next. It may start processes; they
die with it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import select
import shutil
import signal
import socket
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any, NoReturn

from vervet.sandbox.inside import landlock, linux, seccomp, wire
from vervet.sandbox.inside.root import BOX
from vervet.sandbox.inside.zygote import Child, Setup, account, lacking

_FIRST_UID, _UIDS = 10000, 50000
_PROCESSES = 64
_LOOK_EVERY_S = 0.05
_STARVED_FACTOR = 4
_CPU_GRACE_S = 2
_FOLDERS = ("work", "tmp")
_PATH = "/usr/local/bin:/usr/bin:/bin"
_SHOWN = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc")


@dataclass
class Job:
    """What to run."""

    argv: list[str]
    cpu_s: float
    wall_s: float
    memory_mb: int
    output_bytes: int
    disk_mb: int
    files: dict[str, bytes]
    stdin: bytes
    shown: list[str] = field(default_factory=list)
    # paths of the host that its container shows besides the system's
    environment: dict[str, str] = field(default_factory=dict)
    # variables besides HOME, TMPDIR, PATH and LANG, or instead of them


@dataclass
class Streams:
    """The program's standard streams, our ends, and what came out."""

    stdin: int
    stdout: int
    stderr: int
    waiting: bytes
    # input not yet taken
    out: dict[int, bytearray] = field(default_factory=dict)
    # by descriptor
    tree_cpu_s: float = 0.0
    # processor time of the program and its processes when last looked at


def serve(
    setup: Setup, watch: socket.socket, control: socket.socket, code: socket.socket, tests: socket.socket
) -> NoReturn:
    """Run programs until the driver is gone."""
    code.close()
    tests.close()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if setup.isolated:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    wire.send(control, json.dumps({"lacking": lacking(setup)}).encode())
    count = 0
    while True:
        try:
            job = _receive(control)
        except wire.Closed:
            os._exit(0)
        count += 1
        outcome, out, err = run(job, setup, watch, _FIRST_UID + count % _UIDS)
        for part in (json.dumps(outcome).encode(), out, err):
            wire.send(control, part)


def _receive(control: socket.socket) -> Job:
    head = json.loads(wire.receive(control))
    files = {name: wire.receive(control) for name in head.pop("names")}
    return Job(**head, files=files, stdin=wire.receive(control))


def run(job: Job, setup: Setup, watch: socket.socket, uid: int) -> tuple[dict[str, Any], bytes, bytes]:
    """One program from birth to death. Returns the outcome, stdout, stderr."""
    inputs, outputs, errors, said = os.pipe(), os.pipe(), os.pipe(), os.pipe()
    folder = BOX if setup.isolated else tempfile.mkdtemp(prefix="vervet-box-")
    child = _fork(setup)
    if child is None:
        _child(job, setup, uid, folder, (inputs[0], outputs[1], errors[1], said[1]))
    for fd in (inputs[0], outputs[1], errors[1], said[1]):
        os.close(fd)
    streams = Streams(inputs[1], outputs[0], errors[0], job.stdin, {outputs[0]: bytearray(), errors[0]: bytearray()})
    start = time.monotonic()
    try:
        failure = _say(said[0])
        limit = "" if failure else _pump(job, child, streams, watch, start)
    finally:
        child.kill()
        if not setup.isolated:
            _kill_group(child.pid)
        code, used = child.reap()
        for fd in (inputs[1], outputs[0], errors[0], said[0]):
            _close(fd)
        if not setup.isolated:
            shutil.rmtree(folder, ignore_errors=True)
    outcome = {"started": not failure, "error": failure, "limit": limit, "exit": code}
    return (
        outcome | {"wall_s": time.monotonic() - start, "cpu_s": max(used, streams.tree_cpu_s)},
        bytes(streams.out[outputs[0]]),
        bytes(streams.out[errors[0]]),
    )


def _fork(setup: Setup) -> Child | None:
    if setup.isolated:
        pid, pidfd = linux.clone(seccomp.CANDIDATE_FLAGS | linux.CLONE_NEWNS)
    else:
        pid = os.fork()
        pidfd = os.pidfd_open(pid) if pid else -1
    return Child(pid, pidfd) if pid else None


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass


def _say(said: int) -> str:
    """Why the program could not be started, "" where it was: the pipe closes by itself when it is."""
    text = b""
    while part := os.read(said, 4096):
        text += part
    return text.decode("utf-8", "replace")


def _child(job: Job, setup: Setup, uid: int, folder: str, fds: tuple[int, int, int, int]) -> NoReturn:
    """Become the program. What goes wrong is written to the last descriptor."""
    said = fcntl.fcntl(fds[3], fcntl.F_DUPFD_CLOEXEC, 64)
    try:
        for target, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in fds[:3]]):
            os.dup2(fd, target)
        linux.close_range(3, said - 1)
        linux.close_range(said + 1)
        _enter_box(job, setup, uid, folder)
        _limits(job)
        if setup.many_uids:
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        elif setup.isolated:
            linux.drop_capabilities()
        home, temporary = (f"{folder}/{name}" for name in _FOLDERS)
        environment = {"HOME": home, "TMPDIR": temporary, "PATH": _PATH, "LANG": "C.UTF-8", **job.environment}
        if setup.isolated:
            rules = [(p, landlock.READ | landlock.EXECUTE) for p in (*_SHOWN, *_interpreter_folders(), *job.shown)]
            landlock.restrict([*rules, ("/dev", landlock.READ | landlock.WRITE_FILE), (folder, landlock.WRITE_TREE)])
            linux.load_seccomp(seccomp.program_filter())
        else:
            os.setpgid(0, 0)
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.execvpe(job.argv[0], job.argv, environment)  # noqa: S606  an argument list, no shell
    except BaseException as error:
        os.write(said, f"{type(error).__name__}: {error}".encode()[:2000])
    os._exit(127)


def _interpreter_folders() -> list[str]:
    import sys

    return [sys.prefix, sys.base_prefix]


def _enter_box(job: Job, setup: Setup, uid: int, folder: str) -> None:
    """Mount the box, put the files in, go there. The program's uid owns all of it."""
    if setup.isolated:
        size = f"mode=0755,size={job.disk_mb}m,nr_inodes={1024 + 64 * job.disk_mb}"
        linux.mount("box", folder, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, size)
    for name in _FOLDERS:
        os.mkdir(f"{folder}/{name}", 0o700)
    work = f"{folder}/work"
    for name, content in job.files.items():
        path = os.path.normpath(f"{work}/{name}")
        if not path.startswith(work + "/"):
            raise ValueError(f"{name!r} is outside the working folder")
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
    if setup.many_uids:
        for top, folders, files in os.walk(folder):
            for entry in (*folders, *files):
                os.chown(f"{top}/{entry}", uid, uid)
    os.chdir(work)


def _limits(job: Job) -> None:
    memory, disk, seconds = job.memory_mb << 20, job.disk_mb << 20, int(job.cpu_s) + _CPU_GRACE_S
    for name, value in (
        ("RLIMIT_AS", memory),
        ("RLIMIT_FSIZE", disk),
        ("RLIMIT_CPU", seconds),
        ("RLIMIT_NOFILE", 256),
        ("RLIMIT_MEMLOCK", 0),
    ):
        resource.setrlimit(getattr(resource, name), (value, value))
    if os.getpid() == 1:  # in a namespace of ours; elsewhere it would count the user's other processes
        resource.setrlimit(resource.RLIMIT_NPROC, (_PROCESSES, _PROCESSES))


def _pump(job: Job, child: Child, streams: Streams, watch: socket.socket, start: float) -> str:
    """Feed and drain the program until it ends or reaches a limit, which is returned."""
    poll = select.poll()
    poll.register(child.pidfd, select.POLLIN)
    for fd in streams.out:
        os.set_blocking(fd, False)
        poll.register(fd, select.POLLIN)
    os.set_blocking(streams.stdin, False)
    if streams.waiting:
        poll.register(streams.stdin, select.POLLOUT)
    else:
        os.close(streams.stdin)
    look = start + _LOOK_EVERY_S
    while True:
        ready = dict(poll.poll(_LOOK_EVERY_S * 1000))
        if streams.stdin in ready and streams.waiting:
            _feed(streams, poll)
        for fd in streams.out:
            if fd in ready and not _drain(fd, streams, job.output_bytes, poll):
                return "output"
        if child.pidfd in ready:
            return "" if all(_drain(fd, streams, job.output_bytes, None) for fd in streams.out) else "output"
        if time.monotonic() >= look:
            limit = _over(job, child, streams, watch, start)
            if limit:
                return limit
            look = time.monotonic() + _LOOK_EVERY_S


def _feed(streams: Streams, poll: select.poll) -> None:
    try:
        written = os.write(streams.stdin, streams.waiting[:65536])
        streams.waiting = streams.waiting[written:]
    except BlockingIOError:
        return
    except OSError:
        streams.waiting = b""
    if not streams.waiting:
        poll.unregister(streams.stdin)
        os.close(streams.stdin)


def _drain(fd: int, streams: Streams, cap: int, poll: select.poll | None) -> bool:
    """Take what is there. False where the two streams together passed the cap; what is beyond it is dropped."""
    while True:
        try:
            part = os.read(fd, 65536)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            return True
        if not part:
            if poll is not None:
                poll.unregister(fd)
            return True
        room = cap - sum(len(b) for b in streams.out.values())
        streams.out[fd] += part[:room]
        if len(part) > room:
            return False


def _over(job: Job, child: Child, streams: Streams, watch: socket.socket, start: float) -> str:
    """The limit that was reached, "" if none. Processor time counts over the program and its processes."""
    elapsed = time.monotonic() - start
    if child.cpu_s() >= job.cpu_s:
        return "cpu"
    known = account(watch, [child.pid], tree=True)
    streams.tree_cpu_s = known["cpu"]
    if known["cpu"] >= job.cpu_s:
        return "cpu"
    if elapsed - known["starved"] >= job.wall_s:
        return "wall"
    return "starved" if elapsed >= _STARVED_FACTOR * job.wall_s else ""

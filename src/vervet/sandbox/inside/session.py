"""PID 1 of a container for one program that stays: its input and output are the driver's sockets.

For provers, whose start is dear and whose answers are many. The program reads the socket `code` and writes the socket
`tests`, standard error included. It gets the layers of whole programs (see `runner`): a pid and mount namespace, a uid
without capabilities, Landlock rules, the programs' system call filter, resource limits, and a private tmpfs that it may fill.
All that was given to it once lives as long as it does: the driver starts another when an answer must not see what an
earlier one left.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import socket
import sys
from dataclasses import dataclass
from typing import NoReturn

from vervet.sandbox.inside import landlock, linux, seccomp, wire
from vervet.sandbox.inside.root import BOX, cover_proc
from vervet.sandbox.inside.runner import FOLDERS
from vervet.sandbox.inside.zygote import Child, Setup, account, lacking

_UID = 10000
_PROCESSES = 64
_OPEN_FILES = 1024
_PATH = "/usr/local/bin:/usr/bin:/bin"
_SHOWN = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc")


@dataclass
class Job:
    """What to start."""

    argv: list[str]
    memory_mb: int
    # address space
    disk_mb: int
    shown: list[str]
    # paths of the host, besides the system's, that this container shows
    environment: dict[str, str]
    # variables besides HOME, TMPDIR, PATH and LANG, or instead of them
    folder: str
    # where it works without a container: the driver has made it and removes it
    files: dict[str, bytes]


def serve(
    setup: Setup, watch: socket.socket, control: socket.socket, code: socket.socket, tests: socket.socket
) -> NoReturn:
    """Start the program, then answer questions about it until the driver is gone.

    The first frame is the job, followed by one frame a file. Each further frame is a question, "self" or "tree"; the reply has
    `cpu_s` and `starved_s`, of the program or of all its processes, and `exit`: None while it runs, else its exit
    code or minus its signal.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if setup.isolated:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        cover_proc()
    wire.send(control, json.dumps({"lacking": lacking(setup)}).encode())
    try:
        head = json.loads(wire.receive(control))
        job = Job(**{**head, "files": {name: wire.receive(control) for name in head["files"]}})
    except wire.Closed:
        os._exit(0)
    child, failure = _start(job, setup, code, tests)
    wire.send(control, json.dumps({"started": not failure, "error": failure}).encode())
    if failure:
        child.reap()
        os._exit(0)
    _answer(child, setup, watch, control)


def _start(job: Job, setup: Setup, code: socket.socket, tests: socket.socket) -> tuple[Child, str]:
    """The running program, and why it could not be started."""
    said = os.pipe()
    if setup.isolated:
        pid, pidfd = linux.clone(seccomp.CANDIDATE_FLAGS | linux.CLONE_NEWNS)
    else:
        pid = os.fork()
        pidfd = os.pidfd_open(pid) if pid else -1
    if pid == 0:
        _become(job, setup, (code.fileno(), tests.fileno(), tests.fileno(), said[1]))
    os.close(said[1])
    code.close()
    tests.close()
    failure = b""
    while part := os.read(said[0], 4096):  # closes by itself when the program is started
        failure += part
    os.close(said[0])
    return Child(pid, pidfd), failure.decode("utf-8", "replace")


def _become(job: Job, setup: Setup, fds: tuple[int, int, int, int]) -> NoReturn:
    """In the child. What goes wrong is written to the last descriptor."""
    said = fcntl.fcntl(fds[3], fcntl.F_DUPFD_CLOEXEC, 64)
    try:
        for target, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in fds[:3]]):
            os.dup2(fd, target)
        linux.close_range(3, said - 1)
        linux.close_range(said + 1)
        folder = _enter(job, setup)
        _limit(job, setup)
        if setup.many_uids:
            os.setresgid(_UID, _UID, _UID)
            os.setresuid(_UID, _UID, _UID)
        elif setup.isolated:
            linux.drop_capabilities()
        home, temporary = (f"{folder}/{name}" for name in FOLDERS)
        environment = {"HOME": home, "TMPDIR": temporary, "PATH": _PATH, "LANG": "C.UTF-8", **job.environment}
        if setup.isolated:
            shown = (*_SHOWN, sys.prefix, sys.base_prefix, *job.shown)
            rules = [(p, landlock.READ | landlock.EXECUTE) for p in shown]
            rules += [("/proc", landlock.READ), ("/dev", landlock.READ | landlock.WRITE_FILE)]
            landlock.restrict([*rules, (folder, landlock.WRITE_TREE)])
            linux.load_seccomp(seccomp.program_filter())
        else:
            os.setpgid(0, 0)
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.execvpe(job.argv[0], job.argv, environment)  # noqa: S606  an argument list, no shell
    except BaseException as error:
        os.write(said, f"{type(error).__name__}: {error}".encode()[:2000])
    os._exit(127)


def _enter(job: Job, setup: Setup) -> str:
    """Make the folder, put the files in, go there. Returns it."""
    folder = BOX if setup.isolated else job.folder
    if setup.isolated:
        cover_proc()
        size = f"mode=0755,size={job.disk_mb}m,nr_inodes={1024 + 64 * job.disk_mb}"
        linux.mount("box", folder, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, size)
    for name in FOLDERS:
        os.mkdir(f"{folder}/{name}", 0o700)
    for name, content in job.files.items():
        with open(f"{folder}/work/{os.path.basename(name)}", "wb") as file:
            file.write(content)
    if setup.many_uids:
        for top, folders, files in os.walk(folder):
            for entry in (*folders, *files):
                os.chown(f"{top}/{entry}", _UID, _UID)
    os.chdir(f"{folder}/work")
    return folder


def _limit(job: Job, setup: Setup) -> None:
    limits = {"RLIMIT_AS": job.memory_mb << 20, "RLIMIT_FSIZE": job.disk_mb << 20, "RLIMIT_NOFILE": _OPEN_FILES}
    if setup.isolated:  # elsewhere it would count the user's other processes
        limits["RLIMIT_NPROC"] = _PROCESSES
    for name, value in {**limits, "RLIMIT_MEMLOCK": 0}.items():
        resource.setrlimit(getattr(resource, name), (value, value))


def _answer(child: Child, setup: Setup, watch: socket.socket, control: socket.socket) -> NoReturn:
    ended: int | None = None
    used = {"cpu": 0.0, "starved": 0.0}
    poll = select.poll()
    for fd in (child.pidfd, control.fileno()):
        poll.register(fd, select.POLLIN)
    try:
        while True:
            ready = dict(poll.poll())
            if ended is None and child.pidfd in ready:
                poll.unregister(child.pidfd)
                ended, used["cpu"] = child.reap()
            if control.fileno() in ready:
                thorough = wire.receive(control) == b"tree"
                if ended is None and thorough:
                    used = account(watch, [child.pid], tree=True)
                if ended is None:
                    used["cpu"] = max(used["cpu"], child.cpu_s())
                reply = {"cpu_s": used["cpu"], "starved_s": used["starved"], "exit": ended}
                wire.send(control, json.dumps(reply).encode())
    except wire.Closed:
        if not setup.isolated and ended is None:
            os.killpg(child.pid, signal.SIGKILL)
        os._exit(0)

"""The parent of programs: starts one after the other, keeps its limits, ends its whole tree, says how it ended.

A runner serves one phase of a folder's life. In a container of ours it is PID 1 of a pid namespace with the programs' uid, no
capability, their system call filter, their Landlock rules and their resource limits, so that starting a program costs
what it costs anywhere: no layer is built for it. Programs are its children and no init of their own, so signals do to
them what they do in real life; they cannot signal, trace or see the runner. Between two programs all processes but the
runner are killed, and the temporary folder is emptied.

In an engine's container there is no pid namespace to be had. There the runner stays root, each program is forked, becomes
somebody else and takes on the layers itself, and what it leaves is killed by its uid.

Processor time counts over the program and all that it started, ended or not.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import select
import signal
import socket
import stat
import sys
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from vervet.sandbox.inside import landlock, linux, wire
from vervet.sandbox.inside.root import cover_proc
from vervet.sandbox.inside.zygote import Setup, account

FOLDERS = ("work", "tmp")
_SHOWN = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc")
_PATH = "/usr/local/bin:/usr/bin:/bin"
_PROCESSES = 64
_OPEN_FILES = 256
_LEAST_MB = 64
# what this process itself needs; a lower limit is put on a program when it has just been started
_LOOK_EVERY_S = 0.05
_STARVED_FACTOR = 4
_CPU_GRACE_S = 2
_PIPE = 65536
# bytes that a fresh pipe takes at once


class Place(NamedTuple):
    """Where and as whom programs run."""

    setup: Setup
    uid: int
    folder: str
    # holds FOLDERS
    seccomp: bytes


class Phase(NamedTuple):
    """What all programs of a phase share."""

    memory_mb: int
    disk_mb: int
    read_only: bool
    # the working folder cannot be changed; the temporary folder is emptied after each program


class Limits(NamedTuple):
    """What one program may use."""

    cpu_s: float
    wall_s: float
    output_bytes: int
    memory_mb: int


def main(place: Place, phase: Phase, watch: socket.socket, control: socket.socket) -> NoReturn:
    """In a child of PID 1: serve until the phase ends or the driver is gone."""
    failure = ""
    try:
        _enter(place, phase)
    except (OSError, ValueError) as error:
        failure = f"{type(error).__name__}: {error}"
    code = 1
    try:
        programs = Runner(place, phase, watch, control)
        while programs.serve(failure):
            pass
        code = 0
    finally:
        os._exit(code)


def answer(control: socket.socket, outcome: dict[str, Any], out: bytes, err: bytes) -> None:
    """Send the driver an outcome and what came out."""
    control.sendall(b"".join(wire.pack(part) for part in (json.dumps(outcome).encode(), out, err)))


def _enter(place: Place, phase: Phase) -> None:
    """Become what programs are: identity, folder, limits, rules. Order matters: each step needs what a later one takes."""
    work = f"{place.folder}/{FOLDERS[0]}"
    if place.setup.namespaces:
        cover_proc()
        if phase.read_only:
            linux.mount(work, work, None, linux.MS_BIND)
            linux.lock_mount(work)
    os.chdir(work)
    if not place.setup.isolated:
        _limit(phase, isolated=False)
    if place.setup.namespaces:
        _confine(place, phase)
    else:
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)
    if place.setup.isolated and not place.setup.namespaces:
        _own(work, 0 if phase.read_only else place.uid)


def _own(path: str, uid: int) -> None:
    """Give a tree to a uid; root's can be read and executed by everybody."""
    for name in [path, *(f"{top}/{n}" for top, folders, files in os.walk(path) for n in (*folders, *files))]:
        os.chown(name, uid, uid, follow_symlinks=False)
        mode = os.lstat(name).st_mode
        if not stat.S_ISLNK(mode):
            os.chmod(name, stat.S_IMODE(mode) | (0o111 if mode & stat.S_IXUSR or stat.S_ISDIR(mode) else 0) | 0o444)


def _confine(place: Place, phase: Phase) -> None:
    """Identity, limits and rules of programs: of this process, or of a child that is to become one."""
    work, temporary = (f"{place.folder}/{name}" for name in FOLDERS)
    _limit(phase, isolated=True)
    if place.setup.many_uids:
        os.setresgid(place.uid, place.uid, place.uid)
        os.setresuid(place.uid, place.uid, place.uid)
    else:
        linux.drop_capabilities()
    run = landlock.READ | landlock.EXECUTE
    rules = [(p, run) for p in (*_SHOWN, sys.prefix, sys.base_prefix)]
    rules += [("/proc", landlock.READ), ("/dev", landlock.READ | landlock.WRITE_FILE)]
    rules += [(work, run if phase.read_only else landlock.WRITE_TREE), (temporary, landlock.WRITE_TREE)]
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    # programs have the same uid: nothing of this process is theirs to read or write through /proc
    landlock.restrict(rules)
    linux.load_seccomp(place.seccomp)


def _limit(phase: Phase, isolated: bool) -> None:
    memory, disk = max(phase.memory_mb, _LEAST_MB) << 20, phase.disk_mb << 20
    limits = {"RLIMIT_AS": memory, "RLIMIT_FSIZE": disk, "RLIMIT_NOFILE": _OPEN_FILES, "RLIMIT_MEMLOCK": 0}
    if isolated:  # elsewhere it would count the user's other processes
        limits["RLIMIT_NPROC"] = _PROCESSES
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))


class Runner:
    """Programs of one phase, one at a time."""

    def __init__(self, place: Place, phase: Phase, watch: socket.socket, control: socket.socket) -> None:
        self._place = place
        self._isolated = place.setup.isolated
        self._phase = phase
        self._watch = watch
        self._control = control
        home, self._temporary = (f"{place.folder}/{name}" for name in FOLDERS)
        self._environment = {"HOME": home, "TMPDIR": self._temporary, "PATH": _PATH, "LANG": "C.UTF-8"}

    def serve(self, failure: str) -> bool:
        """One message. False where the phase is over."""
        try:
            message = json.loads(wire.receive(self._control))
            if message.pop("do") == "end":
                return False
            stdin = wire.receive(self._control)
        except wire.Closed:
            return False
        argv = message.pop("argv")
        if failure:
            answer(self._control, {"started": False, "error": failure, "limit": "", "exit": None}, b"", b"")
        else:
            answer(self._control, *self._run(argv, stdin, Limits(**message)))
        return True

    def _run(self, argv: list[str], stdin: bytes, limits: Limits) -> tuple[dict[str, Any], bytes, bytes]:
        """A program from birth to death. Returns the outcome, stdout, stderr."""
        start = time.monotonic()
        inputs, outputs, errors = os.pipe(), os.pipe(), os.pipe()
        theirs, ours = (inputs[0], outputs[1], errors[1]), (inputs[1], outputs[0], errors[0])
        try:
            pid, failure = self._spawn(argv, theirs, limits), ""
        except (OSError, ValueError) as error:
            pid, failure = 0, f"{type(error).__name__}: {error}"
        for fd in theirs:
            os.close(fd)
        streams = Streams(*ours, stdin, limits.output_bytes)
        outcome: dict[str, Any] = {"started": not failure, "error": failure, "limit": "", "exit": None, "cpu_s": 0.0}
        if pid:
            tree = Tree(pid, self._place)
            try:
                outcome["limit"] = self._pump(tree, streams, limits, start)
            finally:
                tree.end()
            outcome |= {"exit": tree.code, "cpu_s": tree.cpu_s}
        streams.close()
        self._clean()
        outcome["wall_s"] = time.monotonic() - start
        out, err = (bytes(streams.out.get(fd, b"")) for fd in ours[1:])
        return outcome, out, err

    def _spawn(self, argv: list[str], fds: tuple[int, ...], limits: Limits) -> int:
        if self._isolated and not self._place.setup.namespaces:
            return self._fork(argv, fds, limits)
        actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(fds)]
        group: dict[str, Any] = {} if self._isolated else {"setpgroup": 0}
        pid = os.posix_spawnp(
            argv[0], argv, self._environment, file_actions=actions, setsigmask=(), setsigdef=_SIGNALS, **group
        )
        self._backstop(pid, limits)
        return pid

    def _fork(self, argv: list[str], fds: tuple[int, ...], limits: Limits) -> int:
        """Fork, take on the layers, become the program. Raises: OSError where that failed."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                said = fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, 64)
                for target, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in fds]):
                    os.dup2(fd, target)
                linux.close_range(3, said - 1)
                for number in _SIGNALS:
                    if signal.getsignal(number) not in (signal.SIG_DFL, None):
                        signal.signal(number, signal.SIG_DFL)
                _confine(self._place, self._phase)
                self._backstop(0, limits)
                os.execvpe(argv[0], argv, self._environment)  # noqa: S606  an argument list, no shell
            except BaseException as error:
                os.write(said, f"{type(error).__name__}: {error}".encode()[:2000])
            os._exit(127)
        os.close(writing)
        failure = b"".join(iter(lambda: os.read(reading, 4096), b""))
        os.close(reading)
        if failure:
            os.waitpid(pid, 0)
            raise OSError(failure.decode("utf-8", "replace"))
        return pid

    def _backstop(self, pid: int, limits: Limits) -> None:
        """Limits for the case that this process does not get to look, and what is too little for it to live under."""
        try:
            seconds = int(limits.cpu_s) + _CPU_GRACE_S
            resource.prlimit(pid, resource.RLIMIT_CPU, (seconds, seconds))
            memory = limits.memory_mb << 20
            if limits.memory_mb < max(_LEAST_MB, self._phase.memory_mb):
                resource.prlimit(pid, resource.RLIMIT_AS, (memory, memory))
        except ProcessLookupError:  # it is that short
            pass

    def _pump(self, tree: Tree, streams: Streams, limits: Limits, start: float) -> str:
        """Feed and drain the program until it ends or reaches a limit, which is returned. Raises: wire.Closed."""
        poll = select.poll()
        poll.register(tree.pidfd, select.POLLIN)
        poll.register(self._control.fileno(), 0)
        # for the driver's end only: further jobs may be waiting in there
        streams.register(poll)
        look = start + _LOOK_EVERY_S
        while True:
            ready = dict(poll.poll(_LOOK_EVERY_S * 1000))
            if not streams.serve(ready, poll):
                return "output"
            if tree.pidfd in ready:
                return "" if streams.drain() else "output"
            if self._control.fileno() in ready:
                raise wire.Closed
            if time.monotonic() >= look:
                limit = self._over(tree, limits, start)
                if limit:
                    return limit
                look = time.monotonic() + _LOOK_EVERY_S

    def _over(self, tree: Tree, limits: Limits, start: float) -> str:
        """The limit that was reached, "" if none."""
        elapsed = time.monotonic() - start
        if tree.reap() >= limits.cpu_s:
            return "cpu"
        known = account(self._watch, [], tree=True)
        if tree.cpu_s + known["cpu"] >= limits.cpu_s:
            return "cpu"
        if elapsed - known["starved"] >= limits.wall_s and not known["runnable"]:
            return "wall"
        return "starved" if elapsed >= _STARVED_FACTOR * limits.wall_s else ""

    def _clean(self) -> None:
        """Empty the temporary folder of a phase in which nothing is to be left. Raises: OSError."""
        if self._phase.read_only and os.listdir(self._temporary):
            for name in os.listdir(self._temporary):
                remove(f"{self._temporary}/{name}")


@dataclass
class Streams:
    """The program's standard streams, our ends, and what came out."""

    stdin: int
    stdout: int
    stderr: int
    waiting: bytes
    # input that was not taken yet
    cap: int
    # bytes of both outputs together
    out: dict[int, bytearray] = field(default_factory=dict)
    # by descriptor

    def register(self, poll: select.poll) -> None:
        """Hand over what fits at once, watch the rest."""
        self.out = {self.stdout: bytearray(), self.stderr: bytearray()}
        for fd in self.out:
            os.set_blocking(fd, False)
            poll.register(fd, select.POLLIN)
        os.set_blocking(self.stdin, False)
        if not self._feed():
            poll.register(self.stdin, select.POLLOUT)

    def serve(self, ready: dict[int, int], poll: select.poll) -> bool:
        """Feed and drain what is ready. False where the outputs passed the cap."""
        if self.stdin in ready and self.stdin >= 0:
            fd = self.stdin
            if self._feed():
                poll.unregister(fd)
        return all(self._take(fd, poll) for fd in self.out if fd in ready)

    def drain(self) -> bool:
        """Take what is left after the program's end. False where it passed the cap."""
        return all(self._take(fd, None) for fd in self.out)

    def _feed(self) -> bool:
        """Write some input. True where there is no more, or nobody who wants it; then the pipe is closed."""
        try:
            while self.waiting:
                self.waiting = self.waiting[os.write(self.stdin, self.waiting[:_PIPE]) :]
        except BlockingIOError:
            return False
        except OSError:
            self.waiting = b""
        os.close(self.stdin)
        self.stdin = -1
        return True

    def _take(self, fd: int, poll: select.poll | None) -> bool:
        """Read what is there; what is beyond the cap is dropped, and False."""
        while True:
            try:
                part = os.read(fd, _PIPE)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                return True
            if not part:
                if poll is not None:
                    poll.unregister(fd)
                return True
            room = self.cap - sum(map(len, self.out.values()))
            self.out[fd] += part[:room]
            if len(part) > room:
                return False

    def close(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)


_SIGNALS = [s for s in signal.valid_signals() if s not in {signal.SIGKILL, signal.SIGSTOP}]


def remove(path: str) -> None:
    """Remove whatever a program left, folders that it closed to everybody included. Raises: OSError."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        return
    os.chmod(path, 0o700)
    for name in os.listdir(path):
        remove(f"{path}/{name}")
    os.rmdir(path)


class Tree:
    """A program and all that it started."""

    def __init__(self, pid: int, place: Place) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.code: int | None = None
        # exit code, or minus the signal, of the program itself
        self.cpu_s = 0.0
        # of the processes that have ended
        self._place = place

    def reap(self) -> float:
        """Take note of children that have ended. Returns processor seconds: theirs, and the program's so far."""
        while self._wait(os.WNOHANG):
            pass
        if self.code is not None:
            return self.cpu_s
        try:
            return self.cpu_s + time.clock_gettime((~self.pid) << 3 | 2)
        except OSError:
            return self.cpu_s

    def _wait(self, options: int) -> bool:
        try:
            pid, status, usage = os.wait4(-1, options)
        except ChildProcessError:
            return False
        if not pid:
            return False
        self.cpu_s += usage.ru_utime + usage.ru_stime
        if pid == self.pid:
            self.code = os.waitstatus_to_exitcode(status)
        return True

    def end(self) -> None:
        """Kill and reap everything."""
        if self._place.setup.namespaces:
            _kill(-1)
        elif self._place.setup.isolated:
            _kill_all_of(self._place.uid)
        else:
            _kill(-self.pid)
            while pids := descendants():
                for pid in pids:
                    _kill(pid)
                while self._wait(os.WNOHANG):
                    pass
        while self._wait(0):
            pass
        os.close(self.pidfd)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _kill_all_of(uid: int) -> None:
    """Kill every process of a uid, as that uid: the kernel does it at once, so that none can fork away."""
    pid = os.fork()
    if pid == 0:
        os.setresuid(uid, uid, uid)
        _kill(-1)
        os._exit(0)
    os.waitpid(pid, 0)


def descendants() -> list[int]:
    """Living processes below this one, where /proc shows them."""
    found, todo = [], [os.getpid()]
    while todo:
        pid = todo.pop()
        children = [int(p) for thread in _listdir(f"/proc/{pid}/task") for p in _children(pid, thread)]
        found += [p for p in children if _state(p) not in "ZX"]
        todo += children
    return found


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _children(pid: int, thread: str) -> list[str]:
    return _read(f"/proc/{pid}/task/{thread}/children").split()


def _state(pid: int) -> str:
    """One letter, "X" for a process that is gone."""
    return (_read(f"/proc/{pid}/stat").rpartition(")")[2].split() or ["X"])[0]


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""

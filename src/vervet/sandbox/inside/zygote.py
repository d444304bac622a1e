"""PID 1 of a container: makes one candidate at a time, keeps its limits, says how it ended.

It never sees a text: the candidate reads its answer and the tester its tests from the driver themselves, so that
nothing of one answer is left in memory that the next one inherits. The processor's time decides; the wall clock only
where the kernel says that nobody else had the processor (`launch.Watch`).
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from typing import Any, NoReturn

from vervet.sandbox.inside import candidate, landlock, linux, seccomp, tester, wire

LIMITS = struct.Struct("<ddI")
# a job as the driver sends it: processor seconds, wall seconds, megabytes
_FIRST_UID, _UIDS = 10000, 50000
_EOF_GRACE_S = 0.25
# from the end of its socket to the end of the process; longer means that it closed the socket itself
_STARVED_FACTOR = 4
# a starved candidate gets this many times its wall limit before nothing can be said
_READING_CPU_S = 0.02
# a candidate that was killed before this may have left half of its answer in the pipe that the next one reads
_TESTER_CPU_FACTOR = 2
# the tester's share of processor time, relative to the answer's limit, at least _TESTER_CPU_MIN_S
_TESTER_CPU_MIN_S = 2.0


@dataclass(frozen=True)
class Setup:
    """How candidates are kept apart."""

    isolated: bool
    # in a container with namespaces; else plain processes with limits
    many_uids: bool
    # each candidate gets a uid of its own


@dataclass
class Child:
    """A process of ours."""

    pid: int
    pidfd: int

    def cpu_s(self) -> float:
        """Processor time used so far, by the kernel's clock of that process."""
        try:
            return time.clock_gettime((~self.pid) << 3 | 2)
        except OSError:
            return 0.0

    def kill(self) -> None:
        try:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def reap(self) -> tuple[int, float]:
        """Wait for its end. Returns (exit code, or minus the signal; processor seconds)."""
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self.pidfd)
        return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime


def serve(
    setup: Setup, watch: socket.socket, control: socket.socket, code: socket.socket, tests: socket.socket
) -> NoReturn:
    """Harden this process, then serve jobs until the driver is gone."""
    missing = lacking(setup)
    _harden(setup)
    ours, theirs = socket.socketpair()
    helper = fork(setup)
    if helper is None:
        _become(1, [theirs.fileno(), tests.fileno()], setup, cpu_s=None, memory_mb=2048)
        tester.main(_socket(3), _socket(4))
        os._exit(0)
    theirs.close()
    tests.close()
    wire.send(control, json.dumps({"lacking": missing}).encode())
    slot = Slot(setup, watch, ours, code, helper)
    while True:
        try:
            limits = wire.receive(control)
        except wire.Closed:
            os._exit(0)
        wire.send(control, json.dumps(slot.run(*LIMITS.unpack(limits))).encode())
        if slot.broken:
            os._exit(0)


def lacking(setup: Setup) -> list[str]:
    """Layers that a container with namespaces does without on this host."""
    if not setup.isolated:
        return []
    return [*([] if linux.landlock_abi() else ["landlock"]), *([] if setup.many_uids else ["uids"])]


def _socket(fd: int) -> socket.socket:
    # naming the kind spares three system calls that would find it out
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=fd)


def _harden(setup: Setup) -> None:
    for name, value in (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NOFILE", 64), ("RLIMIT_MEMLOCK", 0)):
        resource.setrlimit(getattr(resource, name), (value, value))
    if not setup.isolated:
        return
    resource.setrlimit(resource.RLIMIT_NPROC, (64, 64))
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    shown = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc", *sys.path, sys.prefix, sys.base_prefix)
    landlock.restrict(landlock.read_only([p for p in shown if p]))
    linux.load_seccomp(seccomp.function_filter())


def fork(setup: Setup) -> Child | None:
    """A child in a pid namespace of its own; None in the child."""
    if setup.isolated:
        pid, pidfd = linux.clone(seccomp.CANDIDATE_FLAGS)
    else:
        pid = os.fork()
        pidfd = os.pidfd_open(pid) if pid else -1
    return Child(pid, pidfd) if pid else None


def _become(uid: int, keep: list[int], setup: Setup, cpu_s: float | None, memory_mb: int) -> None:
    """In the child: descriptors 3.. are `keep`, all else is closed; another identity, without power, with limits."""
    # first out of the way: a descriptor to keep may have one of the numbers wanted
    away = [fcntl.fcntl(fd, fcntl.F_DUPFD, 3 + len(keep)) for fd in keep]
    for i, fd in enumerate(away):
        os.dup2(fd, 3 + i)
    linux.close_range(3 + len(keep))
    memory = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if cpu_s is not None:
        seconds = int(cpu_s) + 2
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    if setup.many_uids:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    elif setup.isolated:
        linux.drop_capabilities()
    if not setup.isolated:  # no pid namespace ends this process with the zygote
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)


def account(watch: socket.socket, pids: list[int], *, tree: bool = False) -> dict[str, float]:
    """Ask the launcher, which sees the host's /proc, for the kernel's account of our children; see launch.account."""
    wire.send(watch, json.dumps({"pids": pids, "tree": tree}).encode())
    answer: dict[str, float] = json.loads(wire.receive(watch))
    return answer


class Slot:
    """One candidate after the other, all judged by one tester."""

    def __init__(
        self, setup: Setup, watch: socket.socket, judge: socket.socket, code: socket.socket, helper: Child
    ) -> None:
        self._setup = setup
        self._watch = watch
        self._judge = judge
        self._code = code
        self._helper = helper
        self._poll = select.poll()
        self._poll.register(judge, select.POLLIN)
        self._jobs = 0
        self.broken = False
        # the tester is gone: this container cannot serve another job

    def run(self, cpu_s: float, wall_s: float, memory_mb: int) -> dict[str, Any]:
        """One candidate, from birth to death."""
        self._jobs += 1
        uid = _FIRST_UID + self._jobs % _UIDS
        ours, theirs = socket.socketpair()
        child = fork(self._setup)
        if child is None:
            try:
                _become(uid, [theirs.fileno(), self._code.fileno()], self._setup, cpu_s, memory_mb)
                candidate.main(_socket(3), _socket(4))
            finally:
                os._exit(1)
        theirs.close()
        try:
            socket.send_fds(self._judge, [b"J"], [ours.fileno()])
        except OSError:
            self.broken = True
        ours.close()
        limit, answered = self._wait(child, cpu_s, wall_s)
        alive = self._alive_after_eof(child) if answered == b"E" and not limit else False
        child.kill()
        code, used = child.reap()
        killed_by_kernel = code == -signal.SIGKILL and answered == b"E" and not alive
        if used < _READING_CPU_S and (limit or killed_by_kernel):
            self.broken = True
        ending = {"limit": limit, "tester": bool(answered), "alive": alive, "exit": code, "cpu_s": used}
        return ending | {"last": self.broken}

    def _wait(self, child: Child, cpu_s: float, wall_s: float) -> tuple[str, bytes]:
        """Until the tester has its verdict or a limit is reached. Returns (limit or "", the tester's byte or b"")."""
        start, helper_start = time.monotonic(), self._helper.cpu_s()
        deadline = start + wall_s
        tester_limit = max(_TESTER_CPU_MIN_S, _TESTER_CPU_FACTOR * cpu_s)
        while not self.broken:
            used, helper_used = child.cpu_s(), self._helper.cpu_s() - helper_start
            now = time.monotonic()
            if self._poll.poll(0):  # a verdict that is there counts, however late this process was to look
                return "", self._byte()
            if used >= cpu_s:
                return "cpu", self._end(child)
            if helper_used >= tester_limit:
                self._helper.kill()
                self.broken = True
                return "tester_cpu", b""
            if now >= deadline:
                waited = self._starved_s(child)
                if now - start - waited >= wall_s:
                    return "wall", self._end(child)
                if now - start >= _STARVED_FACTOR * wall_s:
                    return "starved", self._end(child)
                deadline = min(start + wall_s + waited, start + _STARVED_FACTOR * wall_s)
                continue
            left = min(cpu_s - used, tester_limit - helper_used, deadline - now)
            self._poll.poll(max(1, int(left * 1000)))
        return "tester_gone", b""

    def _byte(self) -> bytes:
        answered = self._judge.recv(1)
        if not answered:
            self.broken = True
        return answered

    def _end(self, child: Child) -> bytes:
        """Kill the candidate; the tester sees its end and says so, or hangs and goes as well."""
        child.kill()
        if self._poll.poll(2000):
            return self._byte()
        self._helper.kill()
        self.broken = True
        return b""

    def _alive_after_eof(self, child: Child) -> bool:
        ended = select.poll()
        ended.register(child.pidfd, select.POLLIN)
        return not ended.poll(int(_EOF_GRACE_S * 1000))

    def _starved_s(self, child: Child) -> float:
        """Seconds that the candidate and the tester were ready to run while others ran."""
        return account(self._watch, [child.pid, self._helper.pid])["starved"]

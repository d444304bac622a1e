"""PID 1 of a container: makes one candidate at a time, keeps its limits, says how it ended.

It never sees a text: answers and tests go from the driver to the processes that need them, so that nothing of one
answer is left in memory that the next one inherits. The processor's time decides; the wall clock only where the kernel
says that nobody else had the processor (`launch.account`).
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
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from vervet.sandbox.inside import candidate, compiler, landlock, linux, seccomp, tester, wire

LIMITS = struct.Struct("<ddI")
# a job as the driver sends it: processor seconds, wall seconds, megabytes
CALLS_FD, CODE_FD = 3, 4
# a candidate's only descriptors besides the standard ones; reserved from the start
_TESTER_UID, _COMPILER_UID = 1, 2
_FIRST_UID, _UIDS = 10000, 50000
_PROCESSES = 64
_HELPER_MB = 2048
_HIGHEST_FD = 64
_EOF_GRACE_S = 0.25
# from the end of its socket to the end of the process; longer means that it closed the socket itself
_FIRST_LOOK_S = 0.05
# into a candidate's life; from then on it is known what its helpers lack on its account
_LOOK_AGAIN_S = 0.05
_STARVED_FACTOR = 4
# a starved candidate gets this many times its wall limit before nothing can be said
_READING_CPU_S = 0.02
# a candidate that was killed before this may have left half of its answer in the pipe that the next one reads
_HELPER_CPU_FACTOR = 2
# a helper's share of processor time for one answer, relative to the answer's limit, at least _HELPER_CPU_MIN_S
_HELPER_CPU_MIN_S = 2.0


class Setup(NamedTuple):
    """How candidates are kept apart."""

    isolated: bool
    # in a container; else plain processes with limits
    many_uids: bool
    # each candidate gets a uid of its own
    namespaces: bool
    # each candidate gets a pid namespace of its own: the container is one that we made, not an engine's


class Child:
    """A process of ours."""

    __slots__ = ("_clock", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self._clock = (~pid) << 3 | 2
        # the kernel's name for that process's processor time

    def cpu_s(self) -> float:
        """Processor time used so far."""
        try:
            return time.clock_gettime(self._clock)
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
    fork = forker(setup)
    reading, writing = os.pipe()
    parser = _helper(fork, setup, _COMPILER_UID, [code.fileno(), writing], _compile)
    os.dup2(reading, CODE_FD)
    ours, theirs = socket.socketpair()
    judge = _helper(fork, setup, _TESTER_UID, [theirs.fileno(), tests.fileno()], _test)
    for fd in (reading, writing):
        os.close(fd)
    for sock in (theirs, tests, code):
        sock.close()
    slot = Slot(setup, fork, watch, Helpers(judge, parser, ours))
    wire.send(control, json.dumps({"lacking": missing}).encode())
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


def _harden(setup: Setup) -> None:
    for name, value in (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NOFILE", _HIGHEST_FD), ("RLIMIT_MEMLOCK", 0)):
        resource.setrlimit(getattr(resource, name), (value, value))
    if not setup.isolated:
        return
    if setup.namespaces:  # elsewhere it would count what others have under this uid
        resource.setrlimit(resource.RLIMIT_NPROC, (_PROCESSES, _PROCESSES))
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    shown = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc", *sys.path, sys.prefix, sys.base_prefix)
    landlock.restrict(landlock.read_only([p for p in shown if p]))
    linux.load_seccomp(seccomp.function_filter(forks=not setup.namespaces))


def forker(setup: Setup) -> Callable[[], tuple[int, int]]:
    """What makes a child, in a pid namespace of its own where we may. Returns (pid, pidfd), (0, -1) in the child."""
    if setup.namespaces:
        return linux.prepared_clone(seccomp.CANDIDATE_FLAGS)

    def fork() -> tuple[int, int]:
        pid = os.fork()
        return pid, os.pidfd_open(pid) if pid else -1

    return fork


def _helper(
    fork: Callable[[], tuple[int, int]], setup: Setup, uid: int, keep: list[int], main: Callable[[], None]
) -> Child:
    """A process of ours that lives as long as the container and has `keep` as its descriptors 3, 4."""
    pid, pidfd = fork()
    if pid:
        return Child(pid, pidfd)
    try:
        # first out of the way: a descriptor to keep may have one of the numbers wanted
        for target, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, 16) for fd in keep], 3):
            os.dup2(fd, target)
        os.closerange(3 + len(keep), _HIGHEST_FD)
        confine(setup, uid, _HELPER_MB)
        main()
    finally:
        os._exit(0)


def _compile() -> None:
    compiler.main(socket.socket(fileno=3), 4)


def _test() -> None:
    tester.main(socket.socket(fileno=3), socket.socket(fileno=4))


def confine(setup: Setup, uid: int, memory_mb: int) -> None:
    """In a child: another identity, without power, with a limit on memory."""
    memory = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if setup.many_uids:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    elif setup.isolated:
        linux.drop_capabilities()
    if not setup.namespaces:  # none ends this process with the zygote
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        if setup.isolated:
            resource.setrlimit(resource.RLIMIT_NPROC, (_PROCESSES, _PROCESSES))
            linux.load_seccomp(seccomp.no_forks())


def account(watch: socket.socket, pids: list[int], *, tree: bool = False) -> dict[str, float]:
    """Ask the launcher, which sees the host's /proc, for the kernel's account of our children; see launch.account."""
    wire.send(watch, json.dumps({"pids": pids, "tree": tree}).encode())
    answer: dict[str, float] = json.loads(wire.receive(watch))
    return answer


def first_number(setup: Setup) -> int:
    """Where to begin counting uids: an engine's containers may share them, and with them the limit on processes."""
    return int.from_bytes(os.urandom(2), "little") if setup.isolated and not setup.namespaces else 0


class Helpers(NamedTuple):
    """The two processes that serve all candidates of a container."""

    tester: Child
    compiler: Child
    channel: socket.socket
    # to the tester: a candidate's socket out, a byte back


class Slot:
    """One candidate after the other, all judged by one tester."""

    def __init__(
        self, setup: Setup, fork: Callable[[], tuple[int, int]], watch: socket.socket, helpers: Helpers
    ) -> None:
        self._setup = setup
        self._fork = fork
        self._watch = watch
        self._helpers = helpers
        self._poll = select.poll()
        self._poll.register(helpers.channel, select.POLLIN)
        self._jobs = first_number(setup)
        self._killed = ""
        # the helper that used up its time
        self.broken = False
        # a helper is gone: this container cannot serve another job

    def run(self, cpu_s: float, wall_s: float, memory_mb: int) -> dict[str, Any]:
        """One candidate, from birth to death."""
        self._jobs += 1
        uid = _FIRST_UID + self._jobs % _UIDS
        ours, theirs = socket.socketpair()
        pid, pidfd = self._fork()
        if pid == 0:
            try:
                os.dup2(theirs.fileno(), CALLS_FD)
                os.closerange(CODE_FD + 1, _HIGHEST_FD)
                seconds = int(cpu_s) + 2
                resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
                confine(self._setup, uid, memory_mb)
                candidate.main(CALLS_FD, CODE_FD)
            finally:
                os._exit(1)
        child = Child(pid, pidfd)
        theirs.close()
        try:
            socket.send_fds(self._helpers.channel, [b"J"], [ours.fileno()])
        except OSError:
            self.broken = True
        ours.close()
        limit, answered = self._wait(child, cpu_s, wall_s)
        return self._ending(child, limit, answered)

    def _ending(self, child: Child, limit: str, answered: bytes) -> dict[str, Any]:
        at_end = answered in {tester.EOF, tester.EOF_EARLY} and not limit
        alive = at_end and self._alive(child)
        child.kill()
        code, used = child.reap()
        stopped = bool(limit) or (at_end and not alive and code == -signal.SIGKILL)
        if stopped and used < _READING_CPU_S and answered != tester.EOF:
            self.broken = True
        ending = {"limit": limit, "tester": bool(answered), "alive": alive, "exit": code, "cpu_s": used}
        if answered == tester.UNCOMPILED:
            ending["compiler"] = self._killed or self._fate(self._helpers.compiler)
            self.broken = True
        return ending | {"last": self.broken}

    def _wait(self, child: Child, cpu_s: float, wall_s: float) -> tuple[str, bytes]:
        """Until the tester has its verdict or a limit is reached. Returns (limit or "", the tester's byte or b"")."""
        judge, parser, _ = self._helpers
        start, judged, parsed = time.monotonic(), judge.cpu_s(), parser.cpu_s()
        deadline = start + wall_s
        helper_limit = max(_HELPER_CPU_MIN_S, _HELPER_CPU_FACTOR * cpu_s)
        left = min(cpu_s, wall_s, _FIRST_LOOK_S)
        lacked: float | None = None
        # what the helpers had lacked before, for other candidates
        while not self.broken or self._killed:
            if self._poll.poll(max(1, int(left * 1000))):
                return "", self._byte()
            used, now = child.cpu_s(), time.monotonic()
            if self._poll.poll(0):  # a verdict that is there counts, however late this process was to look
                return "", self._byte()
            if used >= cpu_s:
                return "cpu", self._end(child)
            judging, parsing = judge.cpu_s() - judged, parser.cpu_s() - parsed
            if judging >= helper_limit:
                judge.kill()
                self.broken = True
                return "tester_cpu", b""
            if parsing >= helper_limit and not self._killed:  # perhaps on a later answer; whoever waits for it is told
                parser.kill()
                self._killed, self.broken = "cpu", True
            if lacked is None:  # not asked for before, most end sooner; until now they may have lacked all of the time
                lacked = account(self._watch, [judge.pid, parser.pid])["starved"] - (now - start)
            if now >= deadline:
                known = account(self._watch, [child.pid, judge.pid, parser.pid])
                starved = known["starved"] - lacked
                if now - start - starved >= wall_s and not known["runnable"]:
                    return "wall", self._end(child)
                if now - start >= _STARVED_FACTOR * wall_s:
                    return "starved", self._end(child)
                deadline = max(now + _LOOK_AGAIN_S, start + wall_s + starved)
                deadline = min(deadline, start + _STARVED_FACTOR * wall_s)
            left = min(cpu_s - used, helper_limit - judging, max(0.01, helper_limit - parsing), deadline - now)
        return "tester_gone", b""

    def _byte(self) -> bytes:
        answered = self._helpers.channel.recv(1)
        if not answered:
            self.broken = True
        return answered

    def _end(self, child: Child) -> bytes:
        """Kill the candidate; the tester sees its end and says so, or hangs and goes as well."""
        child.kill()
        if self._poll.poll(2000):
            return self._byte()
        self._helpers.tester.kill()
        self.broken = True
        return b""

    def _alive(self, child: Child) -> bool:
        """Whether a candidate whose channel is closed goes on."""
        ended = select.poll()
        ended.register(child.pidfd, select.POLLIN)
        return not ended.poll(int(_EOF_GRACE_S * 1000))

    def _fate(self, child: Child) -> str:
        """How a helper that closed its channel ended."""
        if self._alive(child):
            return "closed"
        code, _ = child.reap()
        return signal.Signals(-code).name if code < 0 else f"exit {code}"

"""System call allow-lists, assembled to BPF here. x86_64 and aarch64.

A call that is not listed fails with EPERM, so that Python raises PermissionError and the verdict can say `forbidden`;
clone3 fails with ENOSYS, which makes the C library fall back to clone, whose flags a filter can read. A call by another
architecture's convention kills the process.

FUNCTION is for one answer's function: no new process, no program, no socket but a pair, no file changed.
PROGRAM is for whole programs in a container of their own: processes, programs and files, but no namespace, no
network, no tracing and no shared memory that would outlive it.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping, Sequence

from vervet.sandbox.inside import linux

_Instruction = tuple[int, int, int, int]
_LOAD, _JEQ, _JGE, _JA, _RET, _AND = 0x20, 0x15, 0x35, 0x05, 0x06, 0x54
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_EPERM, _ENOSYS = 1, 38

# name=x86_64,aarch64; "-" where the machine has no such call
_BASE = """
read=0,63 write=1,64 close=3,57 fstat=5,80 stat=4,- lstat=6,- newfstatat=262,79 statx=332,291 poll=7,- ppoll=271,73
lseek=8,62 mmap=9,222 mprotect=10,226 munmap=11,215 brk=12,214 rt_sigaction=13,134 rt_sigprocmask=14,135
rt_sigreturn=15,139 rt_sigpending=127,136 rt_sigtimedwait=128,137 rt_sigsuspend=130,133 pause=34,- pread64=17,67
pwrite64=18,68 readv=19,65 writev=20,66 access=21,- faccessat=269,48 faccessat2=439,439 pipe=22,- pipe2=293,59
select=23,- pselect6=270,72 sched_yield=24,124 mremap=25,216 mincore=27,232 madvise=28,233 dup=32,23 dup2=33,-
dup3=292,24 nanosleep=35,101 clock_nanosleep=230,115 getitimer=36,102 setitimer=38,103 alarm=37,- getpid=39,172
getppid=110,173 gettid=186,178 getuid=102,174 geteuid=107,175 getgid=104,176 getegid=108,177 getresuid=118,148
getresgid=120,150 getgroups=115,158 getpgid=121,155 getpgrp=111,- getsid=124,156 getpriority=140,141 setresuid=117,147
setresgid=119,149 exit=60,93 exit_group=231,94 uname=63,160 fcntl=72,25 flock=73,32 fsync=74,82 fdatasync=75,83
getdents64=217,61 getdents=78,- getcwd=79,17 chdir=80,49 fchdir=81,50 readlink=89,- readlinkat=267,78 umask=95,166
gettimeofday=96,169 getrlimit=97,163 prlimit64=302,261 getrusage=98,165 sysinfo=99,179 times=100,153 time=201,-
sigaltstack=131,132 arch_prctl=158,- futex=202,98 sched_getaffinity=204,123 sched_getparam=143,121
sched_getscheduler=145,120 sched_get_priority_max=146,125 sched_get_priority_min=147,126 set_tid_address=218,96
set_robust_list=273,99 get_robust_list=274,100 clock_gettime=228,113 clock_getres=229,114 tgkill=234,131 wait4=61,260
waitid=247,95 sendmsg=46,211 recvmsg=47,212 sendto=44,206 recvfrom=45,207 shutdown=48,210 getsockname=51,204
getpeername=52,205 getsockopt=55,209 setsockopt=54,208 epoll_create=213,- epoll_create1=291,20 epoll_ctl=233,21
epoll_wait=232,- epoll_pwait=281,22 eventfd2=290,19 getrandom=318,278 membarrier=324,283 rseq=334,293
restart_syscall=219,128 close_range=436,436 open=2,- openat=257,56 capget=125,90 capset=126,91 pidfd_send_signal=424,424
statfs=137,43 fstatfs=138,44 getcpu=309,168 fadvise64=221,223
"""
_FORKS = "fork=57,- vfork=58,- pidfd_open=434,434"
_PROGRAMS = """
execve=59,221 execveat=322,281 kill=62,129 tkill=200,130 msync=26,227
sched_setaffinity=203,122 sched_setscheduler=144,119 setpriority=141,140 sched_getattr=315,275 setrlimit=160,164
preadv=295,69 pwritev=296,70 truncate=76,45 ftruncate=77,46 creat=85,- rename=82,- renameat=264,38 renameat2=316,276
mkdir=83,- mkdirat=258,34 rmdir=84,- unlink=87,- unlinkat=263,35 link=86,- linkat=265,37 symlink=88,- symlinkat=266,36
chmod=90,- fchmod=91,52 fchmodat=268,53 chown=92,- fchown=93,55 lchown=94,- fchownat=260,54 utime=132,- utimes=235,-
utimensat=280,88 futimesat=261,- fallocate=285,47 copy_file_range=326,285 sendfile=40,71 splice=275,76 tee=276,77
setpgid=109,154 setsid=112,157 eventfd=284,- timerfd_create=283,85 timerfd_settime=286,86 timerfd_gettime=287,87
sendmmsg=307,269 recvmmsg=299,243 futex_waitv=449,449 epoll_pwait2=441,441 sync_file_range=277,84 setuid=105,146
setgid=106,144 setgroups=116,159 rt_sigqueueinfo=129,138 getxattr=191,8 lgetxattr=192,9 fgetxattr=193,10
listxattr=194,11 llistxattr=195,12 flistxattr=196,13
"""
_CONDITIONAL = {
    "clone": (56, 220),
    "ioctl": (16, 29),
    "prctl": (157, 167),
    "socketpair": (53, 199),
    "socket": (41, 198),
    "seccomp": (317, 277),
}
_CLONE3 = (435, 435)

_NAMESPACES = 0x7E020000 | 0x80
# every CLONE_NEW bit
_CLONE_THREAD = 0x10000
CANDIDATE_FLAGS = linux.CLONE_NEWPID | linux.CLONE_PIDFD
"""The one way to make a process under FUNCTION; it takes a capability that only the zygote holds."""

_TERMINAL_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: what Python's own files ask
_PRCTL_OPTIONS = (1, 15, 16, 38)
# PDEATHSIG, SET_NAME, GET_NAME, NO_NEW_PRIVS


def _column() -> int:
    return 0 if linux.arch() == "x86_64" else 1


def _numbers(table: str) -> list[int]:
    cells = (entry.split("=")[1].split(",")[_column()] for entry in table.split())
    return [int(c) for c in cells if c != "-"]


def _return(value: int) -> list[_Instruction]:
    return [(_RET, 0, 0, value)]


def _deny(errno: int = _EPERM) -> list[_Instruction]:
    return _return(_ERRNO | errno)


def _argument(index: int) -> list[_Instruction]:
    """Load the low word of an argument."""
    return [(_LOAD, 0, 0, 16 + 8 * index)]


def _one_of(values: Sequence[int]) -> list[_Instruction]:
    """Allow where the loaded word is one of the values."""
    tests = [(_JEQ, len(values) - i, 0, v) for i, v in enumerate(values)]
    return [*tests, *_deny(), *_return(_ALLOW)]


def _threads() -> list[_Instruction]:
    """Allow a thread, and nothing else, by the loaded flags of clone."""
    return [(_AND, 0, 0, _CLONE_THREAD | _NAMESPACES), (_JEQ, 0, 1, _CLONE_THREAD), *_return(_ALLOW), *_deny()]


def _clone_function() -> list[_Instruction]:
    exact = [(_JEQ, 0, 1, CANDIDATE_FLAGS | linux.SIGCHLD), *_return(_ALLOW)]
    return [*_argument(0), *exact, *_threads()]


def _clone_program() -> list[_Instruction]:
    return [*_argument(0), (_AND, 0, 0, _NAMESPACES), (_JEQ, 0, 1, 0), *_return(_ALLOW), *_deny()]


def _search(segments: Sequence[tuple[int, list[_Instruction]]]) -> list[_Instruction]:
    """A binary tree over segments (first number, what to do from there on)."""
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    low, high = _search(segments[:middle]), _search(segments[middle:])
    pivot = segments[middle][0]
    if len(low) < 256:
        return [(_JGE, len(low), 0, pivot), *low, *high]
    return [(_JGE, 0, 1, pivot), (_JA, 0, 0, len(low)), *low, *high]


def _assemble(actions: Mapping[int, list[_Instruction]]) -> bytes:
    """The whole filter: architecture check, then the tree; numbers that are not mentioned are denied."""
    segments: list[tuple[int, list[_Instruction]]] = [(0, _deny())]
    for nr in sorted(actions):
        if segments[-1][0] == nr:
            segments[-1] = (nr, actions[nr])
        elif segments[-1][1] != actions[nr]:
            segments.append((nr, actions[nr]))
        if nr + 1 not in actions:
            segments.append((nr + 1, _deny()))
    return _pack([*_head(), *_search(segments)])


def _head() -> list[_Instruction]:
    """Kill what does not use this machine's own convention, then load the number."""
    head = [(_LOAD, 0, 0, 4), (_JEQ, 1, 0, _AUDIT_ARCH[linux.arch()]), *_return(_KILL), (_LOAD, 0, 0, 0)]
    if linux.arch() == "x86_64":  # the x32 convention has numbers above this bit
        head += [(_JGE, 0, 1, 0x40000000), *_return(_KILL)]
    return head


def _pack(instructions: Sequence[_Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *i) for i in instructions)


def _filter(tables: str, conditional: Mapping[str, list[_Instruction]]) -> bytes:
    actions = {nr: _return(_ALLOW) for nr in _numbers(tables)}
    for name, block in conditional.items():
        actions[_CONDITIONAL[name][_column()]] = block
    actions[_CLONE3[_column()]] = _deny(_ENOSYS)
    return _assemble(actions)


def function_filter(*, forks: bool = False) -> bytes:
    """BPF of the FUNCTION list.

    Args: forks: for a zygote whose candidates share its pid namespace; each of them adds `no_forks`.
    """
    unix = [*_argument(0), *_one_of([1])]
    conditional = {
        "clone": _clone_function(),
        "ioctl": [*_argument(1), *_one_of(_TERMINAL_IOCTLS)],
        "prctl": [*_argument(0), *_one_of(_PRCTL_OPTIONS)],
        "socketpair": unix,
    }
    if forks:
        conditional |= {"clone": _clone_program(), "seccomp": [*_argument(0), *_one_of([1])]}
    return _filter(_BASE + (_FORKS if forks else ""), conditional)


@functools.cache
def no_forks() -> bytes:
    """BPF that takes processes, and further filters, away from whoever has a list that allows them."""
    forbidden = [*_numbers(_FORKS), _CONDITIONAL["seccomp"][_column()]]
    block = [*_argument(0), *_threads()]
    tests = [(_JEQ, 0, len(block), _CONDITIONAL["clone"][_column()]), *block]
    for nr in forbidden:
        tests += [(_JEQ, 0, 1, nr), *_deny()]
    return _pack([*_head(), *tests, *_return(_ALLOW)])


def program_filter() -> bytes:
    """BPF of the PROGRAM list."""
    unix = [*_argument(0), *_one_of([1])]
    return _filter(
        _BASE + _FORKS + _PROGRAMS,
        {
            "clone": _clone_program(),
            "ioctl": [*_argument(1), *_one_of(_TERMINAL_IOCTLS)],
            "prctl": [*_argument(0), *_one_of(_PRCTL_OPTIONS)],
            "socketpair": unix,
            "socket": unix,
        },
    )

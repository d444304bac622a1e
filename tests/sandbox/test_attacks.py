"""Attacks by an answer, one property a test.

Every attack has the same shape: a trick, and a function that gives the right answer only if the trick worked. The
twin is the same answer without the trick; it passes in the same set-up, so that a FAIL is the trick's doing. The reason
of the FAIL, and where it helps the log, name what stopped it. `EVERYWHERE` also holds without isolation.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools

import pytest

from tests.sandbox import strengths
from vervet.protocols import Limits
from vervet.sandbox.functions import Candidate
from vervet.sandbox.inside.checks import FunctionTests
from vervet.verifiers.python_tests import decide

CHECK = FunctionTests(
    "f",
    "",
    "SECRET = 'zebra-fish'\ndef check(candidate):\n    assert candidate(3) == 4\n    assert candidate(5) == 6\n",
)
RIGHT = "    return x + 1\n"
WRONG = "    return 0\n"

CTYPES = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def must(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
"""


def attack(trick: str, before: str = "", after: str = RIGHT) -> str:
    """An answer: `before` at its top, then f with the trick and a return."""
    lines = "".join(f"    {line}\n" for line in trick.splitlines())
    return f"{before}\ndef f(x):\n{lines}{after}"


# name: (trick, code before it, return, reason, part of the log)
ISOLATED = {
    # --- secrets
    "read the password file": ("open('/etc/shadow').read()", "", RIGHT, "exception", "FileNotFoundError"),
    "list the home folder": ("import os; os.listdir('/home')", "", RIGHT, "exception", "FileNotFoundError"),
    "read the kernel's process list": (
        "open('/proc/1/environ').read()",
        "",
        RIGHT,
        "exception|forbidden",
        "No such file|Permission",
    ),
    "read its own memory file": (
        "open('/proc/self/mem', 'rb')",
        "",
        RIGHT,
        "exception|forbidden",
        "No such file|Permission",
    ),
    # --- the network
    "open a socket": ("import socket; socket.socket()", "", RIGHT, "forbidden", "PermissionError"),
    "ask a name server": ("import socket; socket.getaddrinfo('example.org', 80)", "", RIGHT, "exception", "gaierror"),
    # --- writing
    "write to the system": ("open('/usr/lib/x', 'w')", "", RIGHT, "forbidden", "Read-only file system"),
    "write to the root": ("open('/x', 'w')", "", RIGHT, "forbidden", "Read-only file system"),
    "write to shared memory": ("open('/dev/shm/x', 'w')", "", RIGHT, "exception|forbidden", "No such file|Permission"),
    "make a temporary file": ("import tempfile; tempfile.TemporaryFile()", "", RIGHT, "exception", "FileNotFoundError"),
    "write a device": ("open('/dev/urandom', 'w').write('x')", "", WRONG, "wrong_answer", ""),
    "fill the disk": ("import os; os.makedirs('/tmp/a/b')", "", RIGHT, "forbidden", "PermissionError"),
    "remount the root": ("must(libc.mount(b'', b'/', None, 32, None))", CTYPES, RIGHT, "forbidden", "not permitted"),
    # --- leaving something for the next
    "a memory file": ("import os; os.memfd_create('x')", "", RIGHT, "forbidden", "PermissionError"),
    "System V shared memory": ("must(libc.shmget(4711, 4096, 0o1666))", CTYPES, RIGHT, "forbidden", "not permitted"),
    "a message queue": ("must(libc.msgget(4711, 0o1666))", CTYPES, RIGHT, "forbidden", "not permitted"),
    # --- other processes
    "kill everybody": ("import os; os.kill(-1, 9)", "", RIGHT, "forbidden", "PermissionError"),
    "kill its parent": ("import os; os.kill(os.getppid() or 1, 9)", "", RIGHT, "forbidden", "PermissionError"),
    "signal by thread id": ("must(libc.syscall(200, 2, 9))", CTYPES, RIGHT, "forbidden", "not permitted"),
    "trace": ("must(libc.ptrace(16, 1, 0, 0))", CTYPES, RIGHT, "forbidden", "not permitted"),
    "read another's memory": ("must(libc.process_vm_readv(1, None, 0, None, 0, 0))", CTYPES, RIGHT, "forbidden", ""),
    "take another's descriptor": ("must(libc.syscall(438, 0, 0, 0))", CTYPES, RIGHT, "forbidden", "not permitted"),
    "fork": ("import os; os.fork()", "", RIGHT, "forbidden", "PermissionError"),
    "start a program": ("import subprocess; subprocess.run(['true'])", "", RIGHT, "forbidden", "PermissionError"),
    "become a program": ("import os; os.execv('/bin/true', ['true'])", "", RIGHT, "forbidden", "PermissionError"),
    "a process by clone3": ("must(libc.syscall(435, b'\\0' * 88, 88))", CTYPES, RIGHT, "exception", "not implemented"),
    "a new pid namespace": (
        "must(libc.syscall(56, 0x20000000 | 0x1000 | 17, 0, ctypes.byref(ctypes.c_int()), 0, 0))",
        CTYPES,
        RIGHT,
        "forbidden",
        "not permitted",
    ),
    # --- privilege
    "a new user namespace": ("must(libc.unshare(0x10000000))", CTYPES, RIGHT, "forbidden", "not permitted"),
    "change the root": ("import os; os.chroot('/usr')", "", RIGHT, "forbidden", "PermissionError"),
    "another uid": ("import os; os.setresuid(4, 4, 4)", "", RIGHT, "exception|forbidden", "Error"),
    "io_uring": ("must(libc.syscall(425, 8, bytes(120)))", CTYPES, RIGHT, "forbidden", "not permitted"),
    "bpf": ("must(libc.syscall(321, 0, 0, 0))", CTYPES, RIGHT, "forbidden", "not permitted"),
    "the key ring": ("must(libc.syscall(250, 0, -3, 0))", CTYPES, RIGHT, "forbidden", "not permitted"),
    "user fault handling": ("must(libc.syscall(323, 1))", CTYPES, RIGHT, "forbidden", "not permitted"),
    "performance counters": ("must(libc.syscall(298, 0, 0, -1, -1, 0))", CTYPES, RIGHT, "forbidden", "not permitted"),
    "push a terminal's input": ("must(libc.ioctl(0, 0x5412, b'x'))", CTYPES, RIGHT, "forbidden", "not permitted"),
}
EVERYWHERE = {
    # --- resources
    "more memory than its limit": ("x + len(bytearray(1 << 40))", "", RIGHT, "memory", "MemoryError"),
    "memory bit by bit": ("a = []\nwhile True: a.append(bytes(1 << 24))", "", RIGHT, "memory", "MemoryError"),
    "raise its limits": (
        (
            "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 50, 1 << 50))"
            "\nassert os.geteuid() or x < 0, 'root may'"
        ),
        "import os",
        RIGHT,
        "exception",
        "",
    ),
    "spin": ("while True: pass", "", RIGHT, "cpu_time", ""),
    "spin when loaded": ("pass", "while True: pass", RIGHT, "cpu_time", ""),
    "spin in threads": (
        "import threading\nfor _ in range(4): threading.Thread(target=spin).start()\nspin()",
        "def spin():\n    while True: pass",
        RIGHT,
        "cpu_time",
        "",
    ),
    "spin and catch everything": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "",
        RIGHT,
        "cpu_time",
        "",
    ),
    "spin with all signals ignored": (
        "import signal\nfor s in set(signal.Signals) - {9, 19}: signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
        "",
        RIGHT,
        "cpu_time",
        "",
    ),
    "one endless call in C": ("x + len(str(7 ** 10 ** 9))", "", RIGHT, "cpu_time", ""),
    "sleep": ("import time; time.sleep(3600)", "", RIGHT, "wall_time", ""),
    "flood the output": ("while True: print('x' * 100000)", "", RIGHT, "cpu_time", ""),
    "flood the result": ("return 'x' * (9 << 20)", "", RIGHT, "output_limit", "8 MB"),
    "an endless generator": ("import itertools; return itertools.count()", "", RIGHT, "memory|cpu_time", ""),
    "recursion": ("return f(x)", "", RIGHT, "exception", "RecursionError"),
    "recursion in C": (
        "import sys; sys.setrecursionlimit(10**9)\nreturn f(x)",
        "",
        RIGHT,
        "crashed|memory|cpu_time",
        "",
    ),
    "a segmentation fault": ("import ctypes; ctypes.string_at(0)", "", RIGHT, "crashed", "SIGSEGV"),
    "abort": ("import os; os.abort()", "", RIGHT, "crashed", "SIG"),
    # --- ends
    "leave with 0": ("import os; os._exit(0)", "", RIGHT, "exited", ""),
    "leave with 0 when loaded": ("pass", "import os; os._exit(0)", RIGHT, "exited", ""),
    "exit with 0": ("import sys; sys.exit(0)", "", RIGHT, "exited", "SystemExit"),
    "exit with 0 when loaded": ("pass", "raise SystemExit(0)", RIGHT, "exited", "SystemExit"),
    "an interrupt": ("raise KeyboardInterrupt", "", RIGHT, "exception", "KeyboardInterrupt"),
    # --- lies
    "say passed": ("print('passed'); print('OK', flush=True)", "", WRONG, "wrong_answer", "returned 0"),
    "its argument back": ("return x", "", RIGHT, "wrong_answer", ""),
    "an object equal to everything": (
        "return E()",
        (
            "class E:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
            "    def __hash__(self): return 4\n    def __getattr__(self, name): return lambda *a: True"
        ),
        RIGHT,
        "wrong_answer",
        "object of type",
    ),
    "a number equal to everything": (
        "return E(0)",
        "class E(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__",
        RIGHT,
        "wrong_answer",
        "returned 0",
    ),
    "a text equal to everything": (
        "return E('')",
        "class E(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__",
        RIGHT,
        "wrong_answer",
        "returned ''",
    ),
    "patched assertions": (
        "pass",
        (
            "import builtins\nclass AssertionError(Exception): pass\nbuiltins.AssertionError = Exception\n"
            "builtins.__build_class__ = None\nbuiltins.isinstance = lambda *a: True"
        ),
        WRONG,
        "wrong_answer|exited",
        "",
    ),
    "patched codec": (
        "pass",
        (
            "import sys\nfor name, m in list(sys.modules.items()):\n    if 'codec' in name and 'vervet' in name:\n"
            "        m.encode = lambda v: 4"
        ),
        WRONG,
        "wrong_answer",
        "",
    ),
    "patched by the frames above": (
        (
            "import sys\nframe = sys._getframe(1)\nwhile frame:\n    frame.f_locals.update(result=4, status='pass')\n"
            "    frame = frame.f_back"
        ),
        "",
        WRONG,
        "wrong_answer",
        "",
    ),
    "search the frames for the tests": (
        (
            "import sys\nframe = sys._getframe()\nwhile frame:\n    text = repr(frame.f_locals) + repr(frame.f_globals)\n"
            "    if 'zebra-' + 'fish' in text: return x + 1\n    frame = frame.f_back"
        ),
        "",
        WRONG,
        "wrong_answer",
        "",
    ),
    "search all objects for the tests": (
        "import gc, re\nfor o in gc.get_objects():\n    if re.search('zebra[-]fish', repr(o)[:100000]): return x + 1",
        "",
        WRONG,
        "wrong_answer|exception|memory|cpu_time",
        "",
    ),
    "patched imports": (
        "pass",
        (
            "import sys, types\nfake = types.ModuleType('json')\nfake.dumps = lambda *a, **k: '[0,\"r\",4]'\n"
            "fake.loads = lambda *a, **k: [0, [3], {}]\nsys.modules['json'] = fake\n"
            "for m in list(sys.modules.values()):\n    if hasattr(m, 'json'): m.json = fake\n"
            "sys.meta_path.insert(0, sys)\n__import__ = None"
        ),
        WRONG,
        "wrong_answer|forbidden",
        "",
    ),
    "forge a verdict on the channel": (
        "import os; os.write(3, b'\\x06\\0\\0\\0\"pass\"')",
        "",
        RIGHT,
        "forbidden",
        "forged",
    ),
    "forge a result in advance": (
        "pass",
        "import os; m = b'[0,\"r\",4]'; os.write(3, len(m).to_bytes(4, 'little') + m)",
        RIGHT,
        "forbidden",
        "",
    ),
    "garbage on the channel": (
        "import os; os.write(3, bytes(range(256)) * 9)",
        "",
        RIGHT,
        "forbidden|output_limit",
        "",
    ),
    "close the channel and go on": ("import os, time; os.close(3); time.sleep(60)", "", RIGHT, "forbidden", "closed"),
    "a thread that forges later": (
        (
            "import threading, os\nm = b'[0,\"r\",4]'\n"
            "def forge():\n    while True: os.write(3, len(m).to_bytes(4, 'little') + m)\n"
            "threading.Thread(target=forge, daemon=True).start()"
        ),
        "",
        WRONG,
        "forbidden|wrong_answer",
        "",
    ),
    "an exit handler that forges": (
        "import atexit, os\natexit.register(os.write, 3, b'\\x06\\0\\0\\0\"pass\"')\nraise SystemExit",
        "",
        RIGHT,
        "exited",
        "",
    ),
    "an exception with a hostile text": (
        "raise E",
        "class E(Exception):\n    def __str__(self): raise SystemExit(0)",
        RIGHT,
        "exception",
        "E",
    ),
    "a list that holds itself": ("a = []\na.append(a)\nreturn a", "", RIGHT, "exception", "RecursionError"),
    "a list too deep": (
        "a = []\nfor _ in range(100000): a = [a]\nreturn a",
        "",
        RIGHT,
        "exception",
        "RecursionError",
    ),
}
LIMITS = Limits(cpu_s=0.5, wall_s=15.0, memory_mb=256)
# a spinner gets its half second of processor even on a busy machine
SLEEPS = dataclasses.replace(LIMITS, wall_s=2.0)


@functools.cache
def verdicts(strength: str) -> dict[str, list]:
    """Evil and twin of every attack, all run once: some only sleep, and they can do so side by side."""
    bench = strengths.bench(strength, slots=4)
    table = EVERYWHERE if strength == "none" else {**ISOLATED, **EVERYWHERE}

    async def run(name, trick, before, after, *_):
        answers = (attack(trick, before, after), attack("pass"))
        forms = [Candidate(((answer,),)) for answer in answers]
        return [decide(e) for e in await bench.runtime.run(CHECK, forms, SLEEPS if name == "sleep" else LIMITS)]

    async def run_all():
        return await asyncio.gather(*(run(name, *row) for name, row in table.items()))

    try:
        return dict(zip(table, bench.do(run_all()), strict=True))
    finally:
        strengths.close(bench)


def judge(strength: str, name: str) -> None:
    *_, reasons, log = {**ISOLATED, **EVERYWHERE}[name]
    evil, twin = verdicts(strength)[name]
    assert twin[0] == "PASS", twin
    assert evil[0] == "FAIL", evil
    assert evil[1] in reasons.split("|"), evil
    assert any(part in evil[2] for part in log.split("|")), evil


@pytest.mark.parametrize("strength", strengths.ISOLATED)
@pytest.mark.parametrize("name", ISOLATED)
def test_attack_is_stopped_by_isolation(strength, name):
    judge(strength, name)


@pytest.mark.parametrize("strength", strengths.ALL)
@pytest.mark.parametrize("name", EVERYWHERE)
def test_attack_is_stopped_at_every_strength(strength, name):
    judge(strength, name)

"""What an answer can see and leave behind: properties that need something set up on the host or two answers."""

from __future__ import annotations

import os
import socket

import pytest

from tests.sandbox.test_life import children, launchers
from vervet.protocols import Limits
from vervet.sandbox.inside.checks import FunctionTests

CHECK = FunctionTests("f", "", "def check(candidate):\n    assert candidate(3) == 4\n")
TWIN = "def f(x):\n    return x + 1\n"


def only_if(condition: str, before: str = "") -> str:
    """An answer that is right only if `condition` holds."""
    return f"{before}\ndef f(x):\n    return x + 1 if {condition} else 0\n"


def judged(bench, *answers, check=CHECK, **more):
    return [(v[0].value, v[1].value) for v in bench.verdicts(check, *answers, **more)]


def test_a_file_beside_the_ledger_does_not_exist_in_there(isolated, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    ledger.write_text("PASS")
    os.chmod(tmp_path, 0o755)
    spy = f"def f(x):\n    open({str(ledger)!r})\n    return x + 1\n"
    assert judged(isolated, spy, TWIN) == [("FAIL", "exception"), ("PASS", "accepted")]


def test_the_root_shows_the_allow_list_only(isolated):
    if isolated.name == "docker":
        pytest.skip("not here: an engine's root is its image")
    seen = "[p for p in ('etc','home','proc','sys','var','run','tmp','opt','srv','work','box') if os.path.exists('/'+p+'/.')]"
    answer = f"import os\ndef f(x):\n    return {seen}\n"
    [ending] = isolated.endings(CHECK, answer)
    assert "returned ['etc']" in ending.log or "returned []" in ending.log, ending.log
    listed = (
        "import os\ndef f(x):\n    return [p for p in os.listdir('/etc') if p not in ('ld.so.cache', 'alternatives')]\n"
    )
    [ending] = isolated.endings(CHECK, listed)
    assert "returned []" in ending.log or "No such file" in ending.log, ending.log


def test_the_environment_is_empty(bench, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert judged(bench, only_if("os.environ or os.getenv('OPENAI_API_KEY')", "import os"), TWIN) == [
        ("FAIL", "wrong_answer"),
        ("PASS", "accepted"),
    ]


def test_a_server_on_this_machine_is_out_of_reach(isolated):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        caller = f"import socket\ndef f(x):\n    socket.create_connection(('127.0.0.1', {port}), 1)\n    return x + 1\n"
        assert judged(isolated, caller, TWIN) == [("FAIL", "forbidden"), ("PASS", "accepted")]


def test_uid_pid_and_capabilities(isolated):
    answer = "import os\ndef f(x):\n    return [os.getpid(), os.getresuid(), os.getgroups()]\n"
    first, second = isolated.endings(CHECK, answer, answer)
    pid, rest = first.log.split("returned [")[1].split(", ", 1)
    assert (pid == "1") == (isolated.name != "docker")
    if isolated.name == "namespaces":
        assert "(10001, 10001, 10001)" in rest
        assert "(10002, 10002, 10002)" in second.log
        assert "[]]" in rest


SCAN = """
import ctypes, gc, re
def pages():
    libc = ctypes.CDLL(None)
    seen = (ctypes.c_ubyte * 256)()
    libc.sbrk.restype = ctypes.c_size_t
    heap = libc.sbrk(0) >> 20
    near = {(id(o) >> 20) + d for o in gc.get_objects() for d in (-1, 0, 1)} | set(range(heap - 64, heap + 1))
    for start in sorted(n << 20 for n in near):
        if libc.mincore(ctypes.c_void_p(start), 1 << 20, seen) == 0:
            yield ctypes.string_at(start, 1 << 20)
        else:
            for page in range(start, start + (1 << 20), 4096):
                if libc.mincore(ctypes.c_void_p(page), 4096, seen) == 0:
                    yield ctypes.string_at(page, 4096)
NEEDLE = re.compile(b'zebra[-]fish')
OWN = 'tiger' + '-' + 'shark'
"""


def test_neither_the_tests_nor_an_earlier_answer_are_in_its_memory(bench):
    check = FunctionTests(
        "f", "", "# zebra-fish\ndef check(candidate):\n    assert candidate(3) == 4, 'zebra-fish'\n" * 50
    )
    scan = f"{SCAN}\ndef f(x):\n    return x + 1 if any(NEEDLE.search(p) for p in pages()) else 0\n"
    earlier = "# zebra-fish\n" * 1000 + TWIN
    control = f"{SCAN}\nFISH = ''.join(['zebra', '-', 'fish'])\n" + scan[len(SCAN) :]
    limits = Limits(cpu_s=10, wall_s=40)
    found = judged(bench, earlier, earlier, scan, control, check=check, limits=limits)
    assert found[:2] == [("PASS", "accepted")] * 2
    assert found[2] == ("FAIL", "wrong_answer")
    assert found[3] == ("PASS", "accepted"), "the scan finds what is there"


def test_nothing_passes_from_one_answer_to_the_next(bench):
    leave = "import builtins, sys, gc\nbuiltins.LEFT = sys.LEFT = 1\nimport math\nmath.LEFT = 1\n" + TWIN
    find = only_if(
        "hasattr(builtins, 'LEFT') or hasattr(sys, 'LEFT') or hasattr(math, 'LEFT')", "import builtins, sys, math"
    )
    assert judged(bench, leave, find) == [("PASS", "accepted"), ("FAIL", "wrong_answer")]


def test_threads_that_outlive_the_call_end_with_the_answer(bench):
    spin = "import threading\ndef spin():\n    while True: pass\n"
    runner = f"{spin}def f(x):\n    threading.Thread(target=spin).start()\n    return x + 1\n"
    assert judged(bench, runner, TWIN, runner, TWIN) == [("PASS", "accepted")] * 4
    if bench.name == "docker":  # its processes are the engine's; that the next answers pass is what can be seen
        return
    zygotes = [pid for launcher in launchers() for pid in children(launcher)]
    assert [len(children(pid)) for pid in zygotes] == [2]  # the compiler and the tester


@pytest.mark.parametrize(
    "value",
    ["10**12", "range(10**12)", "[0] * 3000000"],
)
def test_a_result_that_keeps_the_tests_busy_costs_the_answer_its_time_and_nobody_else(bench, value):
    check = FunctionTests(
        "f",
        "",
        "def check(candidate):\n    r = candidate(3)\n    if r == 4: return\n"
        "    for _ in range(r) if isinstance(r, int) else r:\n        for _ in range(10**9): pass\n    assert r == 4\n",
    )
    busy = f"def f(x):\n    return {value}\n"
    verdicts = judged(bench, busy, TWIN, check=check, limits=Limits(cpu_s=0.2, wall_s=30))
    assert verdicts == [("FAIL", "cpu_time"), ("PASS", "accepted")]

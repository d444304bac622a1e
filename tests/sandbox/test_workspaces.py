"""A folder that is made once and used by many programs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal

import pytest

from tests.sandbox import strengths
from tests.sandbox.test_life import launchers
from vervet.protocols import Limits
from vervet.sandbox.programs import ProgramSandbox

LIMITS = Limits(cpu_s=20, wall_s=40)


@pytest.fixture(params=strengths.ALL)
def opened(request):
    """Runs an async function with a sandbox of one container; `opened.isolated` says whether it is one."""
    start = strengths.launcher(request.param)
    isolation = strengths.isolation(request.param)

    def run(work):
        async def inside():
            sandbox = ProgramSandbox(isolation, slots=1, launcher=start)
            try:
                return await work(sandbox)
            finally:
                await sandbox.aclose()

        return asyncio.run(inside())

    run.isolated = isolation != "none"
    run.name = request.param
    return run


async def outputs(stream):
    return [outcome.stdout async for outcome in stream]


def test_a_program_is_made_once_and_run_on_many_inputs(opened):
    async def work(sandbox):
        async with sandbox.workspace({"make": b"echo 'cat; echo made' > built"}, LIMITS) as workspace:
            assert (await workspace.run(("sh", "make"))).exit_code == 0
            inputs = [str(i).encode() for i in range(20)]
            found = await outputs(workspace.run_all(("sh", "built"), inputs))
            assert found == [i + b"made\n" for i in inputs]
            assert (await workspace.run(("sh", "-c", "echo more >> built; tail -1 built"))).stdout == b"more\n"

    opened(work)


def test_no_run_leaves_anything_for_the_next(opened):
    """The working folder is read-only, the temporary one is emptied, folders closed to everybody included."""
    script = (
        "ls -A $TMPDIR; mkdir -p $TMPDIR/a/b && echo x > $TMPDIR/a/b/c && chmod 0 $TMPDIR/a/b $TMPDIR/a;"
        "(sleep 100 &) ; sleep 100 >/dev/null 2>&1 & echo y > own; chmod 777 .; echo y > own; echo y >> kept; cat kept"
    )

    async def work(sandbox):
        async with sandbox.workspace({"kept": b"k\n"}, LIMITS) as workspace:
            return await outputs(workspace.run_all(("sh", "-c", script), [b""] * 3))

    found = opened(work)
    if opened.isolated:
        assert found == [b"k\n"] * 3
    else:
        assert [b"a" in out.split() for out in found] == [False] * 3


def test_leaving_early_and_going_on(opened):
    async def work(sandbox):
        async with sandbox.workspace({}, LIMITS) as workspace:
            async for outcome in workspace.run_all(("cat",), [b"1", b"2", b"3"]):
                assert outcome.stdout == b"1"
                break
            assert (await workspace.run(("echo", "next"))).stdout == b"next\n"
            async for _ in workspace.run_all(("cat",), [b"1", b"2"]):
                break
        async with sandbox.workspace({}, LIMITS) as workspace:
            assert await outputs(workspace.run_all(("cat",), [b"new"])) == [b"new"]
            assert await outputs(workspace.run_all(("cat",), [])) == []

    opened(work)


def test_each_run_has_limits_of_its_own(opened):
    async def work(sandbox):
        async with sandbox.workspace({}, LIMITS) as workspace:
            spin = await workspace.run(("sh", "-c", "while :; do :; done"), limits=Limits(cpu_s=0.2, wall_s=20))
            assert spin.limit == "cpu"
            many = [
                o
                async for o in workspace.run_all(
                    ("sh", "-c", "read x; exec sleep $x"), [b"0\n", b"99\n", b"0\n"], Limits(cpu_s=5, wall_s=0.5)
                )
            ]
            assert [o.limit for o in many] == ["", "wall", ""]
            assert [o.exit_code for o in many] == [0, None, 0]
            little = Limits(cpu_s=20, wall_s=40, memory_mb=100)
            argv = (strengths.SYSTEM_PYTHON, "-I", "-S", "-c", "bytearray(150 << 20)")
            if shutil.which(strengths.SYSTEM_PYTHON):
                assert b"MemoryError" in (await workspace.run(argv, limits=little)).stderr
                assert (await workspace.run(argv)).exit_code == 0

    opened(work)


def test_inputs_and_outputs_larger_than_any_buffer(opened):
    limits = Limits(cpu_s=20, wall_s=40, output_bytes=10_000_000)
    inputs = [bytes([65 + i]) * 3_000_000 for i in range(4)]

    async def work(sandbox):
        async with sandbox.workspace({}, limits) as workspace:
            assert await outputs(workspace.run_all(("cat",), inputs)) == inputs

    opened(work)


def test_a_container_that_dies_is_said_and_the_next_workspace_is_fine(opened):
    strengths.only_ours(opened.name)

    async def work(sandbox):
        async with sandbox.workspace({}, LIMITS) as workspace:
            assert (await workspace.run(("true",))).exit_code == 0
            os.kill(launchers()[0], signal.SIGKILL)
            while (await workspace.run(("true",))).started:  # the signal is on its way
                pass
            dead = [await workspace.run(("true",)) for _ in range(2)]
            assert [o.started for o in dead] == [False, False]
            assert "died" in dead[0].error
        async with sandbox.workspace({}, LIMITS) as workspace:
            assert (await workspace.run(("true",))).exit_code == 0

    opened(work)


def test_a_folder_that_cannot_be_made_is_our_failure(opened):
    async def work(sandbox):
        async with sandbox.workspace({"../x": b""}, LIMITS) as workspace:
            outcome = await workspace.run(("true",))
            assert (outcome.started, outcome.exit_code) == (False, None)
            assert "outside" in outcome.error
            assert [o.started async for o in workspace.run_all(("true",), [b"", b""])] == [False, False]

    opened(work)


SOURCES = {
    "g++": (
        {"a.cpp": b"#include <iostream>\nint main() { int x; std::cin >> x; std::cout << x + 1; }"},
        ("g++", "a.cpp"),
        ("./a.out",),
    ),
    "javac": (
        {
            "M.java": b"class M { public static void main(String[] a) throws Exception {\n"
            b"System.out.print(System.in.read() - 47); } }"
        },
        ("javac", "-J-XX:-UsePerfData", "-J-Xmx256m", "M.java"),
        ("java", "-XX:-UsePerfData", "-Xmx64m", "M"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("compiler", SOURCES)
def test_compilers_work_in_there(compiler):
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler}")
    files, build, argv = SOURCES[compiler]
    limits = Limits(cpu_s=60, wall_s=120, memory_mb=8192, disk_mb=64)

    async def work():
        sandbox = ProgramSandbox("namespaces", memory_mb=1024, slots=1, launcher=strengths.launcher("namespaces"))
        try:
            async with sandbox.workspace(files, limits) as workspace:
                built = await workspace.run(build)
                assert built.exit_code == 0, built
                return await outputs(workspace.run_all(argv, [b"1", b"2"]))
        finally:
            await sandbox.aclose()

    assert asyncio.run(work()) == [b"2", b"3"]

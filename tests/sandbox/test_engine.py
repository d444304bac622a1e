"""An engine's containers live and die: what is affected is UNKNOWN, and none is left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

from tests import podman
from tests.sandbox import strengths
from vervet.protocols import Limits, SandboxJob
from vervet.sandbox.inside.checks import FunctionTests
from vervet.sandbox.programs import ProgramSandbox
from vervet.verifiers.python_tests import decide

pytestmark = pytest.mark.slow
CHECK = FunctionTests("f", "", "def check(candidate):\n    assert candidate(3) == 4\n")
GOOD = "def f(x):\n    return x + 1\n"
SLOW = "import time\ndef f(x):\n    time.sleep(3)\n    return x + 1\n"
LIMITS = Limits(cpu_s=10, wall_s=60)


@pytest.fixture
def client():
    podman.start()
    import docker

    made = docker.from_env()
    yield made
    made.close()


def ours(client):
    return client.containers.list(filters={"label": "vervet=sandbox"}, ignore_removed=True)


def gone(client, deadline_s=30.0):
    end = time.monotonic() + deadline_s
    while ours(client):
        assert time.monotonic() < end, ours(client)
        time.sleep(0.1)


def test_a_container_that_is_removed_makes_unknowns_and_a_repeat_decides(client):
    bench = strengths.bench("docker", slots=1)
    try:
        assert bench.verdicts(CHECK, GOOD, limits=LIMITS)[0][0] == "PASS"

        async def run():
            work = asyncio.create_task(
                bench.runtime.run(CHECK, [strengths.Candidate(((a,),)) for a in (SLOW, GOOD)], LIMITS)
            )
            await asyncio.sleep(0.5)
            [container] = ours(client)
            await asyncio.to_thread(container.remove, force=True)
            return [decide(e) for e in await work]

        affected, after = bench.do(run())
        assert affected[:2] == ("UNKNOWN", "sandbox_failed")
        assert after[0] == "PASS"
        assert bench.verdicts(CHECK, SLOW, limits=LIMITS)[0][0] == "PASS"
    finally:
        strengths.close(bench)
    gone(client)


DRIVER = """
import asyncio, sys
from vervet.protocols import SandboxJob
from vervet.sandbox.programs import ProgramSandbox
async def run():
    sandbox = ProgramSandbox(sys.argv[1], slots=1)
    await sandbox.run(SandboxJob(("true",)))
    print("up", flush=True)
    await sandbox.run(SandboxJob(("sleep", "100")))
asyncio.run(run())
"""


def test_a_killed_driver_takes_its_container_with_it(client):
    name = strengths.isolation("docker")
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, name], stdout=subprocess.PIPE, cwd=podman.ROOT)
    assert driver.stdout.readline() == b"up\n"
    assert ours(client)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    gone(client, 90)  # by its standard input's end, or a minute without a word


def test_nobody_gains_the_groups_of_root(client):
    async def run():
        sandbox = ProgramSandbox(strengths.isolation("docker"), slots=1)
        try:
            return await sandbox.run(
                SandboxJob(("sh", "-c", "id -G; grep -E 'CapEff|NoNewPrivs|^Seccomp:' /proc/self/status"))
            )
        finally:
            await sandbox.aclose()

    words = asyncio.run(run()).stdout.split()
    assert len(words[: words.index(b"CapEff:")]) == 1
    assert b"0" not in words[:1]
    assert words[words.index(b"CapEff:") + 1] == b"0000000000000000"
    assert words[words.index(b"NoNewPrivs:") + 1] == b"1"
    assert words[words.index(b"Seccomp:") + 1] == b"2"
    gone(client)


def test_a_larger_folder_gets_a_new_container(client):
    async def run():
        sandbox = ProgramSandbox(strengths.isolation("docker"), slots=1)
        try:
            script = ("sh", "-c", "head -c 20000000 /dev/zero > f && echo ok")
            small = await sandbox.run(SandboxJob(script))
            large = await sandbox.run(SandboxJob(script, limits=Limits(disk_mb=64)))
            return small, large
        finally:
            await sandbox.aclose()

    small, large = asyncio.run(run())
    assert (small.exit_code, large.stdout) != (0, b"")
    assert small.stdout == b""
    assert large.stdout == b"ok\n"
    gone(client)


def test_an_image_that_is_not_there_is_said(client):
    from vervet.errors import MissingPart

    with pytest.raises(MissingPart, match="has no image 'localhost/nothing:1'"):
        asyncio.run(ProgramSandbox("docker:localhost/nothing:1").run(SandboxJob(("true",))))

"""Whole programs: the Sandbox seam, at each strength, and what one program leaves for the next."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sandbox import strengths
from vervet.errors import BadOption, MissingPart
from vervet.protocols import Limits, Sandbox, SandboxJob
from vervet.sandbox import KINDS, capabilities, open_sandbox, resolve
from vervet.sandbox._container import Container, interpreter
from vervet.sandbox.programs import ProgramSandbox


@pytest.fixture(params=strengths.ALL)
def run(request):
    """Outcomes of jobs, one after the other in one container; `run.isolated` says whether there is one."""
    start = strengths.launcher(request.param)
    isolation = strengths.isolation(request.param)
    with asyncio.Runner() as runner:
        sandbox = ProgramSandbox(isolation, slots=1, launcher=start)

        def outcomes(*argv, **more):
            return runner.run(sandbox.run(SandboxJob(argv, **more)))

        outcomes.isolated = isolation != "none"
        outcomes.engine = isolation.startswith("docker")
        yield outcomes
        runner.run(sandbox.aclose())


def shell(run, script, **more):
    return run("sh", "-c", script, **more)


def test_files_input_output_and_exit_code(run):
    files = {"main.txt": b"file\n", "deep/er/x": b"\0\xff"}
    done = shell(run, "cat main.txt; cat; od -An -tx1 deep/er/x; echo err >&2; exit 3", stdin=b"in\n", files=files)
    assert (done.started, done.exit_code, done.signal, done.limit) == (True, 3, None, "")
    assert done.stdout == b"file\nin\n 00 ff\n"
    assert done.stderr == b"err\n"
    assert done.cpu_s > 0
    assert done.wall_s > 0


def test_what_cannot_be_started_is_told_apart_from_what_fails(run):
    missing = run("no-such-program")
    assert (missing.started, missing.exit_code) == (False, None)
    assert "No such file" in missing.error
    outside = run("true", files={"../x": b""})
    assert not outside.started
    assert "outside" in outside.error
    assert run("false").exit_code == 1


def test_a_signal_is_named(run):
    assert shell(run, "sh -c 'kill -SEGV $$'; exit $(($? - 128))").exit_code == 11


@pytest.mark.parametrize(
    ("script", "limit"),
    [
        ("while :; do :; done", "cpu"),
        ("(while :; do :; done) & (while :; do :; done) & wait", "cpu"),
        ("sleep 100", "wall"),
        ("sleep 100 & exec sleep 100", "wall"),
        ("yes", "output"),
        ("yes >&2", "output"),
    ],
)
def test_limits_end_the_whole_tree(run, script, limit):
    # what computes gets its third of a second on a busy machine too
    done = shell(run, script, limits=Limits(cpu_s=0.3, wall_s=1.0 if limit == "wall" else 20.0, output_bytes=5000))
    assert (done.started, done.limit, done.exit_code) == (True, limit, None)
    assert len(done.stdout) + len(done.stderr) <= 5000
    if limit == "cpu":
        assert 0.3 <= done.cpu_s < 3


def test_output_within_the_cap_is_whole(run):
    done = shell(run, "head -c 60000 /dev/zero; head -c 5000 /dev/zero >&2")
    assert (len(done.stdout), len(done.stderr), done.limit) == (60000, 5000, "")


def test_memory_is_limited(run):
    code = "x = bytearray(300 << 20)"
    python = strengths.SYSTEM_PYTHON if os.path.exists(strengths.SYSTEM_PYTHON) else sys.executable
    assert b"MemoryError" in run(python, "-c", code, limits=Limits(memory_mb=200)).stderr
    assert run(python, "-c", code, limits=Limits(memory_mb=500)).exit_code == 0


def test_a_large_input_to_a_program_that_does_not_read_it(run):
    assert run("true", stdin=b"x" * 3_000_000).exit_code == 0
    assert shell(run, "wc -c", stdin=b"x" * 3_000_000).stdout.strip() == b"3000000"


def test_nothing_is_left_for_the_next_program(run):
    leave = "echo secret > left; echo secret > $TMPDIR/left; (sleep 5; echo late > late) & exit 0"
    assert shell(run, leave).exit_code == 0
    found = shell(run, "ls -A . $TMPDIR; cat left $TMPDIR/left late")
    assert b"secret" not in found.stdout
    assert b"late" not in found.stdout


ATTACKS = {
    "fill the disk": "for i in 1 2 3 4 5 6 7 8 9; do head -c 5000000 /dev/zero > f$i || exit 1; done",
    "many files": "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); : > f$i || exit 1; done",
    "write to the system": "echo x > /usr/x",
    "write to the root": "echo x > /x",
    "read the host's files": "cat {secret}",
    "see other processes": "grep -qs 98[7]65 /proc/[0-9]*/cmdline",
    "mount": "mount -t tmpfs x /mnt",
    "a user namespace": "unshare -U true",
    "a socket": "exec 3<>/dev/tcp/127.0.0.1/80",
    "set another uid": "setpriv --reuid=0 --regid=0 --clear-groups true || setpriv --reuid=1 true",
}


@pytest.fixture
def host(tmp_path):
    """What the host has: a file that everybody may read, and a process with a number in its command line."""
    tmp_path.chmod(0o755)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret").chmod(0o644)
    look = ["bash", "-c", ATTACKS["see other processes"]]
    with subprocess.Popen(["sleep", "98765"]) as process:
        try:
            # its command line may appear a moment after the call that started it has returned
            until = time.monotonic() + 10
            while subprocess.run(look, check=False).returncode:
                assert time.monotonic() < until, "nobody here sees other processes"
            yield tmp_path / "secret"
        finally:
            process.kill()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_program_cannot(run, name, host):
    if not run.isolated:
        pytest.skip("not here: no isolation was asked for")
    if name == "many files" and run.engine:
        pytest.skip("not here: an engine's tmpfs takes no limit on files; the container's memory limits them")
    done = run("bash", "-c", ATTACKS[name].format(secret=host), limits=Limits(cpu_s=5, wall_s=20))
    assert done.started
    assert done.exit_code != 0, done
    assert shell(run, "echo twin > file && cat file").stdout == b"twin\n"


def test_a_fork_bomb_ends_and_the_next_program_runs(run):
    if not run.isolated:
        pytest.skip("not here: no isolation was asked for")
    bomb = "f() { f & f & }; f; while :; do :; done"
    done = shell(run, bomb, limits=Limits(cpu_s=1, wall_s=5))
    assert done.limit in {"cpu", "wall", "output"} or b"annot fork" in done.stderr
    assert run("true").exit_code == 0


def test_kinds_and_what_cannot_start():
    assert KINDS == ("auto", "namespaces", "docker", "docker:IMAGE", "none")
    assert resolve("auto") == "namespaces"
    assert resolve("docker:python:3.13") == "docker:python:3.13"
    for wrong in ("dokcer", "docker:", ""):
        with pytest.raises(BadOption, match="choose one of auto, namespaces, docker, docker:IMAGE, none"):
            resolve(wrong)
    assert isinstance(open_sandbox("none"), Sandbox)
    assert open_sandbox("none").isolation == "none"


def test_a_host_that_cannot_says_so_in_one_line():
    """A launcher without the right to make namespaces: there is no silent way down."""
    if os.geteuid() != 0 or not Path("/usr/bin/setpriv").exists():
        pytest.skip("not here: taking rights away takes root and setpriv")
    # more namespaces than are allowed: as on hosts where user namespaces are switched off
    limited = ("prlimit", "--nproc=1", "setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", *interpreter())

    async def start():
        await Container.start("functions", "namespaces", 256, limited)

    with pytest.raises(MissingPart, match="vervet doctor") as caught:
        asyncio.run(start())
    assert "\n" not in str(caught.value)


def test_an_engine_that_is_not_there_is_said_in_one_line(monkeypatch, tmp_path):
    pytest.importorskip("docker", reason="no docker package (extra: docker)")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    with pytest.raises(MissingPart, match="no container engine answers") as caught:
        asyncio.run(open_sandbox("docker").run(SandboxJob(("true",))))
    assert "\n" not in str(caught.value)


def test_capabilities_name_each_layer():
    found = capabilities()
    assert [layer.name for layer in found.layers] == [
        "namespaces",
        "seccomp",
        "uids",
        "landlock",
        "cgroup",
        "starvation",
    ]
    assert all(layer.detail for layer in found.layers)
    assert found.to_dict()["namespaces"] == found.namespaces

"""What every sandbox promises, as checks: see `vervet.protocols.Sandbox`.

`build` makes a new sandbox each time it is called. Programs are `sh` and PYTHON, which have to be
reachable inside.
With `isolated=False` the checks that only isolation can pass are left out; what remains holds for `--sandbox none` too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vervet.protocols import Limits, Sandbox, SandboxJob, SandboxOutcome
from vervet.testing._suite import LIMIT_S, Ticker, call, check_close, opened, require, run, run_all, short

Build = Callable[[], Sandbox]
PYTHON = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
# this interpreter, below any virtual environment
ROOMY = Limits(cpu_s=20.0, wall_s=40.0)
# for programs that reach no limit, on a busy machine too
_HELD_S = 1.0
_GONE_S = 5.0
_START_S = 30.0
_MARK = "VERVET_CONFORMANCE_CANARY"


def conform_to_sandbox(
    build: Build, *, isolated: bool = True, canary: Path | None = None, limit_s: float = 2 * LIMIT_S
) -> None:
    """Run every check of a sandbox.

    Args: isolated: it claims to keep programs from the host's files, network and processes.
        canary: a file that everybody may read and no program may see; None: one is made in the temporary folder.
        limit_s: for one check.
    Raises: AssertionError that lists the broken promises.
    """
    checks = [call(c, build, limit_s=limit_s) for c in CHECKS if c not in (check_close, check_canary)]
    checks = [c for c in checks if isolated or c[0].__name__ not in ISOLATION]
    if isolated:
        checks.append(call(check_canary, build, canary=canary, limit_s=limit_s))
    run_all("sandbox", *checks, call(check_close, build, lambda sandbox: sandbox.run(_sh("true"))))


def _sh(script: str, *, stdin: bytes = b"", limits: Limits = ROOMY, **files: bytes) -> SandboxJob:
    return SandboxJob(("sh", "-c", script), stdin, files, limits)


def _one(build: Build, job: SandboxJob, limit_s: float) -> SandboxOutcome:
    async def work() -> SandboxOutcome:
        async with opened(build) as sandbox:
            return await _run(sandbox, job)

    return run(work, limit_s)


async def _run(sandbox: Sandbox, job: SandboxJob) -> SandboxOutcome:
    outcome = await sandbox.run(job)
    require(isinstance(outcome, SandboxOutcome), f"run() gives a SandboxOutcome, not {short(outcome)}")
    require(isinstance(sandbox.isolation, str) and sandbox.isolation, "a sandbox names its isolation")
    require(outcome.started or outcome.error, "a program that was not started has an error that says why")
    require(outcome.exit_code is None or outcome.signal is None, f"exit code or signal, not both: {short(outcome)}")
    require(outcome.cpu_s >= 0 and outcome.wall_s >= 0, f"times are not negative: {short(outcome)}")
    return outcome


async def _output(sandbox: Sandbox, job: SandboxJob) -> bytes:
    """Standard output of a program that has to end well."""
    outcome = await _run(sandbox, job)
    require(outcome.started, f"{job.argv} could not be started: {outcome.error}")
    require(outcome.exit_code == 0 and not outcome.limit, f"{job.argv} should end with 0: {outcome}")
    return outcome.stdout


# ------------------------------------------------------------------------------------------------------ what comes back


def check_streams(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Input arrives whole, outputs come back apart, and a program that does not read its input ends as well."""
    many = bytes(range(256)) * 4096

    async def work() -> None:
        async with opened(build) as sandbox:
            outcome = await _run(sandbox, _sh("cat; printf '\\001err' >&2", stdin=b"in\0put\xff"))
            require(outcome.stdout == b"in\0put\xff", f"stdout is what was written to it, not {short(outcome.stdout)}")
            require(outcome.stderr == b"\x01err", f"stderr is what was written to it, not {short(outcome.stderr)}")
            limits = Limits(ROOMY.cpu_s, ROOMY.wall_s, output_bytes=2 * len(many))
            echoed = await _output(sandbox, _sh("cat", stdin=many, limits=limits))
            require(echoed == many, f"a megabyte through `cat` comes back whole, not {len(echoed):,} bytes")
            await _output(sandbox, _sh("exit 0", stdin=many))
            require(await _output(sandbox, _sh("cat")) == b"", "without input, a program reads its end at once")

    run(work, limit_s)


def check_endings(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Exit codes and signals are told apart, and started says that the program began."""
    dies = "import ctypes; ctypes.string_at(0)"

    async def work() -> None:
        async with opened(build) as sandbox:
            for code in (0, 1, 7, 127, 255):
                outcome = await _run(sandbox, _sh(f"exit {code}"))
                require(outcome.started, f"`exit {code}` was started")
                require(
                    outcome.exit_code == code and outcome.signal is None,
                    f"`exit {code}` ends with that code: {short(outcome)}",
                )
            outcome = await _run(sandbox, SandboxJob((PYTHON, "-c", dies), limits=ROOMY))
            require(
                outcome.started and outcome.signal == 11 and outcome.exit_code is None,
                f"a program that reads address 0 ends by signal 11: {outcome}",
            )
            for number in (6, 9, 15):
                script = f"import os; os.kill(os.getpid(), {number}); print('still here')"
                outcome = await _run(sandbox, SandboxJob((PYTHON, "-c", script), limits=ROOMY))
                require(
                    outcome.signal == number and not outcome.stdout,
                    f"a program that sends itself signal {number} ends by it: {outcome}",
                )

    run(work, limit_s)


def check_missing_program(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """A program that is not there was not started: that is a statement about us, not about an answer."""
    outcome = _one(build, SandboxJob(("no-such-program-anywhere",), limits=ROOMY), limit_s)
    require(not outcome.started, "a program that is not there gives started=False")
    require(
        outcome.exit_code is None and outcome.signal is None, f"what was not started has no exit code: {short(outcome)}"
    )


# ------------------------------------------------------------------------------------------------------ files


def check_files(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Files are in the working folder, folders and all; no path leads out of it."""
    files = {"a.txt": b"\0one", "deep/er/b.txt": b"two"}
    outside = f"vervet-{secrets.token_hex(8)}"

    async def work() -> None:
        async with opened(build) as sandbox:
            job = SandboxJob(("sh", "-c", "cat a.txt deep/er/b.txt && echo x > new && cat new"), b"", files, ROOMY)
            require(
                await _output(sandbox, job) == b"\0onetwox\n", "files are there, and the working folder is writable"
            )
            for path in (f"../../{outside}", f"{tempfile.gettempdir()}/{outside}"):
                with contextlib.suppress(ValueError):
                    await _run(sandbox, SandboxJob(("true",), b"", {path: b"x"}, ROOMY))
            require(await _output(sandbox, _sh("echo on")) == b"on\n", "after an odd path the next program runs")

    run(work, limit_s)
    require(not Path(tempfile.gettempdir(), outside).exists(), "a file was written outside the working folder")


def check_private_folder(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """What one run writes, into its working folder or its temporary one, the next does not find."""
    name = secrets.token_hex(8)

    async def work() -> None:
        async with opened(build) as sandbox:
            for _ in range(4):  # more than one container may take turns
                script = (
                    f'cat {name} "${{TMPDIR:-/tmp}}/{name}" 2>&1; echo > {name}; echo > "${{TMPDIR:-/tmp}}/{name}"; ls'
                )
                listed = await _output(sandbox, _sh(script))
                require(listed.count(b"No such file") == 2, f"a run finds what an earlier one wrote: {short(listed)}")
                require(listed.endswith(name.encode() + b"\n"), f"a run can write files: {short(listed)}")

    run(work, limit_s)


@contextlib.contextmanager
def _canary(path: Path | None) -> Iterator[tuple[Path, bytes]]:
    """A file that everybody may read, and what must not be seen of it."""
    if path is not None:
        yield path, path.read_bytes()
        return
    secret = secrets.token_hex(16).encode()
    handle, name = tempfile.mkstemp(prefix="vervet-canary-")
    try:
        os.write(handle, secret)
        os.fchmod(handle, 0o644)
        yield Path(name), secret
    finally:
        os.close(handle)
        Path(name).unlink()


def check_canary(build: Build, *, canary: Path | None = None, limit_s: float = LIMIT_S) -> None:
    """A file of the host's that everybody may read cannot be read, by name, through links or /proc."""
    with _canary(canary) as (path, secret):
        roads = [
            str(path),
            f"/proc/1/root{path}",
            f"/proc/self/root{path}",
            f"../../../../../..{path}",
            f"/proc/self/cwd/../../../..{path}",
        ]
        outcome = _one(build, _sh(f"ln -s {path} link; cat link {' '.join(roads)}; true"), limit_s)
        require(outcome.started and outcome.exit_code == 0, f"a program that looks around ends well: {short(outcome)}")
        require(secret not in outcome.stdout + outcome.stderr, f"a program read the host's file {path}")


# ------------------------------------------------------------------------------------------------------ surroundings


def check_environment(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Nothing of the host's environment is passed on: that is where keys are."""
    os.environ[_MARK] = secret = secrets.token_hex(16)
    try:
        outcome = _one(build, _sh("env; cat /proc/self/environ"), limit_s)
    finally:
        del os.environ[_MARK]
    seen = outcome.stdout + outcome.stderr
    require(secret.encode() not in seen, "a program sees the host's environment, keys included")
    home = os.environ.get("HOME", "")
    require(
        len(home) < 2 or f"HOME={home}\n".encode() not in seen,
        "HOME inside is not the home of whoever runs the sandbox",
    )


def check_network(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """A program reaches neither a port of the host's nor an abstract Unix socket; there is no other network either."""
    name = f"\0vervet-{secrets.token_hex(8)}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as local:
        server.setblocking(False)
        local.bind(name)
        local.listen()
        local.setblocking(False)
        port = server.getsockname()[1]
        script = (
            "import socket\n"
            f"for family, address in ((socket.AF_INET, ('127.0.0.1', {port})), (socket.AF_UNIX, {name!r})):\n"
            "    try:\n"
            "        socket.socket(family).connect(address); print('connected')\n"
            "    except OSError as error:\n"
            "        print('refused', error)\n"
            "try:\n"
            "    print(sorted(set(socket.if_nameindex()) - {(1, 'lo')}))\n"
            "except OSError:\n"
            "    print([])\n"
        )
        outcome = _one(build, SandboxJob((PYTHON, "-c", script), limits=ROOMY), limit_s)
        for listener in (server, local):
            with contextlib.suppress(BlockingIOError):
                listener.accept()[0].close()
                raise AssertionError("a program reached a socket of the host's")
    require(b"connected" not in outcome.stdout, f"a program made a connection: {short(outcome.stdout)}")
    ended = outcome.started and outcome.exit_code is not None
    require(ended, f"a program that tries the network ends by itself: {short(outcome)}")
    require(outcome.stdout.splitlines()[-1:] in ([b"[]"], []), f"there are network interfaces: {short(outcome.stdout)}")


# ------------------------------------------------------------------------------------------------------ limits


def check_cpu_limit(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Processor time ends a program that computes, and one whose children compute; time asleep does not count."""
    limits = Limits(cpu_s=0.5, wall_s=40.0)
    spin = "while True: pass"
    forks = f"import os\nfor _ in range(3): os.fork()\n{spin}"

    async def work() -> None:
        async with opened(build) as sandbox:
            slept = await _run(sandbox, _sh("sleep 0.8; echo done", limits=limits))
            require(slept.stdout == b"done\n", f"time asleep is no processor time: {short(slept)}")
            for script in (spin, forks):
                outcome = await _run(sandbox, SandboxJob((PYTHON, "-c", script), limits=limits))
                require(outcome.limit == "cpu", f"a program that computes on ends by its cpu limit: {short(outcome)}")
                require(outcome.started, "what a limit ended was started")

    run(work, limit_s)


def check_wall_limit(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Wall-clock time ends a program that waits, its children too; what it wrote before is there."""
    start = time.monotonic()
    job = _sh("echo before; sleep 300 & sleep 300", limits=Limits(cpu_s=20.0, wall_s=0.5))
    outcome = _one(build, job, limit_s)
    require(outcome.limit in ("wall", "starved"), f"a program that sleeps on ends by its wall limit: {short(outcome)}")
    require(outcome.stdout == b"before\n", f"what came out before the limit is kept: {short(outcome.stdout)}")
    require(time.monotonic() - start < limit_s / 2, "a wall limit of 0.5 s takes effect soon")


def check_memory_limit(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """A program that wants more memory than it may have does not get it; below the limit it does."""
    limits = Limits(cpu_s=20.0, wall_s=40.0, memory_mb=256)

    async def work() -> None:
        async with opened(build) as sandbox:
            greedy = SandboxJob((PYTHON, "-c", "x = bytearray(1 << 30); print('got it')"), limits=limits)
            outcome = await _run(sandbox, greedy)
            require(
                outcome.exit_code != 0 and b"got it" not in outcome.stdout,
                f"256 MB are the limit, and a program got 1024: {short(outcome)}",
            )
            modest = SandboxJob((PYTHON, "-c", "x = bytearray(64 << 20); print('got it')"), limits=limits)
            require(await _output(sandbox, modest) == b"got it\n", "64 of 256 MB can be had")

    run(work, limit_s)


def check_disk_limit(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """A program cannot write a file larger than its disk limit."""
    limits = Limits(cpu_s=20.0, wall_s=40.0, disk_mb=4)
    outcome = _one(build, _sh("head -c 33554432 /dev/zero > big; wc -c < big", limits=limits), limit_s)
    size = outcome.stdout.strip()
    require(not size or int(size) <= 4 << 20, f"4 MB of disk are the limit, and a file has {size.decode()} bytes")


def check_output_limit(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Output beyond its limit ends the program and is dropped; output up to the limit is kept whole."""
    limits = Limits(cpu_s=20.0, wall_s=40.0, output_bytes=10_000)

    async def work() -> None:
        async with opened(build) as sandbox:
            for script in ("yes", "yes >&2", "yes & yes >&2"):
                outcome = await _run(sandbox, _sh(script, limits=limits))
                size = len(outcome.stdout) + len(outcome.stderr)
                require(outcome.limit == "output", f"endless output (`{script}`) ends by its limit: {short(outcome)}")
                require(size <= 10_000, f"10,000 bytes of output are the limit, and {size:,} came back")
            exact = await _run(sandbox, _sh("head -c 10000 /dev/zero", limits=limits))
            require(len(exact.stdout) == 10_000 and not exact.limit, f"10,000 bytes are within 10,000: {short(exact)}")

    run(work, limit_s)


# ------------------------------------------------------------------------------------------------------ life and death


def check_concurrent(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Programs at once get their own input and output, and the event loop stays free meanwhile."""

    async def work() -> None:
        async with opened(build) as sandbox:
            async with Ticker() as ticker:
                jobs = [_sh("cat; pwd > f; sleep 0.05; cat f > /dev/null", stdin=b"%d" % i) for i in range(8)]
                outputs = await asyncio.gather(*(_output(sandbox, job) for job in jobs))
            require(outputs == [b"%d" % i for i in range(8)], f"outputs of programs at once are mixed up: {outputs}")
            require(ticker.longest_s < _HELD_S, f"run() held the event loop for {ticker.longest_s:.2f} s")

    run(work, limit_s)


def _alive(mark: str) -> list[str]:
    """Command lines of this machine's processes that hold the mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if mark in line:
                found.append(line.strip())
    return found


async def _require_gone(mark: str, when: str) -> None:
    end = time.monotonic() + _GONE_S
    while left := _alive(mark):
        require(time.monotonic() < end, f"{when}, its processes are still there: {left}")
        await asyncio.sleep(0.02)


async def _appeared(command: str, count: int) -> None:
    """Wait until so many processes run this very command."""
    end = time.monotonic() + _START_S
    while _alive(command).count(command) < count:
        require(time.monotonic() < end, f"a program does not start within {_START_S:g} s")
        await asyncio.sleep(0.01)


def _duration() -> str:
    """A number of seconds to sleep that nobody else sleeps: it marks the process."""
    return f"1{secrets.randbelow(10**9):09d}.{secrets.randbelow(10**9)}"


def check_cancel(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """Cancelled, a run takes all its processes with it, and the next program runs."""
    mark = _duration()

    async def work() -> None:
        async with opened(build) as sandbox:
            task = asyncio.ensure_future(sandbox.run(_sh(f"sleep {mark} & sleep {mark}")))
            await _appeared(f"sleep {mark}", 2)
            task.cancel()
            await asyncio.wait([task], timeout=_GONE_S)
            require(task.done(), f"a cancelled run goes on for more than {_GONE_S:g} s")
            await _require_gone(mark, "after a run was cancelled")
            require(await _output(sandbox, _sh("echo on")) == b"on\n", "after a cancelled run the next program runs")

    run(work, limit_s)


def check_nothing_is_left(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """A program's children end with it, whether it ends by itself or by a limit; after aclose there is no process."""
    own = set(_children())
    limits = Limits(cpu_s=20.0, wall_s=0.5)

    async def work() -> None:
        async with opened(build) as sandbox:
            for script, when in (("", "after a program ended"), ("sleep 100", "after a limit ended a program")):
                mark = _duration()
                await _run(sandbox, _sh(f"sleep {mark} >/dev/null 2>&1 & {script}", limits=limits))
                await _require_gone(mark, when)
        end = time.monotonic() + _GONE_S
        while left := set(_children()) - own:
            require(time.monotonic() < end, f"after aclose() {len(left)} processes are left")
            await asyncio.sleep(0.02)

    run(work, limit_s)


def check_daemon_dies(build: Build, *, limit_s: float = LIMIT_S) -> None:
    """A process that leaves its session and forks twice ends with its program as well."""
    mark = _duration()

    async def work() -> None:
        async with opened(build) as sandbox:
            await _run(sandbox, _sh(f"(setsid sh -c 'sleep {mark} & sleep {mark}' >/dev/null 2>&1 &); sleep 0.2"))
            await _require_gone(mark, "after the program that started a daemon ended")

    run(work, limit_s)


def _children() -> list[str]:
    """Living children of this process, by pid."""
    found = []
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in path.read_text().split():
                state = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
                found += [pid] if state not in "ZX" else []
    return found


CHECKS: tuple[Callable[..., None], ...] = (
    check_streams,
    check_endings,
    check_missing_program,
    check_files,
    check_private_folder,
    check_environment,
    check_cpu_limit,
    check_wall_limit,
    check_memory_limit,
    check_disk_limit,
    check_output_limit,
    check_concurrent,
    check_cancel,
    check_nothing_is_left,
    check_close,
    check_network,
    check_canary,
    check_daemon_dies,
)
ISOLATION = {"check_network", "check_canary", "check_daemon_dies"}
"""Checks that only isolation can pass."""

"""One run of a program that ends with everything it has started.

A program's children may leave its process group, start a session of their own, or be handed to init when their parent ends.
What they keep is their environment: each run gets a mark there, and whoever carries it is ended. A process that clears
its environment *and* its group gets away; nothing without privileges could hold it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "VERVET_ATTEMPT"
# environment variable that every process of a run carries
_TAIL_BYTES = 4096
_GONE_S = 5.0
# for processes that were killed to disappear


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    exit_code: int | None
    # negative: the signal that ended it; None: it ran into the time limit
    stdout: bytes
    too_much: bool
    # stdout was longer than allowed; the rest is lost
    stderr_tail: str


async def run(argv: Sequence[str], stdin: bytes, folder: Path, timeout_s: float, most_stdout: int) -> Ended:
    """Run a program to its end, or to the end of its time; no process that it started is left, also after a cancellation.

    Raises: OSError where it cannot be started.
    """
    mark = secrets.token_hex(8)
    # files and not pipes: a grandchild that keeps a pipe open would keep us waiting after the program has ended
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=given,
            stdout=out,
            stderr=err,
            cwd=folder,
            env={**os.environ, MARK: mark},
            start_new_session=True,
        )
        code: int | None = None
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    code = await process.wait()
        finally:
            await _end(process, mark)
        out.seek(0)
        text = out.read(most_stdout + 1)
        err.seek(max(0, err.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return Ended(code, text[:most_stdout], len(text) > most_stdout, err.read().decode("utf-8", "replace"))


async def _end(process: asyncio.subprocess.Process, mark: str) -> None:
    """Kill the program, its group and whoever carries its mark, until nobody is left."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    deadline = asyncio.get_running_loop().time() + _GONE_S
    while True:
        # the first round is over before anything is awaited: a second cancellation comes too late for it
        left = list(_carriers(mark))
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not left or asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(0.01)
    await process.wait()


def _carriers(mark: str) -> Iterator[int]:
    """Processes whose environment holds the mark; one that has ended has no environment any more."""
    wanted = f"{MARK}={mark}".encode()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile, or it is somebody else's
                if wanted in Path(entry.path, "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)


def signal_name(exit_code: int) -> str:
    """ "exit code 3", or the signal of a negative one."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"

"""Runs of the `vervet` command in processes of their own that start in milliseconds and can be killed: forks of a warm one.

A run that is killed is a real process that gets a real SIGKILL; only the half second of imports is saved.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from types import TracebackType

from tests.helpers import SRC


class Zygote:
    """A warm process; `run` forks it. One run at a time."""

    def __enter__(self) -> Zygote:
        root = str(SRC.parent)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.zygote"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SRC), root])},
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def run(self, *arguments: object, kill_after: float | None = None) -> tuple[int, str]:
        """Exit code (-9: killed after so many seconds) and what was said on stderr."""
        self.start(*arguments, kill_after=kill_after)
        return self.wait()

    def start(self, *arguments: object, kill_after: float | None = None) -> int:
        """Begin a run; its process id, for whoever wants to kill it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([[str(a) for a in arguments], kill_after]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def wait(self) -> tuple[int, str]:
        """Exit code of the run that was begun, and what it said on stderr."""
        assert self._process.stdout is not None
        code, said = json.loads(self._process.stdout.readline())
        return code, said


def _one(arguments: list[str], kill_after: float | None) -> tuple[int, str]:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(write, 1)
        os.dup2(write, 2)
        os.close(read)
        from vervet.cli.main import execute

        code = execute(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    os.close(write)
    sys.stdout.write(f"{child}\n")
    sys.stdout.flush()
    ended = os.pidfd_open(child)
    said = b""
    if kill_after is not None and not select.select([ended], [], [], kill_after)[0]:
        os.kill(child, signal.SIGKILL)
    while piece := os.read(read, 65536):
        said += piece
    os.close(read)
    os.close(ended)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said.decode("utf-8", "replace")


def main() -> None:
    import vervet.api
    import vervet.cli.run
    import vervet.samplers.openai
    import vervet.tasks.jsonl
    import vervet.verifiers.exact

    vervet.cli.main = __import__("vervet.cli.main", fromlist=["main"])
    for line in sys.stdin:
        arguments, kill_after = json.loads(line)
        sys.stdout.write(json.dumps(_one(arguments, kill_after)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

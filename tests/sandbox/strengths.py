"""The strengths a sandbox can have on this machine, as launchers for its containers."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import subprocess
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from tests import podman
from vervet.protocols import Limits
from vervet.sandbox import capabilities
from vervet.sandbox.functions import Candidate, Ending, FunctionRuntime
from vervet.sandbox.inside.checks import FunctionTests
from vervet.verifiers.python_tests import decide

NAMES = ("namespaces", "one-uid", "docker", "none")
# the strongest in every run of the tests, the others with `slow`
ALL = [NAMES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[1:])]
ISOLATED = ALL[:3]
DEFAULT = Limits(cpu_s=2, wall_s=10)
SYSTEM_PYTHON = "/usr/bin/python3"


@functools.cache
def launcher(name: str) -> tuple[str, ...] | None:
    """How a container of this strength is started; skips the test where it cannot be."""
    if name == "none":
        return None
    if name == "docker":
        podman.start()
        return None
    if not capabilities().namespaces:
        pytest.skip(f"not here: {[x for x in capabilities().layers if not x.available]}")
    if name == "namespaces":
        return None
    # as root, play a user without a range of uids; the interpreter must be one that such a user can read
    if os.geteuid() != 0 or not shutil.which("setpriv") or not os.path.exists(SYSTEM_PYTHON):
        pytest.skip("not here: playing an unprivileged user takes root, setpriv and a system Python")
    command = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", SYSTEM_PYTHON)
    version = subprocess.run(
        [*command, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True, check=False
    )
    if version.stdout.strip() != b"True":
        pytest.skip("not here: the system's Python is older than 3.11")
    return (*command, "-s", "-S", "-P", "-B", "-X", "utf8")


@dataclass
class Bench:
    """A runtime and the loop it lives in, for plain test functions."""

    name: str
    runner: asyncio.Runner
    runtime: FunctionRuntime

    def do(self, work: Coroutine[Any, Any, Any] | Awaitable[Any]) -> Any:
        async def run() -> Any:
            return await work

        return self.runner.run(run())

    def endings(self, tests: FunctionTests, *answers: str, limits: Limits = DEFAULT) -> list[Ending]:
        return self.do(self.runtime.run(tests, [Candidate(((a,),)) for a in answers], limits))

    def verdicts(self, tests: FunctionTests, *answers: str, **more: Any) -> list[tuple[str, str, str]]:
        return [decide(e) for e in self.endings(tests, *answers, **more)]


def only_ours(name: str) -> None:
    """Skip what looks at a container's processes from outside, where they are an engine's; test_engine has its own."""
    if name == "docker":
        pytest.skip("not here: an engine's container is no child of ours")


def isolation(name: str) -> str:
    """What a runtime of this strength is told."""
    return {"none": "none", "docker": f"docker:{podman.IMAGE}"}.get(name, "namespaces")


def bench(name: str, **more: Any) -> Bench:
    start = launcher(name)
    runner = asyncio.Runner()
    runner.get_loop()
    return Bench(name, runner, FunctionRuntime(isolation(name), launcher=start, **more))


def close(bench: Bench) -> None:
    bench.do(bench.runtime.aclose())
    bench.runner.close()

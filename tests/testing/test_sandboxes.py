"""The sandboxes' suite: what we ship conforms, and each broken sandbox is caught by the check made for it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests import podman
from tests.testing.controls import Control, assert_caught, assert_every_check_is_controlled, broken
from vervet.protocols import Limits, Sandbox, SandboxJob, SandboxOutcome
from vervet.sandbox import open_sandbox
from vervet.testing import sandboxes
from vervet.testing.sandboxes import PYTHON, conform_to_sandbox


def none() -> Sandbox:
    return open_sandbox("none")


def namespaces() -> Sandbox:
    return open_sandbox("namespaces")


def docker() -> Sandbox:
    return open_sandbox(f"docker:{podman.IMAGE}")


@pytest.mark.parametrize("check", [c.__name__ for c in sandboxes.CHECKS])
@pytest.mark.parametrize(
    "build", [namespaces, *(pytest.param(b, marks=pytest.mark.slow) for b in (docker, none))], ids=lambda b: b.__name__
)
def test_shipped_sandboxes_conform(build: sandboxes.Build, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if build is docker:
        podman.start()
        monkeypatch.setattr(sandboxes, "PYTHON", "python3")
    if build is none and check in sandboxes.ISOLATION:
        pytest.skip("not here: a sandbox without isolation does not promise it")
    getattr(sandboxes, check)(build)


@pytest.mark.slow
def test_the_whole_suite_names_what_is_broken() -> None:
    assert broken(lambda: conform_to_sandbox(none)) == {"check_network", "check_canary"}
    conform_to_sandbox(namespaces)


# ------------------------------------------------------------------------------------------------------ broken ones


class Wrapper:
    """`none`, with a change to what goes in or comes out."""

    def __init__(self) -> None:
        self._inner = none()
        self.isolation = "none"

    def before(self, job: SandboxJob) -> SandboxJob:
        return job

    def after(self, outcome: SandboxOutcome) -> SandboxOutcome:
        return outcome

    async def run(self, job: SandboxJob) -> SandboxOutcome:
        return self.after(await self._inner.run(self.before(job)))

    async def aclose(self) -> None:
        await self._inner.aclose()


def into(change: Callable[[SandboxJob], SandboxJob]) -> Callable[[], Wrapper]:
    return type("Into", (Wrapper,), {"before": lambda self, job: change(job)})


def out_of(change: Callable[[SandboxOutcome], SandboxOutcome]) -> Callable[[], Wrapper]:
    return type("OutOf", (Wrapper,), {"after": lambda self, outcome: change(outcome)})


def limits(**changed: float) -> Callable[[], Wrapper]:
    return into(lambda job: dataclasses.replace(job, limits=dataclasses.replace(job.limits, **changed)))


def shell_convention(outcome: SandboxOutcome) -> SandboxOutcome:
    """128 + signal, as in a shell."""
    if outcome.signal is None:
        return outcome
    return dataclasses.replace(outcome, signal=None, exit_code=128 + outcome.signal)


def tells_all(job: SandboxJob) -> SandboxJob:
    """The host's environment."""
    pairs = [f"{k}={v}" for k, v in os.environ.items() if k.startswith(("VERVET", "PATH"))]
    return dataclasses.replace(job, argv=("env", *pairs, *job.argv))


def in_one_folder(folder: Path) -> Callable[[], Wrapper]:
    script = f'cd {folder}; exec "$@"'
    return into(lambda job: dataclasses.replace(job, argv=("sh", "-c", script, "sh", *job.argv)))


class Behind(Wrapper):
    """Each run gets the outcome of the run before."""

    last = SandboxOutcome(True, exit_code=0)

    def after(self, outcome: SandboxOutcome) -> SandboxOutcome:
        self.last, given = outcome, self.last
        return given


class Holds(Wrapper):
    held = False

    def before(self, job: SandboxJob) -> SandboxJob:
        if not self.held:
            time.sleep(0.3)
        self.held = True
        return job


class ClosesOnce(Wrapper):
    closed = False

    async def aclose(self) -> None:
        await super().aclose()
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class Plain:
    """a subprocess and nothing else: what it starts it forgets."""

    isolation = "none"

    processes: ClassVar[list[subprocess.Popen[bytes]]] = []

    async def run(self, job: SandboxJob) -> SandboxOutcome:
        process = subprocess.Popen(job.argv, stdout=subprocess.DEVNULL, start_new_session=True)  # noqa: ASYNC220
        self.processes.append(process)
        while process.poll() is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return SandboxOutcome(True, exit_code=process.returncode)

    async def aclose(self) -> None:
        return


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """How long the programs of the suite sleep in this test, so that it can end those that a broken sandbox forgets."""
    text = f"1{secrets.randbelow(10**9)}.{secrets.randbelow(10**9)}"
    monkeypatch.setattr(sandboxes, "_duration", lambda: text)
    monkeypatch.setattr(sandboxes, "_GONE_S", 0.5)
    yield text
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text.encode() in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)
    while Plain.processes:
        Plain.processes.pop().wait()


def swapped(outcome: SandboxOutcome) -> SandboxOutcome:
    return dataclasses.replace(outcome, stdout=outcome.stderr, stderr=outcome.stdout)


def started(outcome: SandboxOutcome) -> SandboxOutcome:
    """As a shell does: 127."""
    return outcome if outcome.started else SandboxOutcome(True, exit_code=127, stderr=b"not found")


def silent(outcome: SandboxOutcome) -> SandboxOutcome:
    """Does not say what ended it."""
    return dataclasses.replace(outcome, limit="")


def doubled(outcome: SandboxOutcome) -> SandboxOutcome:
    return dataclasses.replace(outcome, stdout=outcome.stdout * 2)


def impatient(outcome: SandboxOutcome) -> SandboxOutcome:
    """Takes time asleep for processor time."""
    return dataclasses.replace(outcome, limit="cpu", stdout=b"") if outcome.wall_s > 0.7 else outcome


NO_FILES = into(lambda job: dataclasses.replace(job, files={}))
NO_INPUT = into(lambda job: dataclasses.replace(job, stdin=b""))
CONTROLS: dict[str, Control] = {
    "check_streams: swapped": (lambda: sandboxes.check_streams(out_of(swapped)), "stdout is what"),
    "check_streams: no input": (lambda: sandboxes.check_streams(NO_INPUT), "stdout is what"),
    "check_endings: as a shell": (lambda: sandboxes.check_endings(out_of(shell_convention)), "by signal 11"),
    "check_missing_program: 127": (lambda: sandboxes.check_missing_program(out_of(started)), "started=False"),
    "check_files: none": (lambda: sandboxes.check_files(NO_FILES), "should end with 0"),
    "check_private_folder: one": (None, "what an earlier one wrote"),  # type: ignore[dict-item]  below: it needs a folder
    "check_environment: all": (lambda: sandboxes.check_environment(into(tells_all)), "keys included"),
    "check_cpu_limit: asleep": (lambda: sandboxes.check_cpu_limit(out_of(impatient)), "no processor time"),
    "check_wall_limit: silent": (lambda: sandboxes.check_wall_limit(out_of(silent)), "its wall limit"),
    "check_memory_limit: none": (lambda: sandboxes.check_memory_limit(limits(memory_mb=4096)), "got 1024"),
    "check_memory_limit: tight": (lambda: sandboxes.check_memory_limit(limits(memory_mb=64)), "can be had|should end"),
    "check_disk_limit: none": (lambda: sandboxes.check_disk_limit(limits(disk_mb=100)), "4 MB of disk"),
    "check_output_limit: more": (lambda: sandboxes.check_output_limit(out_of(doubled)), "came back"),
    "check_output_limit: silent": (lambda: sandboxes.check_output_limit(out_of(silent)), "ends by its limit"),
    "check_concurrent: behind": (lambda: sandboxes.check_concurrent(Behind), "mixed up"),
    "check_concurrent: holds": (lambda: sandboxes.check_concurrent(Holds), "held the event loop"),
    "check_cancel: forgets": (lambda: sandboxes.check_cancel(Plain), "after a run was cancelled"),
    "check_nothing_is_left: forgets": (lambda: sandboxes.check_nothing_is_left(Plain), "after a program ended"),
    "check_close: not twice": (lambda: sandboxes.check_close(ClosesOnce), "second time"),
    "check_network: none": (lambda: sandboxes.check_network(none), "reached a socket"),
    "check_canary: none": (lambda: sandboxes.check_canary(none), "read the host's file"),
    "check_daemon_dies: forgets": (lambda: sandboxes.check_daemon_dies(Plain), "started a daemon"),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_broken_sandbox_is_caught(name: str, tmp_path: Path, mark: str) -> None:
    run, words = CONTROLS[name]
    if name == "check_private_folder: one":
        run = lambda: sandboxes.check_private_folder(in_one_folder(tmp_path))  # noqa: E731
    assert_caught((run, words))


def test_every_check_has_a_control() -> None:
    assert_every_check_is_controlled(sandboxes, CONTROLS, set())


def test_python_and_limits_are_the_sandboxes_own() -> None:
    """The suite's interpreter is the one below any virtual environment, which containers show."""
    assert Path(PYTHON).is_file()
    assert Limits(cpu_s=20.0, wall_s=40.0) == sandboxes.ROOMY

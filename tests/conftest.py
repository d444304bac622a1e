"""What holds for every test: no network, no leftovers, nothing of the user's own; in `make test-all` no silent skips.

Skips. A test skips when an optional part is absent. With VERVET_REQUIRE_PARTS=1 (`make test-all`, CI) such a skip fails,
except where no installation could help: reasons that begin with "not here:" (a fact about this machine, such as a
missing kernel feature) and tests marked `needs_data`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vervet.testing.network import NetworkGuard

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("VERVET_SHARED_DATA") or ROOT.parent / "shared" / "data")
REQUIRE_PARTS = os.environ.get("VERVET_REQUIRE_PARTS") == "1"
# What a test may know of the caller's settings; every other VERVET_* would change what the tests see.
KEPT = {"VERVET_CACHE", "VERVET_SHARED_DATA", "VERVET_REQUIRE_PARTS"}
# Long enough for a process that was told to end, short enough to notice one that was not.
GRACE_S = 3.0
# Started once, by the standard library or tests/podman.py, and kept until the interpreter ends; the last is podman's watch
# over a command that was run in a container, which stays for minutes after both are gone.
HELPERS = (
    "multiprocessing.resource_tracker",
    "multiprocessing.forkserver",
    " system service --time=0 unix:",
    " --exec-process-spec /tmp/vervet-engine-",
)

_home: Path | None = None


# ---------------------------------------------------------------------------------------------------------- isolation


def pytest_configure(config: pytest.Config) -> None:
    """Once a process: no settings, no keys and no writable home of the user's; orphans come to us.

    The cache stays the user's own (a model is fetched once, not once a run of the tests); VERVET_CACHE moves it.
    """
    global _home  # noqa: PLW0603  pytest gives a conftest no other place
    _home = Path(tempfile.mkdtemp(prefix="vervet-tests-"))
    for name in ("CONFIG", "DATA", "STATE"):
        os.environ[f"XDG_{name}_HOME"] = str(_home / name.lower())
    for name in list(os.environ):
        if (name.startswith("VERVET_") and name not in KEPT) or name.endswith(("_API_KEY", "_API_TOKEN")):
            del os.environ[name]
    # A process whose parent died is handed to its nearest "subreaper" instead of to init: nothing can hide by forking
    # twice, so that `no_leftovers` sees it.
    pr_set_child_subreaper = 36
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _home is not None:
        shutil.rmtree(_home, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """The guard stands around set-up, call and tear-down, so that fixtures of every scope are under it."""
    if item.get_closest_marker("network"):
        return (yield)
    with NetworkGuard() as guard:
        item.stash[_guard_key] = guard
        return (yield)


_guard_key = pytest.StashKey[NetworkGuard]()


@pytest.fixture(autouse=True)
def network_attempts(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test whose attempt to reach the network was blocked and then swallowed by the code under test."""
    yield
    guard = request.node.stash.get(_guard_key, None)
    if guard is not None and guard.attempts:
        pytest.fail(f"tried to reach the network: {guard.attempts}; mark the test `network` if it must")


# ---------------------------------------------------------------------------------------------------------- leftovers


def _children() -> dict[int, tuple[str, str]]:
    """Children of this process: pid -> (state, command line); helpers of the whole session do not count."""
    found = {}
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread ended meanwhile
            for pid in path.read_text().split():
                with contextlib.suppress(OSError):  # so did the child
                    state = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
                    command = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if not any(helper in command for helper in HELPERS):
                        found[int(pid)] = (state, command.strip())
    return found


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    """Fails a test that leaves processes behind, names them, ends them and reaps them.

    Function-scoped, so fixtures of a wider scope are set up before and what they keep running is not counted.
    """
    before = _children()
    yield
    deadline = time.monotonic() + GRACE_S
    while True:
        new = {pid: child for pid, child in _children().items() if pid not in before}
        alive = {pid: command for pid, (state, command) in new.items() if state not in "ZX"}
        if not alive or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in new:  # adopted orphans have nobody else who waits for them
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    if alive:
        pytest.fail("processes left behind: " + "; ".join(f"{pid} {name}" for pid, name in alive.items()))


# --------------------------------------------------------------------------------------------------- parts and data


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not DATA.is_dir():
        for item in items:
            if item.get_closest_marker("needs_data"):
                item.add_marker(pytest.mark.skip(reason=f"no shared data at {DATA} (VERVET_SHARED_DATA)"))


def _fail_if_part_is_missing(report: pytest.TestReport | pytest.CollectReport, excused: bool) -> None:
    if not (REQUIRE_PARTS and report.skipped) or excused or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith("not here:"):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped, but with VERVET_REQUIRE_PARTS=1 nothing may be missing: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    _fail_if_part_is_missing(report, excused=item.get_closest_marker("needs_data") is not None)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    report = yield
    _fail_if_part_is_missing(report, excused=False)
    return report


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published data; tests that use it are marked `needs_data`."""
    if not DATA.is_dir():
        pytest.skip(f"no shared data at {DATA} (VERVET_SHARED_DATA)")
    return DATA

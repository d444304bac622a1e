"""A container engine for tests: podman's service on a socket of its own, with an image made from this machine's files.

Started once a session and ended with it; nothing is pulled and nothing of the user's own engine is touched.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

IMAGE = "localhost/vervet-sandbox:latest"
ROOT = Path(__file__).resolve().parent.parent
CONFIG = """
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
"""


@functools.cache
def start() -> None:
    """Start it and point DOCKER_HOST there. Skips the test where it cannot be."""
    if importlib.util.find_spec("docker") is None:
        pytest.skip("no docker package (extra: docker)")
    if not (shutil.which("podman") and shutil.which("runc")):
        pytest.skip("no podman and runc")
    if os.geteuid() != 0:
        pytest.skip("not here: the engine for tests is started by root")
    folder = Path(tempfile.mkdtemp(prefix="vervet-engine-"))
    (folder / "containers.conf").write_text(CONFIG)
    socket = f"unix://{folder}/socket"
    environment = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf"), "DOCKER_HOST": socket}
    command = ["podman", "system", "service", "--time=0", socket]
    places = {"root": folder / "root", "runroot": folder / "run"}
    command[1:1] = [f"--{name}={path}" for name, path in places.items()]
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    atexit.register(_end, service, folder)
    deadline = time.monotonic() + 60
    while not (folder / "socket").exists():
        if service.poll() is not None or time.monotonic() > deadline:
            pytest.skip(f"not here: podman's service does not start: {(folder / 'log').read_text()[-300:]}")
        time.sleep(0.05)
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "sandbox-image", IMAGE],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.fail(f"no image for the engine: {made.stderr[-500:]}")
    os.environ["DOCKER_HOST"] = socket


def _end(service: subprocess.Popen[bytes], folder: Path) -> None:
    service.terminate()
    service.wait()
    for path in Path("/proc/self/task").glob("*/children"):
        # what podman leaves to watch over commands in containers that are gone; orphans come to us
        for pid in path.read_text().split():
            with contextlib.suppress(OSError):
                if str(folder).encode() in Path("/proc", pid, "cmdline").read_bytes():
                    os.killpg(int(pid), signal.SIGKILL)  # each has a child that waits
    subprocess.run(["umount", "-l", folder / "root" / "overlay"], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)

"""A control group per container, version 1 or 2, where the host lets us make one: memory and number of processes.

The address-space limit bounds each candidate already; the group also bounds what that limit does not count (page
tables, pipes, the tester) and what the whole container may use.
"""

from __future__ import annotations

import os
import time

_NAME = "vervet"
_EXTRA_MB = 2560
# the tester's own limit, and the zygote
_MAX_PROCESSES = 128
_REMOVE_TRIES = 100


class Group:
    """The folders of one container's control group. `missing` says what could not be had, "" if nothing."""

    def __init__(self, memory_mb: int) -> None:
        self.folders: list[str] = []
        self.missing = ""
        limit = str((memory_mb + _EXTRA_MB) << 20)
        try:
            for mount, path, settings in _places(limit):
                self._make(mount + path, settings)
            if not self.folders:
                self.missing = "no control group controller is mounted here"
        except OSError as error:
            self.missing = str(error)

    def _make(self, parent: str, settings: list[tuple[str, str]]) -> None:
        folder = f"{parent.rstrip('/')}/{_NAME}-{os.getpid()}"
        _sweep(parent)
        os.mkdir(folder)
        self.folders.append(folder)
        for name, value in settings:
            _write(f"{folder}/{name}", value)

    def add(self, pid: int) -> None:
        """Put a process, and so its children, into the group."""
        for folder in self.folders:
            try:
                _write(f"{folder}/cgroup.procs", str(pid))
            except OSError as error:
                self.missing = str(error)

    def remove(self) -> None:
        """Remove the group once it is empty: the kernel may still be taking a process down."""
        for folder in self.folders:
            for _ in range(_REMOVE_TRIES):
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    break
                except OSError:  # after the last try the next start sweeps
                    time.sleep(0.02)
                else:
                    break


def _places(limit: str) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(mount point, our group's path, settings) for each hierarchy that limits something."""
    v1 = {"memory": [("memory.limit_in_bytes", limit)], "pids": [("pids.max", str(_MAX_PROCESSES))]}
    found = []
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        names = [n for n in controllers.split(",") if n in v1 and os.path.isdir(f"/sys/fs/cgroup/{n}")]
        found += [(f"/sys/fs/cgroup/{n}", path, v1[n]) for n in names]
        if not controllers and "memory" in " ".join(_lines(f"/sys/fs/cgroup{path}/cgroup.subtree_control")).split():
            found.append(("/sys/fs/cgroup", path, [("memory.max", limit), ("pids.max", str(_MAX_PROCESSES))]))
    return found


def _sweep(parent: str) -> None:
    """Remove groups whose launcher was killed; one in use cannot be removed."""
    for name in os.listdir(parent):
        if name.startswith(f"{_NAME}-") and not os.path.exists(f"/proc/{name.rpartition('-')[2]}"):
            try:
                os.rmdir(f"{parent}/{name}")
            except OSError:
                pass


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)

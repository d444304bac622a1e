"""PID 1 of a container for whole programs: makes the folder they work in, and a runner for each phase of its life.

The driver opens a folder, runs programs in phases that share limits, and closes the folder::

    open   a private tmpfs at /box: the files in /box/work, where programs start, and /box/tmp, their temporary folder
    phase  a runner (see `runner`) in a pid and mount namespace of its own takes over the channel: run, run, ..., end
    close  the tmpfs goes, and with it all that is left

A phase may find the working folder read-only, so that one test of a program leaves nothing for the next.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import tempfile
from typing import Any, NoReturn

from vervet.sandbox.inside import linux, runner, seccomp, wire
from vervet.sandbox.inside.root import BOX, cover_proc
from vervet.sandbox.inside.zygote import Setup, first_number, lacking

_FIRST_UID, _UIDS = 10000, 50000


def serve(
    setup: Setup, watch: socket.socket, control: socket.socket, code: socket.socket, tests: socket.socket
) -> NoReturn:
    """Run programs until the driver is gone."""
    code.close()
    tests.close()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if setup.isolated:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    if setup.namespaces:
        cover_proc()
    wire.send(control, json.dumps({"lacking": lacking(setup)}).encode())
    slot = Slot(setup, watch, control)
    try:
        while True:
            slot.handle(json.loads(wire.receive(control)))
    except wire.Closed:
        slot.close()
        os._exit(0)


class Slot:
    """One folder after the other."""

    def __init__(self, setup: Setup, watch: socket.socket, control: socket.socket) -> None:
        self._setup = setup
        self._watch = watch
        self._control = control
        self._filter = seccomp.program_filter() if setup.isolated else b""
        self._count = first_number(setup)
        self._folder = ""
        self._failure = ""
        # why the folder could not be made: what is then run was not started

    def handle(self, message: dict[str, Any]) -> None:
        """One message of the driver's."""
        kind = message.pop("do")
        if kind == "open":
            self._open(**message)
        elif kind == "phase" and not self._failure:
            self._phase(runner.Phase(**message))
        elif kind == "run":
            wire.receive(self._control)
            runner.answer(
                self._control, {"started": False, "error": self._failure, "limit": "", "exit": None}, b"", b""
            )
        elif kind == "close":
            self.close()

    def _open(self, names: list[str], disk_mb: int) -> None:
        files = {name: wire.receive(self._control) for name in names}
        self._failure = ""
        self._count += 1
        try:
            self._make(files, disk_mb)
        except (OSError, ValueError) as error:
            self._failure = f"{type(error).__name__}: {error}"

    def _make(self, files: dict[str, bytes], disk_mb: int) -> None:
        if self._setup.isolated:
            self._folder = BOX
        if self._setup.namespaces:
            size = f"mode=0755,size={disk_mb}m,nr_inodes={1024 + 64 * disk_mb}"
            linux.mount("box", BOX, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, size)
        elif not self._setup.isolated:
            self._folder = tempfile.mkdtemp(prefix="vervet-box-")
        for name in runner.FOLDERS:
            os.mkdir(f"{self._folder}/{name}", 0o700)
        work = f"{self._folder}/work"
        for name, content in files.items():
            path = os.path.normpath(f"{work}/{name}")
            if not path.startswith(work + "/"):
                raise ValueError(f"{name!r} is outside the working folder")
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
        if self._setup.many_uids:
            for top, folders, inner in os.walk(self._folder):
                for entry in (*folders, *inner):
                    os.chown(f"{top}/{entry}", self._uid, self._uid)

    @property
    def _uid(self) -> int:
        return _FIRST_UID + self._count % _UIDS

    def _phase(self, phase: runner.Phase) -> None:
        """Let a runner serve the driver until the phase ends. If it dies before, so does this container."""
        if self._setup.namespaces:
            pid, pidfd = linux.clone(seccomp.CANDIDATE_FLAGS | linux.CLONE_NEWNS)
        else:
            pid = os.fork()
            pidfd = -1
        if pid == 0:
            runner.main(
                runner.Place(self._setup, self._uid, self._folder, self._filter), phase, self._watch, self._control
            )
        if pidfd >= 0:
            os.close(pidfd)
        # the runner learns from its account what the launcher calls it
        _, status = os.waitpid(pid, 0)
        if status != 0:
            os._exit(1)

    def close(self) -> None:
        """Drop the folder."""
        if not self._folder:
            return
        if self._setup.namespaces:
            linux.umount(self._folder)
        elif self._setup.isolated:  # the engine's tmpfs stays
            for name in os.listdir(self._folder):
                runner.remove(f"{self._folder}/{name}")
        else:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = ""

"""PID 1 of a container for one program that stays: its input and output are the driver's sockets.

For provers, whose start is dear and whose answers are many. The program reads the socket `code` and writes the socket
`tests`, standard error included. All that was given to it once lives as long as it does: the driver starts another
when one answer must not see what an earlier one left.
"""

from __future__ import annotations

import json
import os
import resource
import select
import socket
from typing import NoReturn

from vervet.sandbox.inside import linux, programs, wire
from vervet.sandbox.inside.root import BOX
from vervet.sandbox.inside.zygote import Child, Setup, account, lacking

_UID = 10000


def serve(
    setup: Setup, watch: socket.socket, control: socket.socket, code: socket.socket, tests: socket.socket
) -> NoReturn:
    """Start the program, then answer questions about it until the driver is gone.

    First frame: the folder it gets where there is no container, which the driver has made and removes. Second: the job,
    as for whole programs. Each further frame is a question; the reply has `cpu_s` and `starved_s` of
    the program and its processes so far, and `exit`: None while it runs, else its exit code or minus its signal.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if setup.isolated:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    wire.send(control, json.dumps({"lacking": lacking(setup)}).encode())
    try:
        folder = BOX if setup.isolated else wire.receive(control).decode()
        job = programs._receive(control)
    except wire.Closed:
        os._exit(0)
    child, failure = _start(job, setup, folder, code, tests)
    wire.send(control, json.dumps({"started": not failure, "error": failure}).encode())
    if failure:
        child.reap()
        os._exit(0)
    _answer(child, setup, watch, control)


def _start(
    job: programs.Job, setup: Setup, folder: str, code: socket.socket, tests: socket.socket
) -> tuple[Child, str]:
    """The running program, and why it could not be started."""
    said = os.pipe()
    child = programs._fork(setup)
    if child is None:
        programs._child(job, setup, _UID, folder, (code.fileno(), tests.fileno(), tests.fileno(), said[1]))
    os.close(said[1])
    code.close()
    tests.close()
    failure = programs._say(said[0])
    os.close(said[0])
    return child, failure


def _answer(child: Child, setup: Setup, watch: socket.socket, control: socket.socket) -> NoReturn:
    ended: int | None = None
    used = {"cpu": 0.0, "starved": 0.0}
    poll = select.poll()
    for fd in (child.pidfd, control.fileno()):
        poll.register(fd, select.POLLIN)
    try:
        while True:
            ready = dict(poll.poll())
            if child.pidfd in ready:
                poll.unregister(child.pidfd)
                ended, used["cpu"] = child.reap()
            if control.fileno() in ready:
                thorough = wire.receive(control) == b"tree"
                if ended is None and thorough:
                    used = account(watch, [child.pid], tree=True)
                if ended is None:
                    used["cpu"] = max(used["cpu"], child.cpu_s())
                reply = {"cpu_s": used["cpu"], "starved_s": used["starved"], "exit": ended}
                wire.send(control, json.dumps(reply).encode())
    except wire.Closed:
        if not setup.isolated and ended is None:
            programs._kill_group(child.pid)
        os._exit(0)

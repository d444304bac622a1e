"""Runs as a process of its own: SWE-bench's official harness, one child process for each patch.

    python -P _swebench_worker.py

The harness takes seconds to import, reads `.env` files, prints, writes logs below the current folder, and shares one logger
among all attempts at an instance. So it is imported once, here, and each attempt is a fork in a folder of its own. One JSON
line in: {"id", "folder"}, the folder holding job.json, or {"stop": id}. Lines out: {"ready": version}, then {"id"} when an
attempt has ended; what came of it is in outcome.json, if the process lived to write it. Standard input's end ends everything.

Two things are ours. The harness removes containers by the program `docker`, stopping them for up to 15 s: here the same
socket that made them removes them at once. And its log is read record by record: what the harness says itself cannot be
mistaken for what a patch says.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import logging
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

_SLACK_S = 120.0
# that the engine may take for an answer beyond the tests' own time
_GRACE_S = 20.0
_TAIL = 4000
# characters of the tests' output that are handed back
_PDEATHSIG = 1


def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    from swebench.harness import run_evaluation  # noqa: F401, PLC0415  paid once, before any fork

    _say(out, {"ready": importlib.metadata.version("swebench")})
    Worker(out).serve()


class Worker:
    """The attempts under way: a process each, watched by its pidfd."""

    def __init__(self, out: int) -> None:
        self._out = out
        self._running: dict[int, tuple[int, dict[str, Any]]] = {}
        # pidfd -> (pid, what was asked)

    def serve(self) -> None:
        """Until standard input ends."""
        poll, waiting = select.poll(), b""
        poll.register(0, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd in self._running:
                    poll.unregister(fd)
                    self._ended(fd)
                    continue
                data = os.read(0, 1 << 16)
                if not data:
                    self._end_all()
                    return
                *lines, waiting = (waiting + data).split(b"\n")
                for line in lines:
                    started = self._take(json.loads(line))
                    if started is not None:
                        poll.register(started, select.POLLIN)

    def _take(self, asked: dict[str, Any]) -> int | None:
        if "stop" in asked:
            for pid, job in self._running.values():
                if job["id"] == asked["stop"]:
                    os.kill(pid, signal.SIGTERM)
            return None
        pid = _fork(asked, attempt)
        fd = os.pidfd_open(pid)
        self._running[fd] = (pid, asked)
        return fd

    def _ended(self, fd: int) -> None:
        pid, asked = self._running.pop(fd)
        os.close(fd)
        if os.waitpid(pid, 0)[1]:
            # it died before it could remove its container
            os.waitpid(_fork(asked, sweep), 0)
        _say(self._out, {"id": asked["id"]})

    def _end_all(self) -> None:
        for pid, _ in self._running.values():
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        for fd, (pid, _) in list(self._running.items()):
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                os.kill(pid, signal.SIGKILL)
            self._ended(fd)


def _say(out: int, message: dict[str, Any]) -> None:
    line = json.dumps(message).encode() + b"\n"
    try:
        os.write(out, line)
    except BrokenPipeError:
        return  # nobody listens any more; standard input's end follows


def _fork(asked: dict[str, Any], work: Any) -> int:
    """Do `work(job)` in a child process, in the attempt's folder."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        signal.signal(signal.SIGTERM, _leave)
        os.chdir(asked["folder"])
        log = os.open("harness.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        work(json.loads(Path("job.json").read_text("utf-8")))
        status = 0
    except BaseException as error:  # a forked child must not return into its parent's loop
        os.write(2, repr(error).encode("utf-8", "replace") + b"\n")
    finally:
        sys.stdout.flush()
        # threads of the harness may still wait for a container that is gone
        os._exit(status)


def _leave(*_: object) -> None:
    raise SystemExit("stopped")


# ------------------------------------------------------------------------------------------------- one attempt


def attempt(job: dict[str, Any]) -> None:
    """Let the harness judge one patch, and write outcome.json."""
    outcome = judge(job)
    Path("outcome.part").write_text(json.dumps(outcome), "utf-8")
    Path("outcome.part").rename("outcome.json")


def judge(job: dict[str, Any]) -> dict[str, Any]:
    """What came of it: {"end": "unreachable" | "broken" | "unappliable" | "timeout" | "report", "log", ...}."""
    from swebench.harness import run_evaluation  # noqa: PLC0415
    from swebench.harness.constants import LOG_INSTANCE  # noqa: PLC0415
    from swebench.harness.utils import make_test_spec  # noqa: PLC0415

    row, timeout_s = job["row"], job["timeout_s"]
    try:
        client = _client(job)
    except Exception as error:  # the package raises its own, those of requests, and plain ones
        return {"end": "unreachable", "log": str(error)}
    run_evaluation.cleanup_container = _remove
    said = _Records()
    logging.getLogger(f"{row['instance_id']}.{LOG_INSTANCE}").addHandler(said)
    prediction = {
        "instance_id": row["instance_id"],
        "model_name_or_path": "vervet",
        "model_patch": job["patch"],
    }
    done = run_evaluation.run_instance(make_test_spec(row), prediction, client, job["id"], timeout_s)
    report = None if done is None else done[1][row["instance_id"]]
    return {**said.ending(report), "seconds": said.seconds, "output": _output()}


def sweep(job: dict[str, Any]) -> None:
    """Remove what an attempt that died may have left."""
    name = f"sweb.eval.{job['row']['instance_id'].lower()}.{job['id']}"
    _client(job).api.remove_container(name, force=True)


def _client(job: dict[str, Any]) -> Any:
    import docker  # noqa: PLC0415

    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}, **job["engine"]}
    return docker.from_env(timeout=job["timeout_s"] + _SLACK_S, environment=environment)


def _remove(client: Any, container: Any, logger: Any) -> None:
    """In place of the harness's own, which needs the program `docker` and waits for processes that ignore SIGTERM."""
    if container is None:
        return
    try:
        client.api.remove_container(container.id, force=True)
    except Exception as error:  # the verdict stands; a container that is gone is what was wanted
        logger.info(f"could not remove the container: {error}")


class _Records(logging.Handler):
    """What the harness said, in its own records."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.seconds: float | None = None
        # that the tests ran
        self._errors: list[str] = []
        self._refused = self._raised = ""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.ERROR:
            self._errors.append(message)
        elif message.startswith(">>>>> Patch Apply Failed"):
            self._refused = message
        elif message.startswith("Test runtime: "):
            self.seconds = float(message.split()[2].replace("_", ""))
        elif message.startswith("Traceback "):
            self._raised = message

    def ending(self, report: dict[str, Any] | None) -> dict[str, Any]:
        if report is not None:
            return {"end": "report", "report": report, "log": ""}
        if self._errors:
            return {"end": "broken", "log": self._errors[0]}
        if self._refused:
            return {"end": "unappliable", "log": self._refused.partition("\n")[2]}
        # of the harness's own exceptions only the time limit comes after the tests have started
        end = "timeout" if self._raised and self.seconds is not None else "broken"
        return {"end": end, "log": self._raised[-_TAIL:]}


def _output() -> str:
    """The end of what the tests printed."""
    for path in Path().glob("logs/run_evaluation/*/*/*/test_output.txt"):
        return path.read_text("utf-8", "replace")[-_TAIL:]
    return ""


if __name__ == "__main__":
    main()

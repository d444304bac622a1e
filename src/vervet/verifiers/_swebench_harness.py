"""The driver's side of SWE-bench's harness: one kept worker process, and what came of each attempt."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vervet.errors import MissingPart

_WORKER = Path(__file__).with_name("_swebench_worker.py")
_SLACK_S = 3600.0
# beyond the tests' own time limit, above all for pulling an image
_CLOSE_S = 60.0
_LOG_CHARS = 2000
_START_S = 300.0

End = Literal["unreachable", "broken", "unappliable", "timeout", "report"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of running one patch."""

    end: End
    # "report": the tests ran and were graded; "timeout": they were still running; "unappliable": the patch does not apply;
    # "unreachable": no engine answers; "broken": anything else that is not the patch's fault
    log: str = ""
    report: Mapping[str, Any] | None = None
    # the harness's, for this instance
    seconds: float | None = None
    # that the tests ran
    output: str = ""
    # the end of what they printed


class Harness:
    """The worker, started by the first attempt."""

    def __init__(self) -> None:
        self.version = ""
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[str, asyncio.Event] = {}
        self._folder = ""

    @staticmethod
    def check() -> None:
        """Raises: MissingPart without the packages."""
        for package in ("swebench", "docker"):
            if importlib.util.find_spec(package) is None:
                raise MissingPart(
                    f"the verifier swebench needs the package {package!r}: pip install 'vervet[swebench]'"
                )

    async def run(self, row: Mapping[str, Any], patch: str, timeout_s: float) -> Attempt:
        """Let the harness judge a patch, under a run of its own: it keeps one patch for each run and instance.

        Raises: MissingPart without the packages.
        """
        try:
            await self._ensure_started()
        except (OSError, TimeoutError) as error:
            return Attempt("broken", f"the harness's process does not start: {error}")
        name = f"vervet-{secrets.token_hex(8)}"
        folder = Path(self._folder, name)
        engine = {k: v for k, v in os.environ.items() if k.startswith("DOCKER_")}
        # half characters cannot be written to a file
        sound = patch.encode("utf-8", "replace").decode("utf-8")
        job = {"id": name, "row": dict(row), "patch": sound, "timeout_s": timeout_s, "engine": engine}
        try:
            _write(folder, job)
            await self._attempt(name, folder, timeout_s)
            return _read(folder)
        except OSError as error:
            return Attempt("broken", f"the harness's process cannot be reached: {error}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _attempt(self, name: str, folder: Path, timeout_s: float) -> None:
        ended = self._waiting[name] = asyncio.Event()
        try:
            await self._send({"id": name, "folder": str(folder)})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), timeout_s + _SLACK_S)
        finally:
            del self._waiting[name]
            if not ended.is_set():
                with contextlib.suppress(OSError):
                    await self._send({"stop": name})

    async def _send(self, message: Mapping[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            raise BrokenPipeError("it has ended")
        process.stdin.write(json.dumps(message).encode() + b"\n")
        await process.stdin.drain()

    # ------------------------------------------------------------------------------------------- the worker's life

    async def _ensure_started(self) -> None:
        async with self._starting:
            if self._reader is not None and not self._reader.done():
                return
            await self._end()
            await self._start()

    async def _start(self) -> None:
        self.check()
        self._folder = tempfile.mkdtemp(prefix="vervet-swebench-")
        environment = {**os.environ, "PYTHONUTF8": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        log = Path(self._folder, "worker.log")
        with log.open("wb") as file:  # noqa: ASYNC230  its own, empty and local
            self._process = await asyncio.create_subprocess_exec(
                # -P: a script's folder comes first on the path otherwise, and ours holds a swebench.py
                sys.executable,
                "-P",
                str(_WORKER),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                cwd=self._folder,
                env=environment,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(_START_S):
            first = await self._process.stdout.readline()
        if not first:
            said = _last_line(log)
            await self._end()
            raise MissingPart(f"the package swebench does not load: {said}")
        self.version = json.loads(first)["ready"]
        self._reader = asyncio.create_task(self._listen(self._process.stdout))

    async def _listen(self, stdout: asyncio.StreamReader) -> None:
        while line := await stdout.readline():
            ended = self._waiting.get(json.loads(line)["id"])
            if ended is not None:
                ended.set()
        # the worker died: whoever waits finds no outcome
        for ended in self._waiting.values():
            ended.set()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), _CLOSE_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""

    async def aclose(self) -> None:
        """No process, container or file of the harness is left."""
        async with self._starting:
            await self._end()


def _write(folder: Path, job: Mapping[str, Any]) -> None:
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(job), "utf-8")


def _last_line(log: Path) -> str:
    said = log.read_text("utf-8", "replace").strip().splitlines()
    return said[-1][:500] if said else "it died"


def _read(folder: Path) -> Attempt:
    try:
        outcome = json.loads((folder / "outcome.json").read_text("utf-8"))
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            said = (folder / "harness.log").read_text("utf-8", "replace").strip()
            return Attempt("broken", f"the harness's process died: {said[-_LOG_CHARS:]}")
        return Attempt("broken", "the harness's process died")
    return Attempt(
        end=outcome["end"],
        log=outcome["log"],
        report=outcome.get("report"),
        seconds=outcome.get("seconds"),
        output=outcome.get("output", ""),
    )

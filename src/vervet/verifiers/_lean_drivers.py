"""Three ways to a Lean prover, behind one protocol: an executable, a REPL that is kept warm, a Kimina server.

The first two run in the sandbox: a Lean file can run any program while it is read, and refusing words is not isolation.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vervet.errors import BadOption, MissingPart
from vervet.protocols import Limits
from vervet.sandbox.sessions import Session
from vervet.verifiers._prover import Conversation, Stop, Stopped, how_it_died, tail

MAPPED_MB = 16384
"""Address space besides the memory limit: Mathlib's compiled files are mapped, not read."""
_USES = 500
# answers that one REPL judges before it is replaced: it keeps every environment it has made
_ASK_S = 120
# for questions to the user's own installation
_REPLS = ("build/bin/repl", "packages/REPL/.lake/build/bin/repl", "packages/repl/.lake/build/bin/repl")
# below a project's .lake
_HEADER = Limits(cpu_s=600.0, wall_s=600.0)


@dataclass(frozen=True, slots=True)
class Message:
    """One thing the prover said."""

    severity: str
    # "error", "warning", "information" or "info", "trace"
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the prover said about a file."""

    messages: tuple[Message, ...]
    clean: bool
    # it came to its end in the way it does when nothing is wrong
    log: str = ""
    isolation: str = ""
    cpu_s: float | None = None


class Driver(Protocol):
    """A way to a prover."""

    async def check(self, header: str, body: str) -> Report:
        """Elaborate a file. Raises: Stopped, MissingPart."""
        ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Installation:
    """Programs of a Lean on this machine, and what they need to see."""

    lean: str
    environment: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    repl: str | None = None


# ------------------------------------------------------------------------------------------------------ executable


class Executable:
    """A process of `lean --json` an answer."""

    def __init__(self, place: Installation, kind: str, limits: Limits, processes: int) -> None:
        self._place, self._kind, self._limits = place, kind, limits
        self._permits = asyncio.Semaphore(processes)

    async def check(self, header: str, body: str) -> Report:
        async with self._permits:
            argv = [self._place.lean, "--json", "-M", str(self._limits.memory_mb), "Answer.lean"]
            files = {"Answer.lean": f"{header}\n{body}".encode("utf-8", "replace")}
            session = await _session(argv, self._place, self._kind, self._limits, files)
            talk = Conversation(session, self._limits)
            try:
                await talk.until(None)
                code = await _exit(session)
                if code not in (0, 1) or how_it_died(talk.buffer) is Stop.MEMORY:
                    raise Stopped(how_it_died(talk.buffer), f"exit {code}: {tail(talk.buffer)}")
                messages = tuple(_messages(talk.buffer))
                return Report(messages, code == 0, tail(talk.buffer), session.isolation, await talk.used())
            finally:
                await talk.aclose()

    async def aclose(self) -> None:
        """Nothing is kept."""


async def _exit(session: Session) -> int | None:
    """The exit code, which comes an instant after the end of the output."""
    for _ in range(200):
        use = await session.use()
        if use is None or use.exit is not None:
            return None if use is None else use.exit
        await asyncio.sleep(0.01)
    return None


def _messages(data: bytes) -> list[Message]:
    """One JSON object a line; other lines are the prover's complaints about itself."""
    found = []
    for line in data.decode("utf-8", "replace").split("\n"):
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict) and isinstance(value.get("data"), str):
                found.append(Message(str(value.get("severity")), value["data"]))
    return found


async def _session(
    argv: Sequence[str], place: Installation, kind: str, limits: Limits, files: Mapping[str, bytes] | None = None
) -> Session:
    whole = Limits(cpu_s=1e9, wall_s=1e9, memory_mb=limits.memory_mb + MAPPED_MB, disk_mb=64)
    environment = {"LEAN_NUM_THREADS": "2", **place.environment}
    return await Session.start(argv, kind, whole, shown=place.shown, environment=environment, files=files)


# ------------------------------------------------------------------------------------------------------ kept REPL


class Repl:
    """Kept processes of the community's REPL, each with the header loaded once; JSON objects in, JSON objects out."""

    def __init__(self, place: Installation, kind: str, limits: Limits, processes: int) -> None:
        self._place, self._kind, self._limits = place, kind, limits
        self._permits = asyncio.Semaphore(processes)
        self._free: list[_Kept] = []

    async def check(self, header: str, body: str) -> Report:
        async with self._permits:
            kept = next((k for k in self._free if header in k.headers), None)
            if kept is not None:
                self._free.remove(kept)
            else:
                kept = self._free.pop() if self._free else await self._start()
            try:
                report = await kept.check(header, body)
            except BaseException:
                await kept.talk.aclose()
                raise
            if kept.uses < _USES:
                self._free.append(kept)
            else:
                await kept.talk.aclose()
            return report

    async def _start(self) -> _Kept:
        assert self._place.repl is not None
        return _Kept(
            Conversation(await _session([self._place.repl], self._place, self._kind, self._limits), self._limits)
        )

    async def aclose(self) -> None:
        """End the kept processes."""
        free, self._free = self._free, []
        await asyncio.gather(*(k.talk.aclose() for k in free))


class _Kept:
    """One REPL and the environments it has made of headers."""

    def __init__(self, talk: Conversation) -> None:
        self.talk = talk
        self.headers: dict[str, int] = {}
        self.uses = 0

    async def check(self, header: str, body: str) -> Report:
        if header not in self.headers:
            await self.talk.begin(_HEADER)
            answer = await self._ask({"cmd": header})
            if "env" not in answer or any(m.severity == "error" for m in _listed(answer)):
                raise Stopped(Stop.UNAVAILABLE, f"the header does not load: {json.dumps(answer)[:1000]}")
            self.headers[header] = int(answer["env"])
        await self.talk.begin()
        answer = await self._ask({"cmd": body, "env": self.headers[header]})
        self.uses += 1
        return Report(
            tuple(_listed(answer)),
            "env" in answer,
            json.dumps(answer)[:2000],
            self.talk.isolation,
            await self.talk.used(),
        )

    async def _ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """One exchange: a JSON object and a blank line each way."""
        self.talk.buffer = b""
        await self.talk.session.write(json.dumps(command, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n")
        await self.talk.until(lambda data: _object(data) is not None)
        answer = _object(self.talk.buffer)
        assert answer is not None
        return answer


def _object(data: bytes) -> dict[str, Any] | None:
    """The JSON object that the data are, once it is whole."""
    text = data.strip()
    if not text.endswith(b"}"):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _listed(answer: Mapping[str, Any]) -> list[Message]:
    """The messages of a REPL's answer; one that is only `message` is its complaint about the command."""
    found = [Message(str(m.get("severity")), str(m.get("data"))) for m in answer.get("messages") or ()]
    return [*found, Message("error", str(answer["message"]))] if "message" in answer else found


# ------------------------------------------------------------------------------------------------------ server


class Kimina:
    """A Kimina Lean server over HTTP: POST /api/check. It has its own pool and its own isolation, or none."""

    def __init__(self, server: str, limits: Limits, in_flight: int = 16) -> None:
        if not server.startswith(("http://", "https://")):
            raise BadOption(f"-T server={server!r}: write the address of a Kimina server, http://HOST:PORT")
        self._url = server.rstrip("/") + "/api/check"
        self._limits = limits
        self._permits = asyncio.Semaphore(in_flight)
        self._client: Any = None

    async def check(self, header: str, body: str) -> Report:
        snippet = {"id": "vervet", "code": f"{header}\n{body}"}
        request = {"snippets": [snippet], "timeout": max(1, round(self._limits.wall_s)), "debug": False, "reuse": True}
        async with self._permits:
            reply = await self._post(request)
        try:
            [result] = reply["results"]
            error, response = result.get("error"), result.get("response")
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise Stopped(
                Stop.UNAVAILABLE, f"{self._url} does not answer as a Kimina server: {reply!r}"[:500]
            ) from problem
        if error:
            # how busy the server was cannot be seen from here, so its time limit says nothing about the answer
            raise Stopped(Stop.STARVED if "timed out" in error else Stop.DIED, str(error)[:1000])
        return Report(tuple(_listed(response or {})), "env" in (response or {}), json.dumps(response)[:2000])

    async def _post(self, request: Mapping[str, Any]) -> Any:
        import aiohttp  # noqa: PLC0415  slow to import

        if self._client is None:
            self._client = aiohttp.ClientSession()
        key = os.environ.get("LEAN_SERVER_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limit = aiohttp.ClientTimeout(total=4 * self._limits.wall_s + 60)
        try:
            async with self._client.post(self._url, json=request, headers=headers, timeout=limit) as response:
                if response.status != 200:
                    raise Stopped(Stop.UNAVAILABLE, f"HTTP {response.status}: {(await response.text())[:300]}")
                return await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Stopped(Stop.UNAVAILABLE, f"{self._url}: {error!r}"[:500]) from error

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None


# ------------------------------------------------------------------------------------------------------ finding Lean


def executable(program: str) -> Installation:
    """A Lean by name or path; LEAN_PATH says where its compiled files are. Raises: MissingPart."""
    found = shutil.which(program)
    if found is None:
        raise MissingPart(
            f"there is no {program!r} here: install Lean 4 with elan and name a project with Mathlib by -T project=FOLDER, "
            "or name a Kimina server by -T server=URL"
        )
    prefix = Path(_output([found, "--print-prefix"], None).strip() or "/nowhere")
    real = prefix / "bin" / "lean"
    lean, home = (str(real), str(prefix)) if real.exists() else (found, str(Path(found).resolve().parent))
    path = os.environ.get("LEAN_PATH", "")
    shown = [home, str(Path(found).parent), *(str(Path(p).resolve()) for p in path.split(":") if p)]
    environment = {"LEAN_PATH": ":".join(str(Path(p).resolve()) for p in path.split(":") if p)} if path else {}
    return Installation(lean, environment, tuple(dict.fromkeys(shown)))


def project(folder: str, lake: str = "lake") -> Installation:
    """The Lean of a project on disk, as `lake env` sees it; with its REPL where one is built. Raises: MissingPart."""
    root = Path(folder).resolve()
    if not any((root / name).exists() for name in ("lakefile.lean", "lakefile.toml")):
        raise MissingPart(f"{folder} is no Lean project: it has no lakefile.lean and no lakefile.toml")
    program = shutil.which(lake)
    if program is None:
        raise MissingPart("there is no `lake` here: install Lean 4 with elan, or name a Kimina server by -T server=URL")
    text = _output([program, "env", "env"], root)
    variables = dict(line.split("=", 1) for line in text.split("\n") if "=" in line)
    kept = {
        k: v for k, v in variables.items() if k in ("LEAN_PATH", "LEAN_SYSROOT", "LEAN_SRC_PATH", "LD_LIBRARY_PATH")
    }
    sysroot = variables.get("LEAN_SYSROOT", "")
    lean = Path(sysroot) / "bin" / "lean" if sysroot else None
    path = [p for p in variables.get("LEAN_PATH", "").split(":") if p]
    if lean is None or not lean.exists():
        lean = Path(shutil.which("lean", path=variables.get("PATH")) or "lean")
    repls = [root / ".lake" / p for p in _REPLS]
    repl = next((str(p) for p in repls if p.exists()), None)
    shown = [str(root), str(lean.parent.parent), *path]
    return Installation(str(lean), kept, tuple(dict.fromkeys(p for p in shown if Path(p).exists())), repl)


def _output(argv: Sequence[str], folder: Path | None) -> str:
    """What a program of the user's own installation prints. Raises: MissingPart."""
    try:
        done = subprocess.run(  # noqa: S603  the user's own Lean, asked about itself
            list(argv), cwd=folder, capture_output=True, text=True, timeout=_ASK_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        raise MissingPart(f"{' '.join(argv)} does not work here: {str(detail).strip()[-300:]}") from error
    return done.stdout

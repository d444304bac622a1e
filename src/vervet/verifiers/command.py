"""A program of yours decides: it is started in the sandbox with the answer in a file, and its exit code is the verdict.

    --verifier command -V command='python3 check.py {answer} {check}'

Exit code 0 is PASS, 1 is FAIL; everything else, a signal or a time limit is UNKNOWN. (A Python program that dies of an
exception ends with 1: catch what is not the answer's fault.) The words are arguments, there is no shell. `{answer}` is the path
of a file with the answer, `{check}` that of a JSON file with the problem's id, check and reference. Words that are files here,
such as check.py, are copied into the sandbox, where nothing else of this machine can be seen but /usr and the like.

Check: whatever the command needs.
"""

from __future__ import annotations

import asyncio
import hashlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from vervet.errors import BadOption
from vervet.protocols import Limits, SandboxJob, SandboxOutcome
from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.sandbox import resolve
from vervet.sandbox.programs import ProgramSandbox

ANSWER, CHECK = "answer.txt", "check.json"
_MARKS = {"{answer}": ANSWER, "{check}": CHECK}
_SHOWN = ("/usr", "/bin", sys.base_prefix)
# what a program in the sandbox sees of this machine
_LARGEST = 8 << 20
# bytes of a file that is copied in


class Command:
    """Asks a command; see the module's docstring."""

    name = "command"
    version = "1"
    needs = frozenset({"sandbox"})
    reaches_out = frozenset({"command"})
    # settings that are programs, files or addresses: a certificate cannot bring them

    def __init__(
        self, *, command: str, sandbox: str = "auto", cpu_s: float = 30.0, wall_s: float = 120.0, memory_mb: int = 1024
    ) -> None:
        """Args: command: as in the module's docstring; cpu_s, wall_s, memory_mb: its limits for one answer."""
        if not (0 < cpu_s <= 86400 and 0 < wall_s <= 86400):
            raise BadOption("cpu_s and wall_s are seconds between 0 and 86400")
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise BadOption(f"-V command={command!r}: {error}") from error
        if not any("{answer}" in word for word in words):
            raise BadOption(f"-V command={command!r}: it has to hold {{answer}}, the path of a file with the answer")
        self._command = command
        self._argv, self._files = _collect(words)
        self._limits = Limits(cpu_s=float(cpu_s), wall_s=float(wall_s), memory_mb=int(memory_mb), disk_mb=64)
        self._kind = sandbox
        self._sandbox: ProgramSandbox | None = None

    def settings(self) -> Mapping[str, Any]:
        """The command, what is in its files, and the limits."""
        digests = {name: hashlib.sha256(data).hexdigest()[:32] for name, data in sorted(self._files.items())}
        limits = {"cpu_s": self._limits.cpu_s, "wall_s": self._limits.wall_s, "memory_mb": self._limits.memory_mb}
        return {"command": self._command, "files": digests, **limits}

    def load(self, problem: Problem) -> None:
        """Whatever the check is, the command has to make sense of it."""

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        """One verdict an answer. Raises: MissingPart where no sandbox can be made."""
        if self._sandbox is None:
            self._sandbox = ProgramSandbox(resolve(self._kind), self._limits.memory_mb)
        about = orjson.dumps({"id": problem.id, "check": dict(problem.check), "reference": problem.reference})
        return list(await asyncio.gather(*(self._ask(about, answer) for answer in answers)))

    async def _ask(self, about: bytes, answer: str) -> Verdict:
        assert self._sandbox is not None
        files = {**self._files, ANSWER: answer.encode("utf-8", "replace"), CHECK: about}
        end = await self._sandbox.run(SandboxJob(self._argv, files=files, limits=self._limits))
        outcome, reason, log = _decide(end)
        return Verdict(outcome, reason, Strength.SEPARATE_PROCESS, self._sandbox.isolation, end.cpu_s, log[:2000])

    async def aclose(self) -> None:
        """End the sandbox."""
        if self._sandbox is not None:
            await self._sandbox.aclose()
            self._sandbox = None


def _collect(words: Sequence[str]) -> tuple[tuple[str, ...], dict[str, bytes]]:
    """argv inside the sandbox, and the files that go with it. Raises: BadOption."""
    argv: list[str] = []
    files: dict[str, bytes] = {}
    for word in words:
        path = Path(word)
        if path.is_absolute() and any(path.is_relative_to(folder) for folder in _SHOWN):
            argv.append(word)
        elif ("/" in word or "." in word or argv) and path.is_file():
            if path.name in files or path.name in _MARKS.values():
                raise BadOption(f"-V command: two files would be called {path.name}")
            if path.stat().st_size > _LARGEST:
                raise BadOption(f"-V command: {word} is larger than {_LARGEST >> 20} MB")
            files[path.name] = path.read_bytes()
            argv += [*([] if argv else _interpreter(word, files[path.name])), path.name]
        else:
            for mark, name in _MARKS.items():
                word = word.replace(mark, name)  # noqa: PLW2901  both marks may be in one word
            argv.append(word)
    return tuple(argv), files


def _interpreter(word: str, content: bytes) -> list[str]:
    """What a script's first line names: copied files cannot be executed themselves. Raises: BadOption."""
    first = content.partition(b"\n")[0]
    if not first.startswith(b"#!"):
        raise BadOption(
            f"-V command: {word} does not begin with #!: write the program that runs it before it, or install it below /usr"
        )
    return shlex.split(first[2:].decode("utf-8", "replace"))


def _decide(end: SandboxOutcome) -> tuple[Outcome, Reason, str]:
    said = (end.stdout + b"\n" + end.stderr).decode("utf-8", "replace").strip()
    if not end.started:
        missing = "FileNotFound" in end.error or "No such file" in end.error
        return Outcome.UNKNOWN, Reason.UNAVAILABLE if missing else Reason.SANDBOX, end.error
    if end.limit:
        reason = Reason.STARVED if end.limit == "starved" else Reason.VERIFIER
        return Outcome.UNKNOWN, reason, f"the command reached its limit ({end.limit}): {said}"
    if end.exit_code == 0:
        return Outcome.PASS, Reason.ACCEPTED, said
    if end.exit_code == 1:
        return Outcome.FAIL, Reason.REJECTED, said
    how = f"signal {end.signal}" if end.signal else f"exit code {end.exit_code}"
    return Outcome.UNKNOWN, Reason.VERIFIER, f"the command gave no verdict ({how}): {said}"

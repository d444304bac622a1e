"""GSM8K: 1,319 word problems for school children, answers are whole numbers (Cobbe et al. 2021, arXiv:2110.14168; MIT).

Known fault: the reference of item 1042 is wrong (3; 3.5 is right). See docs/tasks/gsm8k.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from vervet.errors import BadOption
from vervet.records import DataSource, Message, Params, Problem, Prompt, PromptForm, Recipe, VerifierSpec, fingerprint
from vervet.tasks import _choice, _hub, _rows
from vervet.text.answers import after, after_phrase, boxed
from vervet.text.numbers import numbers_in, parse_number

Shot = tuple[str, str]
"""Question and worked answer."""

REPO = "openai/gsm8k"
INSTRUCTION = "Solve this problem step by step. End with a line that holds only #### and the answer as a plain number."
SHOTS: tuple[Shot, ...] = (
    (
        "A baker fills 6 trays with 12 rolls each and sells 50 rolls. How many rolls are left?",
        "The baker makes 6 * 12 = 72 rolls.\nAfter the sale 72 - 50 = 22 rolls are left.\n#### 22",
    ),
    (
        "Lena saves $15 a week for 8 weeks and then buys a jacket for $87. How much money does she have left?",
        "Lena saves 15 * 8 = $120.\nAfter buying the jacket she has 120 - 87 = $33 left.\n#### 33",
    ),
    (
        "A train has 9 cars with 40 seats each. Three quarters of the seats are taken. How many seats are free?",
        "The train has 9 * 40 = 360 seats.\nOne quarter of them is free: 360 / 4 = 90 seats.\n#### 90",
    ),
    (
        (
            "Omar reads 18 pages on Monday, twice as many on Tuesday, and on Wednesday 6 pages fewer than on Tuesday. "
            "How many pages does he read in the three days?"
        ),
        (
            "On Tuesday he reads 18 * 2 = 36 pages.\nOn Wednesday he reads 36 - 6 = 30 pages.\n"
            "Together that is 18 + 36 + 30 = 84 pages.\n#### 84"
        ),
    ),
)
"""Examples of our own, so that a base model needs no training split."""

PAPER_SHOTS, PAPER_PROBLEMS, PAPER_N = 5, 128, 10_000
_PAPER_ANSWER = re.compile(r"#### (-?[$0-9.,]+)")
PAPER = Recipe(
    source="Brown et al. 2024, arXiv:2407.21787",
    n=PAPER_N,
    form="completion",
    guesses=(
        "which 128 problems: the paper says random; taken are those that its released code draws with seed 0, 5 examples each",
        "top-p: the paper names none, its code's default is 0.95; none is taken",
        "stop texts: from the commands printed beside the code, the paper names none",
    ),
)


class Gsm8k:
    """GSM8K, school mathematics in words; the answer is a number.

    Options (-T): path: the test file, else the hub's openai/gsm8k.  train: a file to draw examples from.
    shots: examples before a base model's problem, or any model's where given.  subset, subset_seed: a seeded choice of
    problems.  protocol: modern, or paper (128 problems, 5 drawn examples, raw prompts, `####` only).
    """

    name = "gsm8k"
    verifier = VerifierSpec("number")

    def __init__(
        self,
        *,
        path: Path | None = None,
        train: Path | None = None,
        revision: str = "main",
        shots: int | None = None,
        subset: int | None = None,
        subset_seed: int = 0,
        protocol: Literal["modern", "paper"] = "modern",
    ) -> None:
        if shots is not None and shots < 0:
            raise BadOption("-T shots is a number of examples, 0 or more")
        self._path, self._train, self._revision = path, train, revision
        self._shots, self._subset, self._subset_seed = shots, subset, subset_seed
        self._paper = protocol == "paper"
        self.extractor = "gsm8k-paper/1" if self._paper else "gsm8k/1"
        self.recipe: Recipe | None = PAPER if self._paper else None

    # ------------------------------------------------------------------------------------------------- the data

    def source(self) -> DataSource:
        """Identity of all problems and their examples, before any choice."""
        digest = fingerprint([[p.id, p.check, dict(p.data)] for p in self._everything])
        if self._path is not None:
            return DataSource(str(self._path), "", digest)
        return DataSource(REPO, self._files[1], digest)

    def problems(self) -> Sequence[Problem]:
        """The chosen problems, in the data set's order; under the paper's protocol in its order of drawing."""
        if not self._paper:
            return _choice.subset(self._everything, self._subset, self._subset_seed)
        order = [self._everything[i] for i in self._paper_draw[0]]
        return tuple(order[: min(self._subset or PAPER_PROBLEMS, len(order))])

    @cached_property
    def _files(self) -> tuple[list[Path], str]:
        return _hub.files(_hub.HubSet(REPO, ("main/test-*.parquet",)), self._revision)

    @cached_property
    def _pairs(self) -> list[tuple[str, Shot]]:
        paths = [self._path] if self._path is not None else self._files[0]
        return [(where, _pair(where, row)) for path in paths for where, row in _rows.read(path)]

    @cached_property
    def _everything(self) -> tuple[Problem, ...]:
        return tuple(self._problem(i, where, pair) for i, (where, pair) in enumerate(self._pairs))

    def _problem(self, index: int, where: str, pair: Shot) -> Problem:
        problem_id, (question, solution) = f"GSM8K/{index}", pair
        gold = (after(solution, "####") or "").replace(",", "")
        if parse_number(gold) is None:
            _rows.bad(where, f"no number after #### in its answer, but {gold!r}")
        shots = self._examples(index, problem_id)
        _choice.refuse_leaks(problem_id, question, (shot[0] for shot in shots))
        data = {"question": question, "shots": [list(shot) for shot in shots]}
        return Problem(problem_id, {"expected": gold}, data, gold)

    # ------------------------------------------------------------------------------------------------- examples

    def _examples(self, index: int, problem_id: str) -> tuple[Shot, ...]:
        """What may stand before a problem: the paper's draw, a draw from -T train, or our own."""
        if self._paper:
            return self._paper_draw[1][index]
        if self._train is not None:
            return _choice.drawn(self._pool, len(SHOTS) if self._shots is None else self._shots, 0, problem_id)
        if self._shots is not None and self._shots > len(SHOTS):
            raise BadOption(f"-T shots={self._shots}: {len(SHOTS)} are built in; for more give -T train=FILE")
        return SHOTS[: self._shots]

    @cached_property
    def _pool(self) -> list[Shot]:
        if self._train is not None:
            paths = [self._train]
        elif self._path is not None:
            raise BadOption("-T protocol=paper draws its examples from the training split: give it with -T train=FILE")
        else:
            paths = _hub.files(_hub.HubSet(REPO, ("main/train-*.parquet",)), self._revision)[0]
        return [_pair(where, row) for path in paths for where, row in _rows.read(path)]

    @cached_property
    def _paper_draw(self) -> tuple[list[int], list[tuple[Shot, ...]]]:
        shots = PAPER_SHOTS if self._shots is None else self._shots
        return _choice.paper_draw(self._pool, shots, len(self._pairs))

    # ------------------------------------------------------------------------------------------------- prompts

    def params(self, form: PromptForm) -> Params:
        """Temperature 0.6 (arXiv:2407.21787); a chat model has room to think."""
        if self._paper:
            return Params(temperature=0.6, top_p=None, max_tokens=512, stop=("Q:", "Question:"))
        if form == "chat":
            return Params(temperature=0.6, top_p=None, max_tokens=1024)
        return Params(temperature=0.6, top_p=None, max_tokens=512, stop=("\nQuestion:", "\nQ:"))

    def prompt(self, problem: Problem, form: PromptForm) -> Prompt:
        question, shots = str(problem.data["question"]), [tuple(shot) for shot in problem.data["shots"]]
        if self._paper:
            return _raw(question, shots) if form == "completion" else (Message("user", _raw(question, shots)),)
        if form == "completion":
            return _raw(question, shots)
        turns = [
            message
            for q, a in (shots if self._shots else ())
            for message in (Message("user", f"{INSTRUCTION}\n\n{q}"), Message("assistant", a))
        ]
        return (*turns, Message("user", f"{INSTRUCTION}\n\n{question}"))

    # ------------------------------------------------------------------------------------------------- answers

    def extract(self, text: str) -> str | None:
        """The number after `####`, else in the last box, else after "the answer is", else the last number.

        Under the paper's protocol the first `#### NUMBER` and nothing else.
        """
        if self._paper:
            match = _PAPER_ANSWER.search(text)
            cleaned = re.sub(r"[,$]", "", match[1]).rstrip(".") if match else ""
            return cleaned or None
        for found in (_marked(text), _first(boxed(text)), _first(after_phrase(text))):
            if found is not None:
                return found
        numbers = numbers_in(text)
        return numbers[-1] if numbers else None

    def canonical(self, answer: str) -> str:
        """Equal numbers meet: 18, 18.0 and $18 are one."""
        value = parse_number(answer)
        return " ".join(answer.split()) if value is None else str(value)

    def example(self, problem: Problem, right: bool) -> str | None:
        value = int(problem.reference or 0) if (problem.reference or "").lstrip("-").isdecimal() else 0
        return f"Step by step.\n#### {problem.reference if right else value + 1}"


_STEP = re.compile(r"\d+[.):][ \t]+\S")
# "#### 1. First, ..." is a heading, not an answer


def _marked(text: str) -> str | None:
    rest = after(text, "####")
    if rest is None or _STEP.match(rest) or not re.match(r"[-$€£*\\.\d]", rest):
        return None
    return _first(rest)


def _first(text: str | None) -> str | None:
    """The first number, of what stands after the last equals sign where there is one."""
    numbers = numbers_in((text or "").rpartition("=")[2])
    return numbers[0] if numbers else None


def _raw(question: str, shots: Sequence[Sequence[str]]) -> str:
    return "".join(f"Question: {q}\nAnswer: {a}\n\n" for q, a in shots) + f"Question: {question}\nAnswer:"


def _pair(where: str, row: Mapping[str, Any]) -> Shot:
    return _rows.text(where, row, "question"), _rows.text(where, row, "answer")

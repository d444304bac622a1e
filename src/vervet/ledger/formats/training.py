"""Verified samples as data to fine-tune on: chat JSONL (`sft`), and pairs of a right and a wrong sample (`preferences`).

Only PASS is right and only FAIL is wrong: what is pending or UNKNOWN teaches nothing. Each distinct text once, the first in
index order, so that nothing but the draw decides which ones go out where a problem has more than are wanted. Rows are those
that TRL and most trainers read: `messages`, or `prompt` with `completion`; `prompt`, `chosen`, `rejected`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, BinaryIO

from vervet.ledger.formats import jsonl
from vervet.ledger.formats.rows import Run
from vervet.records import Outcome, Prompt, prompt_to_json

PAIRS = 4
# pairs a problem unless the caller says otherwise: all of them would be n^2


def write_sft(out: BinaryIO, run: Run) -> int:
    """One line a distinct sample that passed; returns how many."""
    written = 0
    for problem_id, outcomes in _texts(run):
        prompt = run.prompt(problem_id)
        for text in itertools.islice(outcomes[Outcome.PASS], run.per_problem):
            out.write(jsonl.dumps(_example(prompt, text) | {"problem_id": problem_id}))
            written += 1
    return written


def write_preferences(out: BinaryIO, run: Run) -> int:
    """One line a pair; each right sample meets each wrong one once before any pair repeats a sample more; returns how many."""
    written = 0
    for problem_id, outcomes in _texts(run):
        prompt = run.prompt(problem_id)
        for chosen, rejected in itertools.islice(
            _pairs(outcomes[Outcome.PASS], outcomes[Outcome.FAIL]), run.per_problem or PAIRS
        ):
            out.write(jsonl.dumps(_pair(prompt, chosen, rejected) | {"problem_id": problem_id}))
            written += 1
    return written


def _pairs(right: list[str], wrong: list[str]) -> Iterator[tuple[str, str]]:
    """All pairs, along diagonals: the first ones share as few samples as they can."""
    if not right or not wrong:
        return
    width, height = len(right), len(wrong)
    for shift in range(max(width, height)):
        for i in range(min(width, height)):
            if width >= height:
                yield right[(i + shift) % width], wrong[i]
            else:
                yield right[i], wrong[(i + shift) % height]


def _texts(run: Run) -> Iterator[tuple[str, dict[Outcome, list[str]]]]:
    """(problem, distinct texts by outcome, in index order) of every problem."""
    for problem_id, group in itertools.groupby(run.samples(), key=lambda found: found[0].id):
        by_outcome: dict[Outcome, dict[str, None]] = {Outcome.PASS: {}, Outcome.FAIL: {}}
        for _, sample, _ in group:
            if sample.outcome in by_outcome and sample.text.strip():
                by_outcome[sample.outcome].setdefault(sample.text)
        yield problem_id, {outcome: list(texts) for outcome, texts in by_outcome.items()}


def _example(prompt: Prompt, text: str) -> dict[str, Any]:
    if isinstance(prompt, str):
        return {"prompt": prompt, "completion": text}
    return {"messages": [*prompt_to_json(prompt), _assistant(text)]}


def _pair(prompt: Prompt, chosen: str, rejected: str) -> dict[str, Any]:
    if isinstance(prompt, str):
        return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    return {"prompt": prompt_to_json(prompt), "chosen": [_assistant(chosen)], "rejected": [_assistant(rejected)]}


def _assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}

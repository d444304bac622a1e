"""The files people already have: one file a format, all of them in the table below.

A reader turns a file into rows (or lines about what could not be read), without holding the file; a writer takes a run on its
way out. `intake` brings rows into a ledger, `outgoing` takes them out: a format knows nothing of ledgers.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vervet.errors import BadData, BadOption, UnknownName
from vervet.ledger.formats import (
    containers,
    counts,
    dataset,
    evalplus,
    every_eval_ever,
    humaneval,
    inspect,
    jsonl,
    lists,
    lm_eval,
    monkeys_yaml,
    nemo_skills,
    openai_batch,
    parquet,
    plain,
    swebench,
    training,
)
from vervet.ledger.formats.rows import Entry, Head, Imported, Row, Run, Skipped
from vervet.records import PromptForm

__all__ = ["FORMATS", "Format", "Imported", "Row", "Run", "Skipped", "choose_reader", "choose_writer"]


@dataclass(frozen=True, slots=True)
class Format:
    """How one kind of file is recognised, read and written; None where it cannot be."""

    name: str
    columns: str
    # what a row must have, for people
    ending: str
    # of files that are written
    recognises: Callable[[Head], bool] = lambda _: False
    read: Callable[[Path], Iterator[Entry]] | None = None
    write: Callable[[BinaryIO, Run], int] | None = None
    # rows written
    write_folder: Callable[[Path, Run], int] | None = None
    # fills an empty folder instead of a file
    limited: bool = False
    # heeds `per_problem`
    is_text: bool = True
    # may go to a terminal or a pipe
    folder: Callable[[Path], bool] | None = None
    # whether a folder is such a source; None: only files are
    form: PromptForm = "chat"
    # what such samples usually answer


FORMATS = {
    entry.name: entry
    for entry in (
        Format(
            "parquet",
            "problem_id, text",
            ".parquet",
            recognises=plain.recognises_table,
            read=plain.read,
            write=parquet.write,
            is_text=False,
        ),
        Format("jsonl", "problem_id, text", ".jsonl", recognises=plain.recognises, read=plain.read, write=jsonl.write),
        Format(
            "humaneval",
            "task_id, completion",
            ".humaneval.jsonl",
            recognises=humaneval.recognises,
            read=humaneval.read,
            write=humaneval.write,
            form="completion",
        ),
        Format(
            "evalplus",
            "task_id, solution",
            ".evalplus.jsonl",
            recognises=evalplus.recognises,
            read=evalplus.read,
            write=evalplus.write,
        ),
        Format(
            "swebench",
            "instance_id, model_patch",
            ".predictions.jsonl",
            recognises=swebench.recognises,
            read=swebench.read,
            write=swebench.write,
        ),
        Format(
            "monkey_business",
            "orig_dset_idx, samples, is_corrects",
            "",
            recognises=lists.recognises_monkeys,
            read=lists.read_monkeys,
            form="completion",
        ),
        Format(
            "llmonk",
            "a folder of YAML files, one a problem",
            "",
            read=monkeys_yaml.read,
            folder=monkeys_yaml.recognises_folder,
            form="completion",
        ),
        Format("inspect", "an archive of Inspect's (.eval)", "", recognises=inspect.recognises, read=inspect.read),
        Format("lm_eval", "doc_id, resps, filtered_resps", "", recognises=lm_eval.recognises, read=lm_eval.read),
        Format(
            "nemo_skills",
            "generation, predicted_answer, or a folder of output-rs*.jsonl",
            "",
            recognises=nemo_skills.recognises,
            read=nemo_skills.read,
            folder=nemo_skills.recognises_folder,
        ),
        Format(
            "openai_batch",
            "custom_id, response",
            "",
            recognises=openai_batch.recognises,
            read=openai_batch.read,
        ),
        Format(
            "lists",
            "problem_id, samples or preds, in lists",
            "",
            recognises=lists.recognises_lists,
            read=lists.read_lists,
        ),
        Format(
            "dataset",
            "a folder for datasets.load_dataset and the Hugging Face hub",
            ".dataset",
            write_folder=dataset.write,
            is_text=False,
        ),
        Format("sft", "messages of samples that passed", ".sft.jsonl", write=training.write_sft, limited=True),
        Format(
            "preferences",
            "prompt, chosen, rejected",
            ".preferences.jsonl",
            write=training.write_preferences,
            limited=True,
        ),
        Format("every_eval_ever", "one record of pass@k", ".every_eval_ever.json", write=every_eval_ever.write),
        Format("counts", "problem_id, n, c, unknown", ".counts.csv", write=counts.write),
    )
}


def choose_reader(path: Path, name: str | None) -> Format:
    """The format named, else the one that recognises the file or folder.

    Raises: UnknownName, BadOption where the format cannot be read, BadData where the file cannot be read or is none of them.
    """
    _refuse_what_is_nothing(path)
    found = _reader_named(name, path) if name is not None else _recognised_folder(path) if path.is_dir() else None
    if found is not None:
        return found
    head = containers.head(path)
    for found in FORMATS.values():
        if found.read is not None and found.recognises(head):
            return found
    known = "; ".join(f"{f.name}: {f.columns}" for f in FORMATS.values() if f.read is not None)
    has = "no columns" if not head.first else "the columns " + ", ".join(str(k)[:40] for k in list(head.first)[:12])
    raise BadData(
        f"{path} is in no known format: its first row has {has} ({known}); rename its columns or say --format"
    )


def _reader_named(name: str, path: Path) -> Format:
    found = _named(name)
    if found.read is None:
        raise BadOption(f"--format {name} can be exported only; imported can be {_names('read')}")
    if path.is_dir() and (found.folder is None or not found.folder(path)):
        raise BadData(f"{path} is a folder: --format {found.name} wants {found.columns}")
    return found


def _recognised_folder(path: Path) -> Format:
    for found in FORMATS.values():
        if found.folder is not None and found.folder(path):
            return found
    kinds = "; ".join(f"{f.name}: {f.columns}" for f in FORMATS.values() if f.folder is not None)
    raise BadData(f"{path} is a folder and none that is known ({kinds}): name one file of samples")


def choose_writer(name: str) -> Format:
    """Raises: UnknownName, BadOption where the format cannot be written."""
    found = _named(name)
    if found.write is None and found.write_folder is None:
        raise BadOption(f"--format {name} can be imported only; exported can be {_names('write', 'write_folder')}")
    return found


def _named(name: str) -> Format:
    found = FORMATS.get(name.lower())
    if found is None:
        close = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(FORMATS)}"
        raise UnknownName(f"unknown format {name!r}: {hint}")
    return found


def _names(*ways: str) -> str:
    return ", ".join(f.name for f in FORMATS.values() if any(getattr(f, way) is not None for way in ways))


def _refuse_what_is_nothing(path: Path) -> None:
    if not path.exists():
        raise BadData(f"{path} does not exist: name a file of samples")
    if not path.is_file() and not path.is_dir():
        raise BadData(f"{path} is no regular file: save the samples to a file first")

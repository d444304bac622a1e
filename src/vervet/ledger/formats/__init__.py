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
from vervet.ledger.formats import containers, counts, evalplus, humaneval, jsonl, lists, parquet, plain, swebench
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
    is_text: bool = True
    # may go to a terminal or a pipe
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
            "lists",
            "problem_id, samples or preds, in lists",
            "",
            recognises=lists.recognises_lists,
            read=lists.read_lists,
        ),
        Format("counts", "problem_id, n, c, unknown", ".counts.csv", write=counts.write),
    )
}


def choose_reader(path: Path, name: str | None) -> Format:
    """The format named, else the one that recognises the file.

    Raises: UnknownName, BadOption where the format cannot be read, BadData where the file cannot be read or is none of them.
    """
    _refuse_what_is_no_file(path)
    if name is not None:
        found = _named(name)
        if found.read is None:
            raise BadOption(f"--format {name} can be exported only; imported can be {_names('read')}")
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


def choose_writer(name: str) -> Format:
    """Raises: UnknownName, BadOption where the format cannot be written."""
    found = _named(name)
    if found.write is None:
        raise BadOption(f"--format {name} can be imported only; exported can be {_names('write')}")
    return found


def _named(name: str) -> Format:
    found = FORMATS.get(name.lower())
    if found is None:
        close = difflib.get_close_matches(name, FORMATS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(FORMATS)}"
        raise UnknownName(f"unknown format {name!r}: {hint}")
    return found


def _names(way: str) -> str:
    return ", ".join(f.name for f in FORMATS.values() if getattr(f, way) is not None)


def _refuse_what_is_no_file(path: Path) -> None:
    if not path.exists():
        raise BadData(f"{path} does not exist: name a file of samples")
    if path.is_dir():
        raise BadData(f"{path} is a folder: name one file of samples")
    if not path.is_file():
        raise BadData(f"{path} is no regular file: save the samples to a file first")

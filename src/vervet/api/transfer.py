"""Samples in and out of a run, in the formats people already have."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from vervet.api.parts import IMPORTED, build_verifier, resolve_task
from vervet.errors import BadData, BadOption, StorageError, boundary
from vervet.ledger import Extracted, Ledger
from vervet.ledger.formats import Format, Imported, Row, choose_reader, choose_writer
from vervet.ledger.intake import NAME, VERSION, Find, Intake, Known
from vervet.ledger.making import making
from vervet.ledger.outgoing import Outgoing
from vervet.ledger.store import FILE
from vervet.protocols import Task
from vervet.records import Config, Problem, Prompt, PromptForm, fingerprint
from vervet.tasks.imported import Imported as BareTask
from vervet.version import __version__

# ------------------------------------------------------------------------------------------------------------- import


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an import's rows mean: which task they belong to, and how an answer is found."""

    config: Config
    meta: Mapping[str, Any]
    extractor: str
    known: Known
    find: Find | None
    total: int | None = None
    # problems of the task, where there is one


def import_samples(
    path: Path | str,
    out: Path | str,
    *,
    format: str | None = None,
    task: str | type[Any] | None = None,
    task_options: Mapping[str, Any] | None = None,
    model: str = "imported/unknown",
) -> Imported:
    """Make the run folder `out` of samples that are there already. Nothing is executed.

    Args: format: see `vervet.ledger.formats.FORMATS`; None: found out.  task: the task that the samples answer: problems,
        checks, prompts, extraction and the run's verifier are then the task's, so that `verify` can judge them.
        model: who wrote them, for the record.
    Returns: what was stored and what was skipped. Verdicts of the file are kept under the verifier `imported`, which without
        a task is the run's own: its counts are then those of the file.
    Raises: BadData where nothing can be read, UserError where `out` is there already or the task is unknown, StorageError.
        The folder is there whole or not at all.
    """
    source, folder = Path(path), Path(out)
    chosen = choose_reader(source, format)
    if task is None and task_options:
        raise BadOption("-T needs --task: options belong to a task")
    plan = _bare(model) if task is None else _of_task(task, task_options or {}, model, chosen.form)
    with making(folder) as work:
        with contextlib.closing(Ledger.create(work, plan.config, dict(plan.meta))) as ledger:
            intake = Intake(ledger, extractor=plan.extractor, known=plan.known, find=plan.find, log=work / "log.txt")
            assert chosen.read is not None
            intake.take(chosen.read(source))
            done = intake.done(str(folder), chosen.name)
        if not done.samples:
            why = (
                f"its {done.skipped_total:,} rows were skipped ({done.skipped[0]})"
                if done.skipped
                else "it has no rows"
            )
            raise BadData(f"{source}: no sample could be read: {why}")
    return done if plan.total is None else dataclasses.replace(done, absent=plan.total - done.problems)


def _bare(model: str) -> _Plan:
    task = BareTask()
    meta = {
        "verifier": fingerprint(NAME, VERSION, {}),
        "verifier_spec": {"name": NAME, "settings": {}},
    }
    return _Plan(
        config=_config(IMPORTED, {}, "", model, "completion"),
        meta=_meta(IMPORTED, {}, task) | meta,
        extractor=task.extractor,
        known=lambda row: (_problem_of(row), row.prompt),
        find=None,
    )


def _problem_of(row: Row) -> Problem:
    """As much of a problem as a row tells: its reference is what `exact` and `number` compare with."""
    check = row.check if row.check is not None else {} if row.reference is None else {"expected": row.reference}
    return Problem(row.problem_id, check, reference=row.reference)


def _of_task(name: str | type[Any], given: Mapping[str, Any], model: str, form: PromptForm) -> _Plan:
    task, known, options, spec = resolve_task(name, given)
    with boundary(f"task {known!r}"):
        source = task.source()
        problems: dict[str, tuple[Problem, Prompt]] = {p.id: (p, task.prompt(p, form)) for p in task.problems()}
    verifier = build_verifier(spec)
    settings = {k: v for k, v in spec.settings.items() if k != "sandbox"}
    meta = {
        "verifier": fingerprint(verifier.name, verifier.version, verifier.settings()),
        "verifier_spec": {"name": spec.name, "settings": settings},
    }
    kept = {k: v for k, v in options.items() if k != "path"}
    return _Plan(
        config=_config(known, kept, source.fingerprint, model, form),
        meta=_meta(known, options, task) | meta,
        extractor=task.extractor,
        known=lambda row: problems.get(row.problem_id),
        find=_finder(task, known),
        total=len(problems),
    )


def _finder(task: Task, name: str) -> Find:
    def find(text: str, given: str | None) -> Extracted | None:
        with boundary(f"task {name!r}"):
            answer = task.extract(text) if given is None else given
            return None if answer is None else Extracted(answer, task.canonical(answer))

    return find


def _config(task: str, options: Mapping[str, Any], data: str, model: str, form: PromptForm) -> Config:
    name = model.removeprefix(f"{IMPORTED}/")
    if not name.strip() or not name.isprintable():
        raise BadOption(f"-m {model!r}: name the model that wrote the samples, such as imported/gpt-4o")
    return Config(
        task=task,
        task_options=options,
        data_fingerprint=data,
        model=f"{IMPORTED}/{name}",
        model_options={},
        model_fingerprint="",
        prompt_form=form,
        params=BareTask().params(form),
        seed=None,
    )


def _meta(name: str, options: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """What every run knows of itself; no `n`: nobody asked for a number of samples."""
    return {
        "task": name,
        "task_options": dict(options),
        "data": dataclasses.asdict(task.source()),
        "run_seed": 0,
        "settings": {},
        "design": "fixed",
        "vervet": __version__,
    }


# ------------------------------------------------------------------------------------------------------------- export


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    path: str
    # "-": standard output
    rows: int
    format: str
    notices: tuple[str, ...] = field(default=())
    # lines for the user

    def to_dict(self) -> dict[str, Any]:
        """vervet.export/1."""
        return {
            "schema": "vervet.export/1",
            "path": self.path,
            "rows": self.rows,
            "format": self.format,
            "notices": list(self.notices),
        }


def export(
    run: Path | str,
    *,
    format: str,
    out: Path | str | None = None,
    checks: bool = False,
    verifier: str | None = None,
    per_problem: int | None = None,
) -> Exported:
    """Write a run's samples, or what follows from them, to a file; a file that is there is replaced, whole or not at all.

    Args: out: the file (for the format "dataset" a folder that is not there yet), "-" for standard output; None: beside the
        run's folder.  checks: also write tests and references.  verifier: whose verdicts; None: those of the run's own.
        per_problem: rows a problem at most, for the formats "sft" and "preferences".
    Raises: UserError where there is no run or the verifier never judged, BadOption, StorageError, MissingPart.
    """
    folder = Path(run)
    chosen = choose_writer(format)
    if per_problem is not None and (per_problem < 1 or not chosen.limited):
        raise BadOption(f"--per-problem {per_problem}: at least 1, and only for --format sft and preferences")
    with Ledger.open(folder) as ledger:
        outgoing = Outgoing(ledger, verifier=verifier, with_checks=checks, per_problem=per_problem)
        target, rows = _write(folder, chosen, out, outgoing)
        lost = outgoing.replaced
    notice = f"{lost:,} rows hold half characters, which {chosen.name} cannot keep: U+FFFD stands for them (jsonl keeps them)"
    return Exported(target, rows, chosen.name, (notice,) if lost else ())


def _write(run: Path, chosen: Format, out: Path | str | None, outgoing: Outgoing) -> tuple[str, int]:
    """(where, rows)"""
    if str(out) == "-":
        if not chosen.is_text or chosen.write is None:
            raise BadOption(f"-o -: {chosen.name} is no text: name a file")
        rows = chosen.write(cast("BinaryIO", sys.stdout.buffer), outgoing)
        sys.stdout.buffer.flush()
        return "-", rows
    if chosen.write_folder is not None:
        path = run.resolve().with_name(run.resolve().name + chosen.ending) if out is None else Path(out)
        with _new_folder(path) as work:
            return str(path), chosen.write_folder(work, outgoing)
    assert chosen.write is not None
    path = _target(run, chosen, out)
    with _replacing(path) as file:
        rows = chosen.write(file, outgoing)
    return str(path), rows


@contextlib.contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A folder that becomes `path` when the block ends well. Raises: BadOption where `path` is there, StorageError."""
    if path.exists():
        raise BadOption(f"{path} is there already: name a folder that is not with -o, or move it away")
    try:
        work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    try:
        yield work
        mask = os.umask(0)
        os.umask(mask)
        work.chmod(0o777 & ~mask)
        work.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _target(folder: Path, chosen: Format, out: Path | str | None) -> Path:
    """The file to write. Raises: BadOption where something else is there."""
    if out is None:
        whole = folder.resolve()
        return whole.with_name(whole.name + chosen.ending)
    given = Path(out)
    path = given.resolve() if given.is_symlink() else given
    if path.is_dir():
        raise BadOption(f"-o {out}: it is a folder: name a file in it, such as {given / ('samples' + chosen.ending)}")
    if path.exists() and not path.is_file():
        raise BadOption(f"-o {out}: it is no regular file")
    if (path.parent / FILE).exists() and (path.name.startswith(FILE) or path.name in ("lock", "log.txt")):
        raise BadOption(f"-o {out}: that file is the run itself: name another")
    return path


_BUFFER_BYTES = 1 << 20
# lines are written one by one


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends well. Raises: StorageError."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb", buffering=_BUFFER_BYTES) as file:
            yield file
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()

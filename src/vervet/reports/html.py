"""One self-contained HTML page: no resource from anywhere else, no script but its own.

The page carries a strict content security policy (`default-src 'none'`, style and script by their hashes), so that
even a text that slipped through escaping could not act. Every string that a template prints passes `visible`, then
HTML escaping.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

import vervet
from vervet.analysis.baseline import Baseline
from vervet.errors import BadOption, MissingPart, StorageError
from vervet.reports import chart, page
from vervet.reports.format import number, percent, plural, round_percent, shell_word, visible
from vervet.reports.sections import SECTIONS
from vervet.reports.subject import Subject

__all__ = ["Subject", "render", "write"]

_LONGEST = 20_000
# characters of any one printed value
_DIGITS = 9
# of shares in the data for the read-out


def write(
    subjects: Sequence[Subject],
    out: Path,
    level: float = 0.95,
    title: str | None = None,
    baselines: tuple[Baseline, ...] = (),
) -> Path:
    """Write the page about `subjects`; all or nothing. Returns `out`.

    Raises: StorageError where it cannot be written, BadOption where `out` is a file of another kind, MissingPart
    without jinja2.
    """
    text = render(subjects, level, title, baselines)
    _refuse_other_files(out)
    _write_atomically(out, text.encode())
    return out


def render(
    subjects: Sequence[Subject], level: float = 0.95, title: str | None = None, baselines: tuple[Baseline, ...] = ()
) -> str:
    """The page's text."""
    env = environment("vervet.reports")
    about = page.build(subjects, level, vervet.__version__, title, baselines=baselines, forecasts=True)
    parts = []
    for section in SECTIONS:
        values = section.build(about)
        if values is not None:
            body = env.get_template(f"sections/{section.id}.html.j2").render(page=about, **values)
            parts.append((section, body))
    style, script = styles(env), source(env, "script.js")
    text: str = env.get_template("page.html.j2").render(
        page=about,
        parts=parts,
        style=style,
        script=script,
        policy=policy(style, script),
        data=data_block(readout(about)),
        coverage=data_block({"schema": "vervet.coverage/1", "sources": [e.curve.entry() for e in about.entries]}),
    )
    return text


def policy(style: str, script: str) -> str:
    """Nothing may be loaded, nothing may run but what these hashes name."""
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# ----------------------------------------------------------------------------------------------------- templates


def environment(*packages: str) -> Any:
    """Templates of these packages, the first one's before the others'; what they print is visible and escaped.

    Raises: MissingPart without jinja2.
    """
    try:
        import jinja2  # noqa: PLC0415  an extra
    except ImportError:
        raise MissingPart("the report needs jinja2: pip install 'vervet[report]'") from None
    env = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in packages]),
        autoescape=True,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    env.filters |= {
        "percent": percent,
        "number": number,
        "plural": plural,
        "rounded": round_percent,
        "word": shell_word,
        "name": lambda text, longest=80: visible(text, longest),
    }
    env.globals["look"] = chart.look
    return env


def _printable(value: Any) -> Any:
    """Last step of every printed value. Markup (our own, already rendered) goes through."""
    return visible(value, _LONGEST) if type(value) is str else value


def source(env: Any, name: str) -> str:
    """A template's text as it lies there. Newlines as HTML parsers normalise them, or the hash would not fit."""
    text: str = env.loader.get_source(env, name)[0]
    return text.replace("\r\n", "\n").strip()


def styles(env: Any) -> str:
    """The style sheet with the lengths of bars as classes: the policy forbids style attributes."""
    bars = "".join(f".b{i}{{--n:{i / 100:g}}}" for i in range(101))
    return f"{source(env, 'style.css')}\n{bars}"


# ---------------------------------------------------------------------------------------------------------- data


def readout(about: page.Page) -> dict[str, Any]:
    """What the script reads: k, and each run's coverage and intervals at it, shares rounded to nine digits."""
    names = ("coverage", "low", "high", "draws_low", "draws_high")
    beyond = sorted({p.k for e in about.entries if e.ahead for p in e.ahead.points} - set(about.grid))
    grid = sorted({*about.grid, *beyond})
    return {"k": grid, "runs": [_curve(entry, grid, names) for entry in about.entries]}


def _curve(entry: page.Entry, grid: list[int], names: Sequence[str]) -> dict[str, Any]:
    """One run's numbers on the grid as far as they go, and its forecast as [k, coverage, low, high]."""
    known = {p.k: p for p in entry.path}
    last = max(i for i, k in enumerate(grid) if k in known)
    own = [known.get(k) for k in grid[: last + 1]]
    out: dict[str, Any] = {name: [_rounded(getattr(p, name)) if p else None for p in own] for name in names}
    points = entry.ahead.points if entry.ahead else ()
    return out | {"ahead": [[p.k, *map(_rounded, (p.coverage, p.low, p.high))] for p in points]}


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, _DIGITS)


def data_block(value: Any) -> str:
    """JSON for a data block: nothing in it can end the block."""
    text = orjson.dumps(_clean(value)).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _clean(value: Any) -> Any:
    """Strings made visible (JSON cannot hold lone surrogates)."""
    if isinstance(value, str):
        return visible(value, _LONGEST)
    if isinstance(value, dict):
        return {k: _clean(v) for k, v in value.items()}
    return [_clean(v) for v in value] if isinstance(value, (list, tuple)) else value


# ------------------------------------------------------------------------------------------------------- writing


def _refuse_other_files(out: Path) -> None:
    """Not over somebody's data: an existing file is replaced if it is a page."""
    try:
        if out.is_file() and out.stat().st_size:
            with out.open("rb") as file:
                if not file.read(64).lstrip().lower().startswith((b"<!doctype html", b"<html")):
                    raise BadOption(
                        f"-o {out} is there and is no HTML page: it is not overwritten, choose another name"
                    )
    except OSError as error:
        raise StorageError(f"cannot read {out}: {error.strerror}") from error


def _write_atomically(out: Path, data: bytes) -> None:
    """A reader sees the old page or the new one, never half of one."""
    temporary = ""
    try:
        if out.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        handle, temporary = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name[:40]}-", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(out)
    except OSError as error:
        with contextlib.suppress(OSError):
            if temporary:
                Path(temporary).unlink(missing_ok=True)
        raise StorageError(f"cannot write {out}: {error.strerror}: choose another -o, or free space") from error

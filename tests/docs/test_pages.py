"""Every page does what it says: its commands print what stands below them, its Python runs, its files are the ones used.

Blocks marked `console` run line by line; `...` in their output stands for anything. `python` blocks of a page share names. A
block with a title is a file. A comment before one says `not run: WHY`, `exit N`, or `slow` (in `make test-all` only).
"""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from vervet.cli.main import execute

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^>]*?) -->\n+)?```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PAGES = sorted(
    p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md") if "```console" in p.read_text("utf-8")
)


@dataclass(frozen=True)
class Block:
    mark: str
    language: str
    title: str
    body: str


def blocks(page: Path) -> list[Block]:
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(*(m[k] or "" for k in ("mark", "language", "title", "body"))) for m in found]


def commands(body: str) -> list[tuple[str, str]]:
    """(command, what it prints)"""
    parts = re.split(r"^\$ (.*)\n", body, flags=re.MULTILINE)
    assert not parts[0].strip(), "a console block begins with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


def run_console(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = int(block.mark.partition("exit ")[2] or 0)
    for line, expected in commands(block.body):
        capsys.readouterr()
        words = shlex.split(line)
        if words[0] == "vervet":
            code, out = execute(words[1:]), ""
            captured = capsys.readouterr()
            out, err = captured.out, captured.err
        else:
            done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False, timeout=60)
            code, out, err = done.returncode, done.stdout, done.stderr
        assert code == wanted, f"{line}\n{err}"
        checker = doctest.OutputChecker()
        if expected.strip() and not checker.check_output(expected, out, FLAGS):
            example = doctest.Example(line, expected)
            pytest.fail(f"$ {line}\n{checker.output_difference(example, out, FLAGS)}")


def play(page: str, slow: bool, capsys: pytest.CaptureFixture[str]) -> int:
    """Run a page in the current folder; returns how many blocks did something."""
    names: dict[str, object] = {}
    ran = 0
    for block in blocks(ROOT / page):
        if block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.body, encoding="utf-8")
        elif block.mark.startswith("not run: ") or (block.mark == "slow" and not slow):
            continue
        elif block.language == "console":
            run_console(block, capsys)
            ran += 1
        elif block.language == "python":
            exec(compile(block.body, page, "exec"), names)
            ran += 1
    return ran


@pytest.mark.parametrize("page", PAGES)
def test_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    ran = play(page, False, capsys)
    reasons = [b.mark for b in blocks(ROOT / page) if b.mark.startswith("not run: ")]
    assert ran or reasons


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if any(b.mark == "slow" for b in blocks(ROOT / p))])
def test_page_whole(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert play(page, True, capsys)


def test_a_page_that_is_wrong_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The control: another number, another exit code and a Python error are noticed."""
    monkeypatch.chdir(tmp_path)
    for block, error in (
        (Block("", "console", "", "$ vervet --version\n99\n"), pytest.fail.Exception),
        (Block("", "console", "", "$ vervet coverage nothing\n"), AssertionError),
        (Block("exit 2", "console", "", "$ vervet --version\n"), AssertionError),
    ):
        with pytest.raises(error):
            run_console(block, capsys)


def test_every_block_that_is_not_run_says_why() -> None:
    for page in PAGES:
        for block in blocks(ROOT / page):
            assert not block.mark.startswith("not run") or len(block.mark) > len("not run: ") + 5, page

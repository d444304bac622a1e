"""Writing is all or nothing, and every refusal is one line."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jinja2")

from tests.reports.pages import Page, counts, small_run
from vervet import api
from vervet.api import Rates
from vervet.cli.main import execute
from vervet.errors import BadOption, MissingPart, StorageError, UserError
from vervet.reports import html
from vervet.reports.format import percent
from vervet.reports.html import Subject, write

SUBJECTS = [Subject(counts([9] * 4, [0, 1, 2, 9]))]


def test_a_page_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    write(SUBJECTS, out)
    first = out.read_text()
    write(SUBJECTS, out, title="new")
    assert out.read_text() != first
    assert list(tmp_path.iterdir()) == [out]
    assert out.stat().st_mode & 0o444 == 0o444 & ~umask()


def umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


@pytest.mark.parametrize("out", ["missing/r.html", ".", "file.txt/r.html"])
def test_an_unwritable_target_is_one_line(out: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(StorageError, match="cannot") as caught:
        write(SUBJECTS, tmp_path / out)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "counts.csv"
    out.write_text("problem_id,n,c\n")
    with pytest.raises(BadOption, match="not overwritten"):
        write(SUBJECTS, out)
    assert out.read_text() == "problem_id,n,c\n"


def test_a_full_disk_is_one_line_and_keeps_the_old_page(tmp_path: Path) -> None:
    """A limit on file sizes stands in for a full disk: the write fails half-way."""
    out = write(SUBJECTS, tmp_path / "r.html")
    before = out.read_bytes()
    (tmp_path / "t.csv").write_text("problem_id,n,c\na,9,3\nb,9,0\n")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    code = "from vervet.cli.main import main; main()"
    command = [sys.executable, "-c", code, "report", str(tmp_path / "t.csv"), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot write" in done.stderr
    assert out.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "t.csv"]


def test_without_jinja2_the_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingPart, match=r"pip install 'vervet\[report\]'"):
        html.write(SUBJECTS, tmp_path / "r.html")


def test_sources_that_are_none_are_named(tmp_path: Path) -> None:
    from vervet import api

    for bad in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UserError, match="name a run folder"):
            api.report([bad], tmp_path / "r.html")


def test_the_command_writes_page_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    small_run(tmp_path).close()
    out, figures = tmp_path / "r.html", tmp_path / "figures"
    assert execute(["report", str(tmp_path / "run"), "-o", str(out), "--figures", str(figures)]) == 0
    assert str(out) in capsys.readouterr().out
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    for kind, start in starts.items():
        assert (figures / f"coverage.{kind}").read_bytes().startswith(start)


def test_baselines_prices_and_selection_are_on_the_page_and_in_the_figures(tmp_path: Path) -> None:
    with small_run(tmp_path, n=16) as run:
        counts = run.counts()
        picked = api.select(run, method="majority").points[-1]
    out = api.report(
        [tmp_path / "run"], tmp_path / "r.html", figures=tmp_path / "f", baseline="GPT-4o=0.3@0.5usd", rates=Rates(1, 2)
    )
    page = Page.of(out.read_text(encoding="utf-8"))
    found = api.cost([tmp_path / "run"], baseline="GPT-4o=0.3@0.5usd", rates=Rates(1, 2)).crossings[0][1]
    assert found.k is not None
    assert f"It reaches one attempt of GPT-4o (30.0 %) with {found.k} attempts" in page.words
    assert "a problem against $0.5" in page.words
    assert f"majority {picked.k} {percent(picked.success)}".replace("\u202f", " ") in page.words
    readout = page.json("curves")
    ahead = readout["runs"][0]["ahead"]
    assert [k for k, *_ in ahead] == readout["k"][-len(ahead) :]
    expected = api.forecast(counts, k=[k for k, *_ in ahead], backtest=False).points
    assert [row[1] for row in ahead] == pytest.approx([p.coverage for p in expected])
    names = {p.stem for p in (tmp_path / "f").iterdir()}
    assert names == {"coverage", "difficulty", "selection", "cost"}


def test_a_bad_baseline_is_one_line(tmp_path: Path) -> None:
    small_run(tmp_path, n=2).close()
    assert execute(["report", str(tmp_path / "run"), "-o", str(tmp_path / "r.html"), "--baseline", "GPT-4o"]) == 1
    assert not (tmp_path / "r.html").exists()

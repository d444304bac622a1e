"""Bad input gets one clear line that says what to change, the right exit code, no traceback, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import SRC, command, refused, write_problems
from vervet.cli.main import execute


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_problems(tmp_path / "q.jsonl", 3)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "humanevil", "-m", "fake/p=0.1"], "did you mean 'humaneval'"),
        (["run", "none.jsonl", "-m", "fake/p=0.1"], "none.jsonl cannot be read"),
        (["run", "no_such_module:Task", "-m", "fake/p=0.1"], "no module 'no_such_module'"),
        (["run", "q.jsonl", "-m", "fake"], "provider/name"),
        (["run", "q.jsonl", "-m", "fakes/p=0.1"], "did you mean 'fake'"),
        (["run", "q.jsonl", "-m", "fake/p=2"], "fake/p=0.03"),
        (["run", "q.jsonl", "-m", "fake/q=0.1"], "fake/p=0.03"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "-T", "pth=x"], "no option 'pth'"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "-T", "extract=all"], "one of answer, text, number"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "-M", "latncy=1"], "did you mean 'latency'"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "-M", "latency=soon"], "latency='soon'"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "-M", "latency"], "-M name=value"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "-M", "batch=0"], "batch must be at least 1"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "-M", "corpus=none.txt"], "none.txt"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "-n", "0"], "-n 0"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "-n", "-3"], "-n -3"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "--limit", "0"], "--limit 0"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "--problems", "q99"], "no problem 'q99'"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "--problems", ""], "--problems names none"),
        (["audit", "humaneval", "--problems", ","], "--problems names none"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "--temperature", "-1"], "--temperature"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "--top-p", "2"], "--top-p"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "--temperature", "0", "-n", "4"], "--greedy"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "--prompt-form", "poem"], "--prompt-form"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "--verifier", "exakt"], "did you mean 'exact'"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "--sandbox", "none"], "runs no code"),
        (["run", "q.jsonl", "-m", "fake/p=0.1", "-c", "none.toml"], "none.toml"),
        (["resume", "nowhere"], "nowhere does not exist"),
        (["verify", "nowhere"], "nowhere does not exist"),
        (["show", "nowhere"], "nowhere does not exist"),
        (["coverage", "nowhere"], "nowhere does not exist"),
        (["ledger", "check", "nowhere"], "nowhere does not exist"),
        (["tasks", "humanevil"], "did you mean 'humaneval'"),
        (["coverage", "q.jsonl", "--k", "0"], "--k 0"),
        (["coverage", "q.jsonl", "--k", "1.5"], "--k 1.5"),
        (["coverage", "q.jsonl", "--k", "many"], "--k many"),
    ],
)  # fmt: skip
def test_a_bad_value_is_one_line_and_exit_1(
    capsys: pytest.CaptureFixture[str], task: Path, arguments: list[str], says: str
) -> None:
    assert says in refused(capsys, 1, *arguments)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "q.jsonl", "-m", "fake/p=0.1", "--nn", "3"],
        ["run", "q.jsonl"],
        ["run"],
        ["fly"],
        ["coverage", "--json", "--no-such-flag"],
    ],
)
def test_a_line_that_does_not_parse_exits_2(
    capsys: pytest.CaptureFixture[str], task: Path, arguments: list[str]
) -> None:
    capsys.readouterr()
    assert execute(arguments) == 2
    assert "vervet: " in capsys.readouterr().err


def test_text_where_a_number_belongs_exits_1(capsys: pytest.CaptureFixture[str], task: Path) -> None:
    assert "'-n'" in refused(capsys, 1, "run", task, "-m", "fake/p=0.1", "-n", "many")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("problem_id,n,c\na,5,6\n", "c = 6 > n = 5"),
        ("problem_id,n,c\na,-5,-6\n", "a"),
        ("problem_id,n\na,5\n", "c"),
        ("problem_id,n,c\na,5,1\na,5,1\n", "a"),
        ("problem_id,n,c\na,five,1\n", "five"),
        ("problem_id,n,c\n", "counts.csv"),
        ("", "counts.csv"),
        ("problem_id,n,c\na,2.5,1\n", "2.5"),
        ("problem_id,n,c\na,nan,1\n", "nan"),
    ],
)
def test_impossible_counts_are_one_line(capsys: pytest.CaptureFixture[str], text: str, says: str) -> None:
    Path("counts.csv").write_text(text)
    assert says in refused(capsys, 1, "coverage", "counts.csv")


def test_json_errors_are_a_document_on_stdout_beside_the_line_on_stderr(
    capsys: pytest.CaptureFixture[str], task: Path
) -> None:
    assert execute(["run", "q.jsonl", "-m", "fake/p=0.1", "-n", "0", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "schema": "vervet.error/1",
        "error": "bad-option",
        "message": err.removeprefix("vervet: ").strip(),
    }


def test_another_config_in_the_folder_is_refused_with_the_difference(
    capsys: pytest.CaptureFixture[str], task: Path
) -> None:
    """A changed temperature, model or data set never mixes into a run; what is there stays."""
    base = ["run", "q.jsonl", "-m", "fake/p=0.5", "-n", "4", "--out", "r"]
    assert execute(base) == 0
    line = refused(capsys, 1, *base, "--temperature", "0.3")
    assert "params.temperature: 0.8 in the run, 0.3 now" in line
    assert "fake/p=0.5" in refused(capsys, 1, "run", "q.jsonl", "-m", "fake/p=0.6", "--out", "r")
    assert "seed: None in the run, 5 now" in refused(capsys, 1, *base, "--seed", "5")
    write_problems(task, 4)
    assert "data_fingerprint" in refused(capsys, 1, *base)
    write_problems(task, 3)
    assert execute(base) == 0


def test_a_damaged_ledger_is_one_line(capsys: pytest.CaptureFixture[str], task: Path) -> None:
    assert execute(["run", "q.jsonl", "-m", "fake/p=0.5", "-n", "4", "--out", "r"]) == 0
    for name in ("ledger.sqlite-wal", "ledger.sqlite-shm"):
        Path("r", name).unlink(missing_ok=True)
    Path("r/ledger.sqlite").write_bytes(b"not a database, certainly" * 500)
    assert "damaged" in refused(capsys, 1, "coverage", "r")


def test_a_file_where_the_run_folder_belongs_is_one_line(capsys: pytest.CaptureFixture[str], task: Path) -> None:
    Path("r").write_text("a file")
    assert "r" in refused(capsys, 1, "run", "q.jsonl", "-m", "fake/p=0.5", "--out", "r")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="not here: needs Linux mounts")
def test_a_full_disk_is_one_line_and_what_was_committed_is_kept(tmp_path: Path, task: Path) -> None:
    """On a 2 MB file system a run ends with one line; the samples before that are there, and the ledger is sound."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("not here: no user namespaces for a small file system")
    (tmp_path / "prose.txt").write_bytes(os.urandom(200_000).hex().encode())
    (tmp_path / "small").mkdir()
    run = command(
        "run", task, "-m", "fake/p=0.5", "-n", 5000, "--out", "small/r", "-M", "corpus=prose.txt", "-M", "chars=4000"
    )
    look = command("ledger", "check", "small/r", "--json")
    script = (
        f"mount -t tmpfs -o size=2m none small && {_quoted(run)}; echo code $?; "
        f"mount -o remount,size=64m small; {_quoted(look)}; echo code $?"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert "code 1" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr
    assert "free space and repeat the command" in done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    assert found["faults"] == []
    assert found["checked"] > 50


def _quoted(arguments: list[str]) -> str:
    import shlex

    return shlex.join(arguments)


@pytest.mark.skipif(os.geteuid() == 0, reason="not here: root may write everywhere")
def test_an_unwritable_folder_is_one_line(capsys: pytest.CaptureFixture[str], task: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    assert "locked" in refused(capsys, 1, "run", "q.jsonl", "-m", "fake/p=0.5", "--out", "locked/r")


def test_a_folder_that_is_a_read_only_file_system_is_one_line(capsys: pytest.CaptureFixture[str], task: Path) -> None:
    """Also for root: nobody can make a folder in /proc."""
    assert "/proc" in refused(capsys, 1, "run", "q.jsonl", "-m", "fake/p=0.5", "--out", "/proc/nothing/r")

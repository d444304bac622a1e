"""Every page says what the ledger says; a hostile text is text."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from tests.helpers import SRC, command
from tests.reports.pages import Page, small_run
from tests.viewer.serving import CODE, IDS, NASTY, Viewer, until, viewing
from vervet import api
from vervet.ledger import browse, view

LONG_S = "\u017furrogate"
# letter case folds it to s: found by the way that is not for ASCII


def read(viewer: Viewer, path: str) -> Page:
    answer = viewer.ask(path)
    assert answer.status == 200, answer.text
    return Page.of(answer.text)


def test_all_runs_stand_on_the_first_page(viewer: Viewer) -> None:
    words = read(viewer, "/").words
    assert "3 runs" in words
    for name in ("fake/beta=0.4,2", "fake/beta=0.2,3", "nasty"):
        assert name in words


def test_a_run_shows_its_counts(folder: Path, viewer: Viewer) -> None:
    page = read(viewer, "/run/sums")
    with api.open_run(folder / "sums") as run:
        facts, counts = run.facts(), run.counts()
    assert f"Samples {facts.samples}" in page.words
    assert f"PASS {facts.passed}" in page.words
    cells = [a for a in page.named("a") if (a.get("class") or "").startswith("cell")]
    assert len(cells) == len(counts)
    assert "Coverage at k = 12" in page.words


def test_problems_are_sorted_filtered_and_searched(folder: Path, viewer: Viewer) -> None:
    with api.open_run(folder / "sums") as run:
        counts = run.counts()
    shares = dict(zip(counts.problem_ids, (counts.c / counts.n).tolist(), strict=True))

    def ids(query: str) -> list[str]:
        page = read(viewer, f"/run/sums/problems?{query}")
        return [t for t in page.texts if t.startswith("sum/")]

    assert sorted(ids("")) == sorted(shares)
    assert [shares[i] for i in ids("sort=share")] == sorted(shares.values())
    assert [shares[i] for i in ids("sort=share&down=1")] == sorted(shares.values(), reverse=True)
    assert set(ids("show=never")) == {i for i, s in shares.items() if s == 0}
    assert ids("q=SUM/3") == ["sum/3"]
    assert ids("q=nothing") == []
    assert ids("sort=__class__&show=x&page=99999999999999999999") == ids("")


def test_a_problem_shows_classes_with_their_verdicts_and_every_sample(folder: Path, viewer: Viewer) -> None:
    page = read(viewer, "/run/nasty/problem?id=plain")
    with api.open_run(folder / "nasty") as run:
        found = browse.attempts(run.ledger, view(run.ledger), "plain")
        classes = browse.classes(run.ledger, "plain", found)
        samples = list(run.samples("plain"))
    assert [o.outcome for o in samples] == [browse.OUTCOMES[int(c)] for c in found.outcome]
    assert [o.reason for o in samples] == [found.names[int(r)] for r in found.reason]
    assert sum(c.samples for c in classes) == len(NASTY)
    assert {c.key for c in classes if c.example < 0} == {"none"}
    assert "no answer found" in page.words
    links = [a["href"] for a in page.named("a") if "/sample?" in (a["href"] or "")]
    assert {f"/run/nasty/sample?problem=plain&index={i}" for i in range(len(NASTY))} <= set(links)


@pytest.mark.parametrize(
    ("show", "expected"), [("pass", 1), ("unknown", 1), ("no-answer", 1), ("cut", 0), ("pending", 0)]
)
def test_samples_can_be_filtered(viewer: Viewer, show: str, expected: int) -> None:
    words = read(viewer, f"/run/nasty/problem?id=plain&show={show}").words
    assert f"{expected} sample{'s' if expected != 1 else ''} " in words


@pytest.mark.parametrize("number", range(len(NASTY)))
def test_a_sample_is_shown_and_nothing_in_it_acts(viewer: Viewer, number: int) -> None:
    page = read(viewer, f"/run/nasty/sample?problem={quote(IDS[1])}&index={number}")
    assert [s.get("src") for s in page.named("script")] == ["/script.js"]
    assert {tag for tag, _ in page.tags} & {"img", "iframe", "object", "embed", "base"} == set()
    assert not any(name.startswith("on") or name == "style" for _, attrs in page.tags for name in attrs)
    shown = " ".join(page.texts)
    for character in "\x00\x07\x08\x1b\x7f\x9b\u202e\u2066\u200f\u200b\ufeff":
        assert character not in shown
    if number == 7:
        assert r"\x1b" in shown
    if number == 9:
        assert r"\ud800" in shown
    if number == 11:
        assert "The text is empty" in page.words
    if number == 12:
        assert "Part 1 of 4" in page.words


def test_long_texts_come_in_parts_that_make_the_whole(viewer: Viewer) -> None:
    address = "/run/nasty/sample?problem=plain&index=12"
    assert "Part 84 of 84" in read(viewer, f"{address}&part=84").words
    assert len(viewer.ask(address).text) < 500_000
    raw = viewer.ask("/run/nasty/raw?problem=plain&index=12")
    assert raw.text == NASTY[12]
    assert raw.headers["content-type"].startswith("text/plain")
    assert raw.headers["content-disposition"].startswith("attachment")


def test_code_has_colours_and_the_verdict_its_log(viewer: Viewer) -> None:
    page = read(viewer, "/run/nasty/sample?problem=plain&index=5")
    assert [a for a in page.named("span") if (a.get("class") or "").startswith("t-")], "a fenced block has colours"
    words = read(viewer, "/run/nasty/sample?problem=plain&index=0").words
    for fact in ("PASS accepted", "isolation namespaces", "0.012 s of processor time", "def add(a, b): # the sum"):
        assert fact in words


def test_the_difference_of_two_samples(viewer: Viewer) -> None:
    answer = viewer.ask("/run/nasty/diff?problem=plain&a=0&b=1")
    assert "return a <mark>+</mark> b" in answer.text
    assert "return a <mark>-</mark> b" in answer.text
    assert "They are equal" in read(viewer, "/run/nasty/diff?problem=plain&a=0&b=0").words
    assert viewer.ask("/run/nasty/diff?problem=plain&a=12&b=13").status == 200


def test_search_finds_texts_and_reasoning_and_says_how_far_it_got(viewer: Viewer) -> None:
    words = read(viewer, "/run/nasty/search?q=RETURN+A+-&problem=plain").words
    assert "1 text in" in words
    assert "plain · 1" in words
    assert "reasoning" in read(viewer, f"/run/nasty/search?q={quote('[2J')}").words
    assert "Nothing found" in read(viewer, "/run/nasty/search?q=zzz").words
    assert "שלום" in read(viewer, f"/run/nasty/search?q={quote(LONG_S)}").words


def test_two_runs_are_compared_on_the_problems_they_share(folder: Path, viewer: Viewer) -> None:
    words = read(viewer, "/compare?run=sums&run=harder").words
    with api.open_run(folder / "sums") as a, api.open_run(folder / "harder") as b:
        point = api.compare(a.counts(), b.counts()).points[-1]
    assert f"{100 * point.difference:+.1f}".replace("-", "\u2212") in words
    assert "9 problems" in words
    assert "share no problem" in read(viewer, "/compare?run=sums&run=nasty").words


@pytest.mark.parametrize("problem", IDS)
def test_every_problem_can_be_reached_by_its_own_link(viewer: Viewer, problem: str) -> None:
    links = [a["href"] or "" for a in read(viewer, "/run/nasty/problems").named("a")]
    pages = [read(viewer, link).words for link in links if link.startswith("/run/nasty/problem?id=")]
    assert len(pages) == len(IDS)
    assert any(problem.replace("\u202e", r"\u202e") in words for words in pages)


LOST = (
    "/run/none", "/run/nasty/problem?id=none", "/run/nasty/sample?problem=plain&index=999", "/run/nasty/sample",
    "/run/nasty/sample?problem=plain&index=-1", "/run/nasty/diff?problem=plain&a=0&b=77", "/run/nasty/raw?problem=x",
    "/run/nasty/problem?id=%ED%A0%80", "/run/..%2f..%2fetc/problem?id=x", "/nowhere", "/compare?run=none",
)  # fmt: skip


@pytest.mark.parametrize("path", LOST)
def test_what_is_not_there_is_said_in_a_line(viewer: Viewer, path: str) -> None:
    answer = viewer.ask(path)
    assert answer.status == 404
    assert "Traceback" not in answer.text


def test_a_run_is_counted_again_when_it_grows(tmp_path: Path) -> None:
    small_run(tmp_path, n=3).close()
    with viewing([tmp_path / "run"]) as found:
        found.enter()
        assert "Samples 27" in read(found, "/run/run").words
        before = found.ask("/state").text
        small_run(tmp_path, n=5).close()

        def grown() -> bool:
            return found.ask("/state").text != before and "Samples 45" in read(found, "/run/run").words

        until(grown)


def test_it_sees_whether_a_run_is_being_written(tmp_path: Path) -> None:
    from vervet.ledger import Ledger

    small_run(tmp_path, n=2).close()
    with viewing([tmp_path / "run"]) as found:
        found.enter()
        assert '"writing":false' in found.ask("/state").text
        with Ledger.open(tmp_path / "run", writer=True):
            assert '"writing":true' in found.ask("/state").text
        # and the lock was not touched: another writer gets it
        Ledger.open(tmp_path / "run", writer=True).close()


@pytest.mark.slow
def test_the_command_prints_an_address_answers_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    small_run(tmp_path, n=2).close()
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    with subprocess.Popen(
        command("view", tmp_path / "run"), stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        port = int(address.removeprefix("http://127.0.0.1:").partition("/")[0])
        reply = Viewer(port, ["run"]).ask("/" + address.rpartition("/")[2])
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert reply.status == 303


def test_it_refuses_what_is_no_run(tmp_path: Path) -> None:
    from vervet.cli.main import execute

    assert execute(["view", str(tmp_path / "none")]) == 1
    assert execute(["view", str(tmp_path)]) == 1
    assert CODE

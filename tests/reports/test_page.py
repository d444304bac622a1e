"""The page says what the estimators say, loads nothing, and runs nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

pytest.importorskip("jinja2")

from tests.reports.pages import LOADING, Page, counts, small_run
from vervet import api
from vervet.reports.format import DASH, percent
from vervet.reports.html import Subject, render
from vervet.reports.sections import SECTIONS
from vervet.reports.subject import labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs of nine problems."""
    folder = tmp_path_factory.mktemp("runs")
    small_run(folder, "fake/beta=0.4,2", out=folder / "a").close()
    small_run(folder, "fake/beta=0.2,9", out=folder / "b", n=20).close()
    return folder


@pytest.fixture(scope="module")
def text(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return api.report([folder], tmp_path_factory.mktemp("page") / "r.html").read_text(encoding="utf-8")


def test_the_numbers_are_those_of_vervet_coverage(folder: Path, text: str) -> None:
    expected = api.coverage([folder]).to_dict()
    page = Page.of(text)
    assert page.json("vervet-coverage") == expected
    for source in expected["sources"]:
        for p in source["points"]:
            pairs = ("", "band_", "draws_")
            ranges = [f"{percent(p[f'{kind}low'])} to {percent(p[f'{kind}high'])}" for kind in pairs]
            row = " ".join([f"{p['k']:,}", percent(p["coverage"]), *ranges, percent(p["se"]), str(p["problems"])])
            assert " ".join(row.replace("\u202f", " ").split()) in page.words


def test_the_read_out_holds_the_same_curve(text: str) -> None:
    page = Page.of(text)
    data, curves = page.json("curves"), page.json("vervet-coverage")["sources"]
    assert data["k"] == sorted(set(data["k"]))
    for run, curve in zip(data["runs"], curves, strict=True):
        for p in curve["points"]:
            at = data["k"].index(p["k"])
            for name in ("coverage", "low", "high", "draws_low", "draws_high"):
                assert run[name][at] == pytest.approx(p[name], abs=1e-9)


def test_the_problem_table_holds_every_problem_of_every_run(folder: Path, text: str) -> None:
    words = Page.of(text).words
    for name in ("a", "b"):
        with api.open_run(folder / name) as run:
            table = run.counts()
            for i, problem in enumerate(table.problem_ids):
                samples = list(run.samples(problem))
                first = next((str(s.index) for s in samples if s.outcome == "PASS"), DASH)
                n, c, distinct = table.n[i], table.c[i], len({s.answer for s in samples} - {None})
                row = f"{problem} {n} {c} {percent(c / n)} {distinct} {first}"
                assert " ".join(row.replace("\u202f", " ").split()) in words


def test_nothing_in_the_file_is_loaded_from_anywhere(text: str) -> None:
    page = Page.of(text)
    assert {tag for tag, _ in page.tags} & {
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "video",
        "image",
    } == set()
    for tag, attrs in page.tags:
        assert not (LOADING & set(attrs)), (tag, attrs)
        href = attrs.get("href") or "#"
        assert href.startswith("#") or (tag == "a" and href.startswith("https://arxiv.org/abs/"))
    assert set(re.findall(r"url\(([^)]*)\)", page.blocks["style"])) <= {"#hatch"}
    assert "@import" not in page.blocks["style"]
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|WebSocket|eval\(|innerHTML", page.blocks["script:"])


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(text: str) -> None:
    page = Page.of(text)
    policy = next(m["content"] for m in page.named("meta") if m.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))
    assert rules["default-src"] == "'none'"
    for name, block in (("style-src", "style"), ("script-src", "script:")):
        digest = base64.b64encode(hashlib.sha256(page.blocks[block].encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert not any("style" in attrs for _, attrs in page.tags), "the policy forbids style attributes"
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_the_page_can_be_read_by_machine_and_screen_reader(text: str) -> None:
    page = Page.of(text)
    assert page.named("html")[0]["lang"] == "en"
    assert "2 runs on sums" in page.texts[0]
    assert len(page.named("h1")) == 1
    assert [h["id"] for h in page.named("h2")] == [f"{s.id}-title" for s in SECTIONS]
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [a["href"] for a in page.named("a") if (a["href"] or "").startswith("#")]
    assert {link.removeprefix("#") for link in links if link} <= set(ids)
    # each chart has a name; what scrolls sideways can be reached by keyboard
    assert all(svg.get("aria-hidden") or svg.get("aria-label") for svg in page.named("svg"))
    scrolled = [attrs for attrs in page.named("div") if "scroll" in (attrs.get("class") or "").split()]
    assert scrolled
    assert all(attrs.get("tabindex") == "0" and attrs.get("aria-label") for attrs in scrolled)


def test_twelve_runs_look_different() -> None:
    subjects = [Subject(counts([9] * 4, [i % 9, 1, 2, 3], source=f"{i}.csv")) for i in range(12)]
    page = Page.of(render(subjects))
    keys = [a["class"] for a in page.named("svg") if (a.get("class") or "").startswith("key")]
    assert len(set(keys)) == 12


def test_run_facts_name_what_made_the_samples(folder: Path, tmp_path: Path) -> None:
    words = Page.of(api.report([folder / "a"], tmp_path / "r.html").read_text()).words
    with api.open_run(folder / "a") as run:
        facts, fingerprint = run.facts(), run.config.data_fingerprint
    for fact in (
        "Model fake/beta=0.4,2",
        f"Data fingerprint {fingerprint}",
        "Temperature 0.8",
        "Seed 5",
        "Samples 108",
        f"Distinct answers {facts.distinct_answers}",
        f"Completion tokens {facts.completion_tokens:,}",
        "Verifier exact 1",
        "Verdicts rest on exact",
    ):
        assert fact in words


def test_of_imported_samples_nothing_is_said_that_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"problem_id": "p", "text": "t", "correct": true}\n' * 3)
    api.import_samples(tmp_path / "s.jsonl", tmp_path / "run", model="imported/org/model-7b")
    words = Page.of(api.report([tmp_path / "run"], tmp_path / "r.html").read_text()).words
    assert "Sampling not recorded: the samples were imported" in words
    assert "Temperature" not in words
    with api.open_run(tmp_path / "run") as run:
        assert labels([Subject(run.counts(), config=run.config)]) == ["org/model-7b"]


@pytest.mark.slow
def test_a_thousand_problems_and_six_runs_stay_small() -> None:
    many = [counts([100] * 1000, [(i * j) % 101 for i in range(1000)], source=f"{j}.csv") for j in range(1, 7)]
    assert len(render([Subject(c) for c in many])) < 3_000_000
    assert len(render([Subject(counts([100] * 164, [i % 101 for i in range(164)]))])) < 300_000


def test_level_moves_the_interval(folder: Path, tmp_path: Path) -> None:
    wide, narrow = (
        Page.of(api.report([folder / "a"], tmp_path / "r.html", level=level).read_text()).json("curves")["runs"][0]
        for level in (0.99, 0.5)
    )
    assert wide["low"][0] < narrow["low"][0] < narrow["high"][0] < wide["high"][0]


def test_title_replaces_the_heading(folder: Path, tmp_path: Path) -> None:
    page = Page.of(api.report([folder], tmp_path / "r.html", title="Our <b>run</b>").read_text())
    assert "Our <b>run</b>" in page.words
    assert page.texts[0].startswith("Our <b>run</b>")

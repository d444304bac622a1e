"""Ids, paths and model texts are hostile input: on the page they are text that can be seen, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("jinja2")

from tests.reports.pages import Page, counts, small_run
from vervet import api
from vervet.records import Config, Counts, Params
from vervet.reports.format import visible
from vervet.reports.html import Subject, render

EVIL = {
    "<script>document.title='owned'</script>": "<script>document.title='owned'</script>",
    "</td></table><img src=x onerror=\"document.title='owned'\">": "onerror=\"document.title='owned'\">",
    '" onmouseover="document.title=1" x="': '" onmouseover="document.title=1" x="',
    "</script><script>document.title='owned'</script>": "</script><script>document.title='owned'</script>",
    "right\u202eto left": r"right\u202eto left",
    "isolate\u2066x\u2069": r"isolate\u2066x\u2069",
    "bell\x07 esc\x1b[31m nul\x00": r"bell\x07 esc\x1b[31m nul\x00",
    "lone \ud800 surrogate": r"lone \ud800 surrogate",
    "tag \U000e0041": r"tag \U000e0041",
    "two\nlines\u2028three": r"two\x0alines\u2028three",
    "{{ 7 * 7 }}{% raw %}": "{{ 7 * 7 }}{% raw %}",
    "<!-- --><![CDATA[ ]]>": "<!-- --><![CDATA[ ]]>",
}


def subjects() -> list[Subject]:
    """Two runs in which every text that can come from outside is hostile."""
    ids = list(EVIL)
    params = Params(0.8, None, 9, stop=tuple(EVIL), extra={key: key for key in EVIL})
    out = []
    for name in ids[:2]:
        config = Config(name, {name: name}, name, f"fake/{name}", {name: name}, name, "chat", params, None)
        table = Counts(ids, [3] * len(ids), [1] * len(ids), [1] * len(ids), source=name)
        names = {"data": {"id": name, "revision": name}, "extractor": name, "vervet": name}
        judge = {"name": name, "version": name, "settings": {name: name}}
        out.append(Subject(table, facts={}, config=config, told={"problems": ids}, meta=names, verifier=judge))
    return out


def test_hostile_texts_are_shown_and_harmless() -> None:
    text = render(subjects(), title="</title><script>1</script>\u202e")
    page = Page.of(text)
    assert len(page.named("script")) == 3, "two blocks of data and the page's own program"
    assert not page.named("img")
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    for character in ("\u202e", "\u2066", "\u2028", "\x00", "\x07", "\x1b", "\U000e0041"):
        assert character not in text
    for shown in EVIL.values():
        assert " ".join(shown.split()) in page.words


def test_the_policy_and_the_blocks_survive_hostile_texts() -> None:
    page = Page.of(render(subjects()))
    assert len(page.json("vervet-coverage")["sources"]) == 2
    assert page.blocks["script:"].rstrip().endswith("})();")


def test_a_megabyte_as_an_id_is_cut() -> None:
    text = render([Subject(Counts(["x" * 1_000_000, "y"], [3, 3], [1, 0], source="s" * 1_000_000))])
    assert len(text) < 200_000


@pytest.mark.parametrize("hidden", ["\u202e", "\x9b", "\udfff", "\u200b", "\ufeff", "\x7f"])
def test_visible_leaves_nothing_that_acts(hidden: str) -> None:
    assert hidden not in visible(f"a{hidden}b")
    assert visible("שלום 日本語 é 🙂") == "שלום 日本語 é 🙂"


@pytest.mark.slow
def test_in_a_browser_nothing_hostile_runs(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("needs chromium")
    path = tmp_path / "evil.html"
    path.write_text(render(subjects(), title="fine"), encoding="utf-8")
    dom = dump(browser, path, tmp_path)
    page = Page.of(dom)
    assert "<title>fine" in dom
    assert not page.named("img")
    # our own script did run: the policy's hash fits, and it found its data
    assert page.named("button")
    assert "6 of" not in page.words
    assert f"{len(EVIL)} of {len(EVIL)} problems" in page.words


@pytest.mark.slow
def test_a_real_run_opens_in_a_browser(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("needs chromium")
    small_run(tmp_path).close()
    page = Page.of(dump(browser, api.report([tmp_path / "run"], tmp_path / "r.html"), tmp_path))
    assert "9 of 9 problems" in page.words
    assert [a for a in page.named("g") if a.get("class") == "cursor" and "visibility" not in a], "the read-out is drawn"


def dump(browser: str, path: Path, folder: Path) -> str:
    """The document after its script ran."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    quiet = "--disable-component-update --disable-sync --disable-crash-reporter --no-zygote"
    command = [browser, *flags.split(), *quiet.split(), f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=90, check=True)
    return done.stdout


def test_counts_with_hostile_source_name_their_command() -> None:
    page = Page.of(render([Subject(counts([2], [1], source="a b;rm -rf '\u202e'.csv"))]))
    assert r"vervet coverage $'a b;rm -rf \'\u202e\'.csv'" in page.words

"""The viewer and the report in a real browser: every view is clicked through, nothing hostile runs, keys reach everything."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from tests.reports.pages import small_run
from tests.viewer.serving import IDS, NASTY, TOKEN, Viewer, chromium, until, viewing
from vervet import api
from vervet.viewer import shelf
from vervet.viewer.shelf import draw

pytestmark = pytest.mark.slow
AXE = Path(__file__).resolve().parent.parent.parent / ".venv" / "node_modules" / "axe-core" / "axe.min.js"
# brought by scripts/setup-all
SIZES = {"desk": (1280, 900), "phone": (390, 844)}
SAMPLE = "/run/nasty/sample?problem=plain&index="


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


class Tab:
    """A page of the browser that has entered the viewer; what the console says is kept."""

    def __init__(self, browser: Any, viewer: Viewer | None, size: str = "desk", **options: Any) -> None:
        width, height = SIZES[size]
        self._context = browser.new_context(viewport={"width": width, "height": height}, **options)
        self._context.set_default_timeout(60_000)
        self.page = self._context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.base = viewer.base if viewer else ""
        if viewer:
            self.page.goto(f"{viewer.base}/?token={TOKEN}")

    def go(self, path: str) -> Any:
        self.page.goto(self.base + path)
        return self.page

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()


def test_every_view_is_reached_by_clicking(viewer: Viewer, browser: Any) -> None:
    with Tab(browser, viewer) as tab:
        page = tab.page
        assert "token" not in page.url
        page.locator(".list").get_by_role("link", name="fake/beta=0.4,2").click()
        page.wait_for_url("**/run/sums")
        page.locator(".curves .chart.wide").wait_for()
        page.get_by_role("link", name="all of them by difficulty").click()
        page.get_by_label("Show").select_option("sometimes")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**show=sometimes**")
        page.locator("tbody th a").first.click()
        page.wait_for_url("**/problem?**")
        page.locator(".classes tbody th a").first.click()
        page.wait_for_url("**class=**")
        page.locator("#samples tbody th a").first.click()
        page.wait_for_url("**/sample?**")
        page.get_by_role("button", name="Show the difference").click()
        page.wait_for_url("**/diff?**")
        page.get_by_label("of their").select_option("text")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**of=text**")
        page.get_by_label("Search in the texts of this run").fill("1")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search?**")
        page.locator(".hits a").first.click()
        page.wait_for_url("**/sample?**")
        page.locator(".crumbs").get_by_role("link", name="3 runs").click()
        page.get_by_role("link", name="Compare").click()
        page.get_by_role("checkbox", name="nasty").uncheck()
        page.get_by_role("button", name="Compare").click()
        page.get_by_text("paired by problem").wait_for()
        assert tab.said == []


def test_a_curve_of_several_runs_comes_whenever_it_is_done(
    folder: Path, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also long after the page was asked for, when no run has changed since."""
    done = threading.Event()

    def slowly(subjects: Any) -> Any:
        if len(subjects) > 1:
            done.wait(60)
        return draw(subjects)

    monkeypatch.setattr(shelf, "draw", slowly)
    with viewing([folder / "sums", folder / "harder"]) as viewer, Tab(browser, viewer) as tab:
        page = tab.go("/")
        page.get_by_text("The curve is being estimated").wait_for()
        page.wait_for_timeout(2500)
        done.set()
        page.locator(".curves .chart.wide").wait_for()
        assert tab.said == []


def test_keys_reach_everything(viewer: Viewer, browser: Any) -> None:
    with Tab(browser, viewer) as tab:
        page = tab.go("/run/sums")
        page.keyboard.press("b")
        page.wait_for_url("**/problems")
        for key in ("j", "j", "k", "Enter"):
            page.keyboard.press(key)
        page.wait_for_url("**/problem?**")
        tab.go("/run/sums/sample?problem=sum%2F1&index=0")
        page.keyboard.press("n")
        page.wait_for_url("**index=1")
        page.keyboard.press("ArrowLeft")
        page.wait_for_url("**index=0")
        page.keyboard.press("d")
        page.wait_for_url("**/diff?**")
        page.keyboard.press("u")
        page.wait_for_url("**/problem?**")
        page.keyboard.press("u")
        page.wait_for_url("**/problems")
        page.keyboard.press("/")
        page.keyboard.type("np?u")
        assert page.evaluate("document.activeElement.value") == "np?u", "keys do nothing else while somebody types"
        page.keyboard.press("Escape")
        assert not page.locator("dialog.keys").is_visible()
        page.keyboard.press("?")
        assert page.locator("dialog.keys").is_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("h")
        page.wait_for_url("**/")
        assert tab.said == []


def test_what_can_be_clicked_can_be_tabbed_to(viewer: Viewer, browser: Any) -> None:
    with Tab(browser, viewer) as tab:
        for path in ("/run/sums", "/run/sums/problem?id=sum%2F1"):
            page = tab.go(path)
            page.locator(".help").wait_for()
            wanted = page.evaluate(
                "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary')]"
                ".filter((e) => e.checkVisibility()).length"
            )
            reached = set()
            for _ in range(wanted + 40):
                page.keyboard.press("Tab")
                here = "document.activeElement"
                if page.evaluate(f"{here}.matches('a[href], button, input, select, summary')"):
                    reached.add(page.evaluate(f"[...document.querySelectorAll('*')].indexOf({here})"))
            assert len(reached) == wanted


def test_hostile_samples_change_nothing(viewer: Viewer, browser: Any) -> None:
    with Tab(browser, viewer) as tab:
        calm = _frame(tab.go(f"{SAMPLE}0"))
        for number in range(len(NASTY)):
            page = tab.go(f"{SAMPLE}{number}")
            page.wait_for_function("!document.querySelector('.help').hidden")
            assert _frame(page) == calm, number
            assert page.evaluate("document.documentElement.dataset.owned ?? ''") == "", number
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), number
        assert all(url.startswith(viewer.base) for url in tab.asked)
        assert tab.said == []


def _frame(page: Any) -> Any:
    """What of a page must not depend on a sample: elements that could act or load, and the page's head."""
    acting = "script, iframe, img, object, embed, style, link, meta, base"
    tags = "[...document.querySelectorAll({})].map((e) => e.tagName)"
    return page.evaluate(f"[{tags.format(repr(acting))}, {tags.format(repr('header *'))}]")


def test_hostile_ids_and_texts_change_nothing_on_any_view(viewer: Viewer, browser: Any) -> None:
    with Tab(browser, viewer) as tab:
        views = ["/", "/compare", "/run/nasty", "/run/nasty/problems", "/run/nasty/search?q=script"]
        page = tab.go("/run/nasty/problems")
        links = page.eval_on_selector_all("tbody th a", "found => found.map((a) => a.getAttribute('href'))")
        assert len(links) == len(IDS)
        for path in (
            *views,
            *links,
            "/run/nasty/diff?problem=plain&a=2&b=3",
            "/run/nasty/search?q=%3Cscript%3E&problem=plain",
        ):
            page = tab.go(path)
            assert page.evaluate("document.documentElement.dataset.owned ?? ''") == "", path
            assert page.locator("script").count() == 1, path
            assert page.locator("img, iframe, object").count() == 0, path
        assert tab.said == []


def test_the_report_of_hostile_samples_is_calm_too(folder: Path, browser: Any, tmp_path: Path) -> None:
    written = api.report([folder / "nasty"], tmp_path / "r.html")
    with Tab(browser, None) as tab:
        page = tab.page
        page.goto(written.as_uri())
        assert page.evaluate("document.documentElement.dataset.owned ?? ''") == ""
        page.locator(".tools output").get_by_text(f"{len(IDS)} of {len(IDS)} problems").wait_for()
        assert tab.asked == [written.as_uri()]
        assert tab.said == []


def test_other_sites_get_nothing(viewer: Viewer, browser: Any, tmp_path: Path) -> None:
    """A page of another origin with the cookie in the same browser: no frame, no fetch, no picture, no script."""
    with Tab(browser, viewer) as tab:
        evil = tmp_path / "evil.html"
        evil.write_text(
            f"<iframe src='{viewer.base}/run/sums'></iframe><script src='{viewer.base}/script.js'></script>"
        )
        tab.page.goto(evil.as_uri())
        fetched = f"fetch('{viewer.base}/run/sums', {{credentials: 'include'}})"
        got = tab.page.evaluate(f"{fetched}.then((r) => r.text(), () => 'nothing')")
        assert got == "nothing"
        assert "PASS" not in (tab.page.frames[1].content() if len(tab.page.frames) > 1 else "")


def test_a_page_follows_its_run(browser: Any, tmp_path: Path) -> None:
    small_run(tmp_path, n=3).close()
    with viewing([tmp_path / "run"]) as found, Tab(browser, found) as tab:
        page = tab.go("/run/run")
        page.get_by_text("27", exact=True).first.wait_for()
        page.locator(".curves").wait_for()
        page.evaluate("window.same = true")
        small_run(tmp_path, n=6).close()
        page.locator(".tile b", has_text="54").wait_for()
        page.locator("#curve-title").wait_for()
        assert page.evaluate("window.same"), "numbers are replaced in place, the page is not loaded again"
        until(lambda: page.locator(".at .k").inner_text() == "6")
        assert tab.said == []


VIEWS = {
    "index": "/",
    "compare": "/compare?run=sums&run=harder",
    "run": "/run/sums",
    "problems": "/run/sums/problems",
    "problem": "/run/nasty/problem?id=plain",
    "sample": f"{SAMPLE}5",
    "diff": "/run/nasty/diff?problem=plain&a=0&b=1",
    "search": "/run/nasty/search?q=script",
    "error": "/nowhere",
}


@pytest.mark.parametrize(("size", "scheme"), [("desk", "light"), ("phone", "dark")])
def test_axe_finds_nothing(viewer: Viewer, folder: Path, browser: Any, tmp_path: Path, size: str, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip("needs axe-core: scripts/setup-all brings it")
    report = api.report([folder / "sums", folder / "harder"], tmp_path / "r.html").as_uri()
    faults: list[tuple[str, str, list[str]]] = []
    # the policy would keep the checker's own script out
    with Tab(browser, viewer, size, color_scheme=scheme, bypass_csp=True) as tab:
        for name, path in {**VIEWS, "report": report}.items():
            page = tab.page
            page.goto(path if name == "report" else viewer.base + path)
            page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
            page.evaluate(AXE.read_text(encoding="utf-8"))
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            faults += [(name, v["id"], [n["html"][:160] for n in v["nodes"][:3]]) for v in found["violations"]]
            wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
            faults += [(name, f"wider than a {size}", [])] if wide else []
    assert faults == []

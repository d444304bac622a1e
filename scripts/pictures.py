"""The pictures of the README, taken of the real pages: the report and the viewer over the demo's run.

    python scripts/pictures.py RUN [--browser /usr/bin/chromium]

`make docs` calls it with `runs/demo`. Writes docs/images/report.png and docs/images/viewer.png.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
VERVET = [sys.executable, "-c", "from vervet.cli.main import main; main()"]
WIDTH, HEIGHT, SCALE = 1080, 900, 1.5
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)


@contextmanager
def tab(browser: str) -> Iterator[Any]:
    """A page in a headless browser."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  brought by `make docs` only

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=browser, args=list(FLAGS), timeout=120_000)
        size: Any = {"width": WIDTH, "height": HEIGHT}
        page = found.new_page(viewport=size, device_scale_factor=SCALE, color_scheme="light")
        page.set_default_timeout(120_000)
        yield page
        found.close()


def report(page: Any, run: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.html"
        subprocess.run([*VERVET, "report", str(run), "-o", str(out)], check=True, stdout=subprocess.DEVNULL)
        page.goto(out.as_uri())
        page.screenshot(path=IMAGES / "report.png")


def viewer(page: Any, run: Path) -> None:
    """The page of a problem that was solved sometimes."""
    with subprocess.Popen([*VERVET, "view", str(run)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        page.goto(process.stdout.readline().strip())
        page.locator(".curves").wait_for()
        page.locator(".map .cell").nth(4).click()
        page.locator(".classes tbody th a").first.wait_for()
        page.screenshot(path=IMAGES / "viewer.png")
        process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    arguments = parser.parse_args()
    if arguments.browser is None:
        sys.exit("pictures need Chromium: `sh scripts/setup-all` installs it, or name one with --browser")
    with tab(arguments.browser) as page:
        report(page, arguments.run)
        viewer(page, arguments.run)
    print("pictures: docs/images/report.png, docs/images/viewer.png")


if __name__ == "__main__":
    main()

"""What the tests of the viewer share: runs with nasty samples, a running viewer, a plain HTTP client, a browser."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vervet import api
from vervet.protocols import SamplerSetup, SamplerTraits
from vervet.records import Completion, Outcome, Problem, Reason, Reply, Request, Strength, Verdict, VerifierSpec
from vervet.testing.fakes import MemoryTask

TOKEN = "t0ken-of-the-tests"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-crash-reporter", "--no-zygote"),
)
CODE = "def add(a, b):\n    # the sum\n    return a + b\n"
OWNED = "document.documentElement.dataset.owned = 1"
NASTY = (
    CODE,
    CODE.replace("a + b", "a - b"),
    f"<script>{OWNED}</script>",
    f'"><img src=x onerror="{OWNED}"><svg onload="{OWNED}">',
    f"</code></pre></textarea></title><iframe srcdoc='<script>parent.{OWNED}</script>'></iframe>",
    f"```html\n<script>{OWNED}</script>\n```\n</script><script>{OWNED}</script>",
    f"javascript:{OWNED} data:text/html,<script>{OWNED}</script>",
    "bell\x07 esc\x1b[31mred\x1b[0m nul\x00 back\x08\x08 delete\x7f c1\x9b",
    "right\u202eto left\u2066 isolate\u2069 mark\u200f zero\u200bwidth \ufeff bom",
    "lone \ud800 surrogate, half \udcff a byte",
    "{{ 7 * 7 }} {% raw %} ${7*7} <!-- --><![CDATA[ ]]>",
    "",
    "line " * 1_000_000,
    f"<script>{OWNED}</script>\n" * 2_000,
)
IDS = ("plain", f'"><script>{OWNED}</script>', "a/b?c#d&e=f", "שלום \u202e x", "{{ 7*7 }} %2e%2e/..")


class Sums(MemoryTask):
    """Problems whose ids are as nasty as the samples. An empty text holds no answer."""

    name = "nasty"
    verifier = VerifierSpec("tests.viewer.serving:Talkative")

    def problems(self) -> Sequence[Problem]:
        prompt = f"Add.\n<script>{OWNED}</script>\n```python\n{CODE}```"
        return [
            Problem(name, {"expected": f"</code><script>{OWNED}</script>"}, {"prompt": prompt}, CODE) for name in IDS
        ]


class Nasty:
    """A model that says everything that could hurt a page."""

    def __init__(self, name: str, setup: SamplerSetup) -> None:
        self._name = name

    def traits(self) -> SamplerTraits:
        return SamplerTraits(form="chat", max_n=4)

    async def sample(self, request: Request) -> Reply:
        texts = [NASTY[(request.first + j) % len(NASTY)] for j in range(request.n)]
        if request.problem_id != IDS[0]:
            texts = [text[:200_000] for text in texts]
        reasoning = f"<script>{OWNED}</script> \x1b[2J \u202e"
        return Reply(tuple(Completion(t, "stop", len(t) // 4, reasoning) for t in texts), server=f"<b>{OWNED}</b>")

    async def aclose(self) -> None:
        """Nothing to close."""


class Talkative:
    """PASS for the right function, UNKNOWN for templates, FAIL else; its logs are the answers themselves."""

    name = "talkative"
    version = "1"
    needs: frozenset[str] = frozenset()

    def settings(self) -> Mapping[str, Any]:
        return {}

    def load(self, problem: Problem) -> None:
        """Any check will do."""

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        return [self._one(answer) for answer in answers]

    def _one(self, answer: str) -> Verdict:
        log = answer[:3000]
        if answer == CODE.strip():
            return Verdict(Outcome.PASS, Reason.ACCEPTED, Strength.EXACT, "namespaces", 0.012, log)
        if answer.startswith("{{"):
            return Verdict(Outcome.UNKNOWN, Reason.STARVED, Strength.EXACT, log=log)
        return Verdict(Outcome.FAIL, Reason.WRONG, Strength.EXACT, log=log)

    async def aclose(self) -> None:
        """Nothing to close."""


def nasty_run(folder: Path, name: str = "nasty", n: int = len(NASTY)) -> Path:
    """A finished run of `n` nasty samples of each problem."""
    api.run(Sums, model=f"tests.viewer.serving:Nasty/{name}", n=n, out=folder / name, seed=1).close()
    return folder / name


@contextlib.contextmanager
def viewing(folders: Sequence[Path]) -> Iterator[Viewer]:
    """A running viewer over these runs, counted once."""
    from vervet.viewer.app import application
    from vervet.viewer.serve import server_of
    from vervet.viewer.shelf import Shelf

    shelf = Shelf(folders)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        server = server_of(application(shelf, TOKEN))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            for run in shelf:
                run.snapshot(60)
            until(lambda: all(run.drawn for run in shelf))
            yield Viewer(listening.getsockname()[1], [run.name for run in shelf])
        finally:
            server.should_exit = True
            thread.join()
            shelf.close()


def until(true: Any, seconds: float = 60.0) -> None:
    """Wait for a condition; a busy machine may take long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@dataclass
class Viewer:
    """Where a viewer listens, and a client for it."""

    port: int
    names: list[str]
    cookie: str = ""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """One request, the cookie sent if there is one; header names with _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie and "Cookie" not in given:
            given["Cookie"] = self.cookie
        connection.request(method, path, headers=given)
        reply = connection.getresponse()
        found = {name.lower(): value for name, value in reply.getheaders()}
        answer = Answer(reply.status, found, reply.read().decode("utf-8"))
        connection.close()
        return answer

    def enter(self) -> Viewer:
        """Turn the token into the cookie."""
        self.cookie = self.ask(f"/?token={TOKEN}").headers["set-cookie"].partition(";")[0]
        return self


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; skips where a part is missing."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs chromium")
    driver = pytest.importorskip("playwright.sync_api")
    with tempfile.TemporaryDirectory(prefix="vervet-browser-") as home, driver.sync_playwright() as playwright:
        environment = {"HOME": home, "PATH": "/usr/bin:/bin", "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home}
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS), env=environment, timeout=60_000)
        try:
            yield browser
        finally:
            browser.close()

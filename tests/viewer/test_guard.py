"""Who is let in: the token once, the cookie afterwards, nobody else; and nothing can be changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from tests.reports.pages import small_run
from tests.viewer.serving import TOKEN, Viewer, viewing


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    folder = tmp_path_factory.mktemp("guard")
    small_run(folder).close()
    with viewing([folder / "run"]) as found:
        yield found.enter()


def test_the_token_becomes_a_cookie_and_leaves_the_address(viewer: Viewer) -> None:
    answer = viewer.ask(f"/run/run/problem?id=sum%2F3&token={TOKEN}", Cookie="")
    assert answer.status == 303
    assert answer.headers["location"] == "/run/run/problem?id=sum%2F3"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert viewer.ask("/run/run").status == 200


PAGES = ("/", "/run/run", "/run/run/sample?problem=sum%2F3&index=0", "/state", "/style.css", "/script.js", "/nowhere")


@pytest.mark.parametrize("path", PAGES)
def test_without_the_token_nothing_is_answered(viewer: Viewer, path: str) -> None:
    for cookie in ("", "vervet-00000000=x", viewer.cookie[:-1], viewer.cookie.replace("=", "=x")):
        answer = viewer.ask(path, Cookie=cookie)
        assert answer.status == 403
        assert "sum/3" not in answer.text
    assert viewer.ask(path + ("&" if "?" in path else "?") + "token=wrong").status == 403


FOREIGN = {
    "a name that resolves here": {"Host": "evil.example:{port}"},
    "a name that begins like ours": {"Host": "127.0.0.1.evil.example"},
    "a name that ends like ours": {"Host": "evil-localhost:{port}"},
    "no name": {"Host": ""},
    "another machine": {"Host": "192.168.0.7:{port}"},
    "another site": {"Origin": "http://evil.example"},
    "a file": {"Origin": "null"},
    "another port of this machine": {"Origin": "http://127.0.0.1:1"},
    "the other name of this machine": {"Origin": "http://localhost:{port}"},
    "a script of another site": {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "cors"},
    "a picture in a page of another port": {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "no-cors"},
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_requests_are_refused_even_with_cookie_and_token(viewer: Viewer, case: str) -> None:
    headers = {name: value.format(port=viewer.port) for name, value in FOREIGN[case].items()}
    for path in ("/run/run", f"/run/run?token={TOKEN}"):
        answer = viewer.ask(path, **headers)
        assert answer.status == 403
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers", [{"Host": "localhost:{port}"}, {"Host": "127.0.0.1"}, {"Origin": "http://127.0.0.1:{port}"}]
)
def test_this_machine_is_let_in_by_its_names(viewer: Viewer, headers: dict[str, str]) -> None:
    assert viewer.ask("/run/run", **{k: v.format(port=viewer.port) for k, v in headers.items()}).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(viewer: Viewer, method: str) -> None:
    assert viewer.ask("/run/run", method).status == 405


@pytest.mark.parametrize("path", [*PAGES[1:], f"/?token={TOKEN}", "/?token=wrong"])
def test_every_answer_carries_the_policy_and_no_referrer(viewer: Viewer, path: str) -> None:
    headers = viewer.ask(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.mark.parametrize("path", ["//evil.example", "///evil.example/x", "/\\evil.example", "/%2f%2fevil.example"])
def test_the_redirect_stays_here(viewer: Viewer, path: str) -> None:
    location = viewer.ask(f"{path}?token={TOKEN}").headers["location"]
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))

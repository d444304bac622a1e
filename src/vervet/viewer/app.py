"""Routes and rendering. Handlers are plain functions: starlette runs them on threads, because SQLite does not wait politely."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from vervet.errors import MissingPart, UserError, VervetError
from vervet.reports.html import data_block, environment, readout, source, styles
from vervet.reports.page import Page
from vervet.version import __version__
from vervet.viewer import pages
from vervet.viewer.guard import App, Guard
from vervet.viewer.pages import Rendered
from vervet.viewer.shelf import Shelf


def application(shelf: Shelf, token: str) -> App:
    """The guarded ASGI app. Raises: MissingPart without the extra `view`."""
    try:
        from starlette.applications import Starlette  # noqa: PLC0415  an extra
        from starlette.routing import Route  # noqa: PLC0415
    except ImportError:
        raise MissingPart("the viewer needs starlette and uvicorn: pip install 'vervet[view]'") from None
    routes = [Route(path, handler, methods=["GET"]) for path, handler in _handlers(shelf).items()]
    return Guard(Starlette(routes=routes, exception_handlers={404: _lost(shelf)}), token)


def _handlers(shelf: Shelf) -> dict[str, Callable[[Any], Any]]:
    from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response  # noqa: PLC0415

    env = _environment(shelf)
    # the report's own, and ours behind it
    style = f"{styles(env)}\n{source(env, 'viewer.css')}"
    script = f"{source(env, 'script.js')}\n{source(env, 'viewer.js')}"

    def page(build: Callable[[Any], Rendered]) -> Callable[[Any], Any]:
        def handler(request: Any) -> Any:
            try:
                made = build(request)
                return _html(env, made.template, made.values)
            except VervetError as error:
                return _html(
                    env, "error.html.j2", {"message": str(error)}, 404 if isinstance(error, UserError) else 500
                )

        return handler

    def of_run(build: Callable[..., Rendered], *, asks: bool = True) -> Callable[[Any], Any]:
        return page(lambda r: build(shelf[r.path_params["run"]], *([r.query_params] if asks else [])))

    def home(request: Any) -> Any:
        if len(shelf) == 1:
            return RedirectResponse(pages.address("run", next(iter(shelf)).name), 303)
        return page(lambda _: pages.index(shelf))(request)

    def state(request: Any) -> Any:
        runs = [shelf.runs[n] for n in request.query_params.getlist("run") if n in shelf.runs] or list(shelf)
        for run in runs:
            run.snapshot(0.0)
        marks = [f"{run.counted}.{int(run.drawn)}" for run in runs]
        return JSONResponse({"version": "-".join(marks), "writing": any(run.writing() for run in runs)})

    def raw(request: Any) -> Any:
        try:
            body = pages.raw(shelf[request.path_params["run"]], request.query_params)
        except VervetError as error:
            return PlainTextResponse(str(error), 404)
        headers = {"Content-Disposition": 'attachment; filename="sample.txt"'}
        return Response(body.encode("utf-8", "replace"), media_type="text/plain; charset=utf-8", headers=headers)

    return {
        "/": home,
        "/compare": page(lambda r: pages.compare(shelf, r.query_params.getlist("run"))),
        "/run/{run}": of_run(pages.overview, asks=False),
        "/run/{run}/problems": of_run(pages.problems),
        "/run/{run}/problem": of_run(pages.problem),
        "/run/{run}/sample": of_run(pages.sample),
        "/run/{run}/diff": of_run(pages.diff),
        "/run/{run}/search": of_run(pages.search),
        "/run/{run}/raw": raw,
        "/state": state,
        "/style.css": lambda _: Response(style, media_type="text/css"),
        "/script.js": lambda _: Response(script, media_type="text/javascript"),
    }


def _lost(shelf: Shelf) -> Callable[[Any, Any], Any]:
    env = _environment(shelf)
    return lambda _request, _error: _html(env, "error.html.j2", {"message": "There is no such page."}, 404)


def _html(env: Any, template: str, values: dict[str, Any], status: int = 200) -> Any:
    from starlette.responses import HTMLResponse  # noqa: PLC0415  an extra

    text = env.get_template(template).render(**values)
    # what came out of a ledger may hold half a character: it was escaped, and this is the last line
    return HTMLResponse(text.encode("utf-8", "replace"), status)


def _environment(shelf: Shelf) -> Any:
    env = environment("vervet.viewer", "vervet.reports")
    env.globals |= {"address": pages.address, "shelf": shelf, "version": __version__}
    env.filters["flat"] = lambda text: text.replace("\n", " ⏎ ").replace("\t", " ")
    env.globals |= {"readout": _readout, "clock": _clock, "points": _points}
    return env


def _clock(at: float) -> str:
    """The time of day here, to the second."""
    return time.strftime("at %H:%M:%S", time.localtime(at))


def _points(difference: float) -> str:
    """A difference of two shares in points, with its sign."""
    return f"{100 * difference:+.1f}".replace("-", "\u2212")


def _readout(page: Page) -> str:
    """The curves as the chart's script reads them."""
    return data_block(readout(page))

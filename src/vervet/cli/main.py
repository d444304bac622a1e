"""The `vervet` command: registers the commands and turns every ending into an exit code.

0 done · 1 the user's mistake · 2 the line does not parse · 3 stopped by a budget · 4 done with UNKNOWNs or missing samples ·
5 a check did not hold · 6 a service could not be reached · 70 a bug · 130 interrupted
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from vervet.cli import output
from vervet.errors import PluginError, VervetError

BUG, INTERRUPTED, DOES_NOT_PARSE, BAD_VALUE = 70, 130, 2, 1


def application() -> typer.Typer:
    """All commands."""
    from vervet.cli import (
        audit,
        catalog,
        compare,
        cost,
        coverage,
        doctor,
        family,
        fit,
        forecast,
        ledger,
        noise,
        plan,
        probe,
        report,
        reproduce,
        run,
        score,
        select,
        serve,
        show,
        solve,
        transfer,
        verify,
        view,
    )

    app = typer.Typer(
        name="vervet",
        help="Repeated sampling for language models: draw many attempts, verify every one, read off coverage.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Start with: vervet run humaneval -m local/smollm2-135m -n 32 --limit 10, then vervet coverage runs/...",
    )
    app.callback(invoke_without_command=True)(_root)
    for module in (
        run,
        verify,
        audit,
        show,
        coverage,
        fit,
        forecast,
        plan,
        compare,
        family,
        noise,
        cost,
        score,
        select,
        solve,
        serve,
        report,
        view,
        reproduce,
        transfer,
        catalog,
        doctor,
        probe,
        ledger,
    ):
        module.register(app)
    return app


def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        from vervet.version import __version__

        output.say(__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `vervet` command; exits the process."""
    sys.exit(execute(sys.argv[1:] if arguments is None else list(arguments)))


def execute(arguments: list[str]) -> int:
    """Run one command line; returns its exit code."""
    as_json = "--json" in arguments
    try:
        code = typer.main.get_command(application()).main(
            args=arguments, prog_name="vervet", standalone_mode=False, obj=None
        )
    except VervetError as error:
        if isinstance(error, PluginError):
            # somebody else's bug: its traceback is what its author needs
            traceback.print_exception(error.__cause__)
        return _complain(error.kind, str(error), error.exit_code, as_json)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _complain("interrupted", "interrupted", INTERRUPTED, as_json)
    except BrokenPipeError:
        # the reader of our output has gone (`| head`): not an error, and nothing more can be said to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _unexpected(error, as_json)
    return code if isinstance(code, int) else 0


def _unexpected(error: Exception, as_json: bool) -> int:
    message = getattr(error, "format_message", None)
    if callable(message):
        # typer's own errors: a bad value is the user's mistake, anything else does not parse
        bad_value = type(error).__name__ == "BadParameter"
        hint = "" if bad_value else f" (see: vervet {_command(error)}--help)"
        return _complain("usage", f"{message()}{hint}", BAD_VALUE if bad_value else DOES_NOT_PARSE, as_json)
    if type(error).__name__ == "Abort":
        return _complain("interrupted", "interrupted", INTERRUPTED, as_json)
    traceback.print_exception(error)
    text = f"this is a bug in Vervet: {type(error).__name__}: {error}"
    return _complain("bug", text, BUG, as_json)


def _command(error: Any) -> str:
    context = getattr(error, "ctx", None)
    path: str = getattr(context, "command_path", "vervet")
    return path.removeprefix("vervet").strip() + (" " if path.strip() != "vervet" else "")


def _complain(kind: str, message: str, code: int, as_json: bool) -> int:
    line = " ".join(message.split())
    output.warn(f"vervet: {line}" if kind != "interrupted" else "vervet: interrupted; a run keeps what was drawn")
    if as_json:
        output.document({"schema": "vervet.error/1", "error": kind, "message": line})
    return code

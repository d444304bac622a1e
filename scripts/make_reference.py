"""docs/reference from the code: every command with its options, the public Python names, the file formats.

python scripts/make_reference.py           writes the pages
python scripts/make_reference.py --check   exits 1 where one is stale
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import vervet
from vervet.cli import main as main_module
from vervet.cli.main import application
from vervet.ledger.formats import FORMATS

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- made by scripts/make_reference.py: do not edit -->\n"


def cli() -> str:
    """Every command, as its --help has it."""
    root = typer.main.get_command(application())
    codes = (main_module.__doc__ or "").partition("\n\n")[2]
    parts = [MADE, "# Command line\n", f"{root.help}\n", f"Exit codes: {_text(codes)}\n"]
    for path, command in _commands("vervet", root):
        parts.append(f"## {path}\n\n{_text(command.help)}\n")
        parts.append(f"```text\n{path} {_usage(command)}\n```\n")
        rows = [row for parameter in command.params if (row := _parameter(parameter))]
        if rows:
            parts.append("\n".join(["| | |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _commands(path: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        inner = f"{path} {name}"
        if hasattr(command, "commands"):
            yield from _commands(inner, command)
        else:
            yield inner, command


def _usage(command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    return " ".join(["[OPTIONS]", *(_metavar(p) for p in arguments)])


def _metavar(argument: Any) -> str:
    name = (argument.metavar or argument.name).upper()
    return name if argument.required else f"[{name}]"


def _parameter(parameter: Any) -> str | None:
    if getattr(parameter, "hidden", False) or parameter.name == "help":
        return None
    if parameter.param_type_name == "argument":
        names = f"`{_metavar(parameter)}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    plain = isinstance(default, (int, float, str)) and not isinstance(default, bool) and str(default)
    said = _text(parameter.help or "").replace("|", "\\|")
    return f"| {names} | {said}{f' Default: {default}.' if plain and 'Default' not in said else ''} |"


def _text(text: str | None) -> str:
    """Paragraphs without the line breaks of their source."""
    return "\n\n".join(" ".join(p.split()) for p in inspect.cleandoc(text or "").split("\n\n"))


def python() -> str:
    """The public names, with signatures and docstrings."""
    parts = [MADE, "# Python\n", "```python\nimport vervet\n```\n"]
    for name in sorted(vervet.__all__, key=str.lower):
        value = getattr(vervet, name)
        if inspect.isclass(value) or callable(value):
            parts.append(f"## {name}\n\n```python\n{_signature(name, value)}\n```\n\n```text\n{_doc(value)}\n```\n")
    return "\n".join(parts)


def _signature(name: str, value: Any) -> str:
    if inspect.isclass(value):
        if issubclass(value, Exception) or not hasattr(value, "__dataclass_fields__"):
            return f"class {name}"
        fields = ", ".join(value.__dataclass_fields__)
        return f"class {name}({fields})"
    text = re.sub(r"(?:vervet\.\w+\.)+|pathlib\.|collections\.abc\.|typing\.", "", str(inspect.signature(value)))
    return f"{name}{text}".replace("'", "")


def _doc(value: Any) -> str:
    return inspect.cleandoc(value.__doc__ or importlib.import_module(value.__module__).__doc__ or "")


def formats() -> str:
    """What `vervet import` reads and `vervet export` writes."""
    about = (
        "What `vervet import` reads and `vervet export --format` writes. Readers are told apart by what is in the file; "
        "JSON lines may be gzipped, and most also come as a JSON array or a Parquet table.\n"
    )
    parts = [MADE, "# File formats\n", about, "| format | in | out | columns, or what it is |", "|---|---|---|---|"]
    for found in FORMATS.values():
        reads, writes = found.read is not None, found.write is not None or found.write_folder is not None
        parts.append(f"| `{found.name}` | {'yes' if reads else ''} | {'yes' if writes else ''} | {found.columns} |")
    for found in FORMATS.values():
        module = (found.read or found.write or found.write_folder).__module__  # type: ignore[union-attr]
        parts.append(f"\n## {found.name}\n\n{_text(importlib.import_module(module).__doc__)}")
    return "\n".join(parts) + "\n"


PAGES = {"cli.md": cli, "python.md": python, "formats.md": formats}


def main() -> None:
    stale = []
    for name, make in PAGES.items():
        path, text = FOLDER / name, make().rstrip() + "\n"
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"docs/reference/{name} {'is stale: make reference' if '--check' in sys.argv else 'written'}")
    sys.exit(1 if stale and "--check" in sys.argv else 0)


if __name__ == "__main__":
    main()

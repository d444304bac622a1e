"""The import arrows of the design: which room may import which. Every import counts, inside functions and under
`if TYPE_CHECKING` too, because an arrow on paper is an arrow in the head of the reader.

A room is a folder or file right under `src/vervet`. It may import rooms of lower levels, itself, and what EXTRA names;
FORBIDDEN takes arrows away again, and ONLY_USED_BY lists the rooms that are not for everybody. A new room has to be
entered in LEVELS (and in the design) before anything passes.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

LEVELS = {
    room: level
    for level, rooms in enumerate(
        (
            "errors records version",
            "protocols fetch",
            "estimate text plugins config prices",
            "tasks samplers verifiers sandbox scorers selectors policies ledger executors",
            "reports analysis engine testing",
            "api",
            "cli viewer serve",
            "__init__ __main__",
        )
    )
    for room in rooms.split()
}
SHELVES = {"tasks", "samplers", "verifiers", "sandbox", "scorers", "selectors", "policies", "executors"}
EXTRA = {("cli", "viewer"), ("cli", "serve"), ("records", "errors"), ("verifiers", "sandbox"), ("reports", "analysis")}
FORBIDDEN = {
    # The engine receives objects that satisfy the protocols; it never picks or builds one.
    "engine": SHELVES | {"plugins"},
    # Fetching is for everybody who needs a file; it knows nothing of records.
    "fetch": {"records"},
    # The public names come through the door, not past it.
    "__main__": set(LEVELS) - {"cli"},
}
ONLY_USED_BY = {
    "plugins": {"executors", "analysis", "reports", "testing", "api", "cli", "serve", "viewer"},
    "config": {"executors", "analysis", "reports", "engine", "testing", "api", "cli", "serve", "viewer"},
    # For tests, ours and other people's; the product does not lean on it.
    "testing": set(),
    "__init__": set(),
    "__main__": set(),
}
# Third parties of the rooms that anybody may import; other rooms may use all of pyproject's.
THIRD_PARTIES = {
    "errors": {"numpy"},
    "records": {"numpy", "orjson"},
    "protocols": set(),
    "fetch": set(),
    "estimate": {"numpy", "scipy"},
}
# Where the module's name is not the distribution's.
MODULE_OF = {"math-verify": "math_verify", "pyyaml": "yaml", "reasoning-gym": "reasoning_gym"}


@dataclass(frozen=True)
class Import:
    """One imported module, as written in one file."""

    file: str
    line: int
    room: str
    # the room that imports
    module: str
    # absolute dotted name
    eager: bool
    # runs when the file is imported


def room_of(file: Path, root: Path) -> str:
    parts = file.relative_to(root).parts
    return Path(parts[0]).stem


def imports_of(file: Path, root: Path) -> Iterator[Import]:
    """Every import of a file: statements at any depth, and `import_module("literal")` calls."""
    package = ("vervet", *file.relative_to(root).parts[:-1])
    tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    for node, eager in _walk(tree, eager=True):
        for module in _modules(node, package, root):
            name = str(file.relative_to(root.parent))
            yield Import(name, node.lineno, room_of(file, root), module, eager)


def _walk(node: ast.AST, eager: bool) -> Iterator[tuple[ast.stmt | ast.expr, bool]]:
    """Statements and expressions below a node, and whether they run at import time."""
    for child in ast.iter_child_nodes(node):
        lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            lazy = True
        if isinstance(child, ast.stmt | ast.expr):
            yield child, eager
        yield from _walk(child, eager and not lazy)


def _modules(node: ast.AST, package: tuple[str, ...], root: Path) -> list[str]:
    match node:
        case ast.Import():
            # plain `import vervet` is judged by what is taken from it, below
            return [alias.name for alias in node.names if alias.name != "vervet"]
        case ast.Attribute(value=ast.Name("vervet"), attr=attr) if attr != "__version__" and not _is_room(attr, root):
            return ["vervet"]
        case ast.ImportFrom():
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *filter(None, [node.module])))
            if module != "vervet":
                return [module]
            # `from vervet import records` is the room, `from vervet import run` the package itself; its version is
            # a constant at the top that every room may read
            names = [alias.name for alias in node.names if alias.name != "__version__"]
            return [f"vervet.{name}" if _is_room(name, root) else "vervet" for name in names]
        case ast.Call(func=ast.Name("import_module" | "__import__") | ast.Attribute(attr="import_module"), args=args):
            return [arg.value for arg in args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def _is_room(name: str, root: Path) -> bool:
    return (root / name).is_dir() or (root / f"{name}.py").is_file()


def allowed(room: str, target: str) -> bool:
    """Whether the table has an arrow from a room to another."""
    if room == target:
        return True
    if target in FORBIDDEN.get(room, ()) or room not in ONLY_USED_BY.get(target, LEVELS):
        return False
    return LEVELS[target] < LEVELS[room] or (room, target) in EXTRA


def violations(root: Path, core: set[str], extras: set[str]) -> list[str]:
    """One line for every import under `root` that the table does not allow.

    `core` and `extras`: importable names of the dependencies, and of those that are optional.
    """
    found = []
    for file in sorted([*root.rglob("*.py"), *root.rglob("*.pyi")]):
        room = room_of(file, root)
        if room not in LEVELS:
            found.append(f"{file.relative_to(root.parent)}: {room} is no room of the table")
            continue
        found += [
            f"{item.file}:{item.line} {room} imports {item.module}: {problem}"
            for item in imports_of(file, root)
            if (problem := _judge(item, core, extras))
        ]
    return found


def _judge(item: Import, core: set[str], extras: set[str]) -> str:
    """Why an import is not allowed; empty where it is."""
    top, _, rest = item.module.partition(".")
    if top == "vervet":
        target = rest.partition(".")[0] or "__init__"
        if target not in LEVELS:
            return f"{target} is no room of the table"
        return "" if allowed(item.room, target) else "no such arrow"
    if top in sys.stdlib_module_names:
        return ""
    if item.room == "testing" and top == "pytest":
        return ""
    if item.room in THIRD_PARTIES and top not in THIRD_PARTIES[item.room]:
        return "this room leans on the standard library and little else"
    if top in core:
        return ""
    if top not in extras:
        return "not declared in pyproject.toml"
    return "an optional part is imported inside the function that needs it" if item.eager else ""


def side_effects(root: Path) -> list[str]:
    """Module-level statements that act: calls for their effect, loops, `with`; the command line is exempt."""
    found = []
    for file in sorted(root.rglob("*.py")):
        if room_of(file, root) in {"cli", "__main__"}:
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            effect = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
            if effect or isinstance(node, ast.For | ast.While | ast.With | ast.AsyncFor | ast.AsyncWith | ast.Delete):
                found.append(f"{file.relative_to(root.parent)}:{node.lineno} {ast.unparse(node).splitlines()[0]}")
    return found


def dependencies(root: Path) -> tuple[set[str], set[str]]:
    """Importable names of pyproject's core dependencies and of its extras."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        found = {re.match(r"[\w.-]+", text).group().lower() for text in requirements}  # type: ignore[union-attr]
        return {MODULE_OF.get(name, name.replace("-", "_")) for name in found}

    optional = project["optional-dependencies"]
    extras = {name for extra, listed in optional.items() if extra != "dev" for name in names(listed)}
    return names(project["dependencies"]), extras


# ------------------------------------------------------------------------------------------------------- the product


def test_every_import_follows_the_table(project_root: Path) -> None:
    source = project_root / "src" / "vervet"
    assert sum(1 for _ in source.rglob("*.py")) > 3, "the checker looks at the wrong folder"
    assert violations(source, *dependencies(project_root)) == []


def test_nothing_happens_at_import_time(project_root: Path) -> None:
    assert side_effects(project_root / "src" / "vervet") == []


# ------------------------------------------------------------------------------------------------------- the checker


def tree(folder: Path, files: dict[str, str]) -> Path:
    """A synthetic `vervet` package: relative path -> source."""
    root = folder / "vervet"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def check(folder: Path, files: dict[str, str]) -> list[str]:
    return violations(tree(folder, files), core={"numpy", "scipy", "aiohttp"}, extras={"pyarrow", "matplotlib"})


FORBIDDEN_IMPORTS = {
    "engine-to-sampler": ("engine/run.py", "from vervet.samplers.fake import Fake", "vervet.samplers.fake"),
    "in-a-stub": ("engine/__init__.pyi", "from ..samplers.fake import Fake", "vervet.samplers.fake"),
    "engine-to-plugins": ("engine/run.py", "import vervet.plugins", "vervet.plugins"),
    "inside-a-function": ("engine/run.py", "def f():\n    import vervet.tasks.humaneval", "vervet.tasks.humaneval"),
    "inside-a-method": ("ledger/store.py", "class A:\n    def f(self):\n        from vervet import api", "vervet.api"),
    "for-types-only": (
        "samplers/http.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vervet.ledger.store import Ledger",
        "vervet.ledger.store",
    ),
    "relative": ("policies/fixed.py", "from ..selectors import first", "vervet.selectors"),
    "relative-room": ("policies/fixed.py", "from .. import selectors", "vervet.selectors"),
    "upwards": ("estimate/curve.py", "from vervet.analysis.curve import curve", "vervet.analysis.curve"),
    "rooms-on-one-line": ("tasks/mbpp.py", "from vervet.verifiers import exact", "vervet.verifiers"),
    "sandbox-to-verifiers": ("sandbox/run.py", "from vervet.verifiers import exact", "vervet.verifiers"),
    "analysis-to-reports": ("analysis/cost.py", "from vervet.reports import table", "vervet.reports"),
    "engine-to-analysis": ("engine/progress.py", "from vervet.analysis import cost", "vervet.analysis"),
    "sampler-to-testing": ("samplers/fake.py", "from vervet.testing import fakes", "vervet.testing"),
    "testing-to-engine": ("testing/suite.py", "from vervet.engine import run", "vervet.engine"),
    "past-the-door": ("cli/run.py", "from vervet import coverage", "vervet"),
    "past-the-door-by-attribute": ("cli/run.py", "import vervet\ndef f():\n    vervet.coverage(1)", "vervet"),
    "by-name": (
        "tasks/x.py",
        "import importlib\ndef f(): importlib.import_module('vervet.samplers.x')",
        "vervet.samplers.x",
    ),
    "fetch-to-records": ("fetch.py", "from vervet.records import Problem", "vervet.records"),
    "main-to-api": ("__main__.py", "from vervet.api import run", "vervet.api"),
}


@pytest.mark.parametrize("case", FORBIDDEN_IMPORTS)
def test_a_forbidden_import_is_named_with_its_file_and_line(case: str, tmp_path: Path) -> None:
    file, source, module = FORBIDDEN_IMPORTS[case]
    others = {f"{room}/__init__.py": "" for room in SHELVES | {"api", "ledger", "analysis", "reports", "testing"}}
    found = check(tmp_path, {**others, file: source})
    assert len(found) == 1, found
    assert re.match(rf"vervet/{re.escape(file)}:\d+ \w+ imports {re.escape(module)}: no such arrow$", found[0])


ALLOWED_IMPORTS = {
    "verifiers-to-sandbox": ("verifiers/python_tests.py", "from vervet.sandbox import namespaces"),
    "reports-to-analysis": ("reports/html.py", "from vervet.analysis import cost"),
    "engine-to-ledger": ("engine/run.py", "from vervet.ledger.store import Ledger"),
    "records-to-errors": ("records.py", "def f():\n    from vervet.errors import BadData"),
    "tasks-to-text": ("tasks/math.py", "from ..text import latex\nfrom vervet.fetch import fetch"),
    "api-to-backends": ("api.py", "from vervet import engine, samplers\nfrom vervet.ledger import store"),
    "the-door": ("__init__.py", "from vervet.api import run\nfrom vervet.records import Counts"),
    "within-a-room": ("ledger/store.py", "from vervet.ledger.schema import X\nfrom . import lock"),
    "lazy-extra": ("ledger/export.py", "def f():\n    import pyarrow.parquet"),
    "extra-for-types": ("reports/f.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import matplotlib"),
    "version-of-the-package": ("ledger/store.py", "import vervet\nX = vervet.__version__"),
    "version": ("ledger/store.py", "from vervet import __version__"),
    "core": ("samplers/http.py", "import aiohttp\nimport asyncio"),
}


@pytest.mark.parametrize("case", ALLOWED_IMPORTS)
def test_an_import_of_the_table_passes(case: str, tmp_path: Path) -> None:
    file, source = ALLOWED_IMPORTS[case]
    others = {"engine/__init__.py": "", "samplers/__init__.py": ""}
    assert check(tmp_path, {**others, file: source}) == []


THIRD_PARTY_IMPORTS = {
    "eager-extra": ("reports/figure.py", "import matplotlib.pyplot as plt", "inside the function"),
    "eager-extra-in-a-class": ("reports/figure.py", "class A:\n    import matplotlib", "inside the function"),
    "undeclared": ("tasks/x.py", "def f():\n    import requests", "not declared"),
    "protocols": ("protocols.py", "import numpy", "standard library"),
    "estimate": ("estimate/x.py", "import aiohttp", "standard library"),
}


@pytest.mark.parametrize("case", THIRD_PARTY_IMPORTS)
def test_third_parties_stay_where_they_belong(case: str, tmp_path: Path) -> None:
    file, source, reason = THIRD_PARTY_IMPORTS[case]
    found = check(tmp_path, {file: source})
    assert len(found) == 1, found
    assert reason in found[0]


def test_a_room_that_is_not_in_the_table_is_named(tmp_path: Path) -> None:
    found = check(tmp_path, {"helpers/x.py": "", "tasks/x.py": "from vervet.utils import y"})
    assert found == [
        "vervet/helpers/x.py: helpers is no room of the table",
        "vervet/tasks/x.py:1 tasks imports vervet.utils: utils is no room of the table",
    ]


def test_side_effects_are_named_and_declarations_pass(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "tasks/good.py": '"""Doc."""\nimport re\nNAME = re.compile("x")\n"""What it is."""\n',
            "tasks/bad.py": "import logging\nlogging.basicConfig()\nfor x in []: pass\n",
            "cli/main.py": "app.command()(f)\n",
        },
    )
    assert side_effects(root) == [
        "vervet/tasks/bad.py:2 logging.basicConfig()",
        "vervet/tasks/bad.py:3 for x in []:",
    ]


def test_the_table_has_no_cycle() -> None:
    """Follow the arrows: no room reaches itself."""
    arrows = {room: {to for to in LEVELS if to != room and allowed(room, to)} for room in LEVELS}
    done: set[str] = set()
    while len(done) < len(arrows):
        free = {room for room, targets in arrows.items() if room not in done and targets <= done}
        assert free, f"cycle among {sorted(set(arrows) - done)}"
        done |= free

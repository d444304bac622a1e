"""Languages of whole programs: how each is compiled and started."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """One language."""

    name: str
    source: Callable[[str], str]
    # code -> name of its file
    compile: Callable[[str], tuple[str, ...]]
    # file name -> argv of the compiler; () where there is none
    run: Callable[[str, int], tuple[str, ...]]
    # file name, memory in MB -> argv of the program
    room_mb: int
    # address space that the language itself needs beside the program's memory


def python() -> str:
    """The interpreter below any virtual environment: the one that the sandbox shows."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _java_file(code: str) -> str:
    found = re.search(r"^[ \t]*public[ \t]+(?:final[ \t]+)?class[ \t]+(\w{1,100})", code, re.MULTILINE)
    found = found or re.search(r"\bclass[ \t]+(\w{1,100})", code)
    return f"{found[1] if found else 'Main'}.java"


LANGUAGES: dict[str, Language] = {
    "python": Language(
        "python",
        lambda _code: "main.py",
        # a syntax error shows before any test; nothing is written
        lambda file: (python(), "-I", "-B", "-c", f"compile(open({file!r}).read(), {file!r}, 'exec')"),
        lambda file, _memory: (python(), "-I", "-B", file),
        256,
    ),
    "cpp": Language(
        "cpp",
        lambda _code: "main.cpp",
        lambda file: ("g++", "-std=c++17", "-O2", "-pipe", "-o", "main", file),
        lambda _file, _memory: ("./main",),
        64,
    ),
    "java": Language(
        "java",
        _java_file,
        lambda file: ("javac", "-J-Xmx512m", "-J-XX:+UseSerialGC", "-encoding", "UTF-8", "-nowarn", file),
        lambda file, memory: (
            "java",
            f"-Xmx{memory}m",
            "-Xss64m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            "-cp",
            ".",
            file.removesuffix(".java"),
        ),
        4096,
    ),
}

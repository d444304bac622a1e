"""A small repository of our own as an instance of SWE-bench: a container image made from this machine's files, and its row.

The repository adds numbers wrongly; its gold patch adds them rightly. No registry, no package and no network is needed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests import podman

IMAGE = "localhost/vervet-swebench:latest"
INSTANCE = "vervet__sums-1"
SOURCE = '''"""Sums."""


def add(a, b):
    return a - b


def double(a):
    return a * 2
'''
TESTS = """from sums import add, double

def test_add():
    assert add(2, 3) == 5

def test_double():
    assert double(4) == 8
"""
# as pytest's summary with -rA, which the harness's parser reads
RUNNER = """import sys, test_sums
bad = 0
for name in sorted(n for n in vars(test_sums) if n.startswith("test_")):
    try:
        getattr(test_sums, name)()
        print("PASSED test_sums.py::" + name)
    except BaseException as error:
        bad = 1
        print("FAILED test_sums.py::" + name + " - " + type(error).__name__)
sys.exit(bad)
"""
EVAL = f"""#!/bin/bash
set -uxo pipefail
cd /testbed
cat > test_sums.py <<'EOF_TESTS'
{TESTS}EOF_TESTS
: '>>>>> Start Test Output'
python3 -B /runner.py
: '>>>>> End Test Output'
rm test_sums.py
"""
PROGRAMS = ("git", "patch", "dirname")


def diff(line: str) -> str:
    """A patch that gives `add` another last line."""
    return (
        "diff --git a/sums.py b/sums.py\n--- a/sums.py\n+++ b/sums.py\n@@ -2,7 +2,7 @@\n \n \n def add(a, b):\n"
        f"-    return a - b\n+    {line}\n \n \n def double(a):\n"
    )


GOLD = diff("return a + b")
WRONG = diff("return a * b")
UNAPPLIABLE = GOLD.replace("return a - b", "return b - a").replace("def double", "def triple")


def row(**changes: Any) -> dict[str, Any]:
    """The instance as a row of the data set."""
    return {
        "repo": "vervet/sums",
        "instance_id": INSTANCE,
        "base_commit": "0" * 40,
        "patch": GOLD,
        "test_patch": "",
        "problem_statement": "add(2, 3) is -1. It should be 5.",
        "hints_text": "",
        "version": "1.0",
        "FAIL_TO_PASS": '["test_sums.py::test_add"]',
        "PASS_TO_PASS": '["test_sums.py::test_double"]',
        "image": IMAGE,
        "eval_script": EVAL,
        "log_parser": "parse_log_pytest",
        "eval_type": "pass_and_fail",
        **changes,
    }


@functools.cache
def start() -> None:
    """An engine with the instance's image. Skips the test where it cannot be."""
    if importlib.util.find_spec("swebench") is None:
        pytest.skip("no swebench package (extra: swebench)")
    if not shutil.which("git"):
        pytest.skip("no git")
    podman.start()
    import docker

    with tempfile.TemporaryDirectory() as folder, contextlib.closing(docker.from_env(timeout=300)) as client:
        root = Path(folder, "root.tar")
        _build(root, Path(folder, "testbed"))
        # a first process that ignores SIGTERM would take its time to end
        changes = ["STOPSIGNAL SIGKILL", "ENV PYTHONPATH=/testbed"]
        client.api.import_image_from_file(
            str(root), repository="localhost/vervet-swebench", tag="latest", changes=changes
        )


def _build(target: Path, testbed: Path) -> None:
    """The root file system of scripts/sandbox-image, with git, and with the repository at /testbed."""
    loader = importlib.machinery.SourceFileLoader("sandbox_image", str(podman.ROOT / "scripts" / "sandbox-image"))
    spec = importlib.util.spec_from_loader("sandbox_image", loader)
    assert spec is not None
    made = importlib.util.module_from_spec(spec)
    loader.exec_module(made)
    made.PROGRAMS = [*made.PROGRAMS, *PROGRAMS]
    made.build(str(target))
    testbed.mkdir()
    (testbed / "sums.py").write_text(SOURCE)
    identity = {f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for words in ("init --quiet --template= .", "add .", "commit --quiet --message first"):
        subprocess.run(["git", *words.split()], cwd=testbed, env=environment, check=True, capture_output=True)
    (testbed.parent / "runner.py").write_text(RUNNER)
    with tarfile.open(target, "a") as tar:
        tar.add(testbed, arcname="testbed")
        tar.add(testbed.parent / "runner.py", arcname="runner.py")

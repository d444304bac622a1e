"""The rules of conftest.py, tried on small test files that break them, each in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
GRACE_S = 3.0


def run_pytest(folder: Path, body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one test file under this project's conftest.py."""
    rules = CONFTEST.read_text()
    assert rules.count(f"GRACE_S = {GRACE_S}\n") == 1
    (folder / "conftest.py").write_text(rules.replace(f"GRACE_S = {GRACE_S}\n", "GRACE_S = 0.3\n"))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  network: x\n  needs_data: x\n")
    (folder / "test_it.py").write_text(body)
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-c", "pytest.ini", "test_it.py"]
    env = {**os.environ, "VERVET_SHARED_DATA": str(folder / "no-data"), **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_an_attempt_that_the_code_swallows_still_fails_the_test(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        "import socket\n"
        "def test_it():\n"
        "    try:\n"
        "        socket.create_connection(('192.0.2.1', 80), 1)\n"
        "    except Exception:\n"
        "        pass\n",
    )
    assert done.returncode == 1
    assert "tried to reach the network" in done.stdout
    assert "192.0.2.1:80" in done.stdout


def test_the_network_mark_lifts_the_guard(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        "import pytest, socket\n"
        "from vervet.testing.network import NetworkGuard\n"
        "@pytest.mark.network\n"
        "def test_it():\n"
        "    assert socket.socket.connect.__name__ == 'connect'\n"
        "def test_other():\n"
        "    assert socket.socket.connect.__name__ == 'guarded'\n",
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("detach", ["", "start_new_session=True"], ids=["child", "new-session"])
def test_a_process_left_behind_fails_the_test_and_is_ended(tmp_path: Path, detach: str) -> None:
    done = run_pytest(
        tmp_path,
        "import subprocess, pathlib\n"
        "def test_it():\n"
        f"    p = subprocess.Popen(['sleep', '31'], {detach})\n"
        "    pathlib.Path('pid').write_text(str(p.pid))\n"
        "    p.returncode = 0  # keeps subprocess from warning\n",
    )
    assert done.returncode == 1
    assert "processes left behind" in done.stdout
    assert "sleep 31" in done.stdout
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_an_orphan_of_a_dead_child_is_noticed(tmp_path: Path) -> None:
    """A process that forked twice would be init's on most systems; it comes to pytest."""
    done = run_pytest(
        tmp_path,
        "import subprocess\n"
        "def test_it():\n"
        "    subprocess.run(['sh', '-c', 'sleep 32 >/dev/null 2>&1 & exit 0'], check=True)\n",
    )
    assert done.returncode == 1
    assert "sleep 32" in done.stdout


def test_what_a_module_fixture_keeps_running_is_no_leftover(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        "import pytest, subprocess\n"
        "@pytest.fixture(scope='module')\n"
        "def server():\n"
        "    p = subprocess.Popen(['sleep', '33'])\n"
        "    yield\n"
        "    p.kill(); p.wait()\n"
        "def test_one(server): pass\n"
        "def test_two(server): pass\n",
    )
    assert done.returncode == 0, done.stdout


SKIPS = (
    "import pytest\n"
    "def test_part():\n    pytest.importorskip('no_such_module')\n"
    "def test_machine():\n    pytest.skip('not here: no such kernel feature')\n"
    "@pytest.mark.needs_data\ndef test_data(shared_data): pass\n"
)


def test_a_missing_part_skips_by_default_and_fails_when_parts_are_required(tmp_path: Path) -> None:
    relaxed = run_pytest(tmp_path, SKIPS, VERVET_REQUIRE_PARTS="0")
    assert relaxed.returncode == 0, relaxed.stdout
    assert "3 skipped" in relaxed.stdout

    strict = run_pytest(tmp_path, SKIPS, VERVET_REQUIRE_PARTS="1")
    assert strict.returncode == 1
    assert "1 failed, 2 skipped" in strict.stdout
    assert "no_such_module" in strict.stdout


def test_a_module_that_skips_as_a_whole_fails_when_parts_are_required(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "import pytest\npytest.importorskip('no_such_module')\n", VERVET_REQUIRE_PARTS="1")
    assert done.returncode != 0
    assert "nothing may be missing" in done.stdout


def test_nothing_of_the_users_settings_reaches_a_test() -> None:
    home = Path.home()
    assert not any(name.startswith("VERVET_TEMP") or name.endswith("_API_KEY") for name in os.environ)
    assert home not in Path(os.environ["XDG_CONFIG_HOME"]).parents


def test_the_users_keys_and_settings_are_taken_away(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        "import os\n"
        "def test_it():\n"
        "    assert 'OPENAI_API_KEY' not in os.environ\n"
        "    assert 'VERVET_TEMPERATURE' not in os.environ\n"
        "    assert os.environ['VERVET_CACHE'] == '/somewhere'\n",
        OPENAI_API_KEY="x",
        VERVET_TEMPERATURE="9",
        VERVET_CACHE="/somewhere",
    )
    assert done.returncode == 0, done.stdout

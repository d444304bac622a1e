"""Time of `import vervet` in fresh interpreters, beside that of `import numpy`, which it contains at most.

Measured inside the interpreter, so without its start. Byte code is cached, as in every installation.
"""

from __future__ import annotations

import os
import subprocess
import sys

from _common import ROOT, finish, spread

ROUNDS = 9
LIMIT_S = 0.3


def import_time_s(module: str) -> float:
    """Seconds that one fresh interpreter needs for one import."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # After the caller's own path, so that a plain checkout works too.
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [env.get("PYTHONPATH"), str(ROOT / "src")]))
    return float(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout)


def main() -> None:
    times: dict[str, list[float]] = {"vervet": [], "numpy": []}
    for round_ in range(ROUNDS + 1):
        for module, values in times.items():
            seconds = import_time_s(module)
            if round_:  # the first fills the caches of byte code and files
                values.append(seconds)
    results = spread(times["vervet"], "import_vervet_s")
    median = results["import_vervet_s"]
    finish(
        "import_time",
        {**results, "limit_s": LIMIT_S, **spread(times["numpy"], "numpy_s"), "rounds": ROUNDS},
        [f"import vervet takes {median} s, limit {LIMIT_S} s"] if median >= LIMIT_S else [],
    )


if __name__ == "__main__":
    main()

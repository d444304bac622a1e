"""Runs as a process of its own: has reasoning-gym generate problems, and prints them as one JSON document.

    PYTHONHASHSEED=0 python -P _gym_maker.py JSON

JSON: {"dataset", "config"}. A process of its own because some generators walk through sets of texts, whose order is the
process's: with a fixed hash seed the same options give the same problems on every machine. The library's entries hold
tuples, sets and numbers as keys, which its scoring tells from lists and texts; `plain` keeps the difference in JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from typing import Any


def main() -> None:
    with contextlib.redirect_stdout(sys.stderr):
        # some generators print
        reply = made(json.loads(sys.argv[1]))
    print(json.dumps(reply))


def made(wanted: dict[str, Any]) -> dict[str, Any]:
    """{"entries"}, or why there are none: {"missing"} the library, {"names"} of its families, {"refused"} settings."""
    try:
        from reasoning_gym import create_dataset  # noqa: PLC0415  an extra
        from reasoning_gym.factory import DATASETS  # noqa: PLC0415
    except ImportError as error:
        return {"missing": str(error)}
    # "composite" mixes others, which has to be told in Python objects
    names = sorted(set(DATASETS) - {"composite"})
    if wanted["dataset"] not in names:
        return {"names": names}
    fields = sorted(f.name for f in dataclasses.fields(DATASETS[wanted["dataset"]][1]))
    try:
        family = create_dataset(wanted["dataset"], **wanted["config"])
        return {"entries": [plain(family[i]) for i in range(len(family))]}
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}"[:500], "fields": fields}


def plain(value: Any) -> Any:
    """`value` as JSON; what JSON has no word for becomes {"!": its type, "v": its parts}. Raises: TypeError."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, (tuple, set, frozenset)):
        return {"!": "tuple" if isinstance(value, tuple) else "set", "v": [plain(v) for v in value]}
    if not isinstance(value, dict):
        raise TypeError(f"an entry of this data set holds a {type(value).__name__}, which cannot be kept")
    if "!" not in value and all(isinstance(k, str) for k in value):
        return {k: plain(v) for k, v in value.items()}
    return {"!": "dict", "v": [[plain(k), plain(v)] for k, v in value.items()]}


if __name__ == "__main__":
    main()

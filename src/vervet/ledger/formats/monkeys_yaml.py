"""The paper's own code (`llmonk`): a folder with one YAML file a problem, `samples` and, once judged, `is_corrects` in it.

The file's name is the problem's id: the row of the original data set. Nothing in the YAML is constructed but plain data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from vervet.errors import BadData, MissingPart
from vervet.ledger.formats.lists import LISTS, samples
from vervet.ledger.formats.rows import Entry, Skipped

LARGEST = 512 * 1024 * 1024
# bytes of one file: YAML is read whole


def recognises_folder(folder: Path) -> bool:
    return any(True for _ in _files(folder))


def read(path: Path) -> Iterator[Entry]:
    """Raises: BadData where the folder cannot be read, MissingPart without PyYAML; files that cannot be are skipped."""
    yaml = _yaml()
    for file in sorted(_files(path), key=_by_number):
        found = _document(file, yaml)
        if isinstance(found, Skipped):
            yield found
        else:
            yield from samples(file.name, {"problem_id": file.stem} | found, LISTS)


def _document(file: Path, yaml: ModuleType) -> dict[str, Any] | Skipped:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if file.stat().st_size > LARGEST:
            return Skipped(file.name, f"larger than {LARGEST >> 20} MiB")
        value = yaml.load(file.read_bytes(), Loader=loader)
    except OSError as error:
        raise BadData(f"{file} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return Skipped(file.name, f"not plain YAML: {' '.join(str(error).split())[:120]}")
    return value if isinstance(value, dict) else Skipped(file.name, "holds no mapping")


def _files(folder: Path) -> Iterator[Path]:
    return (p for p in folder.iterdir() if p.suffix in (".yaml", ".yml") and p.is_file())


def _by_number(file: Path) -> tuple[bool, int, str]:
    """Numbers in their order, names after them."""
    number = file.stem.isdecimal() and len(file.stem) < 10
    return not number, int(file.stem) if number else 0, file.stem


def _yaml() -> ModuleType:
    try:
        import yaml  # noqa: PLC0415  an extra
    except ImportError as error:
        raise MissingPart("reading YAML needs PyYAML: pip install 'vervet[formats]'") from error
    module: ModuleType = yaml
    return module

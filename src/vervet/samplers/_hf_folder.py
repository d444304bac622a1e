"""A folder in the layout of the Hugging Face hub: what a sampler must know before it loads the weights, and where to get one.

Read here and not through transformers, because it takes milliseconds, needs no torch, and says in one line which file is
damaged. Weights have to be safetensors: pickled ones (`pytorch_model.bin`) can run code when they are loaded.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vervet import fetch
from vervet.errors import BadData, MissingPart, ServiceError, UnknownName, UserError
from vervet.records import fingerprint

_HUB = re.compile(r"([\w.-]+(?:/[\w.-]+)?)(?:@([\w./-]+))?")
_WANTED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.tiktoken")
_DECIDES = ("config.json", "generation_config.json", "chat_template.jinja", "tokenizer*", "*.model", "vocab*", "merges.txt",
            "special_tokens_map.json", "added_tokens.json")  # fmt: skip
# files beside the weights that can change a text
_MOST_HEAD = 100_000_000
# bytes of a safetensors head, the format's own limit


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model folder says about itself."""

    has_chat_template: bool
    # instruct models have one
    context: int
    # tokens the model was made for; 0 where it does not say
    parameters: int
    # number of weights
    fingerprint: str
    # over the weights and everything else that can change a text


def find(name: str, *, fetch_it: bool = True) -> Path:
    """The folder behind `hf/NAME`: one on disk, else a repository of the hub, fetched into the hub's own cache.

    Raises: UnknownName, MissingPart, UserError (terms to accept), ServiceError (hub out of reach, nothing fetched before).
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    match = _HUB.fullmatch(name)
    if match is None or name.startswith((".", "~", "/")) or path.exists():
        raise UnknownName(f"there is no folder {name!r}: write hf/FOLDER or hf/OWNER/REPOSITORY[@REVISION]")
    return _snapshot(match[1], match[2]) if fetch_it else path


def read(folder: Path) -> Facts:
    """Check a folder and read its facts; hashes its files once.

    Raises: BadData (no model, damaged, truncated), MissingPart (a file is absent): one line that names the file.
    """
    config = _json(folder / "config.json")
    weights = _weights(folder)
    parameters = sum(_parameters(path) for path in weights)
    deciding = sorted({path for pattern in _DECIDES for path in folder.glob(pattern) if path.is_file()})
    inner = config.get("text_config")
    both = {**config, **inner} if isinstance(inner, dict) else config
    context = both.get("max_position_embeddings") or both.get("n_positions") or 0
    return Facts(
        has_chat_template=_has_template(folder),
        context=context if isinstance(context, int) else 0,
        parameters=parameters,
        fingerprint=fingerprint([[path.name, fetch.file_sha256(path)] for path in (*deciding, *weights)]),
    )


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(_json(path).get("chat_template"))


def _weights(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = _json(index).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise BadData(f"{index} names no weights")
        found = [folder / name for name in sorted(set(shards.values()))]
    else:
        found = [folder / "model.safetensors"]
    for path in found:
        if not path.is_file():
            raise MissingPart(f"{folder} has no {path.name}: models are read from safetensors files")
    return found


def _parameters(path: Path) -> int:
    """Number of weights in a safetensors file: 8 bytes of length, a JSON head, then the data. Raises: BadData."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MOST_HEAD, size - 8):
                raise ValueError("its head does not fit into it")
            tensors: dict[str, Any] = {k: v for k, v in json.loads(file.read(length)).items() if k != "__metadata__"}
        end = 8 + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        if end != size:
            raise ValueError(f"it should have {end} bytes and has {size}")
        return sum(math.prod(tensor["shape"]) for tensor in tensors.values())
    except OSError as error:
        raise BadData(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise BadData(f"{path} is a damaged or truncated safetensors file: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingPart(f"{path.parent} holds no model: it has no {path.name}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadData(f"cannot read {path}: {error}") from error
    if not isinstance(value, dict):
        raise BadData(f"{path} holds no JSON object")
    return value


def _snapshot(repo: str, revision: str | None) -> Path:
    """The files of a hub repository that are needed; where the hub is out of reach, those fetched before."""
    from huggingface_hub import errors, snapshot_download  # noqa: PLC0415  an extra

    def get(local: bool) -> Path:
        return Path(
            snapshot_download(
                repo, revision=revision, allow_patterns=[*_WANTED], ignore_patterns=["*/*"], local_files_only=local
            )
        )

    try:
        return get(local=False)
    except errors.GatedRepoError as error:
        raise UserError(f"hf/{repo}: accept its terms on the hub, then set HF_TOKEN to a token of yours") from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        where = f" with the revision {revision}" if revision else ""
        raise UnknownName(f"the hub has no model {repo}{where}, or it is private (HF_TOKEN)") from error
    except Exception as error:
        # whatever the network does: what is here may do
        try:
            return get(local=True)
        except Exception:
            detail = str(error).strip().partition("\n")[0][:200]
            raise ServiceError(
                f"cannot fetch hf/{repo} ({type(error).__name__}: {detail}): connect to the network, or name a folder"
            ) from error

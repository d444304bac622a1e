"""Data sets of the Hugging Face hub by their public id, through `huggingface_hub`: its cache, mirrors, tokens, offline mode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vervet.errors import MissingPart, ServiceError


@dataclass(frozen=True, slots=True)
class HubSet:
    """Some files of a data set on the hub."""

    repo: str
    # "owner/name"
    patterns: tuple[str, ...]
    # of the files, shell style: "main/test-*.parquet"


def files(wanted: HubSet, revision: str, otherwise: str = "give a file with -T path=FILE") -> tuple[list[Path], str]:
    """The files on disk, in the order of patterns and then of names, and the commit that they are of.

    Fetched the first time, by the hub library's own rules (HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE).
    Raises: MissingPart without the library, ServiceError where the hub cannot be reached or has no such files.
    """
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415  an extra, and slow to import
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415
    except ImportError as error:
        raise MissingPart(
            f"loading {wanted.repo} needs the hub library: pip install 'vervet[hub]', or {otherwise}"
        ) from error
    try:
        folder = Path(
            snapshot_download(wanted.repo, repo_type="dataset", revision=revision, allow_patterns=list(wanted.patterns))
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        why = " ".join(str(error).split())[:200]
        raise ServiceError(
            f"the data set {wanted.repo} ({revision}) could not be fetched from the hub: {why}; "
            f"connect to it and repeat, or {otherwise}"
        ) from error
    found = [path for pattern in wanted.patterns for path in sorted(folder.glob(pattern))]
    if not found:
        raise ServiceError(f"the data set {wanted.repo} ({revision}) has no files {', '.join(wanted.patterns)}")
    return found, folder.name

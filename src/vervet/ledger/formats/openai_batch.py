"""Output of OpenAI's batch API: `{"custom_id", "response": {"status_code", "body"}, "error"}` a line; also other servers'.

`custom_id` names the problem. Where one problem was sent in several requests, their ids end in `#0`, `#1`, ...: what stands
before is the problem. Samples are numbered in the order of the file. A request that failed has no samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vervet.ledger.formats import containers
from vervet.ledger.formats.rows import Entry, Head, Skipped, row_of

_PART = re.compile(r"#\d{1,7}$")


def recognises(head: Head) -> bool:
    return {"custom_id", "response"} <= set(head.first or ())


def read(path: Path) -> Iterator[Entry]:
    """Raises: BadData where the file cannot be read; single rows that cannot are skipped."""
    for entry in containers.objects(path):
        if isinstance(entry, Skipped):
            yield entry
        else:
            yield from _samples(entry[0], entry[1])


def _samples(where: str, cells: Mapping[str, Any]) -> Iterator[Entry]:
    response = _dict(cells.get("response"))
    body, status = _dict(response.get("body")), response.get("status_code")
    choices = body.get("choices")
    if cells.get("error") or status not in (200, None) or not isinstance(choices, list) or not choices:
        yield Skipped(where, f"the request failed (status {status})" if status != 200 else "the reply has no choices")
        return
    problem = cells.get("custom_id")
    problem = _PART.sub("", problem) if isinstance(problem, str) else problem
    tokens = _dict(body.get("usage")).get("completion_tokens") if len(choices) == 1 else None
    for choice in map(_dict, choices):
        message = _dict(choice.get("message"))
        text = message.get("content", choice.get("text"))
        sample = {
            "problem_id": problem,
            # an empty message is an empty sample
            "text": "" if text is None else text,
            "reasoning": message.get("reasoning_content"),
            "finish_reason": choice.get("finish_reason"),
            "completion_tokens": tokens,
        }
        yield row_of(where, sample)


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

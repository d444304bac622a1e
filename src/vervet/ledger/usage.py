"""What a run consumed: tokens by kind, money, time. Reads no text."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from vervet.ledger.store import Ledger, storage

WORKED = "worked"
# the event that an invocation leaves behind: {"seconds": ...}


@dataclass(frozen=True, slots=True)
class Usage:
    """Totals over the ledger's requests and samples."""

    samples: int
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    usd: float | None
    unpriced: int
    # requests without a cost
    seconds: float | None
    # None: no invocation said


def usage(ledger: Ledger) -> Usage:
    """Money and prompt tokens are the requests', completion tokens whichever of requests and samples counted more."""
    with storage(ledger.path):
        samples, counted = ledger.db.execute("SELECT count(*), ifnull(sum(tokens), 0) FROM samples").fetchone()
        requests, prompt, cached, completion, usd, unpriced = ledger.db.execute(
            "SELECT count(*), ifnull(sum(prompt_tokens), 0), ifnull(sum(cached_tokens), 0), "
            "ifnull(sum(completion_tokens), 0), sum(cost_usd), ifnull(sum(cost_usd IS NULL), 0) FROM requests"
        ).fetchone()
        rows = ledger.db.execute("SELECT body FROM events WHERE kind = ?", (WORKED,)).fetchall()
    seconds = [float(orjson.loads(body)["seconds"]) for (body,) in rows]
    return Usage(
        samples, requests, prompt, cached, max(counted, completion), usd, unpriced, sum(seconds) if seconds else None
    )

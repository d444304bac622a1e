"""What a run has spent, and what it has reserved: rows of `requests`, so that a crash cannot forget money.

A row of state "sent" is written, at its worst case, before a request goes out. It becomes "done" with what the request really
used in the transaction that stores its samples, "lost" where nobody knows what was used, and is deleted where nothing was. A
writer that finds "sent" rows follows a crash: they are lost too. So the sum over all rows is never below what was spent.
"""

from __future__ import annotations

from dataclasses import dataclass

from vervet.ledger.store import Ledger, storage
from vervet.records import Usage

SENT, DONE, LOST = 0, 1, 2
NO_PROBLEM = 0
# of questions that are not about a problem, such as a probe's


@dataclass(frozen=True, slots=True)
class Spent:
    """Totals over a run's life."""

    usd: float = 0.0
    tokens: int = 0
    samples: int = 0
    # stored
    seconds: float = 0.0
    # worked on, over all invocations

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.usd + other.usd,
            self.tokens + other.tokens,
            self.samples + other.samples,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request is charged: rows of `requests` that were reserved for it, and what it came to."""

    rows: tuple[int, ...]
    usd: float | None
    # None: no price is known
    tokens: int


def spent(ledger: Ledger) -> Spent:
    """What is charged so far, reservations included."""
    with storage(ledger.path):
        usd, tokens = ledger.db.execute(
            "SELECT ifnull(sum(cost_usd), 0), "
            "ifnull(sum(ifnull(charged_tokens, ifnull(prompt_tokens, 0) + ifnull(completion_tokens, 0))), 0) FROM requests"
        ).fetchone()
        samples = ledger.db.execute("SELECT count(*) FROM samples WHERE config = 0").fetchone()[0]
    return Spent(float(usd), int(tokens), int(samples), float(ledger.meta("worked_s", 0.0)))


def reserve(ledger: Ledger, problem: int, first: int, n: int, tokens: int, usd: float | None) -> int:
    """A row of state "sent" at a request's worst case; returns its id. Inside a transaction."""
    row = ledger.db.execute(
        "INSERT INTO requests (config, problem, first, n, state, cost_usd, charged_tokens) VALUES (0, ?, ?, ?, ?, ?, ?)",
        (problem, first, n, SENT, usd, tokens),
    )
    return int(row.lastrowid or 0)


def recharge(ledger: Ledger, row: int, tokens: int, usd: float | None) -> None:
    """What an answered request really came to, while its samples are on their way into the ledger. Inside a transaction."""
    ledger.db.execute(
        "UPDATE requests SET cost_usd = ?, charged_tokens = ? WHERE id = ? AND state = ?", (usd, tokens, row, SENT)
    )


def lose(ledger: Ledger, row: int) -> None:
    """Nobody knows what the request used: its worst case stays charged. Inside a transaction."""
    ledger.db.execute("UPDATE requests SET state = ? WHERE id = ?", (LOST, row))


def free(ledger: Ledger, row: int) -> None:
    """Nothing was generated, nothing is charged. Inside a transaction."""
    ledger.db.execute("DELETE FROM requests WHERE id = ? AND state = ?", (row, SENT))


def close(ledger: Ledger, charge: Charge, usage: Usage) -> None:
    """A request that brought no sample of a problem, and is paid for. Inside a transaction."""
    for row in charge.rows[1:]:
        free(ledger, row)
    ledger.db.execute(
        "UPDATE requests SET state = ?, prompt_tokens = ?, cached_tokens = ?, completion_tokens = ?, cost_usd = ?, "
        "charged_tokens = ? WHERE id = ?",
        (
            DONE,
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
            charge.usd,
            charge.tokens,
            charge.rows[0],
        ),
    )


def lose_abandoned(ledger: Ledger) -> int:
    """After a crash: whatever was sent and never heard of is lost. Returns how many requests. Writers only."""
    with ledger.transaction():
        return int(ledger.db.execute("UPDATE requests SET state = ? WHERE state = ?", (LOST, SENT)).rowcount)

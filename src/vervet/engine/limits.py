"""Why a run stops: hard caps on money, tokens, samples and time over the whole run, several models included.

A request's worst case (all of its prompt, every sample up to its limit on tokens) is reserved, durably, before it is sent;
reservations of requests that go out together share a commit. What it really used replaces the reservation with the samples;
where nobody can know (a crash, a broken connection, a time-out) the worst case stays charged. A cap on time ends the sending;
what is in flight then is drained.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vervet.ledger import GroupCommit, Ledger
from vervet.ledger.spending import NO_PROBLEM, Charge, Spent, close, free, lose, recharge, reserve
from vervet.prices import Price
from vervet.records import Params, Prompt, Request, Usage

T = TypeVar("T")
_TEMPLATE = 512
# tokens that a server's chat template may add to a prompt, at most
_MESSAGE = 16
# tokens around a message
_END = 8
# tokens beyond max_tokens that servers have been seen to count (end marks)


@dataclass(frozen=True, slots=True)
class Caps:
    """A budget. None: no cap."""

    usd: float | None = None
    tokens: int | None = None
    # of prompts and completions
    samples: int | None = None
    # stored
    minutes: float | None = None
    # of work, over all invocations

    def __bool__(self) -> bool:
        return any(v is not None for v in (self.usd, self.tokens, self.samples, self.minutes))

    def part(self, spent: Spent, parts: int) -> Caps:
        """Caps that leave an equal share, one of so many, of what is not spent yet."""

        def cap(most: float | None, have: float) -> float | None:
            return most if most is None or parts == 1 else have + max(0.0, most - have) / parts

        tokens, samples = cap(self.tokens, spent.tokens), cap(self.samples, spent.samples)
        return Caps(
            cap(self.usd, spent.usd),
            None if tokens is None else int(tokens),
            None if samples is None else int(samples),
            cap(self.minutes, spent.seconds / 60),
        )


def prompt_bound(prompt: Prompt) -> int:
    """Tokens of a prompt at most: a token is at least a byte of text, and the template adds its own."""
    if isinstance(prompt, str):
        return len(prompt.encode("utf-8", "surrogatepass")) + _TEMPLATE
    size = sum(len(m.content.encode("utf-8", "surrogatepass")) + _MESSAGE for m in prompt)
    return size + _TEMPLATE


def worst_tokens(prompt_tokens: int, n: int, params: Params) -> int:
    """Tokens of an attempt at `n` samples at most."""
    return prompt_tokens + n * (params.max_tokens + _END)


@dataclass(slots=True, eq=False)
class Ticket:
    """A reservation."""

    request: Request
    n: int
    tokens: int
    usd: float
    row: int = 0
    # in `requests`


@dataclass(slots=True)
class _Bill:
    """What the attempts at one request have come to."""

    rows: list[int] = field(default_factory=list)
    usd: float = 0.0
    tokens: int = 0


class Purse:
    """Satisfies `protocols.Purse` for one run."""

    def __init__(
        self, caps: Caps, price: Price | None, ledger: Ledger, spent: Spent, notice: Callable[[str], None]
    ) -> None:
        """Args: spent: so far, by everybody with whom the budget is shared.  notice: gets a line for the user."""
        self._caps, self._price, self._ledger, self._notice = caps, price, ledger, notice
        self._keys = ledger.problem_keys()
        self.final = spent
        # what is settled, here and elsewhere
        self._open: set[Ticket] = set()
        self._out = Spent()
        # sum over what is in flight
        self._bills: dict[tuple[str, int], _Bill] = {}
        self._later: list[Callable[[], object]] = []
        # writes that need not be durable before the next reservation: forgetting them charges more, never less
        self._group: GroupCommit | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self.wrapping = 0
        # tokens that samplers allow for beyond a prompt's own bound: names of fields, what else is in a body
        self._stretch = 1.0
        # how much more than its worst case a request has come to
        self.refusals = 0

    @property
    def price(self) -> Price | None:
        return self._price

    def attach(self, group: GroupCommit | None) -> None:
        """Write through this group from now on; None: in transactions of its own."""
        self._group = group

    # ------------------------------------------------------------------------------------------- before sending

    def affordable(self, request: Request) -> int:
        """Samples of a request for which there is room once everything in flight is settled; 0: the budget is spent."""
        base = prompt_bound(request.prompt) + self.wrapping
        low, high = 0, request.n
        while low < high:
            n = (low + high + 1) // 2
            low, high = (n, high) if self._fits(self._ticket(request, n, base), final=True) else (low, n - 1)
        return low

    async def reserve(self, request: Request, n: int, prompt_tokens: int) -> Ticket | None:
        """See `protocols.Purse`. Waits while requests in flight may still leave room."""
        ticket = self._ticket(request, n, prompt_tokens)
        self.wrapping = max(self.wrapping, prompt_tokens - prompt_bound(request.prompt))
        while not self._closed and self._open and not self._fits(ticket) and self._fits(ticket, final=True):
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            finally:
                if place.cancelled() and place in self._waiting:
                    self._waiting.remove(place)
        if self._closed or not self._fits(ticket):
            self.refusals += not self._closed
            self._wake()
            return None
        self._enter(ticket)
        self._wake()
        try:
            ticket.row = await self._durable(lambda: self._write(ticket))
        except BaseException:
            self._leave(ticket)
            raise
        return ticket

    def _enter(self, ticket: Ticket) -> None:
        self._open.add(ticket)
        self._out = self._out + Spent(ticket.usd, ticket.tokens, ticket.n)

    def _leave(self, ticket: Ticket) -> None:
        self._open.discard(ticket)
        # from nothing again where nothing is out: rounding must not add up over millions of requests
        self._out = self._out + Spent(-ticket.usd, -ticket.tokens, -ticket.n) if self._open else Spent()

    def _ticket(self, request: Request, n: int, prompt_tokens: int) -> Ticket:
        tokens = worst_tokens(prompt_tokens, n, request.params)
        usd = self._price.cost(prompt_tokens, tokens - prompt_tokens) if self._price else 0.0
        return Ticket(request, n, int(tokens * self._stretch), usd * self._stretch)

    def _fits(self, ticket: Ticket, *, final: bool = False) -> bool:
        caps, have = self._caps, self.final if final else self.final + self._out
        return (
            (caps.usd is None or have.usd + ticket.usd <= caps.usd)
            and (caps.tokens is None or have.tokens + ticket.tokens <= caps.tokens)
            and (caps.samples is None or have.samples + ticket.n <= caps.samples)
        )

    def _write(self, ticket: Ticket) -> int:
        later, self._later = self._later, []
        for work in later:
            work()
        key = self._keys.get(ticket.request.problem_id, NO_PROBLEM)
        usd = ticket.usd if self._price else None
        return reserve(self._ledger, key, ticket.request.first, ticket.n, ticket.tokens, usd)

    async def _durable(self, work: Callable[[], T]) -> T:
        if self._group is not None:
            return await self._group.do(work)
        with self._ledger.transaction():
            return work()

    # ------------------------------------------------------------------------------------------- after an answer

    def settle(self, ticket: Any, usage: Usage | None, samples: int = 0) -> None:
        """See `protocols.Purse`."""
        self._leave(ticket)
        row, ledger = ticket.row, self._ledger
        if usage is None and not samples:
            self._charge(ticket.usd, ticket.tokens, 0)
            self._later.append(lambda: lose(ledger, row))
        elif usage is not None and usage.prompt_tokens == 0 and usage.completion_tokens == 0 and not samples:
            self._later.append(lambda: free(ledger, row))
        else:
            usd, tokens = self._cost(ticket, usage)
            self._charge(usd, tokens, samples)
            self._stretch_to(usd, tokens, ticket)
            # durable with whatever next uses the room that this leaves: a crash must not find both at their worst case
            self._later.append(lambda: recharge(ledger, row, tokens, usd if self._price else None))
            bill = self._bills.setdefault((ticket.request.problem_id, ticket.request.first), _Bill())
            bill.rows.append(row)
            bill.usd += usd
            bill.tokens += tokens
        self._wake()

    def _cost(self, ticket: Ticket, usage: Usage | None) -> tuple[float, int]:
        """What an answered attempt is charged: what was counted, else its worst case."""
        if usage is None or usage.prompt_tokens is None or usage.completion_tokens is None:
            return ticket.usd, ticket.tokens
        usd = cost_usd(self._price, usage)
        return usd or 0.0, usage.prompt_tokens + usage.completion_tokens

    def _stretch_to(self, usd: float, tokens: int, ticket: Ticket) -> None:
        over = max(usd / ticket.usd if ticket.usd else 0.0, tokens / ticket.tokens)
        if over > 1.0 + 1e-9:
            if self._stretch == 1.0:
                self._notice("the server counts more than it was asked for: the budget reserves more from now on")
            self._stretch *= over

    def _charge(self, usd: float, tokens: int, samples: int) -> None:
        self.final = self.final + Spent(usd, tokens, samples)

    def _wake(self) -> None:
        """Let the next one look whether there is room; it wakes the one after it."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return

    def take(self, request: Request) -> Charge | None:
        """What the answered attempts at a request came to; asked once, when its samples are stored."""
        bill = self._bills.pop((request.problem_id, request.first), None)
        return None if bill is None else Charge(tuple(bill.rows), bill.usd if self._price else None, bill.tokens)

    # ------------------------------------------------------------------------------------------- the end

    def drain(self) -> None:
        """Whoever waits gets nothing."""
        self._closed = True
        for place in self._waiting:
            if not place.done():
                place.set_result(None)
        self._waiting.clear()

    async def flush(self) -> None:
        """Write what is still to be written: refunds, and answered attempts that brought no sample (a probe's)."""
        bills, self._bills = self._bills, {}
        later, self._later = self._later, []

        def work() -> None:
            for write in later:
                write()
            for bill in bills.values():
                close(self._ledger, Charge(tuple(bill.rows), bill.usd if self._price else None, bill.tokens), Usage())

        if bills or later:
            await self._durable(work)


def cost_usd(price: Price | None, usage: Usage) -> float | None:
    """Money for a request: what the user's price says, else what the server says, else what the known price says."""
    said = usage.cost_usd
    if price is None or (said is not None and price.source != "given"):
        return said
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return said
    return price.cost(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens or 0)


class Clock:
    """Seconds of work over a run's life: those of earlier invocations and of this one."""

    def __init__(self, before: float) -> None:
        self._before, self._began = before, time.monotonic()

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

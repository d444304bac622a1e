"""Finding out what a server really does, in a few short requests.

The prompt asks for something that two draws cannot have in common, so equal texts mean that the server does not draw: it
replays answers, ignores the temperature, or gives one text n times. The texts are thrown away; they are no samples.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vervet.records import Completion, Message, Params, Prompt, PromptForm, Request, Usage
from vervet.samplers._http_client import Hopeless
from vervet.samplers._http_errors import Trouble
from vervet.samplers._http_reply import Parsed, load, parse

if TYPE_CHECKING:
    from vervet.samplers.openai import OpenAI

TOKENS = 24
# a choice: long enough that equal draws are no accident, short enough to cost nothing
GROUP = 4
_SIZES = (2, 8, 32, 128)
_TEXT = (
    "Write down at least 200 randomly chosen digits and random words of any languages, in no order, as chaotic as you can, "
    "without any introduction."
)


@dataclass(frozen=True, slots=True)
class Findings:
    """What a server was seen to do. Texts: "yes", "no" or "unknown" unless said otherwise."""

    server: str
    n_honoured: str
    # "unknown" where n was not tried
    max_n: int
    # most choices that one request gave
    usage: str
    # "right", "one-choice" (of n), "missing", "wrong", "unknown"
    draws_differ: str
    # "no": equal requests get equal texts whatever else changes
    replays: str
    # "yes": an exact repeat of a request gets the first one's answer
    seed: str
    # "distinct": seeds give texts of their own, n choices too; "same-choices": n equal choices; "ignored"; "refused"; "unknown"
    silent: str
    # "yes": replies to the question held no text, no thinking and, as the server itself says, not one token
    left_out: tuple[str, ...]
    # fields that it refused
    requests: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"left_out": list(self.left_out)}


class Prober:
    """One round of questions to one server, by a sampler's own client and bodies."""

    def __init__(self, sampler: OpenAI, form: PromptForm) -> None:
        self._sampler = sampler
        self._prompt: Prompt = (Message("user", _TEXT),) if form == "chat" else f"{_TEXT}\n\n"
        self._run_seed = secrets.randbits(62)
        self._requests = 0
        self._server = ""
        self._silent = False
        self._began = time.monotonic()

    async def quick(self, top: int, seeded: bool) -> Findings:
        """Two requests, four where their texts are equal: whether n and usage can be trusted, and whether texts are draws."""
        n = min(GROUP, top)
        first, usage = await self._ask(n, seeded=seeded)
        replays = differ = seed = "unknown"
        if seeded:
            # an equal seed may well give an equal text; what must differ are the choices
            seed = "same-choices" if _equal(first) else "unknown"
        else:
            again, _ = await self._ask(n)
            equal = _texts(again) == _texts(first) and await self._equal_again(n)
            replays = _yes(equal) if _telling(first) else "unknown"
            differ = "unknown" if len(first) < 2 else _yes(not (equal and _equal(first)))
        honoured = "unknown" if n == 1 else _yes(len(first) == n)
        await self._confirm_silence(seeded=seeded)
        return self._findings(honoured, len(first), usage, differ, replays, seed)

    async def thorough(self) -> Findings:
        """Up to a dozen requests: also how large n may be, and what seeds do."""
        one, usage = await self._ask(1)
        again, _ = await self._ask(1)
        other, _ = await self._ask(1, more_tokens=1)
        same = _texts(one) == _texts(again) and await self._equal_again(1)
        same_still = _prefix(one) == _prefix(other)
        replays = "unknown" if not _telling(one) else _yes(same and not same_still)
        differ = "unknown" if not _telling(one) else _yes(not (same and same_still))
        honoured, most, many_usage = await self._sizes()
        seed = await self._seeds(most)
        await self._confirm_silence(seeded=seed != "refused")
        return self._findings(honoured, most, many_usage or usage, differ, replays, seed)

    async def _equal_again(self, n: int) -> bool:
        """Whether long texts are equal too: a short one may be what a sure-minded model always begins with."""
        long = [_texts((await self._ask(n, more_tokens=7 * TOKENS))[0]) for _ in range(2)]
        return long[0] == long[1]

    async def _confirm_silence(self, *, seeded: bool) -> None:
        """A model may have nothing to say to the question: only a server that says nothing to anything has failed."""
        text = "Write a poem about the sea."
        self._prompt = (Message("user", text),) if isinstance(self._prompt, tuple) else f"{text}\n\n"
        for first in range(3 if self._silent else 0):
            self._silent = False
            await self._ask(1, seeded=seeded, first=100 + first, more_tokens=TOKENS)
            if not self._silent:
                return

    async def _sizes(self) -> tuple[str, int, str]:
        """Whether n is honoured, the most choices that came, and how the largest group was counted."""
        most, counted = 1, ""
        for size in _SIZES:
            got = await self._try(size)
            if got is None or len(got[0]) < size:
                most = max(most, len(got[0]) if got else 1)
                break
            most = size
            counted = got[1]
        return _yes(most > 1), most, counted

    async def _seeds(self, most: int) -> str:
        bodies = self._sampler.bodies
        if not self._sampler.provider.seed_bits:
            return "refused"
        a, _ = await self._ask(1, seeded=True)
        if bodies.omits("seed"):
            return "refused"
        b, _ = await self._ask(1, seeded=True)
        c, _ = await self._ask(1, seeded=True, first=1)
        if not _telling(a):
            return "unknown"
        if _texts(a) == _texts(c):
            return "same-choices"
        if _texts(a) != _texts(b):
            return "ignored"
        group, _ = await self._ask(min(GROUP, most), seeded=True)
        return "same-choices" if _equal(group) else "distinct"

    async def _try(self, n: int) -> tuple[list[Completion], str] | None:
        """As `_ask`; None where so large an n is refused."""
        try:
            return await self._ask(n, adapt_n=False)
        except Hopeless as refusal:
            if refusal.trouble.field == "n":
                return None
            raise

    async def _ask(
        self, n: int, *, seeded: bool = False, first: int = 0, more_tokens: int = 0, adapt_n: bool = True
    ) -> tuple[list[Completion], str]:
        """The completions of one request, and how its usage fits them."""
        request = Request(
            "vervet probe", self._prompt, Params(1.0, None, TOKENS + more_tokens), first, n, self._run_seed
        )
        self._sampler.bodies.forget(request.problem_id)
        question = _Question(self._sampler, request, seeded, adapt_n)
        (parsed, raw), self._server = await self._sampler.client().call(question)
        self._requests += 1
        self._silent |= _nothing(parsed, raw.get("usage"))
        return parsed.completions, _usage(raw.get("usage"), parsed, request.params.max_tokens)

    def _findings(self, honoured: str, most: int, usage: str, differ: str, replays: str, seed: str) -> Findings:
        return Findings(
            server=self._server,
            n_honoured=honoured,
            max_n=most,
            usage=usage,
            draws_differ=differ,
            replays=replays,
            seed=seed,
            silent=_yes(self._silent),
            left_out=self._sampler.bodies.left_out(),
            requests=self._requests,
            seconds=round(time.monotonic() - self._began, 3),
        )


@dataclass(slots=True)
class _Question:
    """One request of a probe."""

    sampler: OpenAI
    request: Request
    seeded: bool
    adapt_n: bool
    # ask for fewer where n is refused; False: that is the answer
    asked: int = 1

    @property
    def problem_id(self) -> str:
        return self.request.problem_id

    @property
    def chat(self) -> bool:
        return not isinstance(self.request.prompt, str)

    def build(self) -> bytes:
        self.asked = min(self.request.n, self.sampler.top_n) if self.adapt_n else self.request.n
        return self.sampler.bodies.build(self.request, 0, self.asked, seeded=self.seeded)

    def read(self, body: bytes) -> tuple[Parsed, Any]:
        return parse(body, self.request.n, self.request.params.max_tokens), load(body)

    @property
    def spending(self) -> tuple[Request, int]:
        return self.request, self.asked

    def used(self, body: bytes) -> tuple[Usage | None, int]:
        # its texts are no samples; the budget of samples does not know them
        parsed, _ = self.read(body)
        return (parsed.usage, 0) if parsed.usage.counted_by == "server" else (None, 0)

    def adapt(self, trouble: Trouble) -> bool:
        return (self.adapt_n or trouble.field != "n") and self.sampler.adapt(trouble, self.asked, chat=self.chat)


def _usage(usage: Any, parsed: Parsed, limit: int) -> str:
    """How the server's count fits choices that all ran into the limit; "unknown" where they did not."""
    said = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if said is None:
        return "missing"
    n = len(parsed.completions)
    if parsed.usage.counted_by == "vervet" and not (n > 1 and said <= limit + 1):
        return "wrong"
    if any(c.finish_reason != "length" for c in parsed.completions):
        return "unknown"
    if n > 1 and said <= limit + 1:
        return "one-choice"
    return "right" if abs(said - n * limit) <= n else "wrong"


def _nothing(parsed: Parsed, usage: Any) -> bool:
    """Whether a request for 200 digits got no token at all: the server has failed and does not say so."""
    said = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return said == 0 and not any(_texts(parsed.completions))


def _texts(completions: list[Completion]) -> list[str]:
    return [c.reasoning + c.text for c in completions]


def _prefix(completions: list[Completion]) -> list[str]:
    """What two requests with slightly different limits would share if nothing was drawn."""
    return [text[:40] for text in _texts(completions)]


def _telling(completions: list[Completion]) -> bool:
    """Whether the texts are long enough that equal ones are no accident (a model that thinks in secret shows none)."""
    return all(len(text) >= 20 for text in _texts(completions))


def _equal(completions: list[Completion]) -> bool:
    return len(completions) > 1 and _telling(completions) and len(set(_texts(completions))) == 1


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"

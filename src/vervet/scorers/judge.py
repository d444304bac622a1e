"""`judge/PROVIDER/NAME`: a chat (or base) model asked whether a sample is right.

Two questions. `ask=yes`: the score is the probability of Yes against No as the first token of the reply; it is exact where the
sampler can say what its first tokens are (local models), else the share of Yes among `votes` replies. `ask=rating`: the mean of
`votes` ratings from 0 to 10, divided by 10. A reply that is neither gives no vote, and no vote at all no score.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from vervet.errors import BadOption
from vervet.protocols import Sampler, ScorerSetup
from vervet.records import Message, Params, Problem, Prompt, Request, Sample, fingerprint
from vervet.scorers._conversation import clean, question

YES = """Question:
{question}

Proposed answer:
{response}

Is the proposed answer correct? Reply with one word, Yes or No."""
RATING = """Question:
{question}

Proposed answer:
{response}

How likely is it that the proposed answer is correct? Reply with one number from 0 (certainly wrong) to 10 (certainly right)."""
TOP = 64
# first tokens that are looked at: Yes and No are among them unless the model answers something else
_WORD = re.compile(r"[^A-Za-z]*(yes|no)\b", re.IGNORECASE)
_NUMBER = re.compile(r"[^0-9-]*(\d+(?:\.\d+)?)")


class Judge:
    """A model as judge: the probability of Yes, or a rating; options ask, votes, template"""

    version = "1"

    def __init__(
        self,
        name: str,
        setup: ScorerSetup,
        *,
        ask: Literal["yes", "rating"] = "yes",
        votes: int = 8,
        template: str | None = None,
    ) -> None:
        """Args: name: the model, "provider/name".  votes: replies a sample, where probabilities are not at hand.
        template: the question, with {question} and {response} in it.
        """
        if "/" not in name or setup.sampler is None:
            raise BadOption(f"judge/{name}: write judge/PROVIDER/NAME, such as judge/local/gemma3-270m")
        if votes < 1:
            raise BadOption("votes must be at least 1")
        if template is not None and not ("{question}" in template and "{response}" in template):
            raise BadOption("template must hold {question} and {response}")
        self.name = f"judge/{name}"
        self._sampler: Sampler = setup.sampler(name)
        self._traits = self._sampler.traits()
        self._ask, self._votes = ask, votes
        self._template = template or (YES if ask == "yes" else RATING)
        self._exact = ask == "yes" and hasattr(self._sampler, "first_tokens")
        self._slots = asyncio.Semaphore(max(1, min(self._traits.in_flight or self._traits.max_in_flight, 64)))

    def settings(self) -> Mapping[str, Any]:
        """The question, how it is answered and by which weights."""
        return {
            "ask": self._ask,
            "votes": 0 if self._exact else self._votes,
            "template": hashlib.blake2b(self._template.encode(), digest_size=16).hexdigest(),
            "form": self._traits.form,
            "weights": self._traits.fingerprint,
        }

    async def score(self, problem: Problem, samples: Sequence[Sample]) -> list[float | None]:
        """Raises: ConnectionError where the model is out of reach."""
        return list(await asyncio.gather(*(self._one(problem, sample) for sample in samples)))

    async def aclose(self) -> None:
        await self._sampler.aclose()

    async def _one(self, problem: Problem, sample: Sample) -> float | None:
        text = self._template.replace("{question}", clean(question(problem))).replace("{response}", clean(sample.text))
        prompt: Prompt = (Message("user", text),) if self._traits.form == "chat" else f"{text}\nReply:"
        async with self._slots:
            try:
                if self._exact:
                    return yes_share(await self._sampler.first_tokens(prompt, TOP))  # type: ignore[attr-defined]
                return await self._vote(problem, sample, prompt)
            except ValueError:
                # the model refuses this one: too long, or filtered
                return None

    async def _vote(self, problem: Problem, sample: Sample, prompt: Prompt) -> float | None:
        """Mean of the votes among up to `votes` replies, drawn with seeds of their own for each sample."""
        seed = int(fingerprint(self.name, sample.problem_id, clean(sample.text))[:15], 16)
        params = Params(temperature=1.0, top_p=None, max_tokens=8)
        found: list[float] = []
        asked = 0
        while asked < self._votes:
            n = min(self._votes - asked, self._traits.max_n)
            reply = await self._sampler.sample(Request(problem.id, prompt, params, asked, n, seed))
            found += [vote for c in reply.completions if (vote := _vote_of(c.text, self._ask)) is not None]
            asked += n
        return sum(found) / len(found) if found else None


def yes_share(tokens: Mapping[str, float]) -> float | None:
    """Probability of Yes among Yes and No; None where the model begins its reply with neither."""
    mass = {"yes": 0.0, "no": 0.0}
    for token, probability in tokens.items():
        word = token.strip(" \t\n\"'*`._").lower()
        if word in mass:
            mass[word] += probability
    total = mass["yes"] + mass["no"]
    return mass["yes"] / total if total > 0 else None


def _vote_of(text: str, ask: str) -> float | None:
    if ask == "yes":
        word = _WORD.match(text)
        return None if word is None else float(word[1].lower() == "yes")
    number = _NUMBER.match(text)
    value = None if number is None else float(number[1])
    return value / 10 if value is not None and 0 <= value <= 10 else None

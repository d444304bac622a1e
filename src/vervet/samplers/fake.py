"""A model whose success probability is known, so that the true curve is known in advance.

`fake/p=0.03` solves every problem with probability 0.03; `fake/beta=0.2,5` gives each problem its own probability, drawn from
Beta(0.2, 5) by the problem's id. A success is the task's reference, a failure an answer of the task's kind that is wrong, so
that real extraction and real verification run. Sample (problem, index) depends on the run's seed alone, not on how samples
are grouped into requests: a seeded run repeats exactly, also after a crash.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import orjson

from vervet.errors import BadOption, UserError
from vervet.protocols import SamplerSetup, SamplerTraits
from vervet.records import Completion, Reply, Request, Usage

_2_63 = float(1 << 63)


class Fake:
    """`fake/p=P` and `fake/beta=A,B`."""

    neutral_options = frozenset({"latency", "batch", "log"})
    # options that cannot change a text

    def __init__(
        self,
        name: str,
        setup: SamplerSetup,
        *,
        latency: float = 0.0,
        tokens: int | None = None,
        batch: int = 32,
        corpus: Path | None = None,
        chars: int = 1000,
        difficulty_seed: int = 0,
        log: bool = True,
    ) -> None:
        """Options (-M): latency: seconds a request takes.  tokens: completion tokens reported a sample.  batch: samples a
        request at most.  corpus, chars: begin each text with so many characters from a random place of this file.
        difficulty_seed: another draw of the problems' probabilities.  log: keep `fake-requests.log` in the run folder.
        """
        if latency < 0 or batch < 1 or chars < 0 or (tokens is not None and tokens < 0):
            raise BadOption("fake options: latency, chars and tokens must not be negative, batch must be at least 1")
        self._law = _parse(name)
        self._example = setup.example
        self._latency, self._tokens, self._batch = latency, tokens, batch
        self._corpus, self._chars = _read(corpus), chars
        self._difficulty_seed = difficulty_seed
        self._log_path = setup.run_dir / "fake-requests.log" if log and setup.run_dir else None
        self._log = -1
        self._texts: dict[tuple[str, bool], str] = {}
        self._p: dict[str, float] = {}

    def traits(self) -> SamplerTraits:
        return SamplerTraits(form="chat", max_n=self._batch, max_in_flight=256)

    def probability(self, problem_id: str) -> float:
        """The true success probability of one sample of this problem."""
        if problem_id not in self._p:
            self._p[problem_id] = _probability(self._law, self._difficulty_seed, problem_id)
        return self._p[problem_id]

    async def sample(self, request: Request) -> Reply:
        """As many completions as asked for. Raises: ValueError where the task has no reference to answer with."""
        if self._latency:
            await asyncio.sleep(self._latency)
        p = self.probability(request.problem_id)
        completions = tuple(self._draw(request, j, p) for j in range(request.n))
        self._note(request)
        usage = Usage(
            prompt_tokens=_length(request), completion_tokens=sum(c.completion_tokens or 0 for c in completions)
        )
        return Reply(completions, usage, "fake")

    def _draw(self, request: Request, choice: int, p: float) -> Completion:
        seed = request.seed_of(choice)
        text = self._text(request.problem_id, seed / _2_63 < p)
        if self._corpus:
            # another draw than the one that decides success
            start = int.from_bytes(hashlib.blake2b(seed.to_bytes(8, "big"), digest_size=8).digest(), "big")
            start %= max(1, len(self._corpus) - self._chars)
            text = self._corpus[start : start + self._chars] + "\n\n" + text
        tokens = max(1, len(text) // 4) if self._tokens is None else self._tokens
        return Completion(text, completion_tokens=tokens)

    def _text(self, problem_id: str, right: bool) -> str:
        key = (problem_id, right)
        if key not in self._texts:
            text = self._example(problem_id, right) if self._example else None
            if text is None:
                raise ValueError("the fake model needs a reference, and this problem has none")
            self._texts[key] = text
        return self._texts[key]

    def _note(self, request: Request) -> None:
        if self._log_path is None:
            return
        if self._log < 0:
            self._log = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        line = {"problem": request.problem_id, "first": request.first, "n": request.n, "seed": request.seed}
        os.write(self._log, orjson.dumps(line) + b"\n")

    async def aclose(self) -> None:
        if self._log >= 0:
            os.close(self._log)
            self._log = -1


def _parse(name: str) -> tuple[float, ...]:
    kind, _, text = name.partition("=")
    try:
        values = tuple(float(v) for v in text.split(","))
    except ValueError:
        values = ()
    if kind == "p" and len(values) == 1 and 0 <= values[0] <= 1:
        return values
    if kind == "beta" and len(values) == 2 and min(values) > 0:
        return values
    raise UserError(f"unknown model 'fake/{name}': write fake/p=0.03 (0 to 1) or fake/beta=0.2,5 (both above 0)")


def _probability(law: tuple[float, ...], seed: int, problem_id: str) -> float:
    if len(law) == 1:
        return law[0]
    from scipy.special import betaincinv  # noqa: PLC0415  slow to import

    raw = hashlib.blake2b(orjson.dumps(["difficulty", seed, problem_id]), digest_size=8).digest()
    u = (int.from_bytes(raw, "big") + 0.5) / 2.0**64
    return float(betaincinv(law[0], law[1], u))


def _read(corpus: Path | None) -> str:
    if corpus is None:
        return ""
    try:
        return corpus.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadOption(f"fake option corpus={str(corpus)!r} cannot be read: {error.strerror}") from error


def _length(request: Request) -> int:
    prompt = request.prompt
    return max(1, (len(prompt) if isinstance(prompt, str) else sum(len(m.content) for m in prompt)) // 4)

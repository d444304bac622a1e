"""The models, verifiers and scorer behind a server: built once from what the operator said, shared by all exchanges."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from vervet import plugins
from vervet.api.parts import build_sampler, build_verifier, price_of
from vervet.config import Settings
from vervet.errors import ServiceError, UserError
from vervet.executors.local import Local
from vervet.prices import Price
from vervet.protocols import Sampler, SamplerSetup, SamplerTraits, Verifier
from vervet.records import Job, Outcome, Problem, Reason, Reply, Request, Strength, Verdict, VerifierSpec
from vervet.serve.settings import AnswerKind, ModelSettings, VerifierSettings

PATIENCE_S = 20.0
# without any answer of the model's server: whoever waits here has a time limit of its own
JUDGES = 8
# jobs of verification at once


class Upstream:
    """One model. Its sampler is built anew where a fault has made it give up for good."""

    def __init__(self, said: ModelSettings) -> None:
        """Raises: UserError."""
        self.name = said.name
        provider, name = plugins.split_model(said.name)
        target = plugins.resolve("samplers", provider, dotted=True)
        options = dict(said.options)
        if "patience" in plugins.parameters(target):
            options.setdefault("patience", PATIENCE_S)
        self._provider, self._model = provider, name
        self.references: dict[str, str | None] = {}
        # of the exchanges that go on; for the fake model only, which has no other way to be right
        self._given = Settings(
            model_options=options, base_url=said.base_url or None, price_in=said.price_in, price_out=said.price_out
        )
        self._setup = SamplerSetup(base_urls=said.base_url, example=self._example, max_in_flight=said.max_in_flight)
        self._sampler: Sampler = self._build()
        self.traits: SamplerTraits = self._sampler.traits()
        self.options = {k: v for k, v in said.options.items() if k not in getattr(target, "neutral_options", ())}
        self.price: Price | None = price_of(provider, name, self._given, self._sampler)
        at_once = said.max_in_flight or self.traits.in_flight or self.traits.max_in_flight
        self._slots = asyncio.Semaphore(min(at_once, self.traits.max_in_flight))
        self._retired: list[Sampler] = []

    def _build(self) -> Sampler:
        return build_sampler(self._provider, self._model, self._given, self._setup)

    def _example(self, problem_id: str, right: bool) -> str | None:
        reference = self.references.get(problem_id)
        return None if reference is None else reference if right else f"not {reference}"

    async def draw(self, request: Request) -> Reply:
        """Raises: what the sampler raises."""
        async with self._slots:
            sampler = self._sampler
            try:
                return await sampler.sample(request)
            except (ServiceError, UserError, ConnectionError):
                # some samplers refuse all that comes after such a fault, which is right for a run and wrong for a server
                if self._sampler is sampler:
                    self._retired.append(sampler)
                    self._sampler = self._build()
                raise

    async def aclose(self) -> None:
        for sampler in (*self._retired, self._sampler):
            await sampler.aclose()
        self._retired.clear()


class Undecidable(Exception):
    """The executor has ended: what every answer's verdict is."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.log)
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class Named:
    """A verifier that requests may name."""

    spec: VerifierSpec
    verifier: Verifier
    # loads checks and describes itself; judging is the bench's work
    answer: AnswerKind


def named(said: VerifierSettings, sandbox: str) -> Named:
    """Raises: UserError."""
    target = plugins.resolve("verifiers", said.verifier, dotted=True)
    options = dict(said.options)
    if "sandbox" in plugins.parameters(target):
        options.setdefault("sandbox", sandbox)
    spec = VerifierSpec(said.verifier, options)
    return Named(spec, build_verifier(spec), said.answer)


class Bench:
    """Where answers are judged: one executor for all exchanges, fed from a line."""

    def __init__(self) -> None:
        self._line: asyncio.Queue[Job | None] = asyncio.Queue()
        self._waiting: dict[int, asyncio.Future[Sequence[Verdict]]] = {}
        self._numbers = itertools.count()
        self._executor = Local(build_verifier, jobs_at_once=JUDGES)
        self._task: asyncio.Task[None] | None = None

    async def judge(self, spec: VerifierSpec, problem: Problem, answers: Sequence[str]) -> Sequence[Verdict]:
        """One verdict an answer; where the verifier is down they are UNKNOWN."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        number = next(self._numbers)
        future: asyncio.Future[Sequence[Verdict]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._line.put_nowait(Job(spec, problem, tuple(answers), (number,) * len(answers)))
        try:
            return await future
        except Undecidable as down:
            return [down.verdict] * len(answers)
        finally:
            self._waiting.pop(number, None)

    async def _jobs(self) -> AsyncIterator[Job]:
        while (job := await self._line.get()) is not None:
            if job.keys[0] in self._waiting:
                yield job

    async def _run(self) -> None:
        try:
            async for result in self._executor.run(self._jobs()):
                future = self._waiting.get(result.job.keys[0])
                if future is not None and not future.done():
                    future.set_result(result.verdicts)
        except Exception as error:
            # a part is missing on this machine: nothing can be decided, and nobody may wait for ever
            verdict = Verdict(Outcome.UNKNOWN, Reason.UNAVAILABLE, Strength.EXACT, log=str(error)[:2000])
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(Undecidable(verdict))

    async def aclose(self) -> None:
        if self._task is not None:
            self._line.put_nowait(None)
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._executor.aclose()

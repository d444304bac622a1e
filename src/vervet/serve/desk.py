"""From a checked request to what is told: the strategy's parts put together, the exchange kept, the reply made."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vervet import plugins
from vervet.api.scoring import build_scorer
from vervet.errors import BadData, BadOption, ServiceError, StorageError, UserError, VervetError
from vervet.protocols import Scorer, ScorerSetup, Selector
from vervet.records import Problem, prompt_to_json
from vervet.scorers._conversation import PROMPT
from vervet.serve.archive import Archive
from vervet.serve.exchange import Exchange, Tools, run
from vervet.serve.metrics import Metrics, labels
from vervet.serve.settings import ServeSettings
from vervet.serve.upstream import Bench, Named, Upstream, named
from vervet.serve.wire import Ask, Refused, Told
from vervet.tasks.prompt import OnePrompt


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply, and what its headers say."""

    told: Told
    headers: dict[str, str]


class Desk:
    """Everything behind the routes."""

    def __init__(self, said: ServeSettings) -> None:
        """Raises: UserError for whatever the operator has said that cannot be."""
        if not said.models:
            raise BadOption("vervet serve: name a model (-m openai/gpt-x), or [[models]] in the file of -c")
        self.said = said
        self.metrics = Metrics()
        self.models = {m.name: Upstream(m) for m in said.models}
        self.verifiers: dict[str, Named] = {name: named(v, said.sandbox) for name, v in said.verifiers.items()}
        self._scorer: Scorer | None = None if said.scorer is None else build_scorer(said.scorer, _scorer_setup(), {})
        self._bench = Bench()
        self._archives: dict[str, Archive] = {}
        self._works: set[asyncio.Task[Answered]] = set()
        if said.store is not False:
            for model in self.models.values():
                self._archives[model.name] = Archive(
                    Path(said.store), model.name, model.options, model.traits.fingerprint
                )

    def listing(self) -> list[dict[str, Any]]:
        """The entries of /v1/models: every model, and the strategies that it can be asked for by."""
        most = min(16, self.said.max_k)
        kinds = [f"majority-{most}:"]
        kinds += [f"best-of-{most}:"] if self._scorer else []
        kinds += [f"verified-{most}:"] if self.verifiers else []
        return [
            {"id": f"{kind}{name}", "object": "model", "created": 0, "owned_by": "vervet"}
            for name in self.models
            for kind in ("", *kinds)
        ]

    def begin(self, ask: Ask, client: str) -> asyncio.Task[Answered]:
        """Begin on an answer; the task raises what `answer` does, and is cancelled by `abandon`."""
        work = asyncio.create_task(self.answer(ask, client))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        return work

    def abandon(self) -> None:
        """Break off whatever is being worked on; samples that are here are kept."""
        for work in self._works:
            work.cancel()

    async def answer(self, ask: Ask, client: str) -> Answered:
        """Raises: Refused."""
        upstream = self.models.get(ask.strategy.model)
        if upstream is None:
            raise Refused(
                404, f"the model `{ask.name}` does not exist here: see /v1/models", "model_not_found", "model"
            )
        judged = self._named(ask)
        task = _task(ask, judged)
        problem = _problem(ask, task, judged)
        exchange = Exchange(problem, ask.messages, ask.strategy)
        seed = secrets.randbits(63) if ask.seed is None else ask.seed % (1 << 63)
        began = time.time()
        upstream.references[problem.id] = ask.reference
        try:
            await run(exchange, task, ask.params, seed, self._tools(ask, upstream, judged))
        except Exception as error:
            raise refusal(error) from error
        finally:
            del upstream.references[problem.id]
            self._count(upstream.name, ask, exchange)
            await self._keep(upstream.name, exchange, task, ask, client, began, judged)
        return _answered(exchange, ask, int(began))

    def _named(self, ask: Ask) -> Named | None:
        if ask.verifier is None:
            return None
        found = self.verifiers.get(ask.verifier)
        if found is None:
            known = ", ".join(sorted(self.verifiers)) or "none"
            raise Refused(400, f"vervet.verifier {ask.verifier!r} is not one of this server's: {known}", param="vervet")
        return found

    def _tools(self, ask: Ask, upstream: Upstream, judged: Named | None) -> Tools:
        score = None
        if ask.strategy.kind == "best-of":
            if self._scorer is None:
                raise Refused(400, f"{ask.name}: best-of needs a scorer, and this server has none", param="model")
            scorer = self._scorer

            async def score(problem: Problem, samples: Any) -> Any:
                # a scorer sees no check and no reference
                shown = Problem(problem.id, {}, {PROMPT: prompt_to_json(ask.messages)})
                return await scorer.score(shown, samples)

        judge = None
        if judged is not None and ask.strategy.kind == "verified":
            spec, bench = judged.spec, self._bench

            async def judge(problem: Problem, answers: Any) -> Any:
                return await bench.judge(spec, problem, answers)

        def select(name: str) -> Selector:
            made: Selector = plugins.resolve("selectors", name)()
            return made

        return Tools(upstream.draw, upstream.traits.max_n, select, upstream.price, judge, score)

    def _count(self, model: str, ask: Ask, exchange: Exchange) -> None:
        of = labels(model=model)
        self.metrics.samples[of] += exchange.k
        self.metrics.tokens[labels(model=model, kind="prompt")] += exchange.usage.prompt_tokens or 0
        self.metrics.tokens[labels(model=model, kind="completion")] += exchange.usage.completion_tokens or 0
        self.metrics.cancelled[of] += exchange.cancelled
        if exchange.usd:
            self.metrics.usd[of] = self.metrics.usd.get(of, 0.0) + exchange.usd
        self.metrics.outcomes[labels(strategy=ask.strategy.kind, outcome=exchange.outcome)] += 1

    async def _keep(
        self,
        model: str,
        exchange: Exchange,
        task: OnePrompt,
        ask: Ask,
        client: str,
        began: float,
        judged: Named | None,
    ) -> None:
        archive = self._archives.get(model)
        if archive is None or not exchange.drawn:
            return
        about = {
            "client": client,
            "model": ask.name,
            "params": {"temperature": ask.params.temperature, "top_p": ask.params.top_p}
            | {"max_tokens": ask.params.max_tokens, "stop": list(ask.params.stop), **ask.params.extra},
            "at": round(began, 3),
            "verifier": ask.verifier,
            "outcome": exchange.outcome,
            "chosen": None if exchange.chosen is None else exchange.chosen.index,
        }
        try:
            await archive.keep(exchange, task, about, None if judged is None else (judged.spec, judged.verifier))
        except StorageError as error:
            raise Refused(503, "the exchange could not be kept: the server's disk", "storage") from error

    async def aclose(self) -> None:
        """Close what has a life, the ledgers last."""
        await self._bench.aclose()
        for model in self.models.values():
            await model.aclose()
        for one in self.verifiers.values():
            await one.verifier.aclose()
        if self._scorer is not None:
            await self._scorer.aclose()
        for archive in self._archives.values():
            await archive.aclose()


def _scorer_setup() -> ScorerSetup:
    from vervet.api.scoring import _models  # noqa: PLC0415

    return ScorerSetup((), _models((), None), None)


def _task(ask: Ask, judged: Named | None) -> OnePrompt:
    """What of a sample is its answer: as the request says, else as the verifier's settings say, else by strategy."""
    kind = ask.answer or (judged.answer if judged else "last-line" if ask.strategy.kind == "majority" else "text")
    return OnePrompt(text="-", answer=kind)  # type: ignore[arg-type]


def _problem(ask: Ask, task: OnePrompt, judged: Named | None) -> Problem:
    check = dict(ask.check)
    if judged is not None and not check and ask.reference is not None:
        check = {"expected": ask.reference}
    problem = Problem(f"exchange-{secrets.token_hex(12)}", check, {"answer": task.extractor}, ask.reference)
    if judged is not None:
        try:
            judged.verifier.load(problem)
        except BadData as error:
            detail = str(error).replace(problem.id, "the request")
            raise Refused(400, f"vervet.check does not suit {ask.verifier!r}: {detail}", param="vervet") from error
    return problem


def refusal(error: Exception) -> Refused:
    """What a client hears of a fault behind the server: whose it is, and nothing of the operator's."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, ValueError):
        return Refused(400, f"the model refuses this request: {error}", "upstream_refused")
    if isinstance(error, TimeoutError):
        return Refused(504, "the model did not answer in time", "upstream_timeout")
    if isinstance(error, ServiceError | ConnectionError):
        return Refused(502, "the model cannot be reached", "upstream_unavailable", retry_s=5)
    if isinstance(error, UserError):
        return Refused(502, "the model refuses this server: its operator has to look into it", "upstream_refused")
    if isinstance(error, VervetError):
        return Refused(502, "the model failed", "upstream_failed")
    return Refused(500, "this server failed", "internal_error")


def _answered(exchange: Exchange, ask: Ask, created: int) -> Answered:
    chosen = exchange.chosen
    assert chosen is not None
    prompt, completion = exchange.usage.prompt_tokens or 0, exchange.usage.completion_tokens or 0
    about: dict[str, Any] = {
        "k": exchange.k,
        "usd": exchange.usd,
        "agreement": exchange.agreement,
        "outcome": exchange.outcome,
        "verified": exchange.outcome == "PASS",
        "sample": chosen.index,
        "exchange": exchange.problem.id,
    }
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    finish = chosen.finish_reason if chosen.finish_reason in ("stop", "length", "content_filter") else "stop"
    told = Told(f"chatcmpl-{exchange.problem.id}", created, ask.name, chosen.text, finish, usage | {"vervet": about})
    headers = {f"x-vervet-{name}": _header(value) for name, value in about.items() if value is not None}
    return Answered(told, headers)


def _header(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)

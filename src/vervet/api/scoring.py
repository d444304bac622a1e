"""Scores for a run's samples: from a scorer's name to numbers in the ledger."""

from __future__ import annotations

import dataclasses
import inspect
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vervet import plugins
from vervet.api.door import door
from vervet.api.parts import Watch, build_sampler
from vervet.config import Settings
from vervet.errors import BadOption, PluginError, ServiceError, boundary
from vervet.ledger import Ledger, read, view
from vervet.ledger.ballots import BY_TEXT, add_scores, scorer_id, unscored
from vervet.protocols import SamplerSetup, Scorer, ScorerSetup
from vervet.records import Problem, Sample, fingerprint, prompt_to_json
from vervet.scorers._conversation import PROMPT
from vervet.scorers.function import FunctionScorer

_BATCH = 64
# samples that are scored, and stored, together


@dataclass(frozen=True, slots=True)
class Scored:
    """What scoring did."""

    run: str
    scorer: str
    fingerprint: str
    scored: int
    # distinct texts that have a score now and had none before
    reused: int
    # distinct texts that had been looked at already
    without: int
    # distinct texts, of those looked at now, that the scorer gives no score
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """vervet.score/1."""
        return {"schema": "vervet.score/1"} | dataclasses.asdict(self) | {"seconds": round(self.seconds, 3)}


def score(
    folder: Path | str,
    *,
    model: str,
    base_url: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
) -> Scored:
    """Give every sample of a run a score, each distinct text once; a repeat goes on where it stopped.

    Args: model: "judge/PROVIDER/NAME", "served/NAME" (with a base_url), "hf/NAME", "logprob", or "module:callable".
    options: of the scorer.  The scorer sees no verdict, no check and no reference.
    Raises: UserError, ServiceError, PluginError; what was scored before is kept.
    """
    return door(ascore(folder, model=model, base_url=base_url, options=options, watch=watch))


async def ascore(
    folder: Path | str,
    *,
    model: str,
    base_url: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
) -> Scored:
    """Async twin of :func:`score`."""
    started = time.monotonic()
    say = watch.line if watch else None
    with Ledger.open(Path(folder), writer=True) as ledger:
        scorer = build_scorer(model, ScorerSetup(tuple(base_url), _models(base_url, say), say), options or {})
        try:
            done, without, reused = await _score_all(ledger, scorer, say)
        finally:
            await scorer.aclose()
    mark = fingerprint(scorer.name, scorer.version, scorer.settings())
    return Scored(str(folder), scorer.name, mark, done - without, reused, without, time.monotonic() - started)


def build_scorer(model: str, setup: ScorerSetup, options: Mapping[str, Any]) -> Scorer:
    """The scorer behind a name: a class on the shelf, or "module:callable". Raises: UserError."""
    shelf, _, name = model.partition("/")
    if shelf not in plugins.names("scorers") and ":" in model:
        target: Any = plugins.resolve("scorers", model, dotted=True)
        if not inspect.isclass(target):
            if options:
                raise BadOption(f"scorer {model!r} has no options: it is a function of a problem and a sample")
            return FunctionScorer(model, target)
        name = ""
    else:
        target = plugins.resolve("scorers", shelf)
    with boundary(f"scorer {model!r}"):
        scorer: Scorer = plugins.build(target, f"scorer {model!r}", name, setup, options=options)
    return scorer


def _models(base_url: Sequence[str], say: Any) -> Any:
    def build(model: str) -> Any:
        provider, name = plugins.split_model(model)
        return build_sampler(provider, name, Settings(), SamplerSetup(base_urls=tuple(base_url), progress=say))

    return build


async def _score_all(ledger: Ledger, scorer: Scorer, say: Any) -> tuple[int, int, int]:
    """Distinct texts looked at now, those of them without a score, and those looked at before."""
    with ledger.transaction():
        key = scorer_id(ledger, scorer.name, scorer.version, scorer.settings())
    which = view(ledger)
    done = without = reused = 0
    told = time.monotonic()
    for problem_id in ledger.problem_keys():
        todo, known = unscored(ledger, key, problem_id)
        reused += known
        if not todo:
            continue
        problem = _shown(ledger, problem_id)
        samples = read.samples(ledger, problem_id, which, indexes=list(todo))
        for batch in _batches(samples):
            scores = await _ask(scorer, problem, batch)
            pairs = [(todo[sample.index], value) for sample, value in zip(batch, scores, strict=True)]
            with ledger.transaction():
                add_scores(ledger, key, BY_TEXT, pairs)
            done += len(pairs)
            without += sum(value is None for _, value in pairs)
            if say and time.monotonic() - told > 10:
                say(f"{done:,} distinct texts scored by {scorer.name}, at {problem_id}")
                told = time.monotonic()
    return done, without, reused


def _shown(ledger: Ledger, problem_id: str) -> Problem:
    """What a scorer may know of a problem."""
    problem, prompt = ledger.problem(problem_id)
    return Problem(problem_id, check={}, data={**problem.data, PROMPT: prompt_to_json(prompt)})


def _batches(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    batch: list[Sample] = []
    for sample in samples:
        batch.append(dataclasses.replace(sample, outcome=None, reason=""))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _ask(scorer: Scorer, problem: Problem, batch: list[Sample]) -> list[float | None]:
    with boundary(f"scorer {scorer.name}"):
        try:
            scores = await scorer.score(problem, batch)
        except (ConnectionError, TimeoutError) as error:
            raise ServiceError(f"the scorer cannot be reached: {error}") from error
        if len(scores) != len(batch) or any(s is not None and not math.isfinite(s) for s in scores):
            raise PluginError(f"scorer {scorer.name}: {len(batch)} samples need as many finite scores, or None")
    return scores

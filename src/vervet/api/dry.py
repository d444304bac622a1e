"""What a run would do: its plan, one rendered prompt, and what it would cost. Samples nothing and writes nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vervet.api.parts import BUILT_IN_N, Parts, build_policy, caps_of
from vervet.api.runs import prepare, split
from vervet.api.several import folder_of
from vervet.engine.plan import Span, plan
from vervet.engine.run import wanted
from vervet.ledger import Ledger, Stored, read
from vervet.ledger.spending import Spent, spent
from vervet.records import Prompt, prompt_to_json

_FEW, _MANY = 6, 2
# bytes of prompt a token, at most and at least: English and code have 3 to 5


@dataclass(frozen=True, slots=True)
class Range:
    """An estimate between two bounds. `expected`: from the samples that the run holds already; None where it holds none."""

    low: float
    high: float
    expected: float | None = None


@dataclass(frozen=True, slots=True)
class DryRun:
    """One run as it would be."""

    parts: Parts
    samples: int
    # that would be drawn, at most where the policy follows from verdicts
    requests: int
    prompt_tokens: Range
    completion_tokens: Range
    usd: Range | None
    # None: no price is known
    spent: Spent
    # already

    @property
    def example(self) -> tuple[str, Prompt]:
        """The first problem's id and its rendered prompt."""
        first = self.parts.problems[0].id
        return first, self.parts.prompts[first]

    @property
    def recipe(self) -> dict[str, Any] | None:
        """Of a published run that the task's protocol repeats: its source, its size, and what had to be guessed."""
        recipe = getattr(self.parts.task, "recipe", None)
        return None if recipe is None else dataclasses.asdict(recipe)

    def to_dict(self) -> dict[str, Any]:
        """vervet.dry-run/1."""
        parts, options = self.parts, self.parts.options
        problem, prompt = self.example
        return {
            "schema": "vervet.dry-run/1",
            "run": str(parts.folder),
            "exists": Ledger.exists(parts.folder),
            "task": parts.config.task,
            "model": parts.config.model,
            "problems": len(parts.problems),
            "n": options.n or BUILT_IN_N,
            "policy": options.policy or "fixed",
            "verifier": parts.verifier.name,
            "samples": self.samples,
            "requests": self.requests,
            "prompt_form": parts.config.prompt_form,
            "params": dataclasses.asdict(parts.config.params),
            "recipe": self.recipe,
            "seed": parts.config.seed,
            "problem": problem,
            "prompt": prompt_to_json(prompt),
            "prompt_tokens": dataclasses.asdict(self.prompt_tokens),
            "completion_tokens": dataclasses.asdict(self.completion_tokens),
            "usd": None if self.usd is None else dataclasses.asdict(self.usd),
            "price": None if parts.price is None else parts.price.to_dict(),
            "budget": dataclasses.asdict(caps_of(options)),
            "spent": dataclasses.asdict(self.spent),
        }


def dry_run(
    task: str | Path | type[Any],
    models: str | list[str],
    *,
    n: int | None = None,
    out: Path | str | None = None,
    **options: Any,
) -> list[DryRun]:
    """What :func:`vervet.run` would do with each model. Raises: UserError for whatever the run would refuse at its start."""
    watch, config_file, new = split(options)
    names = [models] if isinstance(models, str) else models
    return [
        _plan(
            prepare(task, m, n, folder_of(out, m, len(names)), options, watch=watch, config_file=config_file, new=new)
        )
        for m in names
    ]


def _plan(parts: Parts) -> DryRun:
    stored = {p.id: Stored(0) for p in parts.problems}
    policy, before, mean = build_policy(parts.options), Spent(), None
    want = policy.want(dict.fromkeys(stored, ()))
    if Ledger.exists(parts.folder):
        with Ledger.open(parts.folder) as ledger:
            known = read.stored(ledger)
            stored |= {p: known[p] for p in stored if p in known}
            here = [p for p in stored if p in known]
            verifier = read.view(ledger).verifier
            want = dict(want) | dict(wanted(ledger, policy, here, verifier, parts.task.extractor))
            before, mean = spent(ledger), _mean_tokens(ledger)
    n = parts.options.n or BUILT_IN_N
    if not getattr(policy, "blind", False):
        # at most: as if nothing ever passed
        want = {p: max(w, n if w > stored[p].count else 0) for p, w in want.items()}
    most = min(parts.traits.max_n if parts.traits else n, n)
    return _estimate(parts, list(plan(stored, want, most)), before, mean)


def _estimate(parts: Parts, spans: list[Span], before: Spent, mean: float | None) -> DryRun:
    sizes = {p: _size(prompt) for p, prompt in parts.prompts.items()}
    asked, samples = sum(sizes[s.problem_id] for s in spans), sum(s.n for s in spans)
    prompt = Range(asked // _FEW, asked // _MANY)
    completion = Range(
        samples, samples * parts.config.params.max_tokens, None if mean is None else round(samples * mean)
    )
    usd = None
    if parts.price is not None:
        cost = parts.price.cost
        expected = None if completion.expected is None else cost(asked // 4, int(completion.expected))
        usd = Range(cost(int(prompt.low), int(completion.low)), cost(int(prompt.high), int(completion.high)), expected)
    return DryRun(parts, samples, len(spans), prompt, completion, usd, before)


def _size(prompt: Prompt) -> int:
    """Bytes."""
    texts = [prompt] if isinstance(prompt, str) else [m.content for m in prompt]
    return sum(len(t.encode("utf-8", "surrogatepass")) for t in texts)


def _mean_tokens(ledger: Ledger) -> float | None:
    """Completion tokens of a stored sample, on average."""
    mean: float | None = ledger.db.execute("SELECT avg(tokens) FROM samples WHERE config = 0").fetchone()[0]
    return mean

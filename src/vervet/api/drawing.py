"""What a run samples with: sampler, policy, price and budget, put together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vervet import plugins
from vervet.api.parts import BUILT_IN_N, Parts, Watch, build_policy, build_sampler, caps_of, price_of
from vervet.engine.limits import Purse
from vervet.engine.plan import total
from vervet.engine.progress import Progress
from vervet.engine.run import Drawing, wanted
from vervet.errors import ServiceError, UserError, boundary
from vervet.ledger import Ledger, read
from vervet.ledger.history import History
from vervet.ledger.spending import Spent, spent
from vervet.prices import Price
from vervet.protocols import SamplerSetup, SamplerTraits


def drawing_of(
    parts: Parts, ledger: Ledger, watch: Watch, progress: Progress, siblings: Sequence[Path], share: int
) -> Drawing:
    caps, before = caps_of(parts.options), spent(ledger)
    for sibling in siblings:
        before = before + spent_in(sibling)
    caps = caps.part(before, share)
    price = parts.price
    if price is None:
        price = _known_price(parts)
    purse = Purse(caps, price, ledger, before, progress.notices.append) if caps else None
    provider, name = plugins.split_model(parts.config.model)
    by_id = {p.id: p for p in parts.problems}
    setup = SamplerSetup(
        run_dir=parts.folder,
        example=lambda problem_id, right: parts.task.example(by_id[problem_id], right),
        progress=watch.line,
        notice=progress.notices.append,
        base_urls=parts.options.base_url or (),
        send_seed=parts.config.seed is not None,
        max_in_flight=parts.options.max_in_flight,
        history=History,
        purse=purse,
    )
    sampler = build_sampler(provider, name, parts.options, setup)
    traits: SamplerTraits = sampler.traits()
    n = parts.options.n or BUILT_IN_N
    return Drawing(
        sampler=sampler,
        policy=build_policy(parts.options),
        prompts=parts.prompts,
        params=parts.config.params,
        run_seed=ledger.run_seed,
        max_n=min(traits.max_n, n),
        max_in_flight=min(
            parts.options.max_in_flight or traits.in_flight or traits.max_in_flight, traits.max_in_flight
        ),
        price=price,
        purse=purse,
        most_seconds=None if caps.minutes is None else 60 * caps.minutes - before.seconds,
        metered=getattr(sampler, "meters_attempts", False),
    )


def _known_price(parts: Parts) -> Price | None:
    """The price of a run that goes on from its folder alone. Raises: UserError for a cap on money where none is known."""
    provider, name = plugins.split_model(parts.config.model)
    setup = SamplerSetup(history=History, base_urls=parts.options.base_url or ())
    sampler = build_sampler(provider, name, parts.options, setup)
    return price_of(provider, name, parts.options, sampler)


def spent_in(folder: Path) -> Spent:
    """What another run has spent; nothing where it was never started."""
    if not Ledger.exists(folder):
        return Spent()
    with Ledger.open(folder) as ledger:
        return spent(ledger)


def shared_with(parts: Parts) -> list[Path]:
    """The runs with which this one's budget is shared. Raises: UserError where one of them is not to be found."""
    if not caps_of(parts.options) or not Ledger.exists(parts.folder):
        return []
    with Ledger.open(parts.folder) as ledger:
        names: list[str] = ledger.meta("budget_shared", [])
    folders = [parts.folder.parent / name for name in names]
    for folder in folders:
        if not Ledger.exists(folder):
            raise UserError(
                f"{parts.folder} shares its budget with {folder}, which is not there: put the two side by side again"
            )
    return folders


async def probe_once(parts: Parts, ledger: Ledger, drawing: Drawing, verifier: int) -> None:
    """Ask a server that is new to the run what it does, and sample accordingly. Nothing is asked where nothing is missing."""
    sampler = drawing.sampler
    probe, adopt = getattr(sampler, "probe", None), getattr(sampler, "adopt", None)
    stored = {p: row for p, row in read.stored(ledger).items() if p in drawing.prompts}
    if (
        probe is None
        or adopt is None
        or not total(stored, wanted(ledger, drawing.policy, list(stored), verifier, parts.task.extractor))
    ):
        return
    found = ledger.meta("probe")
    if found is None:
        with boundary("the model"):
            try:
                found = await probe(parts.config.prompt_form)
            except (ConnectionError, TimeoutError) as error:
                raise ServiceError(f"the model cannot be reached: {error}") from error
            except ValueError:
                # the question itself was refused: the run's own prompts may fare better
                found = {}
        if found:
            with ledger.transaction():
                ledger.set_meta("probe", found)
    with boundary("the model"):
        adopt(found)

"""What a model's server really does, asked on purpose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vervet import plugins
from vervet.api.door import door
from vervet.api.parts import build_sampler
from vervet.config import settings
from vervet.errors import ServiceError, UserError, boundary
from vervet.protocols import SamplerSetup
from vervet.records import PromptForm


def probe(
    model: str,
    *,
    base_url: Sequence[str] = (),
    prompt_form: PromptForm = "chat",
    model_options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Ask each server of a model about a dozen short questions: vervet.probe/1.

    Raises: UserError (key, model, address; a model without server), ServiceError.
    """
    provider, name = plugins.split_model(model)
    given = settings({"model_options": model_options or {}, "base_url": base_url or None}, "command line")
    work = _probe_all(provider, name, given, prompt_form)
    return {"schema": "vervet.probe/1", "model": model, "servers": door(work)}


async def _probe_all(provider: str, name: str, given: Any, form: PromptForm) -> list[dict[str, Any]]:
    """One after the other: replicas may share a machine."""
    urls: tuple[str, ...] = given.base_url or ()
    return [
        await _probe_one(provider, name, given, form, base_urls)
        for base_urls in ([(url,) for url in urls] if urls else [()])
    ]


async def _probe_one(provider: str, name: str, given: Any, form: PromptForm, urls: tuple[str, ...]) -> dict[str, Any]:
    notices: list[str] = []
    setup = SamplerSetup(notice=notices.append, base_urls=urls, send_seed=True)
    sampler = build_sampler(provider, name, given, setup)
    ask = getattr(sampler, "probe", None)
    if ask is None:
        raise UserError(f"{provider}/{name} is sampled in this process: there is no server to probe")
    try:
        with boundary("the model"):
            try:
                found: dict[str, Any] = await ask(form, thorough=True)
            except (ConnectionError, TimeoutError) as error:
                raise ServiceError(f"the model cannot be reached: {error}") from error
            except ValueError as error:
                raise UserError(f"the server refuses the question: {error}") from error
    finally:
        await sampler.aclose()
    return found | {"notices": notices}

"""Every exchange in a ledger: one run folder for each model, one problem for each exchange.

The folders are ordinary runs: `vervet show`, `vervet view`, `vervet export` and `vervet ledger check` read them. Their design
is `adaptive`: no curve is read off what clients asked for. A reply leaves the server when its exchange is durable.
"""

from __future__ import annotations

import datetime
import secrets
from pathlib import Path
from typing import Any

from vervet.ledger import Extracted, GroupCommit, Ledger, Recorder, verifier_id
from vervet.ledger.write import Drawn
from vervet.protocols import Verifier
from vervet.records import Config, Params, VerifierSpec, fingerprint, prompt_to_json
from vervet.serve.exchange import Exchange
from vervet.tasks.prompt import OnePrompt
from vervet.version import __version__


class Archive:
    """The ledger behind one model."""

    def __init__(self, folder: Path, model: str, options: dict[str, Any], model_fingerprint: str) -> None:
        """Raises: RunInUse where another server writes there, StorageError, RunMismatch."""
        config = Config(
            task="prompt",
            task_options={},
            data_fingerprint="served",
            model=model,
            model_options=options,
            model_fingerprint=model_fingerprint,
            prompt_form="chat",
            # those of each exchange are with its problem
            params=Params(1.0, None, 1, (), {"served": True}),
            seed=None,
        )
        safe = "".join(c if c.isalnum() or c in "-_.=," else "-" for c in model)
        self.folder = folder / f"served--{safe}--{config.digest[:8]}"
        if Ledger.exists(self.folder):
            self._ledger = Ledger.open(self.folder, writer=True)
            self._ledger.require_config(config)
        else:
            self._ledger = Ledger.create(self.folder, config, _meta())
        self._recorders: dict[str, Recorder] = {}
        self._group: GroupCommit | None = None

    async def keep(
        self, exchange: Exchange, task: OnePrompt, about: dict[str, Any], verifier: tuple[VerifierSpec, Verifier] | None
    ) -> None:
        """Returns when the exchange is durable. Raises: StorageError."""
        if self._group is None:
            self._group = GroupCommit(self._ledger)
        await self._group.do(lambda: self._write(exchange, task, about, verifier))

    def _write(
        self, exchange: Exchange, task: OnePrompt, about: dict[str, Any], verifier: tuple[VerifierSpec, Verifier] | None
    ) -> None:
        problem = exchange.problem
        data = {"prompt": prompt_to_json(exchange.prompt), "served": about}
        stored = type(problem)(problem.id, problem.check, data, problem.reference)
        self._ledger.add_problem(stored, exchange.prompt)
        recorder = self._recorders.get(task.extractor)
        if recorder is None:
            # reads what is in the ledger: once for each extractor, not once for each exchange
            recorder = self._recorders[task.extractor] = Recorder(self._ledger, task.extractor)
        ids: dict[str, int] = {}
        for drawn in sorted(exchange.drawn, key=lambda d: d.request.first):
            found = [task.extract(c.text) for c in drawn.reply.completions]
            answers = tuple(None if a is None else Extracted(a, task.canonical(a)) for a in found)
            for new in recorder.add(Drawn(drawn.request, drawn.reply, answers, seed=drawn.request.seed)):
                ids[new.answer] = new.answer_id
        if verifier is not None:
            key = self._verifier(*verifier)
            pairs = [(ids[a], v) for a, v in exchange.verdicts.items() if a in ids]
            recorder.add_verdicts(key, problem.id, pairs)
        recorder.forget(problem.id)

    def _verifier(self, spec: VerifierSpec, verifier: Verifier) -> int:
        mark = fingerprint(verifier.name, verifier.version, verifier.settings())
        key = verifier_id(self._ledger, verifier.name, verifier.version, verifier.settings())
        if self._ledger.meta("verifier") != mark:
            # what `vervet show` counts by: the verifier that judged last
            self._ledger.set_meta("verifier", mark)
            kept = {k: v for k, v in spec.settings.items() if k != "sandbox"}
            self._ledger.set_meta("verifier_spec", {"name": spec.name, "settings": kept})
        return key

    async def aclose(self) -> None:
        if self._group is not None:
            await self._group.aclose()
            self._group = None
        self._ledger.close()


def _meta() -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    task = OnePrompt(text="-")
    mark = fingerprint("exact", "1", {})
    return {
        "task": "prompt",
        "task_options": {},
        "data": {"id": "served", "revision": now, "fingerprint": ""},
        "run_seed": secrets.randbits(63),
        "extractor": task.extractor,
        "design": "adaptive",
        "settings": {},
        "chosen": [],
        "vervet": __version__,
        "verifier_spec": {"name": "exact", "settings": {}},
        "verifier": mark,
    }

"""The sync door: what the command line, notebooks and scripts call. Only here are real parts put together.

    run = vervet.run("humaneval", model="local/smollm2-135m", n=100, out="runs/he")
    run.counts()
    run.samples("HumanEval/3")

`run` samples and verifies; `sample` and `verify` are its halves; `resume` needs nothing but the folder. Each has an async
twin (`arun`, ...). A repeat of the same call resumes: nothing that is stored is drawn again.

Names are imported when they are first used: a command loads what it needs and no more.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vervet.api.agreeing import audit_run
    from vervet.api.auditing import Audit, aaudit, audit
    from vervet.api.catalog import check_ledger, doctor, list_models, list_tasks, merge_ledgers, show_task
    from vervet.api.certificates import Replayed, replay
    from vervet.api.cluster import doctor_of_cluster
    from vervet.api.costing import Rates, cost, exchange
    from vervet.api.dry import DryRun, dry_run
    from vervet.api.existing import Run, open_run
    from vervet.api.gates import PassRateTooLow, assert_pass_rate, gate
    from vervet.api.parts import Watch
    from vervet.api.probing import probe
    from vervet.api.reporting import report
    from vervet.api.reproducing import reproduce_paper
    from vervet.api.runs import Verified, aresume, arun, averify, resume, run, sample, verify
    from vervet.api.scoring import Scored, ascore, score
    from vervet.api.selecting import select
    from vervet.api.several import arun_all, run_all
    from vervet.api.solving import Hunt, Solved, asolve, solve
    from vervet.api.statistics import compare, coverage, family, fit, forecast, plan, sources, verifier_noise
    from vervet.api.transfer import Exported, export, import_samples
    from vervet.ledger.formats import Imported

_HOME = {
    "Audit": "vervet.api.auditing",
    "DryRun": "vervet.api.dry",
    "Exported": "vervet.api.transfer",
    "Hunt": "vervet.api.solving",
    "Imported": "vervet.ledger.formats",
    "PassRateTooLow": "vervet.api.gates",
    "Rates": "vervet.api.costing",
    "Replayed": "vervet.api.certificates",
    "Run": "vervet.api.existing",
    "Scored": "vervet.api.scoring",
    "Solved": "vervet.api.solving",
    "Verified": "vervet.api.runs",
    "Watch": "vervet.api.parts",
    "aaudit": "vervet.api.auditing",
    "aresume": "vervet.api.runs",
    "arun": "vervet.api.runs",
    "arun_all": "vervet.api.several",
    "ascore": "vervet.api.scoring",
    "asolve": "vervet.api.solving",
    "assert_pass_rate": "vervet.api.gates",
    "audit": "vervet.api.auditing",
    "audit_run": "vervet.api.agreeing",
    "averify": "vervet.api.runs",
    "check_ledger": "vervet.api.catalog",
    "compare": "vervet.api.statistics",
    "cost": "vervet.api.costing",
    "coverage": "vervet.api.statistics",
    "doctor": "vervet.api.catalog",
    "doctor_of_cluster": "vervet.api.cluster",
    "dry_run": "vervet.api.dry",
    "exchange": "vervet.api.costing",
    "export": "vervet.api.transfer",
    "family": "vervet.api.statistics",
    "fit": "vervet.api.statistics",
    "forecast": "vervet.api.statistics",
    "gate": "vervet.api.gates",
    "import_samples": "vervet.api.transfer",
    "list_models": "vervet.api.catalog",
    "list_tasks": "vervet.api.catalog",
    "merge_ledgers": "vervet.api.catalog",
    "open_run": "vervet.api.existing",
    "plan": "vervet.api.statistics",
    "probe": "vervet.api.probing",
    "replay": "vervet.api.certificates",
    "report": "vervet.api.reporting",
    "reproduce_paper": "vervet.api.reproducing",
    "resume": "vervet.api.runs",
    "run": "vervet.api.runs",
    "run_all": "vervet.api.several",
    "sample": "vervet.api.runs",
    "score": "vervet.api.scoring",
    "select": "vervet.api.selecting",
    "show_task": "vervet.api.catalog",
    "solve": "vervet.api.solving",
    "sources": "vervet.api.statistics",
    "verifier_noise": "vervet.api.statistics",
    "verify": "vervet.api.runs",
}
"""Public name -> the module that defines it."""

__all__ = [
    "Audit",
    "DryRun",
    "Exported",
    "Hunt",
    "Imported",
    "PassRateTooLow",
    "Rates",
    "Replayed",
    "Run",
    "Scored",
    "Solved",
    "Verified",
    "Watch",
    "aaudit",
    "aresume",
    "arun",
    "arun_all",
    "ascore",
    "asolve",
    "assert_pass_rate",
    "audit",
    "audit_run",
    "averify",
    "check_ledger",
    "compare",
    "cost",
    "coverage",
    "doctor",
    "doctor_of_cluster",
    "dry_run",
    "exchange",
    "export",
    "family",
    "fit",
    "forecast",
    "gate",
    "import_samples",
    "list_models",
    "list_tasks",
    "merge_ledgers",
    "open_run",
    "plan",
    "probe",
    "replay",
    "report",
    "reproduce_paper",
    "resume",
    "run",
    "run_all",
    "sample",
    "score",
    "select",
    "show_task",
    "solve",
    "sources",
    "verifier_noise",
    "verify",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'vervet.api' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

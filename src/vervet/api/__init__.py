"""The sync door: what the command line, notebooks and scripts call. Only here are real parts put together.

    run = vervet.run("humaneval", model="local/smollm2-135m", n=100, out="runs/he")
    run.counts()
    run.samples("HumanEval/3")

`run` samples and verifies; `sample` and `verify` are its halves; `resume` needs nothing but the folder. Each has an async
twin (`arun`, ...). A repeat of the same call resumes: nothing that is stored is drawn again.
"""

from vervet.api.agreeing import audit_run
from vervet.api.audit import Audit, aaudit, audit
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

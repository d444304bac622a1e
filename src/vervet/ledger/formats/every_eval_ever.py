"""Every Eval Ever: the shared record of evaluation results, schema 0.2.1; one JSON document with pass@k at several k.

Source: eval.schema.json of the EvalEval coalition. Values in its `additional_details` have to be text.
"""

from __future__ import annotations

import time
from typing import Any, BinaryIO

import orjson

from vervet.errors import BadOption
from vervet.estimate.coverage import default_grid, pass_curve
from vervet.estimate.intervals import population_interval
from vervet.ledger.formats.rows import Run
from vervet.version import __version__

SCHEMA = "0.2.1"
LEVEL = 0.95


def write(out: BinaryIO, run: Run) -> int:
    """One document; returns 1. Raises: BadOption where stopping depended on what was seen: its pass@k is another number."""
    counts = run.counts()
    if counts.design != "fixed":
        raise BadOption(
            f"--format every_eval_ever: pass@k of samples drawn under {counts.design!r} does not fit the record"
        )
    now = f"{time.time():.0f}"
    document = {
        "schema_version": SCHEMA,
        "evaluation_id": f"{run.task or 'unknown'}/{run.model.replace('/', '_')}/{now}",
        "retrieved_timestamp": now,
        "source_metadata": {
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "vervet", "version": __version__},
        "model_info": {"name": run.model, "id": run.model},
        "evaluation_results": _results(run),
    }
    out.write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return 1


def _results(run: Run) -> list[dict[str, Any]]:
    counts = run.counts()
    results = []
    for k in default_grid(counts.n).tolist():
        usable = counts.n >= k
        if not usable.any():
            continue
        values = pass_curve(counts.n[usable], counts.c[usable], [k])
        found = population_interval(values, LEVEL)
        interval = {"lower": float(found.low[0]), "upper": float(found.high[0]), "confidence_level": LEVEL}
        results.append(
            {
                "evaluation_name": f"{run.task or 'unknown'} pass@{k}",
                "source_data": {"dataset_name": run.task or "unknown", "source_type": "other"},
                "metric_config": {
                    "evaluation_description": f"chance that {k} independent samples hold one that the verifier accepts",
                    "lower_is_better": False,
                    "score_type": "continuous",
                    "min_score": 0,
                    "max_score": 1,
                    "additional_details": {"k": str(k), "verifier": run.verifier},
                },
                "score_details": {
                    "score": float(values.mean()),
                    "details": {
                        "problems": str(int(usable.sum())),
                        "problems_with_fewer_samples": str(int((~usable).sum())),
                        "undecided_samples": str(int(counts.unknown.sum())),
                    },
                    "uncertainty": {"confidence_interval": interval, "num_samples": int(usable.sum())},
                },
                "generation_config": {
                    "generation_args": {
                        "temperature": run.params.temperature,
                        "top_p": run.params.top_p,
                        "max_tokens": run.params.max_tokens,
                    }
                },
            }
        )
    return results

"""How long estimation takes, beside a straightforward numpy version of the same.

    python bench/estimate.py

Prints JSON. 1,000 problems with 10,000 samples each: counts to curve with both intervals and bands (aim: 0.2 s), the
same from 10 million rows (problem, outcome) and from a ledger of 10 million samples (aim: 2 s), and 1,000 bootstrap refits of
the power law (aim: 5 s). The ledger is read as a run leaves it, with the counts that its writer left behind, and without
those, sample by sample, as while a run is still writing; it holds one right and one wrong text a problem.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from vervet.analysis.curve import coverage
from vervet.api import open_run
from vervet.estimate.bootstrap import resampled_curves
from vervet.estimate.coverage import pass_curve
from vervet.estimate.curvefit import paper_grid, power_law
from vervet.ledger import Drawn, Extracted, Ledger, Recorder, verifier_id
from vervet.records import (
    Completion,
    Config,
    Counts,
    Outcome,
    Params,
    Problem,
    Reason,
    Reply,
    Request,
    Strength,
    Verdict,
)

PROBLEMS, SAMPLES = 1000, 10_000


def seconds(work: Callable[[], Any], repeats: int = 5) -> float:
    """Best of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def plain_curve(n: Any, c: Any, ks: Any) -> Any:
    """pass@k as it is usually written: one product a problem and k."""
    out = np.empty((len(ks), len(n)))
    for i, k in enumerate(ks):
        for j, (total, right) in enumerate(zip(n, c, strict=True)):
            out[i, j] = 1.0 if total - right < k else 1.0 - np.prod(1.0 - k / np.arange(total - right + 1, total + 1))
    return out


def plain_refits(curves: Any, grid: Any) -> Any:
    """One scipy curve_fit a curve."""
    from scipy.optimize import curve_fit

    return [
        curve_fit(lambda k, a, b: a * k**b, grid.astype(float), np.log(one), p0=(-3.0, -0.3), maxfev=5000)[0]
        for one in curves
    ]


def make_run(folder: Path, passed: Any) -> None:
    """A ledger with `passed[i, j]` for sample j of problem i."""
    params = Params(temperature=1.0, top_p=None, max_tokens=10)
    config = Config("bench", {}, "data", "m", {}, "", "chat", params, None)
    verdicts = [
        Verdict(o, r, Strength.EXACT) for o, r in ((Outcome.FAIL, Reason.WRONG), (Outcome.PASS, Reason.ACCEPTED))
    ]
    insert = "INSERT INTO samples VALUES (0, ?, ?, ?, ?, ?, NULL, NULL, 1, NULL, NULL)"
    with Ledger.create(folder, config, {"run_seed": 1, "extractor": "bench/1", "verifier": "exact"}) as ledger:
        ledger.add_problems([(Problem(f"p{i}", {"expected": "right"}), "prompt") for i in range(len(passed))])
        keys = ledger.problem_keys()
        recorder = Recorder(ledger, "bench/1")
        for i, row in enumerate(passed):
            name = f"p{i}"
            request = Request(name, "prompt", params, 0, len(row), 1)
            two = tuple(Completion(text) for text in ("wrong", "right"))
            found = tuple(Extracted(text, text) for text in ("wrong", "right"))
            with ledger.transaction():
                verifier = verifier_id(ledger, "exact", "1", {})
                new = recorder.add(Drawn(request, Reply(two), found))
                recorder.add_verdicts(verifier, name, [(a.answer_id, v) for a, v in zip(new, verdicts, strict=True)])
                stored, texts = zip(
                    *ledger.db.execute(
                        "SELECT request, text FROM samples WHERE config = 0 AND problem = ? ORDER BY idx", (keys[name],)
                    ),
                    strict=True,
                )
                ledger.db.execute("DELETE FROM samples WHERE config = 0 AND problem = ?", (keys[name],))
                rows = ((keys[name], j, stored[0], j, texts[right]) for j, right in enumerate(row.tolist()))
                ledger.db.executemany(insert, rows)


def main() -> None:
    rng = np.random.default_rng(0)
    n = np.full(PROBLEMS, SAMPLES)
    c = rng.binomial(n, rng.beta(0.2, 5, PROBLEMS))
    counts = Counts(range(PROBLEMS), n, c)
    ks = np.array([p.k for p in coverage(counts).points])
    grid = paper_grid(SAMPLES)
    curves = resampled_curves(pass_curve(n, c, grid), 1000)
    problem = np.repeat(np.arange(PROBLEMS, dtype=np.int32), SAMPLES)
    passed = rng.random(len(problem)) < np.repeat(c / n, SAMPLES)

    def from_rows() -> None:
        drawn = np.bincount(problem, minlength=PROBLEMS)
        coverage(Counts(range(PROBLEMS), drawn, np.bincount(problem, weights=passed, minlength=PROBLEMS).astype(int)))

    def from_ledger() -> None:
        coverage(open_run(folder).counts())

    ours, theirs = pass_curve(n, c, ks), plain_curve(n, c, ks)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        make_run(folder, passed.reshape(PROBLEMS, SAMPLES))
        as_left = seconds(from_ledger, 3)
        with Ledger.open(folder, writer=True) as ledger:
            with ledger.transaction():  # any write takes the kept counts away
                pass
            by_sample = seconds(from_ledger, 1)
    result = {
        "benchmark": "estimate",
        "problems": PROBLEMS,
        "samples": SAMPLES,
        "ks": len(ks),
        "counts_to_curve_s": seconds(lambda: coverage(counts)),
        "counts_to_curve_plain_numpy_s": seconds(lambda: plain_curve(n, c, ks), 1),
        "rows_to_curve_with_bands_s": seconds(from_rows, 2),
        "ledger_to_curve_with_bands_s": as_left,
        "ledger_to_curve_by_sample_s": by_sample,
        "small_set_to_curve_s": seconds(lambda: coverage(Counts(range(128), n[:128], c[:128]))),
        "refits_1000_s": seconds(lambda: power_law(grid, curves), 3),
        "refits_1000_plain_scipy_s": seconds(lambda: plain_refits(curves[:100], grid), 1) * 10,
        "largest_difference_from_plain_numpy": float(np.abs(ours - theirs).max()),
    }
    print(json.dumps({k: round(v, 6) if isinstance(v, float) and v > 1e-6 else v for k, v in result.items()}, indent=1))


if __name__ == "__main__":
    main()

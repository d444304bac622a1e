"""How far one writer goes, what shards cost to merge, and a cluster of 10, 100 and 1,000 nodes on paper.

    python bench/scale.py [--samples 25000] [--shards 8] [--full] [--dispatch-ms 4.0]

writer: samples of 1,000 characters and verdicts go into a ledger as a run's do, through the group commit in batches of 32.
Limits: 10,000 samples/s and 20,000 verdicts/s, by the processor time of this process, so that neighbours do not count; the
time on the clock stands beside it.
merge: `--shards` ledgers of `--samples` samples each (`--full`: 1,000,000), with their verdicts, are merged one after another
and checked. Limits: a sample takes at most 1.5x as long in the last two shards as in the first two, and in whole shards as in
shards of half the size; `vervet ledger check` finds no fault in the whole.
nodes: an event simulation. Nodes of 16 processors judge batches of 32 answers; one driver hands them out (`--dispatch-ms` of
its time a batch; bench/cluster.py measures it as `driver_ms_per_batch`) and stores samples and verdicts at the rates measured
above, all in one process. For answers of 5 ms, 1 s and 30 s: verdicts per second, how busy the nodes are, the shards at which
they are busy, and dollars a million verdicts at $0.80 an hour and node.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import math
import random
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import finish

from vervet.api import check_ledger, merge_ledgers
from vervet.ledger import Drawn, Extracted, GroupCommit, Ledger, Recorder, Trials, verifier_id
from vervet.records import (
    Completion,
    Config,
    Outcome,
    Params,
    Problem,
    Reason,
    Reply,
    Request,
    Strength,
    Usage,
    Verdict,
)

SAMPLES_PER_S, VERDICTS_PER_S, LINEAR = 10_000, 20_000, 1.5
BATCH, CHARS, PROBLEMS, AT_ONCE = 32, 1000, 20, 64
PARAMS = Params(temperature=0.8, top_p=None, max_tokens=512)
CONFIG = Config("bench", {}, "data", "fake/p=0.5", {}, "", "chat", PARAMS, 1)
PASS = Verdict(Outcome.PASS, Reason.ACCEPTED, Strength.SEPARATE_PROCESS, "namespaces", 0.004)
FAIL = Verdict(
    Outcome.FAIL, Reason.WRONG, Strength.SEPARATE_PROCESS, "namespaces", 0.004, "AssertionError: assert f(3) == 7"
)
CORES, DOLLARS_AN_HOUR = 16, 0.80


# ------------------------------------------------------------------------------------------------------ writer


def texts(count: int, dice: random.Random) -> list[str]:
    """Different texts that compress as prose does."""
    words = ["".join(dice.choices("etaoinshrdlu", k=dice.randint(2, 9))) for _ in range(3000)]
    weights = [1 / (i + 1) for i in range(len(words))]
    pool = [" ".join(dice.choices(words, weights, k=40)) for _ in range(2000)]
    return [("\n".join(dice.choices(pool, k=6))[: CHARS - 12] + f"\n{i:011d}") for i in range(count)]


async def fill(folder: Path, first: int, samples: int, dice: random.Random) -> tuple[float, float, float, float]:
    """A run's ledger; returns seconds for its samples and for its verdicts, of the processor and on the clock."""
    said = texts(samples, dice)
    with Ledger.create(folder, CONFIG, {"run_seed": 1, "extractor": "bench/1", "verifier_spec": {}}) as ledger:
        names = [f"p{first + i}" for i in range(PROBLEMS)]
        ledger.add_problems([(Problem(name, {"expected": name}), "prompt") for name in names])
        with ledger.transaction():
            key = verifier_id(ledger, "python_tests", "1", {})
        recorder = Recorder(ledger, "bench/1")
        group = GroupCommit(ledger)
        drawn = []
        for number in range(0, samples, BATCH):
            chunk = said[number : number + BATCH]
            turn = number // BATCH
            request = Request(names[turn % PROBLEMS], "prompt", PARAMS, turn // PROBLEMS * BATCH, len(chunk), 1)
            reply = Reply(tuple(Completion(t, completion_tokens=250) for t in chunk), Usage(100, 0, 250 * BATCH))
            drawn.append(Drawn(request, reply, tuple(Extracted(t[-300:], t[-300:]) for t in chunk)))
        start, clock = time.process_time(), time.perf_counter()
        new = await crowd(recorder.add_all, drawn, group)
        drew, drew_clock = time.process_time() - start, time.perf_counter() - clock
        batches = [
            Trials(key, found[0].problem_id, [(a.answer_id, PASS if i % 3 == 0 else FAIL) for i, a in enumerate(found)])
            for found in new
        ]
        start, clock = time.process_time(), time.perf_counter()
        await crowd(recorder.add_trials, batches, group)
        judged, judged_clock = time.process_time() - start, time.perf_counter() - clock
        await group.aclose()
        with ledger.transaction():
            mark = ledger.db.execute("SELECT lower(hex(fingerprint)) FROM verifiers").fetchone()[0]
            ledger.set_meta("verifier", mark)
    return drew, judged, drew_clock, judged_clock


async def crowd(work: Any, items: list[Any], group: GroupCommit) -> list[Any]:
    """Each as a task of its own that waits until its rows are durable, so many at once as a run has."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(item: Any) -> Any:
        async with slots:
            return await group.share(work, item)

    return await asyncio.gather(*(one(item) for item in items))


def writer(samples: int, folder: Path) -> tuple[dict[str, float], list[str]]:
    """The best of three: what the writer can, not what this machine was busy with."""
    rounds = [asyncio.run(fill(folder / f"w{i}", 0, samples, random.Random(i))) for i in range(3)]
    rates = {
        "samples_per_s": round(samples / min(r[0] for r in rounds)),
        "verdicts_per_s": round(samples / min(r[1] for r in rounds)),
        "samples_per_s_on_the_clock": round(samples / min(r[2] for r in rounds)),
        "verdicts_per_s_on_the_clock": round(samples / min(r[3] for r in rounds)),
    }
    wanted = {"samples_per_s": SAMPLES_PER_S, "verdicts_per_s": VERDICTS_PER_S}
    return rates, [f"writer: {rates[k]:,} {k}, at least {wanted[k]:,}" for k in wanted if rates[k] < wanted[k]]


# ------------------------------------------------------------------------------------------------------ merge


def merge(samples: int, shards: int, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Processor seconds a shard, whole ones and such of half the size."""
    whole, total = _merged(samples, shards, folder / "whole")
    halves, _ = _merged(samples // 2, shards, folder / "halves")
    growth = sum(whole[-2:]) / sum(whole[:2])
    size = sum(whole) / (2 * sum(halves))
    start = time.perf_counter()
    faults = check_ledger(folder / "whole" / "all")["faults"]
    checked = time.perf_counter() - start
    facts = {
        "shards": shards,
        "samples": total,
        "seconds": round(sum(whole), 2),
        "samples_per_s": round(total / sum(whole)),
        "seconds_a_shard": [round(s, 2) for s in whole],
        "last_two_per_first_two": round(growth, 3),
        "whole_per_half": round(size, 3),
        "faults": len(faults),
        "check_s": round(checked, 2),
    }
    missed = [
        f"merge: {name} is {facts[name]}"
        for name in ("last_two_per_first_two", "whole_per_half")
        if facts[name] > LINEAR
    ]
    missed += [f"merge: {len(faults)} faults"] if faults else []
    missed += [f"merge: {total:,} samples of {shards * samples:,}"] if total != shards * samples else []
    return facts, missed


def _merged(samples: int, shards: int, folder: Path) -> tuple[list[float], int]:
    seconds, total = [], 0
    for number in range(shards):
        shard = folder / f"s{number}"
        asyncio.run(fill(shard, number * PROBLEMS, samples, random.Random(number)))
        start = time.process_time()
        total += merge_ledgers([shard], folder / "all").added
        seconds.append(time.process_time() - start)
    return seconds, total


# ------------------------------------------------------------------------------------------------------ nodes


def simulate(workers: int, answer_s: float, driver_s: float, dice: random.Random) -> tuple[float, float]:
    """Verdicts per second, and how busy the workers are.

    Each worker judges one batch while its next one waits with it; the driver needs `driver_s` to store a batch and to hand out
    the next one. Service times are Erlang of order four about their mean.
    """
    mean = BATCH * answer_s
    batches = max(6 * workers, 2000)
    warm_up = batches // 4
    driver_free, done, busy, started = 0.0, 0, 0.0, 0.0
    waiting = [1] * workers
    # batches that each worker has beside the one it judges
    events = [(dice.uniform(0, mean), worker) for worker in range(workers)]
    heapq.heapify(events)
    arrivals: list[tuple[float, int]] = []
    # (when, worker) of batches on their way back
    now = 0.0
    while done < batches:
        if arrivals and (not events or arrivals[0][0] <= events[0][0]):
            now, worker = heapq.heappop(arrivals)
            if waiting[worker] < 0:
                waiting[worker] = 0
                _begin(events, now, worker, mean, dice)
            else:
                waiting[worker] += 1
            continue
        now, worker = heapq.heappop(events)
        done += 1
        if done == warm_up:
            started = now
        driver_free = max(driver_free, now) + driver_s
        heapq.heappush(arrivals, (driver_free, worker))
        if waiting[worker] > 0:
            waiting[worker] -= 1
            _begin(events, now, worker, mean, dice)
        else:
            waiting[worker] = -1
    rate = (batches - warm_up) / (now - started)
    busy = rate * mean / workers
    return rate * BATCH, min(1.0, busy)


def _begin(events: list[tuple[float, int]], now: float, worker: int, mean: float, dice: random.Random) -> None:
    heapq.heappush(events, (now + dice.gammavariate(4, mean / 4), worker))


def nodes(rates: dict[str, float], dispatch_ms: float) -> list[dict[str, Any]]:
    driver_s = dispatch_ms / 1000 + BATCH / rates["verdicts_per_s"] + BATCH / rates["samples_per_s"]
    rows = []
    for count in (10, 100, 1000):
        for answer_s in (0.005, 1.0, 30.0):
            rate, busy = simulate(count * CORES, answer_s, driver_s, random.Random(1))
            could = count * CORES / answer_s
            shards = max(1, math.ceil(could * driver_s / BATCH / 0.8))
            # a writer is full at four fifths
            each = max(1, count * CORES // shards)
            sharded = rate if shards == 1 else shards * simulate(each, answer_s, driver_s, random.Random(2))[0]
            rows.append(
                {
                    "nodes": count,
                    "answer_s": answer_s,
                    "verdicts_per_s": round(rate, 1),
                    "busy": round(busy, 3),
                    "usd_per_million": round(count * DOLLARS_AN_HOUR / 3600 / rate * 1e6, 2),
                    "shards": shards,
                    "verdicts_per_s_sharded": round(sharded, 1),
                    "usd_per_million_sharded": round(count * DOLLARS_AN_HOUR / 3600 / sharded * 1e6, 2),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=25_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--dispatch-ms", type=float, default=4.0)
    arguments = parser.parse_args()
    samples = 1_000_000 if arguments.full else arguments.samples
    with tempfile.TemporaryDirectory() as name:
        rates, missed = writer(min(samples, 50_000), Path(name))
        merged, more = merge(samples, arguments.shards, Path(name))
    driver_s = arguments.dispatch_ms / 1000 + BATCH / rates["verdicts_per_s"] + BATCH / rates["samples_per_s"]
    one_writer = {
        "driver_ms_per_batch": round(1000 * driver_s, 2),
        "saturates_at_verdicts_per_s": round(BATCH / driver_s),
    }
    results = {"writer": rates | one_writer, "merge": merged, "nodes": nodes(rates, arguments.dispatch_ms)}
    finish("scale", results, missed + more)


if __name__ == "__main__":
    main()

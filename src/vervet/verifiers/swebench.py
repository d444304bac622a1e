"""SWE-bench: a patch is an answer, and the benchmark's official harness decides, in containers of a Docker-compatible engine.

Check: what the harness needs of an instance's row (`FIELDS`), and "flaky": true where its tests are known to be.

The harness (PyPI `swebench`) applies the patch in a fresh container of the instance's image, runs the instance's tests and
reads their output. It decides PASS and FAIL; what is ours is around it:

- the gold patch comes first. Where it does not resolve the instance here, no other verdict means anything: UNKNOWN;
- the harness keeps one patch for each run and instance: each attempt is a run of its own;
- instances whose tests are flaky run `flaky_trials` times, and the majority decides; so does `trials` for all others;
- a patch that does not apply FAILs, with git's reason; an empty one FAILs without a container; an instance without tests
  is UNKNOWN, though the harness would let everything pass;
- what went wrong with engine, image, network or harness is UNKNOWN: the harness itself counts it against the patch;
- out of time is FAIL only where the gold patch would have been through four times over, at the machine's present load.

Containers are the harness's: root inside, with the engine's default network and no limit on memory.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vervet import sandbox
from vervet.errors import BadOption, MissingPart
from vervet.records import Outcome, Problem, Reason, Strength, Verdict
from vervet.verifiers import _fields
from vervet.verifiers._swebench_harness import Attempt, Harness

FIELDS = (
    "instance_id",
    "image",
    "eval_script",
    "log_parser",
    "eval_type",
    "repo",
    "version",
    "FAIL_TO_PASS",
    "PASS_TO_PASS",
)
_NAMED = ("instance_id", "image", "eval_script", "log_parser", "eval_type")
_MARGIN = 4.0
# times the gold patch's time that must fit into the limit before it says something about another patch
_TESTS_SHOWN = 10
_LOG_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Gold:
    """What the gold patch came to."""

    verdict: Verdict
    seconds: float | None
    # that its tests ran, the slowest time


class SWEBench:
    """Judges patches; see the module's docstring."""

    name = "swebench"
    version = "1"
    needs = frozenset({"container"})

    def __init__(
        self,
        *,
        timeout_s: float = 1800.0,
        trials: int = 1,
        flaky_trials: int = 11,
        gold: bool = True,
        at_once: int | None = None,
    ) -> None:
        """How patches are run.

        Args: timeout_s: wall-clock for an instance's tests.  trials, flaky_trials: runs of a patch, odd, whose majority
        decides.  gold: check the gold patch first, where there is one.  at_once: containers at a time, by default three for
        four processors.
        """
        if not 0 < timeout_s <= 86400:
            raise BadOption("timeout_s is seconds between 0 and 86400")
        if trials < 1 or flaky_trials < 1 or trials % 2 == 0 or flaky_trials % 2 == 0:
            raise BadOption("trials and flaky_trials are odd numbers: an even number of runs can be tied")
        if at_once is not None and at_once < 1:
            raise BadOption("at_once is at least 1")
        self._timeout_s, self._trials, self._flaky_trials = float(timeout_s), int(trials), int(flaky_trials)
        self._with_gold = gold
        self._slots = asyncio.Semaphore(at_once or max(1, len(os.sched_getaffinity(0)) * 3 // 4))
        self._harness = Harness()
        self._golds: dict[str, asyncio.Task[Gold]] = {}

    def settings(self) -> Mapping[str, Any]:
        """Time, runs and the gold patch. The harness's own version is in each verdict's log."""
        return {
            "timeout_s": self._timeout_s,
            "trials": self._trials,
            "flaky_trials": self._flaky_trials,
            "gold": self._with_gold,
        }

    def load(self, problem: Problem) -> None:
        """Raises: BadData that names the problem."""
        check = _fields.only(problem, frozenset({*FIELDS, "flaky"}))
        for name in _NAMED:
            if not _fields.text(problem, name).strip():
                _fields.bad(problem, f"its check needs a text {name!r} that is not empty")
        for name in ("FAIL_TO_PASS", "PASS_TO_PASS"):
            tests = check.get(name)
            if not isinstance(tests, (list, tuple)) or not all(isinstance(test, str) for test in tests):
                _fields.bad(problem, f"its check needs a list of tests {name!r}")
        if check["eval_type"] not in ("pass_and_fail", "fail_only"):
            _fields.bad(problem, f"its eval_type {check['eval_type']!r} is neither pass_and_fail nor fail_only")

    def stubs(self, problem: Problem) -> Mapping[str, str]:  # noqa: ARG002  the same for every problem
        """Answers that must never PASS, for `vervet audit`."""
        return {
            "nothing": "",
            "no patch": "I do not know.\n",
            "a new file": _new_file("vervet-note.txt", "nothing is resolved by this"),
            "a file that is not there": _no_such_file(),
        }

    def without_tests(self, problem: Problem) -> Problem:
        """The problem with nothing left to decide by, for `vervet audit`."""
        return dataclasses.replace(problem, check={**problem.check, "FAIL_TO_PASS": [], "PASS_TO_PASS": []})

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        """One verdict an answer. Raises: MissingPart where the package `swebench` is not installed."""
        self.load(problem)
        distinct = dict.fromkeys(answers)
        verdicts = await asyncio.gather(*(self._judge(problem, answer) for answer in distinct))
        of = dict(zip(distinct, verdicts, strict=True))
        return [of[answer] for answer in answers]

    async def aclose(self) -> None:
        """End what runs: no process and no container of ours is left."""
        for task in self._golds.values():
            task.cancel()
        await asyncio.gather(*self._golds.values(), return_exceptions=True)
        self._golds.clear()
        await self._harness.aclose()

    # --------------------------------------------------------------------------------------------- one answer

    async def _judge(self, problem: Problem, answer: str) -> Verdict:
        if not problem.check["FAIL_TO_PASS"]:
            return _verdict(Outcome.UNKNOWN, Reason.NO_TESTS, "the instance has no tests that a patch has to make pass")
        if not answer.strip():
            return _verdict(Outcome.FAIL, Reason.NO_ANSWER, "the patch is empty")
        gold: Gold | None = None
        if self._with_gold and problem.reference is not None:
            gold = await self._gold(problem)
            if gold.verdict.outcome is not Outcome.PASS:
                return _no_gold(gold.verdict)
            if answer == problem.reference:
                return gold.verdict
        return (await self._majority(problem, answer, gold))[0]

    async def _gold(self, problem: Problem) -> Gold:
        """The gold patch's verdict: found out once, before the first answer; again where it was not decided."""
        key = problem.check_fingerprint
        if key not in self._golds:
            self._golds[key] = asyncio.create_task(self._run_gold(problem))
        task = self._golds[key]
        try:
            found = await asyncio.shield(task)
        except BaseException:
            if self._golds.get(key) is task and task.done():
                del self._golds[key]
            raise
        if found.verdict.outcome is Outcome.UNKNOWN and self._golds.get(key) is task:
            del self._golds[key]
        return found

    async def _run_gold(self, problem: Problem) -> Gold:
        assert problem.reference is not None
        verdict, seconds = await self._majority(problem, problem.reference, None)
        return Gold(verdict, seconds)

    async def _majority(self, problem: Problem, patch: str, gold: Gold | None) -> tuple[Verdict, float | None]:
        """The verdict of as many runs as it takes to know the majority of all, and the slowest run's seconds."""
        trials = self._flaky_trials if problem.check.get("flaky") else self._trials
        verdicts: list[Verdict] = []
        seconds: list[float] = []
        for _ in range(trials):
            attempt = await self._attempt(problem, patch)
            verdicts.append(decide(attempt, gold, self._timeout_s))
            seconds += [] if attempt.seconds is None else [attempt.seconds]
            votes = Counter(v.outcome for v in verdicts)
            if max(votes[Outcome.PASS], votes[Outcome.FAIL]) > trials // 2 or verdicts[-1].reason is Reason.UNAVAILABLE:
                break
        return self._signed(elect(verdicts, trials)), max(seconds, default=None)

    async def _attempt(self, problem: Problem, patch: str) -> Attempt:
        async with self._slots:
            try:
                # says why there is none, before a worker is started for it
                await asyncio.to_thread(sandbox.engine)
            except MissingPart as error:
                self._harness.check()
                return Attempt("unreachable", str(error))
            row = {name: problem.check.get(name, "") for name in FIELDS}
            return await self._harness.run(row, patch, self._timeout_s)

    def _signed(self, verdict: Verdict) -> Verdict:
        version = self._harness.version
        return dataclasses.replace(verdict, log=f"{verdict.log}\n(swebench {version})".strip()) if version else verdict


def decide(attempt: Attempt, gold: Gold | None, timeout_s: float) -> Verdict:
    """The verdict on one run of a patch. `gold` is None where no gold patch was seen to resolve the instance."""
    if attempt.end == "unreachable":
        return _verdict(Outcome.UNKNOWN, Reason.UNAVAILABLE, attempt.log)
    if attempt.end == "broken":
        return _verdict(Outcome.UNKNOWN, Reason.SANDBOX, attempt.log)
    if attempt.end == "unappliable":
        return _verdict(Outcome.FAIL, Reason.NOT_APPLIED, attempt.log)
    if attempt.end == "timeout":
        return _out_of_time(gold, timeout_s)
    assert attempt.report is not None
    return _graded(attempt.report, attempt.output, gold)


def elect(verdicts: Sequence[Verdict], trials: int) -> Verdict:
    """The majority's verdict out of `trials` runs, of which the rest need not have run; UNKNOWN where there is none."""
    if trials == 1:
        return verdicts[0]
    votes = Counter(v.outcome for v in verdicts)
    for outcome in (Outcome.PASS, Outcome.FAIL):
        if votes[outcome] > trials // 2:
            shown = next(v for v in verdicts if v.outcome is outcome)
            said = f"{votes[outcome]} of {len(verdicts)} runs {outcome.value} ({trials} at most)"
            return dataclasses.replace(shown, log=f"{said}\n{shown.log}".strip())
    unknown = next((v for v in verdicts if v.outcome is Outcome.UNKNOWN), None)
    said = f"no majority of {trials} runs: {votes[Outcome.PASS]} PASS, {votes[Outcome.FAIL]} FAIL"
    if unknown is None:
        return _verdict(Outcome.UNKNOWN, Reason.NO_VERDICT, said)
    return dataclasses.replace(unknown, log=f"{said}\n{unknown.log}"[:_LOG_CHARS])


def _graded(report: Mapping[str, Any], output: str, gold: Gold | None) -> Verdict:
    if report["resolved"]:
        return _verdict(Outcome.PASS, Reason.ACCEPTED, "")
    if report["patch_successfully_applied"]:
        return _verdict(Outcome.FAIL, Reason.WRONG, f"{_failures(report['tests_status'])}\n{output[-1200:]}")
    # no result could be read from what the tests printed
    why = report.get("infra_failure_reason", "")
    if report.get("infra_failure"):
        return _verdict(Outcome.UNKNOWN, Reason.SANDBOX, f"the environment failed ({why})\n{output[-1200:]}")
    if gold is None:
        return _verdict(Outcome.UNKNOWN, Reason.VERIFIER, f"the tests gave no results {why}\n{output[-1200:]}")
    log = f"the tests gave no results, which those of the gold patch do {why}\n{output[-1200:]}"
    return _verdict(Outcome.FAIL, Reason.EXITED, log)


def _failures(status: Mapping[str, Any]) -> str:
    lines = []
    for name, words in (("FAIL_TO_PASS", "still failing"), ("PASS_TO_PASS", "broken")):
        failed = status[name]["failure"]
        if failed:
            more = f" and {len(failed) - _TESTS_SHOWN} more" if len(failed) > _TESTS_SHOWN else ""
            lines.append(f"{words} ({name}): {', '.join(failed[:_TESTS_SHOWN])}{more}")
    return "\n".join(lines)


def _out_of_time(gold: Gold | None, timeout_s: float) -> Verdict:
    if gold is None or gold.seconds is None:
        log = f"the tests took more than {timeout_s:g} s, and no gold patch says how long they should take"
        return _verdict(Outcome.UNKNOWN, Reason.STARVED, log)
    busy = max(1.0, max(os.getloadavg()) / (os.cpu_count() or 1))
    said = f"the tests took more than {timeout_s:g} s, those of the gold patch {gold.seconds:.1f} s"
    if timeout_s < _MARGIN * busy * gold.seconds:
        return _verdict(Outcome.UNKNOWN, Reason.STARVED, f"{said}: too close to tell on this machine; raise timeout_s")
    return _verdict(Outcome.FAIL, Reason.WALL_TIME, said)


def _no_gold(verdict: Verdict) -> Verdict:
    """UNKNOWN for every answer to an instance whose gold patch is not right here."""
    reason = verdict.reason if verdict.outcome is Outcome.UNKNOWN else Reason.VERIFIER
    log = f"the gold patch does not resolve this instance here: {verdict.log}"
    return _verdict(Outcome.UNKNOWN, reason, log)


def _verdict(outcome: Outcome, reason: Reason, log: str) -> Verdict:
    isolation = "" if reason in (Reason.NO_ANSWER, Reason.NO_TESTS, Reason.UNAVAILABLE) else "docker"
    return Verdict(outcome, reason, Strength.SAME_PROCESS, isolation, None, log.strip()[:_LOG_CHARS])


def _new_file(name: str, line: str) -> str:
    return f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{line}\n"


def _no_such_file() -> str:
    name = "vervet/is/not/here.py"
    return f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-one\n+two\n"

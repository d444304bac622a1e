"""What the ledger says about problems and verdicts equals a count over its samples, one by one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.reports.pages import small_run
from vervet.ledger import Ledger, verifier_id, view
from vervet.ledger.summary import summary, verifier_of
from vervet.records import Outcome, Reason, Strength, Verdict


def test_the_summary_equals_a_count_of_samples(tmp_path: Path) -> None:
    with small_run(tmp_path, n=15) as run:
        found = summary(run.ledger, view(run.ledger))
        kinds: Counter[tuple[str, str]] = Counter()
        for p in found.problems:
            samples = list(run.samples(p.problem_id))
            passes = [s.index for s in samples if s.outcome is Outcome.PASS]
            assert p.samples == len(samples) == 15
            assert (p.passed, p.failed, p.undecided) == (len(passes), 15 - len(passes), 0)
            assert p.first_pass == min(passes, default=None)
            assert p.distinct_answers == len({s.answer for s in samples})
            kinds.update((str(s.outcome), s.reason) for s in samples)
        assert {(g.outcome, g.reason): g.samples for g in found.verdicts} == kinds
        assert {g.strength for g in found.verdicts} == {"exact"}
        assert found.trials == sum(g.answers for g in found.verdicts)
        assert (found.retried, found.contested) == (0, 0)
        assert verifier_of(run.ledger, view(run.ledger))["name"] == "exact"


def test_pending_samples_are_no_verdicts(tmp_path: Path) -> None:
    from tests.reports.pages import problems
    from vervet import api

    task = problems(tmp_path / "t.jsonl", ["a", "b"])
    with api.sample(str(task), model="fake/p=0.5", n=6, out=tmp_path / "run", seed=1) as run:
        found = summary(run.ledger, view(run.ledger))
    assert [(g.outcome, g.samples) for g in found.verdicts] == [("pending", 12)]
    assert all(p.undecided == 6 for p in found.problems)


def test_unknown_repeated_and_contradicting_trials_are_told_apart(tmp_path: Path) -> None:
    small_run(tmp_path, "fake/p=0.5", n=10, size=3).close()
    with Ledger.open(tmp_path / "run", writer=True) as ledger:
        which = view(ledger)
        answers = [row[0] for row in ledger.db.execute("SELECT id FROM answers ORDER BY id LIMIT 3")]
        unknown = Verdict(Outcome.UNKNOWN, Reason.STARVED, Strength.EXACT, "namespaces", cpu_s=0.25)
        with ledger.transaction():
            judge = verifier_id(ledger, "other", "1", {})
            for answer in answers:
                _add(ledger, judge, answer, 0, unknown)
            _add(ledger, judge, answers[1], 1, Verdict(Outcome.PASS, Reason.ACCEPTED, Strength.EXACT, "namespaces"))
            _add(ledger, judge, answers[2], 1, Verdict(Outcome.PASS, Reason.ACCEPTED, Strength.EXACT, "namespaces"))
            _add(ledger, judge, answers[2], 2, Verdict(Outcome.FAIL, Reason.WRONG, Strength.EXACT, "namespaces"))
        found = summary(ledger, view(ledger, "other"))
        assert which.verifier != judge
    assert found.trials == 6
    assert (found.retried, found.contested) == (2, 1)
    assert found.cpu_s == 0.75
    kinds = {(g.outcome, g.reason): g.answers for g in found.verdicts if g.outcome != "pending"}
    # the tie has an UNKNOWN trial to take its reason from
    assert kinds == {("UNKNOWN", "starved"): 2, ("PASS", "accepted"): 1}
    assert {g.isolation for g in found.verdicts if g.outcome != "pending"} == {"namespaces"}


def _add(ledger: Ledger, judge: int, answer: int, trial: int, verdict: Verdict) -> None:
    check = ledger.db.execute(
        "SELECT p.check_id FROM answers a JOIN problems p ON p.id = a.problem WHERE a.id = ?", (answer,)
    ).fetchone()[0]
    code = {Outcome.FAIL: 0, Outcome.PASS: 1, Outcome.UNKNOWN: 2}[verdict.outcome]
    names = [ledger.name_id(str(n)) for n in (verdict.reason, verdict.strength, verdict.isolation)]
    cpu = None if verdict.cpu_s is None else int(verdict.cpu_s * 1000)
    ledger.db.execute(
        "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        (judge, check, answer, trial, code, *names, cpu),
    )

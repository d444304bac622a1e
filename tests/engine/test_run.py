"""A run from start to end with models whose behaviour is known: what is drawn, stored, verified, retried, and said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

import vervet
from tests.helpers import served, write_problems
from vervet import api, plugins
from vervet.api.statistics import run_folders
from vervet.cli.main import execute
from vervet.errors import MissingPart, PluginError, ServiceError, UserError
from vervet.protocols import SamplerSetup, SamplerTraits
from vervet.records import Completion, Outcome, Problem, Reason, Reply, Request, Strength, Verdict

HERE = "tests.engine.test_run"


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_problems(tmp_path / "q.jsonl", 6)


def everything(folder: Path) -> list[tuple[Any, ...]]:
    """All samples of a run, as plain tuples."""
    with vervet.open_run(folder) as run:
        return [(p, s.index, s.seed, s.text, s.outcome) for p in run.problem_ids() for s in run.samples(p)]


# ------------------------------------------------------------------------------------------- growing and repeating


def test_a_repeat_samples_nothing_and_growth_samples_only_what_is_missing(task: Path, tmp_path: Path) -> None:
    run = tmp_path / "r"
    assert execute(["run", str(task), "-m", "fake/p=0.3", "-n", "5", "--limit", "3", "--out", str(run)]) == 0
    assert len(served(run)) == 15
    assert execute(["run", str(task), "-m", "fake/p=0.3", "-n", "5", "--limit", "3", "--out", str(run)]) == 0
    assert execute(["run", str(task), "-m", "fake/p=0.3", "--out", str(run)]) == 0
    assert len(served(run)) == 15, "a repeat takes -n and --limit from the run and draws nothing"
    assert execute(["run", str(task), "-m", "fake/p=0.3", "-n", "8", "--out", str(run)]) == 0
    assert set(served(run)) == {(f"q{i}", j) for i in range(3) for j in range(8)}
    assert execute(["run", str(task), "-m", "fake/p=0.3", "--limit", "5", "--out", str(run)]) == 0
    log = served(run)
    assert set(log) == {(f"q{i}", j) for i in range(5) for j in range(8)}
    assert all(len(seeds) == 1 for seeds in log.values())


def test_resume_needs_only_the_folder(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set is gone, the environment says something else: the folder alone decides."""
    run = tmp_path / "r"
    assert execute(["run", str(task), "-m", "fake/beta=0.5,2", "-n", "4", "--seed", "5", "--out", str(run)]) == 0
    moved = tmp_path / "elsewhere"
    shutil.move(run, moved)
    task.unlink()
    monkeypatch.setenv("VERVET_TEMPERATURE", "0.1")
    monkeypatch.setenv("VERVET_N", "1")
    assert execute(["resume", str(moved), "-n", "9"]) == 0
    with vervet.open_run(moved) as again:
        assert again.counts().n.tolist() == [9] * 6
        assert again.config.params.temperature == 0.8


def test_a_seeded_run_repeats_exactly_however_it_is_cut_up(task: Path, tmp_path: Path) -> None:
    """Same seed: same samples, for other batch sizes, in one go or in three. Another seed: other samples."""
    whole, cut, other = tmp_path / "whole", tmp_path / "cut", tmp_path / "other"
    vervet.run(str(task), model="fake/beta=0.5,1", n=40, seed=11, out=whole, model_options={"batch": 7})
    for n in (3, 10, 40):
        vervet.run(str(task), model="fake/beta=0.5,1", n=n, seed=11, out=cut, model_options={"batch": n})
    vervet.run(str(task), model="fake/beta=0.5,1", n=40, seed=12, out=other)
    assert everything(whole) == everything(cut)
    assert everything(whole) != everything(other)


def test_seeds_are_distinct(task: Path, tmp_path: Path) -> None:
    vervet.run(str(task), model="fake/p=0.5", n=50, out=tmp_path / "r")
    seeds = [row[2] for row in everything(tmp_path / "r")]
    assert len(set(seeds)) == len(seeds) == 300


def test_without_a_seed_two_runs_differ(task: Path, tmp_path: Path) -> None:
    """False alarm: two fair coins agree on 300 tosses with probability 2^-300."""
    for name in ("a", "b"):
        vervet.run(str(task), model="fake/p=0.5", n=50, out=tmp_path / name)
    assert everything(tmp_path / "a") != everything(tmp_path / "b")


def test_new_starts_another_run_beside(task: Path, tmp_path: Path) -> None:
    first = vervet.run(str(task), model="fake/p=0.5", n=2, out=tmp_path / "r")
    second = vervet.run(str(task), model="fake/p=0.5", n=2, out=tmp_path / "r", new=True)
    assert first.folder != second.folder
    assert second.counts().n.tolist() == [2] * 6


def test_the_halves_make_the_whole(task: Path, tmp_path: Path) -> None:
    """`sample` leaves samples pending; `verify` judges them without model and data; coverage knows the difference."""
    run = tmp_path / "r"
    assert execute(["sample", str(task), "-m", "fake/p=0.5", "-n", "20", "--seed", "3", "--out", str(run)]) == 0
    with vervet.open_run(run) as half:
        assert half.counts().n.tolist() == [0] * 6
        assert half.counts().unknown.tolist() == [20] * 6
    task.unlink()
    assert execute(["verify", str(run)]) == 0
    with vervet.open_run(run) as whole:
        counts = whole.counts()
        assert counts.n.tolist() == [20] * 6
        assert 0 < counts.c.sum() < 120
    done = api.verify(run)
    assert (done.verified, done.changed) == (0, 0), "a repeat verifies nothing"


def test_problems_named_by_the_end_of_their_ids_are_verified_and_resumed(tmp_path: Path) -> None:
    """A run told "7" for "Set/7": what goes on later, without the data, is the same problems."""
    rows = [{"id": f"Set/{i}", "prompt": f"{i}?", "answer": str(i)} for i in range(9)]
    task, run = tmp_path / "set.jsonl", tmp_path / "r"
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = ["sample", str(task), "-m", "fake/p=0.5", "-n", "4", "--problems", "7,2", "--out", str(run)]
    assert execute(line) == 0
    assert execute(["verify", str(run)]) == 0
    with vervet.resume(run, n=6) as grown:
        assert dict(zip(grown.problem_ids(), grown.counts().n.tolist(), strict=True)) == {"Set/7": 6, "Set/2": 6}
    with vervet.resume(run, n=8, problems=("2",)) as grown:
        assert dict(zip(grown.problem_ids(), grown.counts().n.tolist(), strict=True)) == {"Set/7": 6, "Set/2": 8}
    with pytest.raises(UserError, match="no problem '3'"):
        vervet.resume(run, n=8, problems=("3",))


def test_runs_below_a_folder_come_as_people_count(task: Path, tmp_path: Path) -> None:
    for name in ("n1", "n10", "n2", "a20b", "a3b"):
        vervet.run(str(task), model="fake/p=0.5", n=1, out=tmp_path / "all" / name).close()
    found = [folder.name for folder in run_folders(tmp_path / "all")]
    assert found == ["a3b", "a20b", "n1", "n2", "n10"]


def test_it_works_inside_a_running_event_loop(task: Path, tmp_path: Path) -> None:
    """As in a notebook."""
    import asyncio

    async def cell() -> int:
        return int(vervet.run(str(task), model="fake/p=0.5", n=3, out=tmp_path / "r").counts().n.sum())

    assert asyncio.run(cell()) == 18


# ------------------------------------------------------------------------------------------- models that misbehave


class Odd:
    """A model made for one test: `behave` says what a request gives."""

    calls: ClassVar[list[Request]] = []

    def __init__(self, name: str, setup: SamplerSetup) -> None:
        self.behave = getattr(self, name)
        Odd.calls.clear()

    def traits(self) -> SamplerTraits:
        return SamplerTraits(form="chat", max_n=4)

    async def sample(self, request: Request) -> Reply:
        Odd.calls.append(request)
        return self.behave(request)  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        return

    def short(self, request: Request) -> Reply:
        """One choice, whatever was asked for."""
        return Reply((Completion(f"Answer: {request.first}"),))

    def long(self, request: Request) -> Reply:
        return Reply(tuple(Completion(f"Answer: {request.first}") for _ in range(request.n + 5)))

    def empty(self, request: Request) -> Reply:
        return Reply(tuple(Completion("") for _ in range(request.n)))

    def hopeless(self, request: Request) -> Reply:
        if request.problem_id == "q1":
            raise ValueError("the prompt is longer than the context")
        return self.long(request)

    def gone(self, request: Request) -> Reply:
        raise ConnectionError("nobody listens")

    def buggy(self, request: Request) -> Reply:
        raise KeyError("oops")

    def silent(self, request: Request) -> Reply:
        return Reply(())


def test_fewer_choices_than_asked_are_kept_and_the_rest_is_asked_again(task: Path, tmp_path: Path) -> None:
    run = vervet.run(str(task), model=f"{HERE}:Odd/short", n=4, out=tmp_path / "r")
    assert run.counts().n.tolist() == [4] * 6
    assert len(Odd.calls) == 24
    assert len({(r.problem_id, r.first) for r in Odd.calls}) == 24, "each index is asked for once, with its own seed"


def test_more_choices_than_asked_are_dropped(task: Path, tmp_path: Path) -> None:
    run = vervet.run(str(task), model=f"{HERE}:Odd/long", n=6, out=tmp_path / "r")
    assert run.counts().n.tolist() == [6] * 6


def test_empty_texts_are_draws_and_fail(task: Path, tmp_path: Path) -> None:
    run = vervet.run(str(task), model=f"{HERE}:Odd/empty", n=5, out=tmp_path / "r")
    facts = run.to_dict()
    assert (facts["fail"], facts["unparsed"], facts["unknown"]) == (30, 30, 0)
    assert {s.reason for s in run.samples("q0")} == {"no_answer"}


def test_a_problem_that_cannot_be_sampled_stays_missing_and_the_run_goes_on(
    task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = execute(["run", str(task), "-m", f"{HERE}:Odd/hopeless", "-n", "8", "--out", str(tmp_path / "r"), "--json"])
    out, _ = capsys.readouterr()
    assert code == 4
    facts = json.loads(out)
    assert (facts["samples"], facts["missing"]) == (40, 8)
    assert sum(r.problem_id == "q1" for r in Odd.calls) <= 2, "asked once, perhaps once more that was in flight"


def test_a_model_out_of_reach_is_a_service_error(task: Path, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="nobody listens"):
        vervet.run(str(task), model=f"{HERE}:Odd/gone", n=4, out=tmp_path / "r")


def test_a_bug_in_a_model_is_attributed_to_it(task: Path, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="the model failed: KeyError"):
        vervet.run(str(task), model=f"{HERE}:Odd/buggy", n=4, out=tmp_path / "r")


def test_a_model_that_gives_nothing_ends_with_missing_samples(task: Path, tmp_path: Path) -> None:
    run = vervet.run(str(task), model=f"{HERE}:Odd/silent", n=4, out=tmp_path / "r")
    assert run.to_dict()["missing"] == 24
    assert len(Odd.calls) == 6, "asked once, not for ever"


# ------------------------------------------------------------------------------------------- verifiers that misbehave


class Moody:
    """A verifier made for one test. `script`: the outcomes of an answer's successive trials; an error raises."""

    name = "moody"
    version = "1"
    needs: frozenset[str] = frozenset()
    seen: ClassVar[list[str]] = []

    def __init__(self, *, script: str = "PASS") -> None:
        self._script = script.split(",")

    def settings(self) -> Mapping[str, Any]:
        return {"script": ",".join(self._script)}

    def load(self, problem: Problem) -> None:
        return

    async def verify(self, problem: Problem, answers: Sequence[str]) -> list[Verdict]:
        out = []
        for answer in answers:
            key = f"{problem.id}/{answer}"
            step = self._script[min(Moody.seen.count(key), len(self._script) - 1)]
            Moody.seen.append(key)
            if step == "missing":
                raise MissingPart("this verifier needs a part: install it")
            if step == "raise":
                raise RuntimeError("the verifier broke")
            out.append(Verdict(Outcome(step), Reason.ACCEPTED if step == "PASS" else Reason.SANDBOX, Strength.EXACT))
        return out

    async def aclose(self) -> None:
        return


class MoodyTask(plugins.resolve("tasks", "jsonl")):  # type: ignore[misc]
    """The JSONL task, judged by Moody."""

    def __init__(self, *, path: Path, script: str) -> None:
        super().__init__(path=path)
        self.verifier = vervet.records.VerifierSpec(f"{HERE}:Moody", {"script": script})


def moody(task: Path, tmp_path: Path, script: str, n: int = 6) -> vervet.Run:
    Moody.seen.clear()
    options = {"path": str(task), "script": script}
    return vervet.run(f"{HERE}:MoodyTask", model="fake/p=0.5", n=n, out=tmp_path / "r", task_options=options)


def test_each_distinct_answer_is_verified_once(task: Path, tmp_path: Path) -> None:
    moody(task, tmp_path, "PASS", n=64)
    assert len(Moody.seen) == len(set(Moody.seen)) <= 12, "two distinct answers a problem, 64 samples"


def test_unknown_is_retried_and_then_decided(task: Path, tmp_path: Path) -> None:
    run = moody(task, tmp_path, "UNKNOWN,UNKNOWN,PASS")
    assert run.counts().c.tolist() == [6] * 6
    assert max(Moody.seen.count(key) for key in Moody.seen) == 3


def test_what_stays_unknown_is_tried_three_times_counted_and_never_fail(task: Path, tmp_path: Path) -> None:
    run = moody(task, tmp_path, "UNKNOWN")
    facts = run.to_dict()
    assert (facts["pass"], facts["fail"], facts["unknown"]) == (0, 0, 36)
    assert {Moody.seen.count(key) for key in Moody.seen} == {3}
    point = vervet.coverage(run.counts(), k=[1]).points[0]
    assert (point.floor, point.ceiling) == (0.0, 1.0)


def test_a_verifier_that_raises_gives_unknown_and_a_repeat_decides(task: Path, tmp_path: Path) -> None:
    run = moody(task, tmp_path, "raise")
    assert run.to_dict()["unknown"] == 36
    trial = run.trials("q0", 0)[-1]
    assert trial["reason"] == "verifier_failed"
    assert "the verifier broke" in trial["log"]


def test_a_verifier_whose_part_is_missing_stops_with_its_line_and_keeps_the_samples(task: Path, tmp_path: Path) -> None:
    """It says nothing about the answers: they stay pending, and are judged when the part is there."""
    with pytest.raises(MissingPart, match="install it"):
        moody(task, tmp_path, "missing")
    with vervet.open_run(tmp_path / "r") as run:
        facts = run.to_dict()
    assert facts["samples"] == facts["pending"] > 0


def test_a_path_is_a_task_too(task: Path, tmp_path: Path) -> None:
    assert vervet.run(task, model="fake/p=0.5", n=1, out=tmp_path / "r").counts().n.tolist() == [1] * 6

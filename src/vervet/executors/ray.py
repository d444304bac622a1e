"""Verification on a Ray cluster: the same verdicts as in this process, on as many nodes as there are.

    this process                            Ray
    jobs -> one line a demand  ->  workers, one a processor, each with warm verifiers and sandboxes
    results <- put together    <-  verdicts

One process, this one, owns the ledger; workers hold nothing that matters. A batch whose worker, node or object store is lost
goes to another worker; from the second loss on in halves, so that an answer that kills its worker ends alone, as UNKNOWN. A
batch is taken from the caller only when a worker has room for it, and gives its room back only when its result was taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from vervet.errors import ServiceError
from vervet.executors import _ray_cluster as cluster
from vervet.executors._ray_staff import AT_ONCE, Member, Staff
from vervet.executors._ray_worker import Answer
from vervet.executors._verifiers import unknown
from vervet.protocols import Verifier
from vervet.records import Job, JobResult, Problem, Verdict, VerifierSpec, fingerprint

LOSSES = 3
# of workers on one answer, then it is UNKNOWN
_INLINE = 64 * 1024
# bytes of a problem that travel with each batch; larger ones are fetched once a worker
_PARCELS = 4096
# problems that are kept ready to travel
_RESULTS = 16
_TICK_S = 0.5


@dataclass(eq=False, slots=True)
class _Open:
    """A job some of whose verdicts are not there yet."""

    job: Job
    verdicts: list[Verdict | None]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Answers [start, stop) of a job."""

    open: _Open
    start: int
    stop: int
    losses: int = 0
    # workers that were lost while they had it


class Ray:
    """Runs jobs on the workers of a cluster; see the module's docstring."""

    def __init__(
        self,
        build: Callable[[VerifierSpec], Verifier],
        *,
        address: str | None = None,
        cpus: int = 1,
        patience_s: float = 300.0,
    ) -> None:
        """Args: address: see `_ray_cluster.connect`.  cpus: processors of a worker.  patience_s: without any worker while
        work waits, before the run ends.

        Raises: MissingPart, BadOption, ServiceError, UserError: with one line about what is wrong with the cluster.
        """
        self._ray, self._mine = cluster.connect(address)
        self._build, self._cpus, self._patience_s = build, cpus, patience_s
        self._staffs: dict[tuple[tuple[str, float], ...], Staff] = {}
        self._of_spec: dict[str, Staff] = {}
        self._parcels: dict[str, tuple[Problem, str, Any]] = {}

    async def run(self, jobs: AsyncIterable[Job]) -> AsyncIterator[JobResult]:
        """Results as they come. Raises: MissingPart where no node can do the work, ServiceError where all are gone."""
        shift = _Shift(self)
        feed = shift.start(shift.feed(jobs))
        try:
            while (result := await shift.results.get()) is not None:
                if isinstance(result, Exception):
                    raise result
                yield result
        finally:
            feed.cancel()
            await shift.end()

    async def staff(self, spec: VerifierSpec) -> Staff:
        """Those who judge by this verifier."""
        key = repr((spec.name, sorted(spec.settings.items())))
        if key not in self._of_spec:
            verifier = self._build(spec)
            needs = set(verifier.needs)
            await verifier.aclose()
            if str(spec.settings.get("sandbox", "")).startswith("docker"):
                needs.add("container")
            demand = cluster.demand_of(needs, self._cpus)
            place = tuple(sorted(demand.items()))
            if place not in self._staffs:
                self._staffs[place] = Staff(self._ray, self._build, demand, spec.name)
            self._of_spec[key] = self._staffs[place]
        return self._of_spec[key]

    def parcel(self, problem: Problem) -> tuple[str, Any]:
        """A problem's key, and how it travels: as it is, or where it is large as a reference, within a list."""
        known = self._parcels.get(problem.id)
        if known is None or known[0] is not problem:
            plain = Problem(problem.id, dict(problem.check), dict(problem.data), problem.reference)
            large = len(pickle.dumps(plain)) > _INLINE
            key = fingerprint(problem.check_fingerprint, problem.data)
            if len(self._parcels) >= _PARCELS:
                self._parcels.pop(next(iter(self._parcels)))
            known = self._parcels[problem.id] = (problem, key, [self._ray.put(plain)] if large else plain)
        return known[1:]

    @property
    def ray(self) -> ModuleType:
        """The package, connected."""
        return self._ray

    @property
    def patience_s(self) -> float:
        return self._patience_s

    @property
    def notices(self) -> list[str]:
        """Lines for the run's result: nodes that could not be used."""
        return [line for staff in self._staffs.values() for line in staff.notices()]

    def facts(self) -> dict[str, Any]:
        """Which nodes judged how many answers, and under which isolation: plain JSON for the run's diary."""
        rows: dict[str, dict[str, Any]] = {}
        for member in (m for staff in self._staffs.values() for m in (*staff.members, *staff.past)):
            if member.hello is None:
                continue
            empty = {"node": member.hello.node, "address": member.hello.address, "workers": 0, "answers": 0}
            row = rows.setdefault(member.hello.node, empty | {"isolation": []})
            row["workers"] += 1
            row["answers"] += member.answers
            row["isolation"] = sorted({*row["isolation"], *member.isolations})
        return {"executor": "ray", "nodes": list(rows.values()), "unused": self.notices}

    async def aclose(self) -> None:
        """End the workers; leave the cluster if it was joined for this. Idempotent."""
        for staff in self._staffs.values():
            await staff.aclose()
        self._parcels.clear()
        if self._mine:
            self._mine = False
            self._ray.shutdown()


@dataclass(eq=False)
class _Shift:
    """One call of `run`: its tasks end with it, the workers stay warm."""

    owner: Ray
    results: asyncio.Queue[JobResult | Exception | None] = field(init=False)

    def __post_init__(self) -> None:
        self.results = asyncio.Queue(_RESULTS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: dict[Staff, _Line] = {}
        self._unfinished = 0
        self._settled = asyncio.Event()

    def start(self, work: Any) -> asyncio.Task[None]:
        """A task of this shift; its error is the run's."""
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Any) -> None:
        try:
            await work
        except Exception as error:
            await self.results.put(error)

    async def end(self) -> None:
        """Cancel what still runs."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def feed(self, jobs: AsyncIterable[Job]) -> None:
        """Hand out the jobs as workers have room, then wait for the last result."""
        async for job in jobs:
            line = await self._line(job.verifier)
            self._unfinished += 1
            self._settled.clear()
            await line.offer(_Piece(_Open(job, [None] * len(job.answers)), 0, len(job.answers)))
        while self._unfinished:
            await self._settled.wait()
        await self.results.put(None)

    async def _line(self, spec: VerifierSpec) -> _Line:
        staff = await self.owner.staff(spec)
        if staff not in self._lines:
            self._lines[staff] = _Line(self, staff)
        return self._lines[staff]

    async def settle(self, piece: _Piece, verdicts: tuple[Verdict, ...]) -> None:
        """Verdicts of a piece; with the last of its job the result is due."""
        have = piece.open.verdicts
        have[piece.start : piece.stop] = verdicts
        whole = [v for v in have if v is not None]
        if len(whole) == len(have):
            await self.results.put(JobResult(piece.open.job, tuple(whole)))
            self._unfinished -= 1
            if not self._unfinished:
                self._settled.set()


class _Line:
    """The batches that wait for one staff's workers: a single one of the caller's, before it whatever came back."""

    def __init__(self, shift: _Shift, staff: Staff) -> None:
        self._shift, self._staff = shift, staff
        self._waiting: deque[_Piece] = deque()
        self._out: dict[Member, list[_Piece]] = {}
        # what each worker has
        self._changed = asyncio.Condition()
        self._last_worker = time.monotonic()
        for member in list(staff.members):
            shift.start(self._serve(member))
        shift.start(self._watch())

    async def offer(self, piece: _Piece) -> None:
        """Returns once a worker has taken it, or another takes its place first in line."""
        self._hire()
        async with self._changed:
            self._waiting.append(piece)
            self._changed.notify_all()
            await self._changed.wait_for(lambda: piece not in self._waiting)

    async def _take(self, member: Member) -> _Piece:
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting and self._suits(member, self._waiting[0]))
            piece = self._waiting.popleft()
            self._out.setdefault(member, []).append(piece)
            self._changed.notify_all()
            return piece

    def _suits(self, member: Member, piece: _Piece) -> bool:
        """A batch that lost a worker before has the next one to itself: no other may share the blame for losing that too."""
        have = self._out.get(member, [])
        return not have if piece.losses else not any(other.losses for other in have)

    async def _done_with(self, member: Member, piece: _Piece) -> None:
        async with self._changed:
            self._out[member].remove(piece)
            self._changed.notify_all()

    async def _give_back(self, *pieces: _Piece) -> None:
        async with self._changed:
            self._waiting.extendleft(reversed(pieces))
            self._changed.notify_all()
        self._hire()

    def _hire(self) -> None:
        if self._staff.wants_more():
            self._shift.start(self._serve(self._staff.hire()))

    async def _serve(self, member: Member) -> None:
        """A worker's part of the shift, from its first word to its loss or the shift's end."""
        if member.hello is None and not await self._staff.welcome(member):
            if self._waiting:
                self._hire()
            return
        self._last_worker = time.monotonic()
        if self._waiting:
            self._hire()
        for _ in range(AT_ONCE):
            self._shift.start(self._work(member))

    async def _work(self, member: Member) -> None:
        while member in self._staff.members:
            piece = await self._take(member)
            if member in self._staff.members:
                await self._judge(member, piece)
            else:
                # lost while it waited: nobody has looked at this batch
                await self._give_back(piece)
            await self._done_with(member, piece)

    async def _judge(self, member: Member, piece: _Piece) -> None:
        try:
            answer = await self._ask(member, piece)
        except self._shift.owner.ray.exceptions.RayError as error:
            self._staff.dismiss(member)
            await self._lost(piece, error)
            return
        if answer.unfit:
            self._staff.reject(member, answer.unfit)
            await self._give_back(piece)
            return
        member.count(answer.verdicts)
        await self._shift.settle(piece, answer.verdicts)

    async def _ask(self, member: Member, piece: _Piece) -> Answer:
        job, owner = piece.open.job, self._shift.owner
        key, parcel = owner.parcel(job.problem)
        reference = member.actor.verify.remote(job.verifier, key, parcel, job.answers[piece.start : piece.stop])
        try:
            answer: Answer = await reference
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                owner.ray.cancel(reference)
            raise
        return answer

    async def _lost(self, piece: _Piece, error: Exception) -> None:
        """The worker is gone, by its node's fault or by the batch's: elsewhere again, from the second time on in halves."""
        losses, size = piece.losses + 1, piece.stop - piece.start
        if losses >= LOSSES and size == 1:
            said = " ".join(str(error).split())[:300]
            log = f"{losses} workers were lost while they judged this answer, the last one: {said}"
            await self._shift.settle(piece, unknown(piece.open.job, log)[:1])
        elif losses >= 2 and size > 1:
            middle = piece.start + size // 2
            halves = ((piece.start, middle), (middle, piece.stop))
            await self._give_back(*(_Piece(piece.open, start, stop, 1) for start, stop in halves))
        else:
            await self._give_back(_Piece(piece.open, piece.start, piece.stop, losses))

    async def _watch(self) -> None:
        """Raises: ServiceError when work has waited too long without any worker."""
        owner = self._shift.owner
        while True:
            await asyncio.sleep(_TICK_S)
            if self._waiting:
                self._hire()
            if self._staff.ready or not self._waiting:
                self._last_worker = time.monotonic()
            elif time.monotonic() - self._last_worker > owner.patience_s:
                raise ServiceError(
                    f"the Ray cluster ({len(cluster.nodes(owner.ray))} nodes up) has had no room for a worker for "
                    f"{owner.patience_s:g} s: what is not judged stays pending; see `ray status`, and repeat the command"
                )

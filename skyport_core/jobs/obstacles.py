"""What keeps jobs in the queue, whatever is free: holds, inputs, other jobs, arrays, machines."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from ..accounts import UnknownAccount
from ..model import Failure, Job, JobState, PartitionRecord
from ..scheduling import Impossible, Waiting
from ..store import Store
from ..unhurried import unhurried
from .dependencies import Judge, Never
from .keeping import Refuse, Take, Wait, kept_partition, machine_of, rivals_of
from .prospects import Prospects

MissingInputs = Callable[[Job], Awaitable[Sequence[str]]]
"""Names of the inputs that a job still waits for."""


@dataclass(frozen=True)
class Told:
    """Why a job waits; ``position`` None: it does not wait for others to go on."""

    job: Job
    reason: str
    position: int | None = None


@dataclass
class Sorted:
    """The queue, by what becomes of each job before anything is planned.

    Attributes
    ----------
    open
        Jobs that may be planned, in order.
    waiting, hopeless, takes
        The others: with why they wait, why they fail, or which machine of theirs they get.
    next
        When to look again although nothing has changed.
    """

    open: list[Job] = field(default_factory=list)
    waiting: list[Told] = field(default_factory=list)
    hopeless: list[tuple[Job, Failure]] = field(default_factory=list)
    takes: list[tuple[Job, PartitionRecord]] = field(default_factory=list)
    next: dt.datetime | None = None


class Obstacles:
    """Sorts the queue.

    Parameters
    ----------
    input_timeout : float
        Seconds that a job waits for its inputs.
    only_queued : callable, optional
        Called with the ids of the jobs in the queue: nobody asks for inputs of others.
    """

    def __init__(
        self,
        store: Store,
        prospects: Prospects,
        missing_inputs: MissingInputs,
        input_timeout: float,
        only_queued: Callable[[Collection[str]], None] | None = None,
    ) -> None:
        self._store = store
        self._prospects = prospects
        self._missing_inputs = missing_inputs
        self._only_queued = only_queued
        self._input_timeout = dt.timedelta(seconds=input_timeout)

    async def sort(self, jobs: Sequence[Job], now: dt.datetime) -> Sorted:
        """What becomes of each job that is in the queue among all that have not ended."""
        queue = [job for job in jobs if job.state is JobState.QUEUED and not job.target.final]
        if self._only_queued is not None:
            self._only_queued({job.id for job in queue})
        judge = await self._judge(queue)
        found = Sorted()
        running = Counter(job.array_id or "" for job in jobs if _has_place(job))
        async for job in unhurried(queue):
            if job.requeue:
                continue  # until the reconciler has removed what its last attempt left
            if not await self._stopped(job, judge, found, now) and _next_in_array(
                job, running, found
            ):
                found.open.append(job)
        await self._sort_kept(found, jobs)
        found.open = [job async for job in unhurried(found.open) if not self._misplaced(job, found)]
        return found

    async def _judge(self, queue: Iterable[Job]) -> Judge:
        """Who knows about the jobs that those in the queue depend on."""
        waiting = [job for job in queue if job.spec.dependencies]
        again = [job.id for job in waiting if job.attempt]
        settled = await self._store.placed_before(again) if again else set()
        wanted = {
            dependency.job
            for job in waiting
            if job.id not in settled
            for dependency in job.spec.dependencies
        }
        return Judge(await self._store.tallies(wanted) if wanted else {}, settled)

    async def _stopped(
        self,
        job: Job,
        judge: Judge,
        found: Sorted,
        now: dt.datetime,
    ) -> bool:
        """Whether something of the job's own keeps it from being planned; it is noted then."""
        if job.held:
            found.waiting.append(Told(job, "Held until it is released"))
            return True
        if job.spec.inputs and await self._lacks_inputs(job, found, now):
            return True
        verdict = judge.of(job)
        if isinstance(verdict, Never):
            failure = Failure("dependency", verdict.reason, "Submit it without this dependency.")
            found.hopeless.append((job, failure))
        elif verdict is not None:
            found.waiting.append(Told(job, verdict.reason))
        return verdict is not None

    async def _lacks_inputs(self, job: Job, found: Sorted, now: dt.datetime) -> bool:
        missing = await self._missing_inputs(job)
        if not missing:
            return False
        end = job.state_since + self._input_timeout
        if end <= now:
            seconds = self._input_timeout.total_seconds()
            message = f"Input file {missing[0]} was not uploaded within {seconds:g} s"
            found.hopeless.append((job, Failure("input_timeout", message, "Submit it again.")))
            return True
        found.next = min(end, found.next or end)
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        found.waiting.append(Told(job, f"Waits for its input file {missing[0]}{more}"))
        return True

    def _misplaced(self, job: Job, found: Sorted) -> bool:
        """Whether no site could have the job at all, because of its account or image."""
        try:
            verdict = self._prospects.without_image(job)
        except UnknownAccount as error:
            failure = Failure("impossible", f"{error}.", "Submit it under another account.")
            found.hopeless.append((job, failure))
            return True
        if isinstance(verdict, Impossible):
            failure = Failure("impossible", verdict.reason, verdict.hint)
            found.hopeless.append((job, failure))
        elif isinstance(verdict, Waiting):
            found.waiting.append(Told(job, verdict.reason, verdict.position))
        return verdict is not None

    async def _sort_kept(self, found: Sorted, jobs: Sequence[Job]) -> None:
        """Take those that name a machine which exists, or is being made, out of what is open."""
        keepers = [job for job in found.open if job.spec.keep is not None]
        if not keepers:
            return
        # Who waits for something else as well must not keep the machine from who could have it.
        rivals = rivals_of([*(job for job in jobs if _has_place(job)), *keepers])
        for job in keepers:
            need, sites = self._prospects.need(job), self._prospects.sites
            verdict = await kept_partition(job, need, rivals[machine_of(job)], self._store, sites)
            if verdict is None:
                continue
            found.open.remove(job)
            if isinstance(verdict, Take):
                found.takes.append((job, verdict.record))
            elif isinstance(verdict, Wait):
                found.waiting.append(Told(job, verdict.reason, verdict.ahead + 1))
            elif isinstance(verdict, Refuse):
                found.hopeless.append((job, verdict.failure))


def _has_place(job: Job) -> bool:
    return job.state is not JobState.QUEUED and not job.state.final


def _next_in_array(job: Job, running: Counter[str], found: Sorted) -> bool:
    """Whether the array of a job lets one more run; counts it then."""
    limit = job.array_limit
    if limit is None or job.array_id is None:
        return True
    if running[job.array_id] >= limit:
        jobs = "1 job" if limit == 1 else f"{limit} jobs"
        found.waiting.append(Told(job, f"At most {jobs} of its array may run at a time"))
        return False
    running[job.array_id] += 1
    return True

"""Placement: gives the queue and the inventory to the scheduling policy and stores what it says."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial

from skyport_gates.timing import in_time

from ..model import Failure, Job
from ..scheduling import Policy, Timetable
from ..settings import Settings
from ..sites import Sites
from ..store import Conflict, Store
from ..unhurried import unhurried
from .obstacles import MissingInputs, Obstacles, Sorted, Told
from .placing import Places
from .prospects import Prospects

MANY_PLACES, MANY_JOBS = 1000, 200
"""Places (nodes and offers) and jobs up to which a plan is made at once, in the event loop."""

CHEAP = 0.003
"""Seconds that a pass may take without a pause after it."""

REST, LONGEST_REST = 9.0, 5.0
"""Pause after a pass, in times of what it took, and in seconds at most: changes that come one by
one while thousands wait are then planned together, and planning leaves time for all else."""


async def _no_inputs(job: Job) -> Sequence[str]:
    return ()


class Placer:
    """Runs the policy whenever queue or inventory changed.

    Parameters
    ----------
    wake, wake_partition
        Called with the id of each job that got a place, and with the name of its partition.
    core_id
        Goes into the names of partitions.
    missing_inputs
        Names of the inputs that a job still waits for.
    only_queued
        Called with the ids of the jobs in the queue.
    """

    def __init__(
        self,
        store: Store,
        sites: Sites,
        policy: Policy,
        settings: Settings,
        *,
        core_id: str,
        wake: Callable[[str], None],
        wake_partition: Callable[[str], None],
        log: logging.Logger,
        missing_inputs: MissingInputs = _no_inputs,
        only_queued: Callable[[Collection[str]], None] | None = None,
    ) -> None:
        self.prospects = Prospects(store, sites, settings)
        self.obstacles = Obstacles(
            store, self.prospects, missing_inputs, settings.input_timeout, only_queued
        )
        self._store = store
        self._sites = sites
        self._policy = policy
        self._places = Places(
            store,
            self.prospects,
            settings,
            core_id=core_id,
            wake=wake,
            wake_partition=wake_partition,
        )
        self._due = asyncio.Event()
        self._next: dt.datetime | None = None
        self.log = log

    def replan(self) -> None:
        """Something changed: plan again soon. Cheap; many calls become one pass."""
        self._due.set()

    async def run(self) -> None:
        """Plan whenever it is due, until cancelled."""
        while True:
            await self._until_due()
            self._due.clear()
            began = time.monotonic()
            try:
                await self.plan_once()
            except Conflict:
                self._due.set()
            except Exception:
                self.log.exception("Planning failed; trying again")
                await asyncio.sleep(1)
                self._due.set()
            cost = time.monotonic() - began
            if cost > CHEAP:
                await asyncio.sleep(min(REST * cost, LONGEST_REST))

    async def _until_due(self) -> None:
        """Wait for a change, or until the time of a waiting job is over."""
        seconds = None
        if self._next is not None:
            seconds = max(0.0, (self._next - dt.datetime.now(dt.timezone.utc)).total_seconds())
        with contextlib.suppress(asyncio.TimeoutError):
            await in_time(self._due.wait(), seconds)

    async def plan_once(self) -> Timetable:
        """One pass: plan, then store placements, waits and refusals.

        Raises Conflict if a job changed meanwhile; the others have got what was planned for them.
        """
        jobs = await self._store.active_jobs()
        found = await self.obstacles.sort(jobs, dt.datetime.now(dt.timezone.utc))
        self._next = found.next
        timetable = await self.timetable(found.open, jobs) if found.open else Timetable()
        await self._carry_out(found, timetable)
        if found.hopeless or timetable.impossible:
            self.replan()  # a job may have waited for the machine that this one was to get
        return timetable

    async def timetable(self, queue: Sequence[Job], jobs: Sequence[Job]) -> Timetable:
        """What the policy says of the open jobs among all that have not ended."""
        nodes, unknown = await self.prospects.nodes(jobs)
        offers = await self._sites.offers()
        plan = partial(
            self._policy.plan,
            [self.prospects.pending(job) async for job in unhurried(queue)],
            nodes,
            offers,
            dt.datetime.now(dt.timezone.utc),
            unknown_sites=unknown,
            conditions=self._sites.conditions(),
        )
        # A pure function: thousands of places or jobs need not hold up the loop.
        many = len(offers) + len(nodes) > MANY_PLACES or len(queue) > MANY_JOBS
        return await asyncio.to_thread(plan) if many else plan()

    async def _carry_out(self, found: Sorted, timetable: Timetable) -> None:
        queue, places = {job.id: job for job in found.open}, self._places
        steps: list[Callable[[], Awaitable[None]]] = [
            *(partial(places.place_on, *take) for take in found.takes),
            *(partial(places.place, queue[each.job_id], each) for each in timetable.placements),
            *(partial(places.fail, job, failure) for job, failure in found.hopeless),
            *(
                partial(
                    places.fail,
                    queue[each.job_id],
                    Failure("impossible", each.reason, each.hint),
                )
                for each in timetable.impossible
            ),
        ]
        conflict = None
        for step in steps:
            try:
                await step()
            except Conflict as error:
                conflict = error
        await places.tell(
            [Told(queue[each.job_id], each.reason, each.position) for each in timetable.waiting]
        )
        await places.tell(found.waiting)
        if conflict is not None:
            raise conflict

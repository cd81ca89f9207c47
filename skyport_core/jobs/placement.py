"""Placement: gives the queue and the inventory to the scheduling policy and stores what it says."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

from skyport_gates.gate import Node

from ..model import EventDraft, Failure, Job, JobState, PartitionRecord, Resources
from ..scheduling import (
    Impossible,
    NodeState,
    Offer,
    PendingJob,
    Placement,
    Policy,
    Timetable,
    Waiting,
)
from ..settings import Settings
from ..sites import Sites, SiteSnapshot, node_reason
from ..store import Conflict, Store

TOLD_POSITIONS = 200
"""Jobs further back in the queue hear of their position once, and again when they come so far:
else every end of a job would write to all that wait."""


class Placer:
    """Runs the policy whenever queue or inventory changed.

    Parameters
    ----------
    wake
        Called with the id of each job that got a place.
    core_id
        Goes into the names of partitions.
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
        log: logging.Logger,
    ) -> None:
        self._store = store
        self._sites = sites
        self._policy = policy
        self._settings = settings
        self._core_id = core_id
        self._wake = wake
        self._due = asyncio.Event()
        self.log = log

    def replan(self) -> None:
        """Something changed: plan again soon. Cheap; many calls become one pass."""
        self._due.set()

    async def run(self) -> None:
        """Plan whenever it is due, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self.plan_once()
            except Conflict:
                self._due.set()
            except Exception:
                self.log.exception("Planning failed; trying again")
                await asyncio.sleep(1)
                self._due.set()

    async def plan_once(self) -> Timetable:
        """One pass: plan, then store placements, waits and refusals."""
        jobs = await self._store.active_jobs()
        queue = {
            job.id: job
            for job in jobs
            if job.state is JobState.QUEUED and job.target is JobState.RUNNING
        }
        if not queue:
            return Timetable((), (), ())
        nodes, offers, unknown = await self._inventory(jobs)
        timetable = self._policy.plan(
            [self._pending(job) for job in queue.values()],
            nodes,
            offers,
            dt.datetime.now(dt.timezone.utc),
            unknown_sites=unknown,
        )
        for placement in timetable.placements:
            await self._place(queue[placement.job_id], placement)
        for refusal in timetable.impossible:
            await self._refuse(queue[refusal.job_id], refusal)
        for waiting in timetable.waiting:
            await self._tell(queue[waiting.job_id], waiting)
        return timetable

    def need(self, job: Job) -> Resources:
        """What the job asks for, with the core's defaults where it is silent."""
        settings, spec = self._settings, job.spec
        return Resources(
            spec.cpus or settings.default_cpus, spec.memory or settings.default_memory, spec.gpus
        )

    def _pending(self, job: Job) -> PendingJob:
        return PendingJob(
            id=job.id,
            owner=job.owner,
            submitted=job.created_at,
            need=self.need(job),
            site=job.spec.site,
            flavor=job.spec.flavor,
            labels=job.spec.labels,
            excluded=job.excluded,
        )

    async def _inventory(
        self, jobs: Sequence[Job]
    ) -> tuple[list[NodeState], list[Offer], list[str]]:
        drains = await self._store.drains()
        held = reservations(jobs)
        nodes: list[NodeState] = []
        offers: list[Offer] = []
        unknown = []
        for site in self._sites.snapshots():
            if not site.known:
                unknown.append(site.name)
            elif site.nodes is None:
                offers.extend(self._offer(site, index) for index in range(len(site.flavors)))
            else:
                prices = {flavor.name: flavor.price for flavor in site.flavors}
                for node in site.nodes:
                    reason = node_reason(node, drains.get((site.name, node.name)))
                    nodes.append(
                        NodeState(
                            site=site.name,
                            name=node.name,
                            flavor=node.flavor,
                            total=total(node),
                            free=total(node) - held[site.name, node.name],
                            gpu_type=node.gpu_type,
                            labels=node.labels,
                            available=not reason,
                            reason=reason,
                            suspect=self._sites.is_suspect(site.name, node.name),
                            price=prices.get(node.flavor),
                        )
                    )
        return nodes, offers, unknown

    def _offer(self, site: SiteSnapshot, index: int) -> Offer:
        flavor = site.flavors[index]
        blocked = self._sites.blocked(site.name, flavor.name)
        reason = site.reason if not site.available else (blocked or "")
        return Offer(
            site=site.name,
            flavor=flavor.name,
            total=Resources(flavor.cpus, flavor.memory, flavor.gpus),
            price=flavor.price,
            available=not reason,
            reason=reason,
            labels=flavor.labels,
            gpu_type=flavor.gpu_type,
        )

    async def _place(self, job: Job, placement: Placement) -> None:
        now = dt.datetime.now(dt.timezone.utc)
        elastic = placement.node is None
        seconds = self._settings.deadline(
            JobState.ALLOCATING, start_timeout=job.spec.start_timeout, elastic=elastic
        )
        deadline = now + dt.timedelta(seconds=seconds) if seconds is not None else None
        partition = None
        if elastic:
            partition = await self._record_partition(job, placement, now, deadline)
            event = EventDraft(f"Making a {placement.flavor} at {placement.site}", reason="placed")
        else:
            where = f"{placement.node} at {placement.site}"
            event = EventDraft(f"Placed on {where}", reason="placed")
        await self._store.update_job(
            job,
            event,
            state=JobState.ALLOCATING,
            site=placement.site,
            node=placement.node,
            partition=partition,
            username=job.spec.username or job.owner,
            reserved=self.need(job),
            position=None,
            wait_reason="",
            deadline=deadline,
        )
        self._wake(job.id)

    async def _record_partition(
        self, job: Job, placement: Placement, now: dt.datetime, deadline: dt.datetime | None
    ) -> str:
        """Write the intent; its name is the same however often this is done for the attempt."""
        name = f"skyport-{self._core_id[:8]}-{job.id.replace('-', '')[:12]}-{job.attempt}"
        await self._store.put_partition(
            PartitionRecord(
                name=name,
                site=placement.site,
                job_id=job.id,
                owner=job.spec.username or job.owner,
                flavor=placement.flavor or "",
                created_at=now,
                state_since=now,
                deadline=deadline,
            )
        )
        return name

    async def _refuse(self, job: Job, refusal: Impossible) -> None:
        failure = Failure("impossible", refusal.reason, refusal.hint)
        event = EventDraft(refusal.reason, reason="impossible", hint=refusal.hint)
        await self._store.update_job(
            job,
            event,
            state=JobState.FAILED,
            target=JobState.FAILED,
            failure=failure,
            position=None,
            wait_reason="",
        )

    async def _tell(self, job: Job, waiting: Waiting) -> None:
        if (job.position, job.wait_reason) == (waiting.position, waiting.reason):
            return
        if job.position is not None and waiting.position > TOLD_POSITIONS:
            return
        message = f"Position {waiting.position} in the queue. {waiting.reason}"
        await self._store.update_job(
            job,
            EventDraft(message, reason="waiting"),
            position=waiting.position,
            wait_reason=waiting.reason,
        )


def total(node: Node) -> Resources:
    """All that a node has."""
    return Resources(node.cpus, node.memory, node.gpus)


def reservations(jobs: Sequence[Job]) -> defaultdict[tuple[str, str], Resources]:
    """What the jobs that have a place hold, by site and node."""
    held: defaultdict[tuple[str, str], Resources] = defaultdict(Resources)
    for job in jobs:
        if job.site and job.node and job.reserved and not job.state.final and not job.partition:
            held[job.site, job.node] += job.reserved
    return held

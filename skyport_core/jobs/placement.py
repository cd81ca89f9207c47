"""Placement: gives the queue and the inventory to the scheduling policy and stores what it says."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import functools
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

from skyport_gates.gate import Node

from ..model import (
    EventDraft,
    Failure,
    Job,
    JobState,
    PartitionRecord,
    PartitionState,
    Resources,
)
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
from ..scheduling.words import money, place_of
from ..settings import Settings
from ..sites import Sites, node_reason
from ..store import Conflict, Store
from .keeping import Refuse, Take, Wait, kept_partition

TOLD_POSITIONS = 200
"""Jobs further back in the queue hear of their position once, and again when they come so far:
else every end of a job would write to all that wait."""

MANY_OFFERS = 1000
"""Offers up to which a plan is made at once, in the event loop."""


class Placer:
    """Runs the policy whenever queue or inventory changed.

    Parameters
    ----------
    wake, wake_partition
        Called with the id of each job that got a place, and with the name of its partition.
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
        wake_partition: Callable[[str], None],
        log: logging.Logger,
    ) -> None:
        self._store = store
        self._sites = sites
        self._policy = policy
        self._settings = settings
        self._core_id = core_id
        self._wake = wake
        self._wake_partition = wake_partition
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
        await self._take_up_kept(queue, jobs)
        for job in list(queue.values()):
            verdict = self._without_image(job)
            if isinstance(verdict, Impossible):
                await self._refuse(queue.pop(job.id), verdict)
            elif verdict is not None:
                await self._tell(queue.pop(job.id), verdict)
        if not queue:
            return Timetable()
        timetable = await self._plan(list(queue.values()), jobs)
        for placement in timetable.placements:
            await self._place(queue[placement.job_id], placement)
        for refusal in timetable.impossible:
            await self._refuse(queue[refusal.job_id], refusal)
        for waiting in timetable.waiting:
            await self._tell(queue[waiting.job_id], waiting)
        return timetable

    async def _plan(self, queue: Sequence[Job], jobs: Sequence[Job]) -> Timetable:
        nodes, unknown = await self._nodes(jobs)
        offers = await self._sites.offers()
        plan = functools.partial(
            self._policy.plan,
            [self._pending(job) for job in queue],
            nodes,
            offers,
            dt.datetime.now(dt.timezone.utc),
            unknown_sites=unknown,
            conditions=self._sites.conditions(),
        )
        # A pure function: thousands of offers need not hold up the loop.
        return await asyncio.to_thread(plan) if len(offers) > MANY_OFFERS else plan()

    async def _take_up_kept(self, queue: dict[str, Job], jobs: Sequence[Job]) -> None:
        """Take the jobs that name a machine which exists, or is being made, out of the queue."""
        for job in [job for job in queue.values() if job.spec.keep is not None]:
            verdict = await kept_partition(job, self.need(job), jobs, self._store, self._sites)
            if isinstance(verdict, Take):
                await self._place_on(queue.pop(job.id), verdict.record)
            elif isinstance(verdict, Wait):
                waiting = Waiting(job.id, verdict.ahead + 1, verdict.reason)
                await self._tell(queue.pop(job.id), waiting)
            elif isinstance(verdict, Refuse):
                await self._fail(queue.pop(job.id), verdict.failure)

    def _without_image(self, job: Job) -> Impossible | Waiting | None:
        """What becomes of a job whose image no site is known to have; None if one has it."""
        if job.spec.image is None or self._sites_with(job.spec.image, job.spec.site):
            return None
        sites = [site for site in self._sites.snapshots() if job.spec.site in (None, site.name)]
        for site in sites:
            if site.nodes is None and site.images is None:
                return Waiting(job.id, 1, f"The images of site {site.name} are not known yet")
        images = {
            image.name for site in sites for image in site.images or () if image.kind == "cloud"
        }
        where = f" at site {job.spec.site}" if job.spec.site else ""
        hint = f"Choose one of the images {', '.join(sorted(images))}." if images else "Name none."
        return Impossible(job.id, f"There is no image {job.spec.image!r}{where}.", hint)

    def _sites_with(self, image: str, site: str | None) -> frozenset[str]:
        """The sites that make nodes which boot an image, and those that are not known yet."""
        return frozenset(
            snapshot.name
            for snapshot in self._sites.snapshots()
            if site in (None, snapshot.name)
            and snapshot.nodes is None
            and (
                not snapshot.known
                or any(
                    image == known.name for known in snapshot.images or () if known.kind == "cloud"
                )
            )
        )

    def need(self, job: Job) -> Resources:
        """What the job asks for, with the core's defaults where it is silent."""
        settings, spec = self._settings, job.spec
        return Resources(
            spec.cpus or settings.default_cpus, spec.memory or settings.default_memory, spec.gpus
        )

    def _pending(self, job: Job) -> PendingJob:
        spec = job.spec
        return PendingJob(
            id=job.id,
            owner=job.owner,
            submitted=job.created_at,
            need=self.need(job),
            site=spec.site,
            flavor=spec.flavor,
            region=spec.region,
            zone=spec.zone,
            spot=spec.spot,
            max_price=spec.max_price,
            sites=None if spec.image is None else self._sites_with(spec.image, spec.site),
            keep=spec.keep is not None,
            labels=spec.labels,
            excluded=job.excluded,
        )

    async def _nodes(self, jobs: Sequence[Job]) -> tuple[list[NodeState], list[str]]:
        """The fixed nodes of all sites, and the sites that are not known yet."""
        drains = await self._store.drains()
        held = reservations(jobs)
        nodes: list[NodeState] = []
        unknown = []
        for site in self._sites.snapshots():
            if not site.known:
                unknown.append(site.name)
            elif site.nodes is not None:
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
        return nodes, unknown

    async def _place(self, job: Job, placement: Placement) -> None:
        deadline = self._deadline(job, elastic=placement.offer is not None)
        if placement.offer is not None:
            partition = await self._record_partition(job, placement.offer, deadline)
            message = f"Making a {self._described(placement.offer)}"
        else:
            partition, message = None, f"Placed on {placement.node} at {placement.site}"
        await self._allocate(job, message, deadline, placement.site, placement.node, partition)

    async def _place_on(self, job: Job, record: PartitionRecord) -> None:
        """Give the job a machine that its owner kept."""
        deadline = self._deadline(job, elastic=True)
        await self._store.update_partition(
            record,
            job_id=job.id,
            target=PartitionState.READY,
            deadline=deadline,
            reason="",
            error="",
        )
        where = f" in {record.region}" if record.region else ""
        message = f"Waking machine {record.keep!r}, a {record.flavor}{where} at {record.site}"
        await self._allocate(job, message, deadline, record.site, None, record.name)

    async def _allocate(
        self,
        job: Job,
        message: str,
        deadline: dt.datetime | None,
        site: str,
        node: str | None,
        partition: str | None,
    ) -> None:
        try:
            await self._store.update_job(
                job,
                EventDraft(message, reason="placed"),
                state=JobState.ALLOCATING,
                site=site,
                node=node,
                partition=partition,
                username=job.spec.username or job.owner,
                reserved=self.need(job),
                position=None,
                wait_reason="",
                deadline=deadline,
            )
        finally:
            # The job may have changed meanwhile; then nobody wants what was written for it.
            if partition is not None:
                self._wake_partition(partition)
        self._wake(job.id)

    def _deadline(self, job: Job, *, elastic: bool) -> dt.datetime | None:
        seconds = self._settings.deadline(
            JobState.ALLOCATING, start_timeout=job.spec.start_timeout, elastic=elastic
        )
        now = dt.datetime.now(dt.timezone.utc)
        return None if seconds is None else now + dt.timedelta(seconds=seconds)

    async def _record_partition(self, job: Job, offer: Offer, deadline: dt.datetime | None) -> str:
        """Write the intent, under a name that no partition had before."""
        stem = f"skyport-{self._core_id[:8]}-{job.id.replace('-', '')[:12]}"
        number = job.attempt
        while await self._store.get_partition(f"{stem}-{number}") is not None:
            number += 1
        now = dt.datetime.now(dt.timezone.utc)
        record = PartitionRecord(
            name=f"{stem}-{number}",
            site=offer.site,
            job_id=job.id,
            owner=job.owner,
            flavor=offer.flavor,
            created_at=now,
            state_since=now,
            region=offer.region,
            zone=offer.zone,
            spot=offer.spot,
            price=offer.price,
            image=job.spec.image or "",
            max_price=job.spec.max_price,
            keep=job.spec.keep or "",
            deadline=deadline,
        )
        return (await self._store.put_partition(record)).name

    def _described(self, offer: Offer) -> str:
        """Size, place, kind and price of what is made."""
        snapshot = self._sites.snapshot(offer.site)
        currency = next(
            (
                flavor.currency
                for flavor in (snapshot.flavors if snapshot else ())
                if flavor.name == offer.flavor
            ),
            "USD",
        )
        terms = ["spot"] if offer.spot else []
        if offer.price is not None:
            amount = money(offer.price)
            price = f"${amount}" if currency == "USD" else f"{amount} {currency}"
            terms.append(f"{price} per hour")
        where = place_of(dataclasses.replace(offer, spot=False))
        bracket = f" ({', '.join(terms)})" if terms else ""
        return f"{offer.flavor}{where} at {offer.site}{bracket}"

    async def _refuse(self, job: Job, refusal: Impossible) -> None:
        await self._fail(job, Failure("impossible", refusal.reason, refusal.hint))

    async def _fail(self, job: Job, failure: Failure) -> None:
        event = EventDraft(failure.message, reason=failure.reason, hint=failure.hint)
        await self._store.update_job(
            job,
            event,
            state=JobState.FAILED,
            target=JobState.FAILED,
            failure=failure,
            position=None,
            wait_reason="",
        )
        self.replan()  # a job may have waited for the machine that this one was to get

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

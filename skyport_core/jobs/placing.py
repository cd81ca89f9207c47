"""What a plan means, written down: places, refusals, and why jobs wait."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Sequence

from ..model import EventDraft, Failure, Job, JobState, PartitionRecord, PartitionState
from ..scheduling import Offer, Placement
from ..scheduling.words import money, place_of
from ..settings import Settings
from ..store import JobChanges, Store, Told
from ..unhurried import unhurried
from .obstacles import Told as Waits
from .prospects import Prospects, share_of
from .prospects import total as total_of

TOLD_POSITIONS = 200
"""Jobs further back in the queue hear of their position once, and again when they come so far:
else every end of a job would write to all that wait."""


class Places:
    """Stores what becomes of the jobs in the queue.

    Parameters
    ----------
    core_id
        Goes into the names of partitions.
    wake, wake_partition
        Called with the id of each job that got a place, and with the name of its partition.
    """

    def __init__(
        self,
        store: Store,
        prospects: Prospects,
        settings: Settings,
        *,
        core_id: str,
        wake: Callable[[str], None],
        wake_partition: Callable[[str], None],
    ) -> None:
        self._store = store
        self._prospects = prospects
        self._settings = settings
        self._core_id = core_id
        self._wake = wake
        self._wake_partition = wake_partition

    async def place(self, job: Job, placement: Placement) -> None:
        """Give the job the place that the plan says. Raises Conflict."""
        deadline = self._deadline(job, elastic=placement.offer is not None)
        if placement.offer is not None:
            offer = placement.offer
            partition = await self._record_partition(job, offer, deadline)
            message = f"Making {self._described(job, offer)}"
            changes = self._paid(offer.site, offer.flavor, offer.price, 1.0)
            await self._allocate(job, message, deadline, partition, changes)
            return
        message = f"Placed on {placement.node} at {placement.site}"
        changes = self._on_node(job, placement)
        await self._allocate(job, message, deadline, None, changes)

    async def place_on(self, job: Job, record: PartitionRecord) -> None:
        """Give the job a machine that its owner kept. Raises Conflict."""
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
        changes = self._paid(record.site, record.flavor, record.price, 1.0)
        await self._allocate(job, message, deadline, record.name, changes)

    async def fail(self, job: Job, failure: Failure) -> None:
        """The job can never run. Raises Conflict."""
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

    async def tell(self, waiting: Sequence[Waits]) -> None:
        """Tell jobs why they wait, those to whom it is news."""
        await self._store.tell_jobs(
            [_told(each) async for each in unhurried(waiting) if _is_news(each)]
        )

    def _on_node(self, job: Job, placement: Placement) -> JobChanges:
        site = self._prospects.sites.snapshot(placement.site)
        nodes = site.nodes if site is not None else None
        node = next((each for each in nodes or () if each.name == placement.node), None)
        if site is None or node is None:
            # It was taken out of the configuration just now; logging in to it will say so.
            return {**self._paid(placement.site, "", None, 1.0), "node": placement.node}
        price = next((each.price for each in site.flavors if each.name == node.flavor), None)
        share = share_of(self._prospects.need(job), total_of(node))
        return {**self._paid(site.name, node.flavor, price, share), "node": node.name}

    def _paid(self, site: str, flavor: str, price: float | None, share: float) -> JobChanges:
        return {
            "site": site,
            "node": None,
            "flavor": flavor,
            "price": price,
            "currency": "" if price is None else self._prospects.currency(site, flavor),
            "share": share,
        }

    async def _allocate(
        self,
        job: Job,
        message: str,
        deadline: dt.datetime | None,
        partition: str | None,
        place: JobChanges,
    ) -> None:
        changes: JobChanges = {
            **place,
            "state": JobState.ALLOCATING,
            "partition": partition,
            "username": job.spec.username or job.owner,
            "reserved": self._prospects.need(job),
            "position": None,
            "wait_reason": "",
            "deadline": deadline,
        }
        try:
            await self._store.update_job(job, EventDraft(message, reason="placed"), **changes)
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
            count=job.spec.nodes,
            deadline=deadline,
        )
        return (await self._store.put_partition(record)).name

    def _described(self, job: Job, offer: Offer) -> str:
        """Number, size, place, kind and price of what is made."""
        count = job.spec.nodes
        terms = ["spot"] if offer.spot else []
        if offer.price is not None:
            currency = self._prospects.currency(offer.site, offer.flavor)
            amount = money(offer.price * count)
            price = f"${amount}" if currency == "USD" else f"{amount} {currency}"
            terms.append(f"{price} per hour")
        where = place_of(dataclasses.replace(offer, spot=False))
        bracket = f" ({', '.join(terms)})" if terms else ""
        many = "a" if count == 1 else f"{count} nodes"
        return f"{many} {offer.flavor}{where} at {offer.site}{bracket}"


def _is_news(waits: Waits) -> bool:
    job = waits.job
    if (job.position, job.wait_reason) == (waits.position, waits.reason):
        return False
    behind = waits.position is not None and waits.position > TOLD_POSITIONS
    return job.position is None or not behind


def _told(waits: Waits) -> Told:
    place = "" if waits.position is None else f"Position {waits.position} in the queue. "
    event = EventDraft(f"{place}{waits.reason}", reason="waiting")
    return Told(waits.job, waits.position, waits.reason, event)

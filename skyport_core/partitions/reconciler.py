"""The partition reconciler: asks the gates until a partition is where its record wants it."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable

from skyport_gates.gate import (
    GateError,
    InvalidRequest,
    NoCapacity,
    Node,
    NotAuthorized,
    PartitionNotFound,
    PartitionRequest,
    PartitionStatus,
    QuotaExceeded,
    Throttled,
)

from ..model import PartitionRecord, PartitionState
from ..sites import Sites
from ..store import Conflict, Store
from ..workqueue import WorkQueue

LOOK_INTERVAL = 1.0
"""Seconds between two looks at a partition that is being made or removed."""

FINAL_ERRORS = (NoCapacity, QuotaExceeded, InvalidRequest, NotAuthorized)
"""Errors of a creation after which the job must be placed elsewhere."""


class PartitionReconciler:
    """Moves partitions: REQUESTED → CREATING → READY, and from anywhere → DELETING → DELETED.

    Parameters
    ----------
    core_id, user_ca
        Written into every request: the tag of this core, and the key its logins are signed with.
    wake_job
        Called with the id of the job whose partition changed.
    """

    def __init__(
        self,
        store: Store,
        sites: Sites,
        *,
        core_id: str,
        user_ca: str,
        wake_job: Callable[[str], None],
        log: logging.Logger,
    ) -> None:
        self._store = store
        self._sites = sites
        self._core_id = core_id
        self._user_ca = user_ca
        self._wake_job = wake_job
        self._queue: WorkQueue[str] = WorkQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self.log = log

    async def recover(self) -> None:
        """Take up every partition that is not verified gone; called once at the start."""
        for record in await self._store.list_partitions(active=True):
            self._queue.add(record.name)

    async def run(self) -> None:
        """Serve the queue until cancelled."""
        try:
            while True:
                name = await self._queue.get()
                task = asyncio.create_task(self._serve(name), name=f"partition {name}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self, name: str) -> None:
        """Have the partition looked at soon."""
        self._queue.add(name)

    async def remove(self, name: str) -> None:
        """Have the partition deleted; stored at once, done in the background. Idempotent."""
        while True:
            record = await self._store.get_partition(name)
            if record is None or record.target is PartitionState.DELETED:
                break
            try:
                await self._store.update_partition(record, target=PartitionState.DELETED)
                break
            except Conflict:
                continue
        self._queue.add(name)

    async def nodes(self, record: PartitionRecord) -> tuple[Node, ...]:
        """The nodes of a READY partition, asked from its gate."""
        gate = self._sites.gates[record.site]
        return (await self._sites.call(record.site, gate.get(record.name))).nodes

    async def _serve(self, name: str) -> None:
        try:
            await self._reconcile(name)
        except Conflict:
            self._queue.add(name)
        except Throttled as error:
            self._queue.add_after(name, error.retry_after)
        except GateError as error:
            self.log.warning("Partition %s: %s", name, error, exc_info=error.__cause__)
            self._queue.retry(name)
        except Exception:
            self.log.exception("Partition %s: unexpected error; trying again", name)
            self._queue.retry(name)
        finally:
            self._queue.done(name)

    async def _reconcile(self, name: str) -> None:
        record = await self._store.get_partition(name)
        if record is None or record.state.final:
            return
        if record.site not in self._sites.gates:
            self.log.error("Partition %s: site %s is not configured any more", name, record.site)
            self._queue.retry(name)
            return
        if record.target is not PartitionState.DELETED and await self._unwanted(record):
            record = await self._store.update_partition(record, target=PartitionState.DELETED)
        if record.target is PartitionState.DELETED:
            await self._delete(record)
        elif record.state is PartitionState.REQUESTED:
            await self._create(record)
        elif record.state is PartitionState.CREATING:
            await self._look(record)

    async def _unwanted(self, record: PartitionRecord) -> bool:
        job = await self._store.get_job(record.job_id)
        return job is None or job.state.final or job.partition != record.name

    async def _create(self, record: PartitionRecord) -> None:
        request = PartitionRequest(
            name=record.name,
            flavor=record.flavor,
            username=record.owner,
            user_ca=self._user_ca,
            tags={"skyport-core": self._core_id, "skyport-job": record.job_id},
        )
        gate = self._sites.gates[record.site]
        if self._late(record):
            await self._give_up(record, "it was not accepted in time")
            return
        try:
            await self._sites.call(record.site, gate.create(request))
        except FINAL_ERRORS as error:
            self._block(record, error)
            await self._give_up(record, error.message)
            return
        await self._store.update_partition(record, state=PartitionState.CREATING)
        self._queue.forget(record.name)
        self._queue.add(record.name)

    async def _look(self, record: PartitionRecord) -> None:
        gate = self._sites.gates[record.site]
        try:
            seen = await self._sites.call(record.site, gate.get(record.name))
        except PartitionNotFound:
            await self._give_up(record, "the site has lost it")
            return
        if seen.status is PartitionStatus.READY:
            await self._store.update_partition(record, state=PartitionState.READY)
            self._wake_job(record.job_id)
        elif seen.status in (PartitionStatus.FAILED, PartitionStatus.DELETING):
            if seen.error is not None:
                self._block(record, seen.error)
            await self._give_up(record, seen.error.message if seen.error else "it failed")
        elif self._late(record):
            await self._give_up(record, "it was not ready in time")
        else:
            self._queue.add_after(record.name, LOOK_INTERVAL)

    def _block(self, record: PartitionRecord, error: GateError) -> None:
        if isinstance(error, (NoCapacity, QuotaExceeded)):
            self._sites.block(record.site, record.flavor, error.message)

    async def _give_up(self, record: PartitionRecord, why: str) -> None:
        await self._store.update_partition(
            record, target=PartitionState.DELETED, error=f"{record.flavor}: {why}"
        )
        self._wake_job(record.job_id)
        self._queue.add(record.name)

    async def _delete(self, record: PartitionRecord) -> None:
        """Ask for removal until a look shows it gone; a record never says so on hope."""
        gate = self._sites.gates[record.site]
        if record.state is not PartitionState.DELETING:
            record = await self._store.update_partition(record, state=PartitionState.DELETING)
        try:
            await self._sites.call(record.site, gate.delete(record.name))
            await self._sites.call(record.site, gate.get(record.name))
        except PartitionNotFound:
            final = PartitionState.FAILED if record.error else PartitionState.DELETED
            await self._store.update_partition(record, state=final)
            self._wake_job(record.job_id)
            return
        self._queue.add_after(record.name, LOOK_INTERVAL)

    @staticmethod
    def _late(record: PartitionRecord) -> bool:
        now = dt.datetime.now(dt.timezone.utc)
        return record.deadline is not None and record.deadline < now

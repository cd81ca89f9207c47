"""The partition reconciler: asks the gates until a partition is where its record wants it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from skyport_gates.gate import GateError, Node, Throttled

from ..model import JobState, PartitionRecord, PartitionState
from ..settings import Settings
from ..sites import Sites
from ..store import Conflict, Store
from ..workqueue import WorkQueue, serve
from .steps import ASLEEP, NOW, SOON, Again, Steps

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds between two looks at a partition on its way somewhere: they grow from one to the other.
What the gate itself tells is looked at at once."""

PLACING = 8
"""Looks for which the record of a job that is still queued waits for it: it is being placed."""


class PartitionReconciler:
    """Moves partitions to where their records want them, and watches over those that are there.

    ::

        REQUESTED → CREATING → READY → SUSPENDING → SUSPENDED
                        ↑                                │
                        └────────────────────────────────┘
        from anywhere → DELETING → DELETED, or FAILED if it was no good

    The parameters are those of :class:`~skyport_core.partitions.steps.Steps`.
    """

    def __init__(
        self,
        store: Store,
        sites: Sites,
        settings: Settings,
        *,
        core_id: str,
        user_ca: str,
        home: Path,
        wake_job: Callable[[str], None],
        interrupt_job: Callable[[str], None],
        log: logging.Logger,
    ) -> None:
        self._store = store
        self._sites = sites
        self._steps = Steps(
            store,
            sites,
            settings,
            core_id=core_id,
            user_ca=user_ca,
            home=home,
            wake_job=wake_job,
            interrupt_job=interrupt_job,
            log=log,
        )
        self._queue: WorkQueue[str] = WorkQueue(max_delay=30.0)
        self._looks: dict[str, int] = {}
        self._not_before: dict[str, float] = {}
        self._asked: set[str] = set()
        self._troubles: dict[str, str] = {}
        self.log = log

    async def recover(self) -> None:
        """Take up every partition that is not verified gone; called once at the start."""
        for record in await self._store.list_partitions(active=True):
            self._queue.add(record.name)

    async def run(self) -> None:
        """Serve the queue until cancelled."""
        await serve(self._queue, self._work, what="partition", stale=Conflict, log=self.log)

    def wake(self, name: str) -> None:
        """Have the partition looked at now, and often for a while."""
        self._looks.pop(name, None)
        self._queue.add(name)

    async def remove(self, name: str, *, reason: str = "", error: str = "") -> None:
        """Have the partition deleted; stored at once, done in the background. Idempotent."""
        await self._aim(name, lambda record: PartitionState.DELETED, reason, error)

    async def give_back(
        self, name: str, *, reason: str = "", error: str = "", unused: bool = False
    ) -> PartitionRecord | None:
        """Its job needs it no more: it is deleted, or sleeps if its owner keeps it. Idempotent.

        Parameters
        ----------
        reason, error
            Why, for programs and for people, if it is no good; an earlier reason stays.
        unused
            Nobody has logged in to it: there is nothing to keep on it yet.
        """
        return await self._aim(
            name, lambda record: self._steps.rest(record, unused=unused), reason, error
        )

    async def claim(self, record: PartitionRecord) -> None:
        """The job that a sleeping partition belongs to wants it awake."""
        await self._store.update_partition(record, target=PartitionState.READY, reason="", error="")
        self.wake(record.name)

    async def _aim(
        self,
        name: str,
        where: Callable[[PartitionRecord], PartitionState],
        reason: str,
        error: str,
    ) -> PartitionRecord | None:
        while True:
            record = await self._store.get_partition(name)
            if record is None:
                return None
            target = where(record)
            if record.target in (target, PartitionState.DELETED):
                break
            if not reason:
                reason, error = record.reason, record.error
            try:
                record = await self._steps.send(record, target, reason, error)
                break
            except Conflict:
                continue
        self.wake(name)
        return record

    async def nodes(self, record: PartitionRecord) -> tuple[Node, ...]:
        """The nodes of a READY partition, asked from its gate."""
        gate = self._sites.gates[record.site]
        return (await self._sites.call(record.site, gate.get(record.name))).nodes

    async def diagnose(self, record: PartitionRecord) -> str:
        """What its machine printed while it booted, kept with its job's logs; "" if unknown."""
        return await self._steps.diagnose(record)

    def trouble(self, name: str) -> str:
        """Why the site could not be asked for this partition the last time; "" if it could."""
        return self._troubles.get(name, "")

    async def _work(self, name: str) -> None:
        held_up = self._not_before.get(name, 0.0) - time.monotonic()
        if held_up > 0:
            self._queue.add_after(name, held_up)
            return
        self._not_before.pop(name, None)
        try:
            again = await self._reconcile(name)
        except Throttled as error:
            self.log.info("Partition %s: %s", name, error)
            self._not_before[name] = time.monotonic() + error.retry_after
            self._queue.add_after(name, error.retry_after)
        except GateError as error:
            self._troubles[name] = error.message
            self.log.warning("Partition %s: %s", name, error, exc_info=error.__cause__)
            self._queue.retry(name)
        else:
            self._troubles.pop(name, None)
            self._queue.forget(name)
            self._plan(name, again)

    def _plan(self, name: str, again: Again | None) -> None:
        if again is None:
            self._looks.pop(name, None)
            self._asked.discard(name)
        elif again is NOW:
            self._looks.pop(name, None)
            self._queue.add(name)
        elif again.seconds is not None:
            self._looks.pop(name, None)
            self._queue.add_after(name, again.seconds)
        else:
            looks = self._looks.get(name, 0)
            self._looks[name] = looks + 1
            self._queue.add_after(name, min(LONGEST_PAUSE, FIRST_PAUSE * 1.3 ** min(looks, 50)))

    async def _reconcile(self, name: str) -> Again | None:
        record = await self._store.get_partition(name)
        if record is None or record.state.final:
            return None
        if record.site not in self._sites.gates:
            self.log.error("Partition %s: site %s is not configured any more", name, record.site)
            return ASLEEP
        if record.target is PartitionState.READY:
            wanted = await self._wanted(record)
            if wanted is None:
                return SOON
            if not wanted:
                given_back = await self.give_back(name)
                assert given_back is not None  # noqa: S101 (typing)
                record = given_back
        return await self._step(record)

    async def _step(self, record: PartitionRecord) -> Again | None:
        steps = self._steps
        if record.target is PartitionState.DELETED:
            again = await steps.delete(record, ask=record.name not in self._asked)
            self._asked.add(record.name)
            return again
        if record.target is PartitionState.SUSPENDED:
            return await steps.sleep(record)
        if record.state is PartitionState.REQUESTED:
            return await steps.create(record)
        if record.state is PartitionState.CREATING:
            return await steps.look(record)
        if record.state is PartitionState.READY:
            return await steps.watch(record)
        return await steps.wake(record)

    async def _wanted(self, record: PartitionRecord) -> bool | None:
        """Whether a job lives that has it; None while that job may be just getting it."""
        job = await self._store.get_job(record.job_id)
        if job is None or job.state.final:
            return False
        if job.partition is None and job.state is JobState.QUEUED:
            return None if self._looks.get(record.name, 0) < PLACING else False
        return job.partition == record.name

"""One step of a partition, named by the state that it starts in."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skyport_gates.gate import (
    Gate,
    GateError,
    GateUnavailable,
    Partition,
    PartitionNotFound,
    PartitionRequest,
    PartitionStatus,
    Preempted,
    Shortage,
    Suspend,
)
from skyport_gates.timing import in_time

from ..model import JobState, PartitionRecord, PartitionState
from ..outputs import output_folder, write_private
from ..settings import Settings
from ..sites import Sites
from ..store import Store
from .trouble import REFUSALS, block, reason_of

DIAGNOSE_TIMEOUT = 30.0
"""Seconds that finding out why nobody can log in may delay the removal."""

WOKEN = "woken"
"""Reason of a record whose partition slept before: its disks hold its owner's files."""

SLEEPLESS = "cannot_sleep"
"""Reason of a record whose partition should sleep long since, but is still awake, and billed."""


@dataclass(frozen=True)
class Again:
    """When to look at a partition again: in ``seconds``; None: after a pause that grows."""

    seconds: float | None = None


NOW = Again(0.0)
SOON = Again()
AWAKE = Again(15.0)
ASLEEP = Again(60.0)


class Steps:
    """What can be done next for a partition; every step may be repeated without harm.

    Parameters
    ----------
    core_id, user_ca
        Written into every request: the tag of this core, and the key its logins are signed with.
    home : Path
        Folder of the core's state; what a machine printed while it booted goes to its job's logs.
    wake_job
        Called with the id of the job whose partition changed.
    interrupt_job
        Called with the id of a job that lost its partition, whatever it does with it now.
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
        self._settings = settings
        self._core_id = core_id
        self._user_ca = user_ca
        self._home = home
        self._wake_job = wake_job
        self._interrupt_job = interrupt_job
        self.log = log

    async def create(self, record: PartitionRecord) -> Again:
        """REQUESTED: have the site accept it."""
        request = await self._request(record)
        try:
            await self._sites.call(record.site, self._gate(record).create(request))
        except REFUSALS as error:
            return await self._refused(record, error)
        await self._store.update_partition(record, state=PartitionState.CREATING)
        return NOW

    async def _request(self, record: PartitionRecord) -> PartitionRequest:
        job = await self._store.get_job(record.job_id)
        tags = {
            "skyport-core": self._core_id,
            "skyport-partition": record.name,
            "skyport-job": record.job_id,
            "skyport-owner": record.owner,
        }
        return PartitionRequest(
            name=record.name,
            flavor=record.flavor,
            count=record.count,
            username=(job.username if job is not None else None) or record.owner,
            user_ca=self._user_ca,
            image=record.image,
            region=record.region,
            zone=record.zone,
            spot=record.spot,
            max_price=record.max_price,
            suspendable=bool(record.keep) and isinstance(self._gate(record), Suspend),
            tags=tags,
        )

    async def look(self, record: PartitionRecord) -> Again:
        """CREATING: see whether it is ready, made or woken."""
        seen = await self._seen(record)
        if seen is None:
            return await self._gone(record)
        if seen.status is PartitionStatus.READY:
            await self._store.update_partition(
                record, state=PartitionState.READY, deadline=None, error=""
            )
            self._wake_job(record.job_id)
            return AWAKE
        if seen.status is PartitionStatus.SUSPENDED and self.slept(record):
            if isinstance(seen.error, REFUSALS):
                return await self._refused(record, seen.error)
            return await self._resume(record)
        if seen.status in (PartitionStatus.CREATING, PartitionStatus.SUSPENDING):
            return SOON
        return await self._failed(record, seen)

    async def watch(self, record: PartitionRecord) -> Again:
        """READY: see whether it still is."""
        seen = await self._seen(record)
        if seen is None:
            return await self._gone(record)
        if seen.status is PartitionStatus.READY:
            return AWAKE
        if seen.status is PartitionStatus.CREATING:
            return SOON
        return await self._failed(record, seen)

    async def sleep(self, record: PartitionRecord) -> Again:
        """Towards SUSPENDED from wherever it is; then watch over its sleep."""
        try:
            return await self._fall_asleep(record)
        except PartitionNotFound:
            # What its site shows as failed may be gone for good: only the attempt tells.
            return await self._gone(await self._fresh(record))
        except GateError as error:
            await self._sleepless(await self._fresh(record), error.message)
            raise

    async def _fall_asleep(self, record: PartitionRecord) -> Again:
        gate, seen = self._gate(record), await self._seen(record)
        if seen is None or _taken(seen):
            return await self._gone(record)
        if seen.status is PartitionStatus.SUSPENDED:
            return await self._asleep(record)
        if not isinstance(gate, Suspend):
            raise GateUnavailable(f"Site {record.site} cannot let machines sleep any more")
        if record.state is not PartitionState.SUSPENDING:
            record = await self._store.update_partition(record, state=PartitionState.SUSPENDING)
        if seen.status is not PartitionStatus.SUSPENDING:
            await self._sites.call(record.site, gate.suspend(record.name))
        await self._sleepless(record, f"{record.site} does not show it asleep")
        return SOON

    async def _sleepless(self, record: PartitionRecord, why: str) -> None:
        """Tell of a machine that stays awake for too long, until it sleeps after all."""
        if (record.state, record.target) != (PartitionState.SUSPENDING, PartitionState.SUSPENDED):
            return
        limit = dt.timedelta(seconds=self._settings.partition_timeout)
        error = f"It could not be put to sleep and is still billed: {why}"
        if _now() - record.state_since < limit or record.error == error:
            return
        self.log.warning("Partition %s: %s", record.name, error)
        await self._store.update_partition(record, reason=SLEEPLESS, error=error)

    async def _fresh(self, record: PartitionRecord) -> PartitionRecord:
        """The record as it is stored now, after a step that may have changed it."""
        return await self._store.get_partition(record.name) or record

    async def _asleep(self, record: PartitionRecord) -> Again:
        now = _now()
        if record.state is not PartitionState.SUSPENDED or record.deadline is None:
            record = await self._store.update_partition(
                record,
                state=PartitionState.SUSPENDED,
                deadline=now + dt.timedelta(seconds=self._settings.keep_time),
            )
        if record.reason == SLEEPLESS:
            record = await self._store.update_partition(record, reason="", error="")
        assert record.deadline is not None  # noqa: S101 (typing)
        if record.deadline <= now:
            self.log.info("Partition %s was not used for long; deleting it", record.name)
            await self._store.update_partition(
                record, target=PartitionState.DELETED, reason="expired"
            )
            return NOW
        return Again(min(ASLEEP.seconds or 0.0, (record.deadline - now).total_seconds()))

    async def wake(self, record: PartitionRecord) -> Again:
        """SUSPENDING or SUSPENDED, but wanted again."""
        seen = await self._seen(record)
        if seen is None:
            return await self._gone(record)
        if seen.status is PartitionStatus.SUSPENDING:
            return SOON
        if seen.status is PartitionStatus.SUSPENDED:
            return await self._resume(record)
        # It is awake: the core was killed before it could say so, or somebody else woke it.
        await self._store.update_partition(record, state=PartitionState.CREATING, reason=WOKEN)
        return NOW

    async def _resume(self, record: PartitionRecord) -> Again:
        gate = self._gate(record)
        assert isinstance(gate, Suspend)  # noqa: S101 (typing)
        try:
            await self._sites.call(record.site, gate.resume(record.name))
        except REFUSALS as error:
            return await self._refused(record, error)
        except PartitionNotFound:
            return await self._gone(record)
        if record.state is not PartitionState.CREATING:
            await self._store.update_partition(
                record, state=PartitionState.CREATING, reason=WOKEN, error=""
            )
        return SOON

    async def delete(self, record: PartitionRecord, *, ask: bool) -> Again | None:
        """Ask for removal until a look shows it gone; a record never says so on hope.

        ``ask`` again although the site may have been asked before.
        """
        gate = self._gate(record)
        if record.state is not PartitionState.DELETING:
            record = await self._store.update_partition(record, state=PartitionState.DELETING)
        if ask:
            await self._sites.call(record.site, gate.delete(record.name))
        seen = await self._seen(record)
        if seen is not None and seen.status is not PartitionStatus.DELETING and not ask:
            await self._sites.call(record.site, gate.delete(record.name))
        if seen is not None:
            return SOON
        final = PartitionState.FAILED if record.error else PartitionState.DELETED
        await self._store.update_partition(record, state=final)
        self._wake_job(record.job_id)
        return None

    def slept(self, record: PartitionRecord) -> bool:
        """Whether the partition's disks hold what somebody kept there."""
        asleep = record.state in (PartitionState.SUSPENDING, PartitionState.SUSPENDED)
        return asleep or record.reason == WOKEN

    def rest(self, record: PartitionRecord, *, unused: bool = False) -> PartitionState:
        """Where a partition goes that its job needs no more; ``unused``: nobody logged in yet."""
        if record.target is PartitionState.SUSPENDED:
            return PartitionState.SUSPENDED
        if record.keep and isinstance(self._sites.gates.get(record.site), Suspend):
            used = record.state is PartitionState.READY and not unused
            if used or self.slept(record):
                return PartitionState.SUSPENDED
        return PartitionState.DELETED

    async def give_up(
        self, record: PartitionRecord, reason: str, why: str, *, gone: bool = False
    ) -> Again:
        """Let it go, and tell its job why; what sleeps is kept unless it is ``gone``."""
        rest = PartitionState.DELETED if gone else self.rest(record, unused=reason == "boot")
        error = f"{record.flavor}: {why}"
        await self.send(record, rest, reason, error)
        self._interrupt_job(record.job_id)
        return NOW

    async def send(
        self, record: PartitionRecord, rest: PartitionState, reason: str, error: str
    ) -> PartitionRecord:
        """Store where it goes to rest; from then on a partition that is kept counts as slept."""
        state = record.state
        if rest is PartitionState.SUSPENDED and state is not PartitionState.SUSPENDED:
            state = PartitionState.SUSPENDING
        return await self._store.update_partition(
            record, state=state, target=rest, reason=reason, error=error, deadline=None
        )

    async def _refused(self, record: PartitionRecord, error: GateError) -> Again:
        block(self._sites, record, error)
        if isinstance(error, Shortage) or not self.slept(record):
            self.log.info("Partition %s: %s", record.name, error)
        else:
            self.log.warning("Partition %s: %s", record.name, error, exc_info=error.__cause__)
        return await self.give_up(record, reason_of(error, "refused"), error.message)

    async def _failed(self, record: PartitionRecord, seen: Partition) -> Again:
        """The site says that it failed, or takes it away unasked."""
        error = seen.error
        if error is None:
            what = "put it to sleep" if seen.status in _SLEEPS else "took it away"
            return await self.give_up(record, "lost", f"{record.site} {what}")
        block(self._sites, record, error)
        reason = reason_of(error, "boot" if await self._boots(record) else "lost")
        if reason == "boot":
            await self.diagnose(record)
        return await self.give_up(record, reason, error.message, gone=_taken(seen))

    async def _boots(self, record: PartitionRecord) -> bool:
        """Whether nobody has used the machine yet."""
        if record.state is PartitionState.CREATING:
            return True
        job = await self._store.get_job(record.job_id)
        return job is not None and job.state is JobState.ALLOCATING

    async def _gone(self, record: PartitionRecord) -> Again:
        if record.target is PartitionState.SUSPENDED:
            return await self.give_up(record, "lost", "it is gone from its site", gone=True)
        if record.spot and record.state is PartitionState.READY:
            error = Preempted(f"{record.site} took the spot machine back")
            block(self._sites, record, error)
            return await self.give_up(record, "preempted", error.message, gone=True)
        return await self.give_up(record, "lost", "the site has lost it", gone=True)

    async def diagnose(self, record: PartitionRecord) -> str:
        """What the machine printed while it booted, kept with its job's logs; "" if unknown."""
        gate = self._gate(record)
        try:
            asking = self._sites.call(record.site, gate.diagnose(record.name))
            text = await in_time(asking, DIAGNOSE_TIMEOUT)
        except (GateError, asyncio.TimeoutError) as error:
            self.log.warning("Partition %s: no boot log: %s", record.name, error)
            return ""
        if text:
            path = output_folder(self._home, record.job_id) / "boot.log"
            await write_private(path, text.encode(errors="replace"))
        return text

    def _gate(self, record: PartitionRecord) -> Gate:
        return self._sites.gates[record.site]

    async def _seen(self, record: PartitionRecord) -> Partition | None:
        """How the site shows it; None when nothing of it is left."""
        try:
            return await self._sites.call(record.site, self._gate(record).get(record.name))
        except PartitionNotFound:
            return None


def _taken(seen: Partition) -> bool:
    """Whether nothing is left of a partition that its site took back."""
    return seen.status is PartitionStatus.FAILED and isinstance(seen.error, Preempted)


_SLEEPS = (PartitionStatus.SUSPENDING, PartitionStatus.SUSPENDED)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)

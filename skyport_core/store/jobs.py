"""The queue: jobs from their submission to the end of their record."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..model import EventDraft, Job, JobState, preferred_number
from .base import Part, uninterrupted, utcnow
from .errors import Conflict, Different, StillNeeded
from .numbers import free_numbers
from .records import JobChanges
from .rows import job_of
from .tables import events, job_ids, job_scripts, job_secrets, jobs
from .tallies import dependent
from .writing import locked_row, write_change, write_job

if TYPE_CHECKING:
    from typing_extensions import Unpack

CANCELLING = EventDraft("Cancelling was asked for", reason="cancel")

_JOB = sa.select(jobs).where(jobs.c.id == sa.bindparam("job_id"))

TRIES = 5
"""How often a number is chosen anew when another core takes it."""


class Jobs(Part):
    """One job: read, changed, ended, made live again, forgotten."""

    @uninterrupted
    async def get_job(self, job_id: str) -> Job | None:
        """The job, or None when there is none (or only a tombstone)."""

        def read(connection: sa.Connection) -> Job | None:
            row = connection.execute(_JOB, {"job_id": job_id}).one_or_none()
            return None if row is None else job_of(row)

        return await self._database.run_reading(read)

    @uninterrupted
    async def tombstone(self, job_id: str, owner: str | None, now: dt.datetime) -> Job | None:
        """Delete: end the job, or use its id up when it was not submitted yet.

        A job that has ended, or whose end is decided already, stays as it is.

        Parameters
        ----------
        owner : str or None
            Who deletes; None: whoever may delete any job.

        Returns
        -------
        Job or None
            The job; None when a tombstone was written (now or before).

        Raises
        ------
        Different
            The job belongs to another owner.
        """
        claim = {"id": job_id, "owner": owner or "", "tombstone": True, "created_at": now}
        try:
            async with self._database.write() as connection:
                if await self._database.insert_new(connection, job_ids, ["id"], claim):
                    return None
                row = await locked_row(connection, job_id)
                if row is None:
                    return None
                job = job_of(row)
                if owner is not None and job.owner != owner:
                    raise Different(f"Job {job_id} belongs to another owner.")
                if job.state.final or job.target.final:
                    return job
                return await write_change(
                    connection, row, {"target": JobState.CANCELLED}, CANCELLING, now
                )
        finally:
            self.changes.notify(job_id)

    @uninterrupted
    async def update_job(
        self,
        job: Job,
        event: EventDraft | None = None,
        *,
        now: dt.datetime | None = None,
        **changes: Unpack[JobChanges],
    ) -> Job:
        """Change a job, and tell why, in one transaction.

        A new state sets ``state_since``; so does the end of a hold. Entering a final state sets
        ``ended_at``, drops the secrets, and frees the number unless ``cleanup_pending``; the
        number is then freed when that becomes False. A line of usage is opened when the job gets
        a place, and closed when it gives it back.

        Parameters
        ----------
        job : Job
            The job as the caller read it.
        event : EventDraft, optional
            Its progress never falls below that of the events before, but starts over when
            ``attempt`` grows or the job goes back to QUEUED. Without a progress of its own it
            takes the usual one of a new state, else that of the event before.
        now : datetime, optional
            Aware time of the change; None: the present.
        **changes
            Fields of the job with their new values, see :class:`JobChanges`.

        Returns
        -------
        Job
            As stored, with its version one higher.

        Raises
        ------
        Conflict
            The stored job has another version than ``job``.
        ValueError
            The job ended, and the change would make it live again.
        """
        try:
            async with self._database.write() as connection:
                row = await _of_version(connection, job)
                return await write_change(connection, row, changes, event, now or utcnow())
        finally:
            self.changes.notify(job.id)

    async def revive_job(
        self, job: Job, event: EventDraft, *, now: dt.datetime | None = None
    ) -> Job:
        """Put a job that has ended into the queue again, with a new number, as one attempt more.

        Its ``requeue`` is set until what the attempt before left at the core has been removed.

        Raises
        ------
        Conflict
            The stored job has another version than ``job``, or its record was deleted.
        ValueError
            The job has not ended and cleaned up, or its secrets are gone.
        """
        if not job.state.final or job.cleanup_pending or job.secret:
            raise ValueError(f"Job {job.id} cannot live again.")
        for last in (*[False] * (TRIES - 1), True):
            try:
                return await self._revive_job(job, event, now or utcnow())
            except IntegrityError:
                if last:
                    raise
        raise AssertionError("unreachable")

    @uninterrupted
    async def _revive_job(self, job: Job, event: EventDraft, now: dt.datetime) -> Job:
        try:
            async with self._database.write() as connection:
                row = await _of_version(connection, job)
                wanted = [preferred_number(job.id)]
                [number] = await connection.run_sync(free_numbers, wanted)
                fresh = Job(
                    job.id,
                    job.owner,
                    job.spec,
                    number,
                    created_at=job.created_at,
                    state_since=now,
                    attempt=job.attempt + 1,
                    array_id=job.array_id,
                    array_index=job.array_index,
                    array_limit=job.array_limit,
                    scripted=job.scripted,
                    requeue=True,
                    version=job.version + 1,
                )
                await write_job(connection, row, job_of(row), fresh, event, now)
                return fresh
        finally:
            self.changes.notify(job.id)

    @uninterrupted
    async def remove_job(self, job: Job) -> None:
        """Forget a job that has ended, with its events; its id stays used up.

        What it used stays in the ledger. A script that other jobs of its array need stays theirs.

        Raises
        ------
        Conflict
            The stored job has another version than ``job``.
        StillNeeded
            A job that has not ended depends on it.
        ValueError
            The job has not ended, or left something on a node.
        """
        if not job.state.final or job.cleanup_pending:
            raise ValueError(f"Job {job.id} has not ended.")
        try:
            async with self._database.write() as connection:
                await _of_version(connection, job)
                other = await dependent(connection, job)
                if other is not None:
                    raise StillNeeded(
                        f"Job {other} depends on job {job.id}; the record can be deleted once that"
                        " has ended."
                    )
                await _pass_script_on(connection, job)
                for table in (job_secrets, job_scripts, events):
                    await connection.execute(sa.delete(table).where(table.c.job_id == job.id))
                await connection.execute(sa.delete(jobs).where(jobs.c.id == job.id))
        finally:
            self.changes.notify(job.id)


async def _of_version(connection: AsyncConnection, job: Job) -> sa.Row[Any]:
    row = await locked_row(connection, job.id)
    if row is None or row.version != job.version:
        raise Conflict(f"Job {job.id} was changed since version {job.version}.")
    return row


async def _pass_script_on(connection: AsyncConnection, job: Job) -> None:
    if job.array_id is None:
        return
    others = sa.select(jobs.c.id).where(jobs.c.array_id == job.array_id, jobs.c.id != job.id)
    heir = await connection.scalar(others.limit(1))
    if heir is not None:
        await connection.execute(
            sa.update(job_scripts).where(job_scripts.c.job_id == job.id).values(job_id=heir)
        )

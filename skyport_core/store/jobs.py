"""The queue: jobs and their secrets."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..model import (
    PROGRESS,
    EventDraft,
    Job,
    JobKind,
    JobState,
    next_number,
    preferred_number,
)
from ..wire import JobRequest, JobSecrets
from .base import Part, uninterrupted, utcnow
from .errors import Conflict, Different, Tombstoned
from .events import append_event
from .records import JobChanges, Mark, changed_job
from .rows import job_of, job_values, new_job_values
from .tables import job_ids, job_secrets, jobs

if TYPE_CHECKING:
    from typing_extensions import Unpack

QUEUED = EventDraft("Waiting for a place", reason="queued")
CANCELLING = EventDraft("Cancelling was asked for", reason="cancel")


class Jobs(Part):
    """Jobs from their submission to their end."""

    @uninterrupted
    async def put_job(
        self, job_id: str, owner: str, request: JobRequest, now: dt.datetime
    ) -> tuple[Job, bool]:
        """Store a submission once, however often and by how many callers it is repeated.

        Parameters
        ----------
        job_id : str
            UUID chosen by the terminal.
        owner : str
            Whose job it is; ``request.owner`` is not looked at.
        request : JobRequest
            Specification and secrets; the latter are stored encrypted.
        now : datetime
            Aware time of the submission.

        Returns
        -------
        tuple of Job and bool
            The stored job, and whether this call made it.

        Raises
        ------
        Tombstoned
            The id was deleted before it was submitted.
        Different
            The id belongs to a job with another content or owner.
        """
        spec, secrets = request.spec(), request.secrets()
        digest = await self._vault.digest(owner, spec, secrets)
        token = await self._vault.seal(secrets)
        job = Job(job_id, owner, spec, preferred_number(job_id), created_at=now, state_since=now)
        claim = {"id": job_id, "owner": owner, "tombstone": False, "created_at": now}
        try:
            async with self._database.write() as connection:
                if not await self._database.insert_new(connection, job_ids, ["id"], claim):
                    return await _submitted_before(connection, job_id, digest), False
                job = await self._insert_job(connection, job, digest)
                await connection.execute(sa.insert(job_secrets), {"job_id": job_id, "token": token})
        finally:
            self.changes.notify(job_id)
        return job, True

    async def _insert_job(self, connection: AsyncConnection, job: Job, digest: str) -> Job:
        mark = Mark(progress=PROGRESS[job.state])
        values = new_job_values(job) | {"digest": digest, "event_seq": 1, "progress": mark.progress}
        number = job.number
        while not await self._database.insert_new(
            connection, jobs, ["live_number"], values | {"number": number, "live_number": number}
        ):
            number = next_number(number)
        await append_event(connection, job, mark, QUEUED, job.created_at)
        row = await _locked(connection, job.id)
        assert row is not None  # noqa: S101 - inserted above, in this transaction
        return job_of(row)

    @uninterrupted
    async def get_job(self, job_id: str) -> Job | None:
        """The job, or None when there is none (or only a tombstone)."""
        async with self._database.read() as connection:
            query = sa.select(jobs).where(jobs.c.id == job_id)
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else job_of(row)

    @uninterrupted
    async def list_jobs(
        self,
        *,
        owner: str | None = None,
        states: Collection[JobState] | None = None,
        kind: JobKind | None = None,
        limit: int | None = None,
        after: str | None = None,
        before: str | None = None,
        newest_first: bool = False,
    ) -> list[Job]:
        """Jobs by time of submission.

        Parameters
        ----------
        owner, states, kind
            Only jobs that match all that are given.
        limit : int, optional
            At most so many, counted along the order.
        after, before : str, optional
            Only jobs submitted later (earlier) than the one with this id.
        newest_first : bool
            Order from the newest to the oldest instead.

        Raises
        ------
        KeyError
            ``after`` or ``before`` names no job.
        """
        query = sa.select(jobs)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        if kind is not None:
            query = query.where(jobs.c.kind == kind.value)
        place = sa.tuple_(jobs.c.created_at, jobs.c.id)
        async with self._database.read() as connection:
            if after is not None:
                query = query.where(place > await _place(connection, after))
            if before is not None:
                query = query.where(place < await _place(connection, before))
            columns = (jobs.c.created_at, jobs.c.id)
            order = [column.desc() if newest_first else column.asc() for column in columns]
            result = await connection.execute(query.order_by(*order).limit(limit))
            return [job_of(row) for row in result]

    @uninterrupted
    async def active_jobs(self) -> list[Job]:
        """Jobs that something is still to be done for, oldest first.

        These are the ones that have not ended, and those that ended but left something on a node.
        """
        # Not "is not null", and sorted here: only so does SQLite use the index of the numbers
        # instead of reading all the jobs that ended long ago.
        query = sa.select(jobs).where(jobs.c.live_number > 0)
        async with self._database.read() as connection:
            found = [job_of(row) for row in await connection.execute(query)]
        return sorted(found, key=lambda job: (job.created_at, job.id))

    @uninterrupted
    async def secrets(self, job_id: str) -> JobSecrets:
        """The job's secrets, decrypted; empty once the job ended. KeyError without such a job."""
        query = (
            sa.select(job_secrets.c.token)
            .select_from(jobs.outerjoin(job_secrets))
            .where(jobs.c.id == job_id)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise KeyError(job_id)
        return JobSecrets() if row.token is None else await self._vault.unseal(row.token)

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
                row = await _locked(connection, job_id)
                if row is None:
                    return None
                job = job_of(row)
                if owner is not None and job.owner != owner:
                    raise Different(f"Job {job_id} belongs to another owner.")
                if job.state.final or job.target.final:
                    return job
                return await _store_change(
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

        A new state sets ``state_since``. Entering a final state sets ``ended_at``, drops the
        secrets, and frees the number unless ``cleanup_pending``; the number is then freed when
        that becomes False.

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
                row = await _locked(connection, job.id)
                if row is None or row.version != job.version:
                    raise Conflict(f"Job {job.id} was changed since version {job.version}.")
                return await _store_change(connection, row, changes, event, now or utcnow())
        finally:
            self.changes.notify(job.id)


async def _store_change(
    connection: AsyncConnection,
    row: sa.Row[Any],
    changes: JobChanges,
    draft: EventDraft | None,
    now: dt.datetime,
) -> Job:
    old = job_of(row)
    new = changed_job(old, changes, now)
    mark = Mark(row.event_seq, row.progress).after(old, new)
    if draft is not None:
        _, mark = await append_event(connection, new, mark, draft, now)
    before = job_values(old) | {"event_seq": row.event_seq, "progress": row.progress}
    after = job_values(new) | {"event_seq": mark.seq, "progress": mark.progress}
    changed = {name: value for name, value in after.items() if value != before[name]}
    await connection.execute(sa.update(jobs).where(jobs.c.id == new.id), changed)
    if new.state.final and not old.state.final:
        await connection.execute(sa.delete(job_secrets).where(job_secrets.c.job_id == new.id))
    return new


async def _locked(connection: AsyncConnection, job_id: str) -> sa.Row[Any] | None:
    query = sa.select(jobs).where(jobs.c.id == job_id).with_for_update()
    return (await connection.execute(query)).one_or_none()


async def _submitted_before(connection: AsyncConnection, job_id: str, digest: str) -> Job:
    row = await _locked(connection, job_id)
    if row is None:
        raise Tombstoned(f"Job {job_id} was deleted before it was submitted; use a new id.")
    if row.digest != digest:
        raise Different(f"The id {job_id} belongs to another job; use a new one.")
    return job_of(row)


async def _place(connection: AsyncConnection, job_id: str) -> sa.Tuple:
    query = sa.select(jobs.c.created_at, jobs.c.id).where(jobs.c.id == job_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise KeyError(job_id)
    return sa.tuple_(
        sa.literal(row.created_at, jobs.c.created_at.type), sa.literal(row.id, jobs.c.id.type)
    )

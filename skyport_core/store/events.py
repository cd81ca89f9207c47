"""The events of the jobs."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..model import Event, EventDraft, Job
from .base import Part, uninterrupted, utcnow
from .records import Mark
from .rows import event_of, event_values, job_of
from .tables import events, jobs


async def append_event(
    connection: AsyncConnection, job: Job, mark: Mark, draft: EventDraft, time: dt.datetime
) -> tuple[Event, Mark]:
    """Write the job's next event; the caller holds the job's row and stores the new mark."""
    event = mark.next_event(job, draft, time)
    await connection.execute(sa.insert(events), event_values(event))
    return event, Mark(event.seq, event.progress)


class Events(Part):
    """Events, numbered from 1 without gaps within each job."""

    @uninterrupted
    async def add_event(
        self, job_id: str, draft: EventDraft, *, now: dt.datetime | None = None
    ) -> Event:
        """Store an event of a job whose row stays as it is (so does its version).

        Raises
        ------
        KeyError
            There is no such job.
        """
        try:
            async with self._database.write() as connection:
                query = sa.select(jobs).where(jobs.c.id == job_id).with_for_update()
                row = (await connection.execute(query)).one_or_none()
                if row is None:
                    raise KeyError(job_id)
                event, mark = await append_event(
                    connection,
                    job_of(row),
                    Mark(row.event_seq, row.progress),
                    draft,
                    now or utcnow(),
                )
                await connection.execute(
                    sa.update(jobs)
                    .where(jobs.c.id == job_id)
                    .values(event_seq=mark.seq, progress=mark.progress)
                )
        finally:
            self.changes.notify(job_id)
        return event

    @uninterrupted
    async def events(self, job_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        """The job's events with numbers above ``after``, oldest first, at most ``limit``."""
        query = (
            sa.select(events)
            .where(events.c.job_id == job_id, events.c.seq > after)
            .order_by(events.c.seq)
            .limit(limit)
        )
        return await self._database.run_reading(
            lambda connection: [event_of(row) for row in connection.execute(query).all()]
        )

"""How a change of a job is written: its row, its event, what it used, and the end of secrets."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..model import EventDraft, Job
from .events import append_event
from .ledger import note_usage
from .records import JobChanges, Mark, changed_job
from .rows import job_of, job_values, spec_values
from .tables import job_secrets, jobs


async def locked_row(connection: AsyncConnection, job_id: str) -> sa.Row[Any] | None:
    """The job's row, kept from other writers until the transaction ends."""
    query = sa.select(jobs).where(jobs.c.id == job_id).with_for_update()
    return (await connection.execute(query)).one_or_none()


async def write_change(
    connection: AsyncConnection,
    row: sa.Row[Any],
    changes: JobChanges,
    draft: EventDraft | None,
    now: dt.datetime,
) -> Job:
    """Change the job of a row that is locked, and all that hangs on it."""
    old = job_of(row)
    new = changed_job(old, changes, now)
    await write_job(connection, row, old, new, draft, now)
    if new.state.final and not old.state.final:
        await connection.execute(sa.delete(job_secrets).where(job_secrets.c.job_id == new.id))
    return new


async def write_job(
    connection: AsyncConnection,
    row: sa.Row[Any],
    old: Job,
    new: Job,
    draft: EventDraft | None,
    now: dt.datetime,
) -> None:
    """Write what differs between a stored job and what it has become."""
    mark = Mark(row.event_seq, row.progress).after(old, new)
    if draft is not None:
        _, mark = await append_event(connection, new, mark, draft, now)
    before = job_values(old) | {"event_seq": row.event_seq, "progress": row.progress}
    after = job_values(new) | {"event_seq": mark.seq, "progress": mark.progress}
    changed = {name: value for name, value in after.items() if value != before[name]}
    if new.spec is not old.spec:
        changed |= spec_values(new.spec)
    if new.number != old.number:
        changed["number"] = new.number
    await connection.execute(sa.update(jobs).where(jobs.c.id == new.id), changed)
    await note_usage(connection, old, new, now)

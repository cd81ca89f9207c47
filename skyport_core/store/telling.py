"""Telling many waiting jobs where they stand, a batch in one transaction."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..model import EventDraft, Job
from .base import Part, uninterrupted, utcnow
from .records import Mark
from .rows import event_values
from .tables import events, jobs

BATCH = 100
"""Jobs that are told in one transaction, which other writers wait for."""


@dataclass(frozen=True)
class Told:
    """What a waiting job is told: its place in the queue, why it waits, and the event."""

    job: Job
    position: int | None
    reason: str
    event: EventDraft


class Telling(Part):
    """What is told to jobs that wait."""

    async def tell_jobs(self, told: Sequence[Told], now: dt.datetime | None = None) -> None:
        """Set position and reason of jobs, each with its event; those that changed are left out."""
        for start in range(0, len(told), BATCH):
            await self._tell(told[start : start + BATCH], now or utcnow())

    @uninterrupted
    async def _tell(self, told: Sequence[Told], now: dt.datetime) -> None:
        known = await self._database.run_writing(lambda connection: _write(connection, told, now))
        for each in known:
            self.changes.notify(each.job.id)


_CHANGE = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("this"))
    .values(
        position=sa.bindparam("new_position"),
        wait_reason=sa.bindparam("new_reason"),
        version=sa.bindparam("new_version"),
        event_seq=sa.bindparam("new_seq"),
    )
)


def _write(connection: sa.Connection, told: Sequence[Told], now: dt.datetime) -> list[Told]:
    """Write what is told to those jobs that have not changed, and say which they are."""
    rows = _rows(connection, [each.job.id for each in told])
    known = [
        (each, rows[each.job.id])
        for each in told
        if each.job.id in rows and rows[each.job.id].version == each.job.version
    ]
    if not known:
        return []
    changes = [
        {
            "this": each.job.id,
            "new_position": each.position,
            "new_reason": each.reason,
            "new_version": row.version + 1,
            "new_seq": row.event_seq + 1,
        }
        for each, row in known
    ]
    connection.execute(_CHANGE, changes)
    new = [
        event_values(Mark(row.event_seq, row.progress).next_event(each.job, each.event, now))
        for each, row in known
    ]
    connection.execute(sa.insert(events), new)
    return [each for each, _ in known]


def _rows(connection: sa.Connection, ids: Sequence[str]) -> dict[str, Any]:
    columns = (jobs.c.id, jobs.c.version, jobs.c.event_seq, jobs.c.progress)
    query = sa.select(*columns).where(jobs.c.id.in_(ids)).order_by(jobs.c.id).with_for_update()
    return {row.id: row for row in connection.execute(query).all()}

"""What other jobs wait for: how many jobs an id stands for, and where they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..model import Job, JobState
from .base import Part, uninterrupted
from .rows import FINAL, job_of
from .tables import job_ids, jobs

SLICE = 500
"""Ids in one statement."""


@dataclass(frozen=True)
class Tally:
    """The jobs that an id stands for: one, or all those of an array whose records exist.

    Attributes
    ----------
    array
        Whether the id is that of an array, whether or not its first job has a record still.
    live, unstarted
        Jobs that have not ended, and those of them that never began to run.
    failed, cancelled
        Jobs that ended so.
    """

    owner: str
    array: bool
    live: int
    unstarted: int
    failed: int
    cancelled: int


class Tallies(Part):
    """Many jobs, counted in the database."""

    @uninterrupted
    async def tallies(self, ids: Collection[str]) -> dict[str, Tally]:
        """What each id stands for; without those of which no record exists."""
        wanted = sorted(ids)

        def read(connection: sa.Connection) -> dict[str, Tally]:
            found: dict[str, Tally] = {}
            for some in _slices(wanted):
                alone = sa.or_(jobs.c.array_id.is_(None), jobs.c.array_id != jobs.c.id)
                found |= _counted(connection, jobs.c.id, some, alone)
                found |= _counted(connection, jobs.c.array_id, some, sa.true())
            return found

        return await self._database.run_reading(read)

    @uninterrupted
    async def forgotten_jobs(self, ids: Collection[str]) -> set[str]:
        """Those of the ids that a job had once of which no record exists any more."""
        wanted = sorted(ids)

        def read(connection: sa.Connection) -> set[str]:
            found: set[str] = set()
            for some in _slices(wanted):
                query = (
                    sa.select(job_ids.c.id)
                    .select_from(job_ids.outerjoin(jobs, jobs.c.id == job_ids.c.id))
                    .where(job_ids.c.id.in_(some), jobs.c.id.is_(None))
                )
                found |= set(connection.scalars(query))
            return found

        return await self._database.run_reading(read)


def _slices(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), SLICE):
        yield ids[start : start + SLICE]


def _counted(
    connection: sa.Connection,
    key: sa.Column[str],
    ids: Sequence[str],
    which: sa.ColumnElement[bool],
) -> dict[str, Tally]:
    def count(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((sa.and_(*conditions), 1), else_=0))

    live = jobs.c.state.not_in(FINAL)
    query = (
        sa.select(
            key.label("key"),
            sa.func.min(jobs.c.owner).label("owner"),
            count(live).label("live"),
            count(live, jobs.c.started_at.is_(None)).label("unstarted"),
            count(jobs.c.state == JobState.FAILED.value).label("failed"),
            count(jobs.c.state == JobState.CANCELLED.value).label("cancelled"),
        )
        .where(key.in_(ids), which)
        .group_by(key)
    )
    array = key is jobs.c.array_id
    return {
        row.key: Tally(row.owner, array, row.live, row.unstarted, row.failed, row.cancelled)
        for row in connection.execute(query)
    }


async def dependent(connection: AsyncConnection, job: Job) -> str | None:
    """The id of a job that has not ended and depends on this one, or on its array."""
    names = {name for name in (job.id, job.array_id) if name is not None}
    waiting = (jobs.c.depends == sa.true(), jobs.c.live_number > 0, jobs.c.state.not_in(FINAL))
    # The text first, which the database searches fast; what it means is looked at after that.
    mentions = sa.or_(*(jobs.c.spec.contains(name) for name in sorted(names)))
    query = sa.select(jobs).where(*waiting, mentions)
    for row in await connection.execute(query):
        other = job_of(row)
        if any(dependency.job in names for dependency in other.spec.dependencies):
            return other.id
    return None

"""Lists of jobs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from ..model import Job, JobKind, JobState
from ..unhurried import unhurried
from .base import Part, uninterrupted
from .database import Database
from .rows import FINAL, job_of
from .tables import job_ids, jobs
from .vault import Vault

_COLUMNS = (jobs.c.created_at, sa.func.coalesce(jobs.c.array_index, 0), jobs.c.id)
_ORDER = sa.tuple_(*_COLUMNS)
"""By time of submission; the jobs of an array, which came together, by their indices."""

SLICE = 500
"""Rows that are asked for by their ids at once."""


class Listing(Part):
    """Many jobs at once, found in the database rather than here."""

    def __init__(self, database: Database, vault: Vault) -> None:
        super().__init__(database, vault)
        self._active: dict[str, Job] = {}

    @uninterrupted
    async def list_jobs(
        self,
        *,
        owner: str | None = None,
        states: Collection[JobState] | None = None,
        kind: JobKind | None = None,
        name: str | None = None,
        site: str | None = None,
        array: str | None = None,
        submitted_after: dt.datetime | None = None,
        submitted_before: dt.datetime | None = None,
        limit: int | None = None,
        after: str | None = None,
        before: str | None = None,
        newest_first: bool = False,
    ) -> list[Job]:
        """Jobs by time of submission.

        Parameters
        ----------
        owner, states, kind, name, site, array, submitted_after, submitted_before
            Only jobs that match all that are given.
        limit : int, optional
            At most so many, counted along the order.
        after, before : str, optional
            Only jobs submitted later (earlier) than the one with this id, which may be one whose
            record was deleted since.
        newest_first : bool
            Order from the newest to the oldest instead.

        Raises
        ------
        KeyError
            ``after`` or ``before`` names no job, or one of another ``owner``.
        """
        query = sa.select(jobs)
        equal = {"owner": owner, "name": name, "site": site, "array_id": array}
        for column, value in equal.items():
            if value is not None:
                query = query.where(jobs.c[column] == value)
        if kind is not None:
            query = query.where(jobs.c.kind == kind.value)
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        if submitted_after is not None:
            query = query.where(jobs.c.created_at > submitted_after)
        if submitted_before is not None:
            query = query.where(jobs.c.created_at < submitted_before)
        order = [column.desc() if newest_first else column.asc() for column in _COLUMNS]
        query = query.order_by(*order).limit(limit)

        def read(connection: sa.Connection) -> list[Job]:
            page = query
            if after is not None:
                time, here = _place(connection, after, owner)
                page = page.where(jobs.c.created_at >= time, here < _ORDER)
            if before is not None:
                time, here = _place(connection, before, owner)
                page = page.where(jobs.c.created_at <= time, here > _ORDER)
            return [job_of(row) for row in connection.execute(page).all()]

        return await self._database.run_reading(read)

    @uninterrupted
    async def active_jobs(self) -> list[Job]:
        """Jobs that something is still to be done for, oldest first.

        These are the ones that have not ended, and those that ended but left something on a node.
        """
        known = self._active
        same, rows = await self._database.run_reading(
            lambda connection: _active_rows(connection, known)
        )
        found = {job_id: known[job_id] for job_id in same}
        async for row in unhurried(rows):
            found[row.id] = job_of(row)
        self._active = found
        return sorted(
            found.values(), key=lambda job: (job.created_at, job.array_index or 0, job.id)
        )

    @uninterrupted
    async def count_active(self) -> dict[str, int]:
        """How many jobs are in each state that is not final."""
        query = (
            sa.select(jobs.c.state, sa.func.count())
            .where(jobs.c.live_number > 0)
            .group_by(jobs.c.state)
        )
        async with self._database.read() as connection:
            counts = {str(state): int(count) for state, count in await connection.execute(query)}
        return {state: n for state, n in counts.items() if not JobState(state).final}

    @uninterrupted
    async def waiting_tasks(self, array_id: str) -> list[str]:
        """Ids of the jobs of an array that are in the queue and are to stay there or to start."""
        query = (
            sa.select(jobs.c.id)
            .where(jobs.c.array_id == array_id, jobs.c.state == JobState.QUEUED.value)
            .where(jobs.c.target == JobState.RUNNING.value)
            .order_by(jobs.c.array_index)
        )

        def read(connection: sa.Connection) -> list[str]:
            return list(connection.scalars(query))

        return await self._database.run_reading(read)

    @uninterrupted
    async def live_tasks(self, array_id: str) -> set[str]:
        """Ids of the jobs of an array that have not ended."""
        query = sa.select(jobs.c.id).where(jobs.c.array_id == array_id, jobs.c.state.not_in(FINAL))

        def read(connection: sa.Connection) -> set[str]:
            return set(connection.scalars(query))

        return await self._database.run_reading(read)

    @uninterrupted
    async def outdated_jobs(
        self, ended_before: dt.datetime, limit: int, *, after: Job | None = None
    ) -> list[Job]:
        """Some of the jobs that ended before a time and left nothing anywhere, ``after`` one."""
        query = (
            sa.select(jobs)
            .where(jobs.c.state.in_(FINAL))
            .where(jobs.c.created_at < ended_before, jobs.c.ended_at < ended_before)
            .where(jobs.c.live_number.is_(None))
            .order_by(*_COLUMNS)
            .limit(limit)
        )
        if after is not None:
            here = _place_of(after.created_at, after.array_index, after.id)
            query = query.where(here < _ORDER)
        async with self._database.read() as connection:
            return [job_of(row) for row in await connection.execute(query)]


# Not "is not null", and sorted by who asks: only so does SQLite use the index of the numbers
# instead of reading all the jobs that ended long ago.
_VERSIONS = sa.select(jobs.c.id, jobs.c.version).where(jobs.c.live_number > 0)
_WHOLE = sa.select(jobs).where(
    jobs.c.id.in_(sa.bindparam("ids", expanding=True)), jobs.c.live_number > 0
)

Rows = list[sa.Row[Any]]


def _active_rows(connection: sa.Connection, known: Mapping[str, Job]) -> tuple[list[str], Rows]:
    """The ids of the active jobs that are still as they are ``known``, and the rows of the others.

    The queue is read again for each plan, when few of its jobs have changed. Whatever changes a
    job changes its version.
    """
    same: list[str] = []
    news: list[str] = []
    for job_id, version in connection.execute(_VERSIONS).all():
        job = known.get(job_id)
        (news if job is None or job.version != version else same).append(job_id)
    rows: Rows = []
    for start in range(0, len(news), SLICE):
        rows += connection.execute(_WHOLE, {"ids": news[start : start + SLICE]}).all()
    return same, rows


def _place(
    connection: sa.Connection, job_id: str, owner: str | None
) -> tuple[dt.datetime, sa.Tuple]:
    """When a job was submitted, and where it stands."""
    query = sa.select(job_ids).where(job_ids.c.id == job_id)
    if owner is not None:
        query = query.where(job_ids.c.owner == owner)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise KeyError(job_id)
    return row.created_at, _place_of(row.created_at, row.array_index, row.id)


def _place_of(time: dt.datetime, index: int | None, job_id: str) -> sa.Tuple:
    return sa.tuple_(
        sa.literal(time, jobs.c.created_at.type),
        sa.literal(index or 0, sa.Integer()),
        sa.literal(job_id, jobs.c.id.type),
    )

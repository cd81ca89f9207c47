"""The ledger of usage: a line from when a job gets its place until it gives it back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ..model import Job, JobState, Resources
from ..usage import Interval
from .base import Part, uninterrupted
from .tables import usage

SLICE = 500
"""Ids in one statement."""


class Ledger(Part):
    """What jobs used; it outlives their records."""

    @uninterrupted
    async def usage(
        self,
        since: dt.datetime,
        until: dt.datetime,
        *,
        owner: str | None = None,
        account: str | None = None,
        site: str | None = None,
    ) -> list[Interval]:
        """The intervals that overlap a time, of those that match all that is given."""
        query = (
            sa.select(usage)
            .where(usage.c.started_at < until)
            .where(sa.or_(usage.c.ended_at.is_(None), usage.c.ended_at > since))
        )
        for column, value in (("owner", owner), ("account", account), ("site", site)):
            if value is not None:
                query = query.where(usage.c[column] == value)

        def read(connection: sa.Connection) -> list[Interval]:
            return [Interval(**row._mapping) for row in connection.execute(query)]

        return await self._database.run_reading(read)

    @uninterrupted
    async def placed_before(self, ids: Collection[str]) -> set[str]:
        """Those of the jobs that had a place at some time."""
        wanted = sorted(ids)

        def read(connection: sa.Connection) -> set[str]:
            found: set[str] = set()
            for start in range(0, len(wanted), SLICE):
                some = wanted[start : start + SLICE]
                query = sa.select(usage.c.job_id).where(usage.c.job_id.in_(some)).distinct()
                found |= set(connection.scalars(query))
            return found

        return await self._database.run_reading(read)


async def note_usage(connection: AsyncConnection, old: Job, new: Job, now: dt.datetime) -> None:
    """Open or close the job's line when it got its place or gave it back."""
    had, has = _placed(old), _placed(new)
    if had and (not has or new.attempt != old.attempt):
        await connection.execute(
            sa.update(usage)
            .where(usage.c.job_id == old.id, usage.c.ended_at.is_(None))
            .values(ended_at=now)
        )
    if has and (not had or new.attempt != old.attempt):
        insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(usage)
        # Placed once more in the same attempt: the line that there is goes on.
        again = insert.on_conflict_do_update(
            index_elements=["job_id", "attempt"], set_={"ended_at": None}
        )
        await connection.execute(again, _line(new, now))


def _placed(job: Job) -> bool:
    return job.state is not JobState.QUEUED and not job.state.final and job.site is not None


def _line(job: Job, now: dt.datetime) -> dict[str, object]:
    held = job.reserved or Resources()
    return {
        "job_id": job.id,
        "attempt": job.attempt,
        "owner": job.owner,
        "account": job.spec.account or "",
        "site": job.site,
        "flavor": job.flavor or job.spec.flavor or "",
        "nodes": job.spec.nodes,
        "cpus": held.cpus,
        "gpus": held.gpus,
        "share": 1.0 if job.share is None else job.share,
        "price": job.price,
        "currency": job.currency,
        "started_at": now,
        "ended_at": None,
    }
